"""Checks the answers recorded in slt/ against an independent engine, DuckDB.

    expect.py [FILTER] [--write]

Each file is run in a DuckDB database of its own, after translating what the dialects spell differently. Exit code 1 when a recorded
answer differs; the difference is printed. With --write, `query` records that have no answer yet get DuckDB's, and their column types.

A comment right above a record steers it:
    # duckdb: SELECT 7 // 2      the record in DuckDB's words (more such lines continue it)
    # duckdb: skip <why>         DuckDB has no such statement, or answers another question

`statement error` and `query error` records are not run: what is an error is our decision, not DuckDB's.
Values are written by the rules of README.md, as src/render.rs writes them. Numbers are compared as numbers (1.50 = 1.5) and a date
equals its midnight, because the engines give some functions other types.
"""

import argparse
import datetime
import decimal
import json
import pathlib
import re
import sys

import duckdb
import pyarrow as pa

HERE = pathlib.Path(__file__).parent
LETTERS = {
    "BOOLEAN": "B", "VARCHAR": "T", "DATE": "D", "DOUBLE": "R", "FLOAT": "R", "TINYINT": "I", "SMALLINT": "I", "INTEGER": "I",
    "BIGINT": "I", "HUGEINT": "I", "UTINYINT": "I", "USMALLINT": "I", "UINTEGER": "I", "UBIGINT": "I",
}


class Record:
    """One record of a file: where it is, what it asks, and what it expects."""

    def __init__(self, path, line, kind, arguments, sql, expected, note):
        self.path, self.line, self.kind, self.arguments, self.sql, self.expected = path, line, kind, arguments, sql, expected
        self.skip = note is not None and note.split()[:1] == ["skip"]
        self.duckdb_sql = None if note is None or self.skip else note

    @property
    def sort(self):
        return next((word for word in self.arguments if word.endswith("sort")), None)


def parse(path):
    """The records of a file and of the files it includes. A record ends at an empty line."""
    lines = path.read_text().splitlines(keepends=True)
    note, at = None, 0
    while at < len(lines):
        line = lines[at].rstrip("\n")
        if line.startswith("# duckdb:"):
            words = line.removeprefix("# duckdb:").strip()
            note = words if note is None else note + "\n" + words
        elif line.startswith(("statement", "query")):
            begin, sql, expected = at, [], None
            at += 1
            while at < len(lines) and lines[at].strip() and lines[at].strip() != "----":
                sql.append(lines[at].rstrip("\n"))
                at += 1
            if at < len(lines) and lines[at].strip() == "----":
                expected = []
                at += 1
                while at < len(lines) and lines[at].strip():
                    expected.append(lines[at].rstrip("\n"))
                    at += 1
            kind, *arguments = line.split()
            yield Record(path, begin, kind, arguments, "\n".join(sql), expected, note)
            note = None
        elif line.startswith("include "):
            yield from parse(path.parent / line.split()[1])
        elif line and not line.startswith("#"):
            raise SystemExit(f"line {at + 1}: not a record: {line}")
        elif not line:
            note = None
        at += 1


# ---- dialect

