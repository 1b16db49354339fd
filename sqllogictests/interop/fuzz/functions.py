"""What values are computed with: by the kind of the result, the kinds of the arguments and the text in each engine.

Where the engines have other words for the same, the template is a dict. What is not here because they mean other things by the same words
is in dialects.py, with the reason.
"""

from dataclasses import dataclass
from typing import Any

from fuzz.kinds import KINDS


@dataclass(frozen=True)
class Function:
    result: str
    args: tuple
    template: Any


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
UNITS = ["year", "quarter", "month", "week", "day", "hour", "minute", "second"]
INTERVALS = ["1 month", "-1 month", "1 day", "36 hours", "1 year", "15 minutes"]
COMPARED = ["bool", "wint", "wbig", "wdec", "wdbl", "real", "text", "wdate", "wts", "tstz", "time", "uuid", "bin"]
NUMBERS = ["wint", "wbig", "wdec", "wdbl"]


def entry(result, args, *templates):
    args = tuple(args.split())
    return [Function(result, args, template) for template in templates]


def per(text, **others):
    return {"": text, **others}


ALL = [
    *entry("int", "int int", "({0} + {1})", "({0} - {1})", "({0} * {1})", "({0} % nullif({1}, 0))", "({0} & {1})", "({0} | {1})",
           per("({0} / nullif({1}, 0))", duckdb="({0} // nullif({1}, 0))")),
    *entry("int", "int", "(- {0})", "abs({0})", "(+ {0})"),
    *entry("int", "big", "CAST({0} AS int)"),
    *entry("int", "bool", "CAST({0} AS int)"),
    *entry("int", "dbl", "CAST(floor({0}) AS int)", "CAST(ceil({0}) AS int)", "CAST(trunc({0}) AS int)"),
    *entry("int", "dec", "CAST(floor({0}) AS int)", "CAST(trunc({0}) AS int)"),
    *entry("int", "text", "CAST(length({0}) AS int)", per("CAST(octet_length({0}) AS int)", duckdb="CAST(strlen({0}) AS int)"), "CAST(bit_length({0}) AS int)"),
    *entry("int", "text text", "CAST(strpos({0}, {1}) AS int)", "CAST(position({1} IN {0}) AS int)"),
    *(function for kind in ("wdate", "wts") for part in ("year", "quarter", "month", "week", "day", "doy", "dow", "isodow", "isoyear")
      for function in entry("int", kind, f"CAST(extract({part} FROM {{0}}) AS int)")),
    *(function for kind in ("wts", "tstz", "time") for part in ("hour", "minute")
      for function in entry("int", kind, f"CAST(extract({part} FROM {{0}}) AS int)")),
    *entry("int", "tstz", "CAST(extract(day FROM {0}) AS int)", "CAST(extract(dow FROM {0}) AS int)"),
    *entry("int", "date date", per("({0} - {1})", duckdb="CAST(({0} - {1}) AS int)")),
    *entry("int", "ints", per("cardinality({0})", duckdb="CAST(len({0}) AS int)"), "({0})[1]", "({0})[2]", "({0})[4]"),
    *entry("int", "struct", per("({0})['a']", postgres=None)),
    *entry("big", "big big", "({0} + {1})", "({0} - {1})", "({0} % nullif({1}, 0))",
           per("({0} / nullif({1}, 0))", duckdb="({0} // nullif({1}, 0))")),
    *entry("big", "big int", "({0} + {1})", "({0} * {1})"),
    *entry("big", "int", "CAST({0} AS bigint)"),
    *entry("big", "ts", per("CAST(floor(extract(epoch FROM {0})) AS bigint)")),
    *entry("wint", "wint wint", "({0} & {1})", "({0} | {1})"),
    *entry("wbig", "wbig wbig", "({0} & {1})", "({0} | {1})"),
    *entry("wbig", "wint", "CAST({0} AS bigint)", "(- CAST({0} AS bigint))"),
    *entry("dec", "dec dec", "({0} + {1})", "({0} - {1})", "({0} * {1})", "({0} % nullif({1}, 0))"),
    *entry("dec", "dec int", "({0} + {1})", "({1} - {0})", "({0} * {1})"),
    *entry("dec", "dec", "abs({0})", "(- {0})", "CAST({0} AS decimal(10, 1))", "round({0}, 1)", "round({0})", "floor({0})", "ceil({0})", "trunc({0})"),
    *entry("dec", "int", "CAST({0} AS decimal(12, 2))"),
    *entry("dec", "dbl", "CAST({0} AS decimal(14, 4))"),
    *entry("wdec", "wbig", "CAST({0} AS decimal(38, 10))"),
    *entry("wdec", "wdec", "abs({0})", "(- {0})"),
    *entry("dbl", "dbl dbl", "({0} + {1})", "({0} - {1})", "({0} * {1})"),
    *entry("dbl", "dbl", "abs({0})", "(- {0})", "floor({0})", "ceil({0})", "trunc({0})"),
    *entry("dbl", "int", "CAST({0} AS double precision)"),
    *entry("sdbl", "sdbl sdbl", "({0} + {1})", "({0} - {1})"),
    *entry("sdbl", "sdbl", "(- {0})", "abs({0})"),
    *entry("wdbl", "dbl dbl", "({0} / nullif({1}, 0))"),
    *entry("wdbl", "wdbl", "(- {0})", "abs({0})"),
    *entry("wdbl", "dbl", "sqrt(abs({0}))"),
    *entry("wdbl", "real", "CAST({0} AS double precision)"),
    *entry("wdbl", "dec", "CAST({0} AS double precision)"),
    *entry("wdbl", "wbig", "CAST({0} AS double precision)"),
    *entry("real", "real", "(- {0})", "abs({0})"),
    *entry("real", "dbl", "CAST({0} AS real)"),
    *entry("text", "text text", "({0} || {1})", "replace({0}, {1}, 'x')", "concat({0}, {1})", "concat_ws('-', {0}, {1})"),
    *entry("text", "text int", "({0} || {1})", "concat({0}, {1})"),
    *entry("text", "text", "upper({0})", "lower({0})", "trim({0})", "ltrim({0})", "rtrim({0})", "substring({0} FROM 2 FOR 2)", "substring({0} FROM 2)",
           "left({0}, 2)", "right({0}, 2)", "left({0}, -1)", "right({0}, -1)", "lpad({0}, 3, '*')", "rpad({0}, 4, 'ab')", "repeat({0}, 2)",
           "reverse({0})", "md5({0})", "split_part({0}, 'b', 1)", "split_part({0}, 'b', 2)", "trim(BOTH 'a' FROM {0})", "translate({0}, 'ab', 'x')"),
    *(function for kind in ("int", "wbig", "bool", "wdate", "uuid", "time") for function in entry("text", kind, "CAST({0} AS text)")),
    *entry("text", "dec", "CAST(CAST({0} AS decimal(14, 2)) AS text)"),
    *entry("text", "ts", "CAST({0} AS text)"),
    *entry("text", "struct", per("({0})['b']", postgres=None)),
    *entry("date", "ts", "CAST({0} AS date)"),
    *entry("date", "tstz", "CAST({0} AS date)"),
    *entry("date", "date int", "({0} + {1})", "({0} - {1})"),
    *(function for span in INTERVALS for function in entry("date", "date", f"CAST(({{0}} + INTERVAL '{span}') AS date)")),
    *(function for unit in UNITS for function in entry("ts", "ts", f"date_trunc('{unit}', {{0}})")),
    *(function for span in INTERVALS for function in entry("ts", "ts", f"({{0}} + INTERVAL '{span}')", f"({{0}} - INTERVAL '{span}')")),
    *entry("ts", "date", "CAST({0} AS timestamp)"),
    *entry("ts", "tstz", "CAST({0} AS timestamp)"),
    *entry("ts", "date time", "({0} + {1})"),
    *(function for zone in ZONES for function in entry("ts", "tstz", f"({{0}} AT TIME ZONE '{zone}')")),
    *(function for zone in ZONES for function in entry("tstz", "ts", f"({{0}} AT TIME ZONE '{zone}')")),
    *(function for unit in UNITS for function in entry("tstz", "tstz", f"date_trunc('{unit}', {{0}})")),
    *(function for span in INTERVALS for function in entry("tstz", "tstz", f"({{0}} + INTERVAL '{span}')")),
    *entry("tstz", "ts", "CAST({0} AS timestamptz)"),
    *entry("tstz", "date", "CAST({0} AS timestamptz)"),
    *entry("time", "ts", "CAST({0} AS time)"),
    *entry("ints", "int int", "ARRAY[{0}, {1}]"),
    *entry("bool", "bool bool", "({0} AND {1})", "({0} OR {1})", "({0} AND {1})", "({0} OR {1})"),
    *entry("bool", "bool", "(NOT {0})", "({0} IS TRUE)", "({0} IS NOT TRUE)", "({0} IS FALSE)", "({0} IS UNKNOWN)", "({0} IS NOT FALSE)"),
    *(function for kind in COMPARED for function in entry(
        "bool", f"{kind} {kind}", *(f"({{0}} {word} {{1}})" for word in ("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")))),
    *(function for kind in COMPARED for function in entry("bool", f"{kind} {kind} {kind}", "({0} BETWEEN {1} AND {2})", "({0} NOT BETWEEN {1} AND {2})",
                                                          "({0} IN ({1}, {2}))", "({0} NOT IN ({1}, {2}))")),
    *(function for left in NUMBERS for right in NUMBERS if left != right for function in entry(
        "bool", f"{left} {right}", "({0} = {1})", "({0} < {1})", "({0} >= {1})", "({0} IS DISTINCT FROM {1})")),
    *entry("bool", "wdate wts", "({0} = {1})", "({0} < {1})", "({0} >= {1})"),
    *entry("bool", "ts tstz", "({0} = {1})", "({0} < {1})", "({0} >= {1})"),
    *entry("bool", "date tstz", "({0} <= {1})"),
    *entry("bool", "ints ints", "({0} = {1})", "({0} < {1})", "({0} IS DISTINCT FROM {1})"),
    *entry("bool", "int ints", per("({0} = ANY({1}))", duckdb="({0} = ANY(SELECT unnest({1})))")),
    *(function for pattern in ("a%", "%b", "%a_b%", "_", "%", "", "A%") for function in entry(
        "bool", "text", f"({{0}} LIKE '{pattern}')", f"({{0}} NOT LIKE '{pattern}')", f"({{0}} ILIKE '{pattern}')")),
    *entry("bool", "text text", "starts_with({0}, {1})"),
    *(function for pattern in ("^a", "b$", "[0-9]+", "a.b", ".*") for function in entry(
        "bool", "text", per(f"({{0}} ~ '{pattern}')", duckdb=f"regexp_matches({{0}}, '{pattern}')"))),
    *entry("bool", "int int int int", "(({0}, {1}) = ({2}, {3}))", "(({0}, {1}) < ({2}, {3}))", "(({0}, {1}) >= ({2}, {3}))"),
    *(function for kind in KINDS.values() if not kind.approximate for function in entry("bool", kind.name, "({0} IS NULL)", "({0} IS NOT NULL)")),
]
BY_RESULT = {}
for function in ALL:
    BY_RESULT.setdefault(function.result, {}).setdefault(function.args, []).append(function)
