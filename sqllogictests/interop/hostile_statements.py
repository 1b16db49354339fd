"""Statements that mean no good: deep, long, doubling, or asking for very much, made from a seed.

Every one of them may be answered or refused; none may end the server, fill its memory, or keep others from their answers.
"""

import math


def nested(opening, middle, closing):
    return lambda n: opening * n + middle + closing * n


def chained(start, link):
    return lambda n: start + link * n


def doubling(function):
    """Each level names the one below twice."""
    def make(n):
        text = "a"
        for _ in range(min(n, 24)):
            text = function(text) if len(text) < 400_000 else text
        return text
    return make


EXPRESSIONS = [
    nested("(", "1", ")"), nested("abs(", "1", ")"), nested("array(", "1", ")"), nested("coalesce(", "1", ", 2)"), nested("NOT (", "true", ")"),
    nested("- (", "1", ")"), nested("CASE WHEN a > 0 THEN ", "1", " ELSE 0 END"), nested("(SELECT ", "1", ")"), nested("[", "1", "]"),
    chained("1", " | 1"), chained("1", " + 1"), chained("a", "::bigint"), chained("'a'", " LIKE 'a'"), chained("'a'", " || 'a'"), chained("true", " AND a > 0"),
    chained("1", " = 1"), chained("a", " IS NULL"), chained("now()", " AT TIME ZONE 'UTC'"), chained("true", " XOR true"), chained("a", "[1]"), chained("a", " IN (1)"),
    doubling(lambda text: f"coalesce({text}, {text})"), doubling(lambda text: f"nvl({text}, {text}, 1)"), doubling(lambda text: f"CASE WHEN {text} > 0 THEN {text} ELSE 1 END"),
    doubling(lambda text: f"coalesce(coalesce({text}), 1)"), doubling(lambda text: f"nullif({text}, {text})"),
    lambda n: f"a IN ({', '.join(map(str, range(n)))})",
    lambda n: f"repeat('x', {n}000)", lambda n: f"lpad('x', {n}000, 'y')", lambda n: f"cardinality(range(0, {n}000))",
    lambda n: "regexp_like('a', '" + "(" * n + "a" + ")" * n + "')", lambda n: "regexp_like('aaaa', '" + "(a*)*" * min(n, 2000) + "b')",
    lambda n: "x" * n, lambda n: '"' + "y" * n + '"', lambda n: ".".join(["a"] * n), lambda n: "CAST(NULL AS " + "struct<a " * n + "int" + ">" * n + ")",
    lambda n: "arrow_cast(NULL, '" + "List(" * n + "Int32" + ")" * n + "')",
]

STATEMENTS = [
    nested("EXPLAIN ", "SELECT 1", ""), nested("SELECT * FROM (", "SELECT 1", ") t"), nested("/*", "SELECT 1", "*/"),
    lambda n: "WITH c0 AS (SELECT 1 AS x)" + "".join(f", c{i} AS (SELECT a.x FROM c{i - 1} a, c{i - 1} b)" for i in range(1, min(n, 40))) + f" SELECT count(*) FROM c{min(n, 40) - 1 if n > 1 else 0}",
    lambda n: "SELECT " + ", ".join(f"{i} AS c{i}" for i in range(n)), lambda n: "VALUES " + ", ".join(["(1, 'a')"] * n),
    lambda n: " UNION ALL ".join(["SELECT 1"] * n), lambda n: "SELECT count(*) FROM " + ", ".join(f"(VALUES (1), (2)) t{i}(x)" for i in range(min(n, 3000))),
    lambda n: "CREATE TABLE lake.hostile.t (a " + "map<int, " * n + "int" + ">" * n + ")", lambda n: "SET polynya" + ".a" * n + " = 1",
    lambda n: f"SELECT count(*) FROM range(0, {n}00000) a, range(0, {n}00) b", lambda n: f"SELECT array_agg(value) FROM range(0, {n}0000)",
    lambda n: f"SELECT string_agg(repeat('x', 1000), '') FROM range(0, {n}0)", lambda n: f"SELECT * FROM range(0, {n}000) ORDER BY value DESC",
    lambda n: f"CALL system.warm('lake.hostile.t', filter => '{' OR '.join(['a = 1'] * n)}')", lambda n: "SELECT " + "(" * n, lambda n: ";" * n,
]

# Functions of few rows or many, whose values grow with a column or are as wide in each row.
VALUES = [
    lambda n: f"repeat('x', v * {n})", lambda n: f"rpad('x', v * {n}, 'é')", lambda n: f"range(0, v * {n})", lambda n: f"array_repeat(v, v * {n})", lambda n: f"array_resize([v], v * {n}, 1)",
    lambda n: f"concat(repeat('x', {n}), v)", lambda n: f"repeat('x', {n}) || v", lambda n: f"CASE WHEN v > 3 THEN repeat('x', {n}) END", lambda n: f"concat_ws(repeat('x', {n}), v, v, v)",
    lambda n: f"array_append(range(0, {n}), v)", lambda n: f"array_concat(range(0, {n}), [v])", lambda n: f"array_distinct(range(0, v * {n}))", lambda n: f"array_sort(range(0, v * {n}))",
    lambda n: f"array_to_string(range(0, v), repeat('x', {n}))", lambda n: f"regexp_replace(repeat('a', v), 'a', repeat('b', {n}), 'g')", lambda n: f"replace(repeat('a', v), 'a', repeat('b', {n}))",
    lambda n: f"upper(repeat('x', v * {n}))", lambda n: f"string_to_array(repeat('x,', v * {n}), ',')", lambda n: f"string_agg(repeat('x', {n}), ',') OVER (ORDER BY v)", lambda n: f"array_agg(range(0, {n})) OVER ()",
]
VALUE_FRAMES = [
    "SELECT max(length(CAST(x AS varchar))) FROM (SELECT {} x FROM {} t(v))", "SELECT count(x) FROM (SELECT {} x FROM {} t(v))", "SELECT x FROM (SELECT {} x FROM {} t(v)) ORDER BY x LIMIT 1",
    "SELECT count(*) FROM (SELECT DISTINCT {} x FROM {} t(v))", "SELECT count(*) FROM (SELECT {} x, unnest(range(0, v)) FROM {} t(v)) WHERE x IS NOT NULL",
    "SELECT count(*), max(b.v) FROM (SELECT {} x FROM {} t(v)) a JOIN range(0, 5000) b(v) ON a.x IS NOT NULL",
]


def statement(choices):
    """A statement by these random choices. Its size is any order of magnitude."""
    n = int(math.exp(choices.uniform(math.log(5), math.log(200_000))))
    kind = choices.random()
    if kind < 0.3:
        return choices.choice(STATEMENTS)(n)
    if kind < 0.5:
        rows = choices.choice(["(VALUES (1), (2))", "range(0, 100)", "range(0, 10000)", f"(SELECT unnest(range(0, {n})))"])
        return choices.choice(VALUE_FRAMES).format(choices.choice(VALUES)(n), rows)
    expression = choices.choice(EXPRESSIONS)(n)
    frame = choices.choice(["SELECT {} FROM (SELECT 1 AS a) t", "SELECT 1 FROM (SELECT 1 AS a) t WHERE {} IS NOT NULL", "SELECT max({}) FROM (SELECT 1 AS a) t", "EXPLAIN SELECT {} FROM (VALUES (1), (2)) t(a)"])
    return frame.format(expression)