def close(text, begin, opening="(", closing=")"):
    """The place after the bracket that closes the one at `begin`."""
    depth = 0
    for place in range(begin, len(text)):
        depth += {opening: 1, closing: -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    raise ValueError(f"unbalanced {opening} in {text}")


def without_clause(sql, words):
    """The statement without a clause such as PARTITIONED BY (…)."""
    found = re.search(words + r"\s*\(", sql, re.I)
    return sql if not found else sql[: found.start()] + sql[close(sql, found.end() - 1):]


def type_names(sql):
    """Our type names in DuckDB's words, innermost first."""
    sql = re.sub(r"\b(?:fixed\(\d+\)|binary|varbinary)", "BLOB", sql, flags=re.I)
    sql = re.sub(r"\btimestamp\(9\) with time zone", "TIMESTAMP WITH TIME ZONE", sql, flags=re.I)
    sql = re.sub(r"\btimestamp\(9\)", "TIMESTAMP_NS", sql, flags=re.I)
    sql = re.sub(r"\btimestamp\(6\)", "TIMESTAMP", sql, flags=re.I)
    inner = re.compile(r"\b(array|list|struct|map)<([^<>]*)>", re.I)
    while found := inner.search(sql):
        kind, body = found.group(1).lower(), found.group(2)
        new = f"{body}[]" if kind in ("array", "list") else f"{kind.upper()}({body})"
        sql = sql[: found.start()] + new + sql[found.end():]
    return sql


def translate(sql):
    if re.match(r"\s*create\s+table", sql, re.I):
        sql = without_clause(without_clause(sql, r"\bPARTITIONED\s+BY"), r"\bWITH(?=\s*\(\s*['\"a-z])")
        head = re.split(r"\bAS\s+(?=SELECT|WITH|VALUES|\()", sql, maxsplit=1, flags=re.I)
        sql = sql if len(head) > 1 else type_names(sql)
    else:
        sql = re.sub(r"\btimestamp\(9\)", "TIMESTAMP_NS", sql, flags=re.I)
    return sql


# ---- values, as src/render.rs writes them

def fraction(nanos):
    return ("." + f"{nanos:09}".rstrip("0")) if nanos else ""


def seconds(nanos):
    sign, nanos = "-" if nanos < 0 else "", abs(nanos)
    return f"{sign}{nanos // 10**9}{fraction(nanos % 10**9)}"


def clock(nanos):
    whole = nanos // 10**9
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{fraction(nanos % 10**9)}"


def day(days):
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=days)).isoformat()


UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def value(scalar):
    """A scalar that is neither null nor a string."""
    kind = scalar.type
    if pa.types.is_boolean(kind):
        return "true" if scalar.as_py() else "false"
    if pa.types.is_floating(kind):
        number = scalar.as_py()
        if number != number:
            return "NaN"
        return f"{number:.{12 if kind == pa.float64() else 6}g}"
    if pa.types.is_decimal(kind):
        return f"{scalar.as_py():f}"
    if pa.types.is_date(kind):
        return day(scalar.cast(pa.date32()).value)
    if pa.types.is_time(kind):
        return clock(scalar.value * UNITS[kind.unit])
    if pa.types.is_timestamp(kind):
        nanos = scalar.value * UNITS[kind.unit]
        days, rest = divmod(nanos, 86_400 * 10**9)
        return f"{day(days)} {clock(rest)}{'Z' if kind.tz else ''}"
    if pa.types.is_interval(kind):
        months, days, nanos = scalar.as_py()
        return f"{months}m {days}d {seconds(nanos)}s"
    if pa.types.is_duration(kind):
        return f"0m 0d {seconds(scalar.value * UNITS[kind.unit])}s"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "0x" + scalar.as_py().hex()
    if pa.types.is_map(kind):
        entries = scalar.values
        pairs = zip(entries.field(0), entries.field(1))
        return "{" + ",".join(f"{json.dumps(cell(key), ensure_ascii=False)}:{nested(item)}" for key, item in pairs) + "}"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "[" + ",".join(nested(item) for item in scalar.values) + "]"
    if pa.types.is_struct(kind):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{nested(item)}" for name, item in scalar.items()) + "}"
    return str(scalar.as_py())


def nested(scalar):
    if not scalar.is_valid:
        return "null"
    if pa.types.is_string(scalar.type) or pa.types.is_large_string(scalar.type) or pa.types.is_string_view(scalar.type):
        return json.dumps(scalar.as_py(), ensure_ascii=False)
    kind = scalar.type
    bare = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)
    return value(scalar) if bare or pa.types.is_nested(kind) else json.dumps(value(scalar))


def cell(scalar):
    if not scalar.is_valid:
        return "NULL"
    if pa.types.is_string(scalar.type) or pa.types.is_large_string(scalar.type) or pa.types.is_string_view(scalar.type):
        text = scalar.as_py()
        return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") if text else "(empty)"
    return value(scalar)