for name, kind in KINDS.items():
    # Of every kind there are these. NULLIF of doubles would tell which zero was taken.
    if not kind.approximate:
        BY_RESULT.setdefault(name, {})[name, name] = BY_RESULT.get(name, {}).get((name, name), []) + entry(
            name, f"{name} {name}", "coalesce({0}, {1})", *(["nullif({0}, {1})"] if kind.sortable else []))
        BY_RESULT[name]["bool", name, name] = entry(name, f"bool {name} {name}", "CASE WHEN {0} THEN {1} ELSE {2} END", "CASE WHEN {0} THEN {1} ELSE {2} END")
        BY_RESULT[name]["bool", name, "bool", name] = entry(name, f"bool {name} bool {name}", "CASE WHEN {0} THEN {1} WHEN {2} THEN {3} END")
        BY_RESULT[name]["int", "int", name, name] = entry(name, f"int int {name} {name}", "CASE {0} WHEN {1} THEN {2} ELSE {3} END")
        if kind.sortable and kind.family not in ("bool", "uuid", "bin", "ints"):
            BY_RESULT[name][name, name, name] = BY_RESULT[name].get((name, name, name), []) + entry(
                name, f"{name} {name} {name}", "greatest({0}, {1}, {2})", "least({0}, {1}, {2})")