def answer(connection, sql):
    """Type letters and rows of text."""
    result = connection.execute(sql)
    letters = "".join(letter(str(column[1])) for column in result.description)
    table = result.to_arrow_table() if hasattr(result, "to_arrow_table") else result.fetch_arrow_table()
    columns = [[cell(scalar) for chunk in column.chunks for scalar in chunk] for column in table.columns]
    return letters, [list(row) for row in zip(*columns)]


def letter(name):
    if name.startswith("DECIMAL"):
        return "R"
    if name.endswith("]"):
        return "?"
    if name.startswith("TIME"):
        return "P"
    return LETTERS.get(name, "?")


# ---- comparison

def ordered(rows, sort):
    if sort == "rowsort":
        return sorted(rows)
    if sort == "valuesort":
        return sorted([item] for row in rows for item in row)
    return rows


def canonical(line):
    """A line with numbers as numbers, dates at midnight as dates, and single spaces."""
    line = re.sub(r"(\d{4}-\d\d-\d\d) 00:00:00", r"\1", " ".join(line.split()))

    def number(found):
        try:
            return f"{float(decimal.Decimal(found.group(0))):.11g}"
        except decimal.InvalidOperation:
            return found.group(0)

    return re.sub(r"(?<![\w.:-])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w:-])", number, line)


def check_file(path, write):
    connection = duckdb.connect()
    connection.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE SCHEMA slt; USE slt")
    differences, compared, edits = [], 0, []
    for record in parse(path):
        if record.skip or "error" in record.arguments[:1]:
            continue
        sql = record.duckdb_sql or translate(record.sql)
        try:
            if record.kind == "statement":
                connection.execute(sql)
                continue
            letters, rows = answer(connection, sql)
        except (duckdb.Error, ValueError, pa.ArrowException) as error:
            differences.append(f"{record.path}:{record.line + 1}: DuckDB: {str(error).splitlines()[0]}\n    {sql}")
            continue
        got = [" ".join(row) for row in ordered(rows, record.sort)]
        if record.expected is None:
            edits.append((record, letters, got))
            continue
        compared += 1
        if [canonical(line) for line in got] != [canonical(line) for line in record.expected]:
            recorded = "\n".join(f"      {line}" for line in record.expected)
            theirs = "\n".join(f"      {line}" for line in got)
            differences.append(f"{record.path}:{record.line + 1}: {record.sql}\n    recorded:\n{recorded}\n    DuckDB:\n{theirs}")
    if edits and write:
        for changed in {record.path for record, _, _ in edits}:
            fill(changed, [edit for edit in edits if edit[0].path == changed])
    elif edits:
        differences += [f"{record.path}:{record.line + 1}: no answer recorded (--write adds DuckDB's)" for record, _, _ in edits]
    return compared, differences


def fill(path, edits):
    """Completes the records without an answer, last first so that line numbers hold."""
    lines = path.read_text().splitlines(keepends=True)
    for record, letters, rows in reversed(edits):
        sort = f" {record.sort}" if record.sort else ""
        lines[record.line] = f"query {letters}{sort}\n"
        end = record.line + 1
        while end < len(lines) and lines[end].strip():
            end += 1
        if not lines[end - 1].endswith("\n"):
            lines[end - 1] += "\n"
        lines[end:end] = ["----\n"] + [row + "\n" for row in rows]
    path.write_text("".join(lines))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("filter", nargs="?", default="", help="part of a path below slt/")
    arguments.add_argument("--write", action="store_true", help="add DuckDB's answer where none is recorded")
    options = arguments.parse_args()
    compared, differing = 0, 0  # answers compared; differences, failures to run included
    for path in sorted((HERE / "slt").rglob("*.slt")):
        if options.filter not in str(path.relative_to(HERE / "slt")):
            continue
        count, differences = check_file(path, options.write)
        compared += count
        differing += len(differences)
        for difference in differences:
            print(difference)
    word = "FAILED" if differing else "ok"
    print(f"test result: {word}. {max(compared - differing, 0)} passed; {differing} failed; compared with DuckDB {duckdb.__version__}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
