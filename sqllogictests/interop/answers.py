"""TPC-H's queries, and their stored answers at scale 0.01: whether rows are the answer, by the rules of benchmarks/answers/README.md."""

import csv
import datetime
import decimal
import itertools
import pathlib
import re

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
QUERIES = sorted(path.stem for path in (BENCHMARKS / "queries").glob("q*.sql"))
TYPES = {"integer": int, "bigint": int, "hugeint": int, "decimal": decimal.Decimal, "double": float, "varchar": str,
         "date": datetime.date.fromisoformat}


def sql(query):
    return (BENCHMARKS / f"queries/{query}.sql").read_text()


def check(query, rows):
    """Fails unless the rows are the query's answer. Rows that ORDER BY does not tell apart may come in any order."""
    columns, expected = stored(query)
    rows = list(rows)
    assert [len(row) for row in rows] == [len(columns)] * len(expected), f"{query}: {len(rows)} rows instead of {len(expected)}"
    keys = [columns.index(name) for name in sort_columns(query)]
    for _, group in itertools.groupby(expected, lambda row: [row[key] for key in keys]):
        group = list(group)
        found, rows = rows[:len(group)], rows[len(group):]
        for row in group:
            index = next((index for index, other in enumerate(found) if all(map(same, row, other))), None)
            assert index is not None, f"{query}: expected {row} among {found}"
            found.pop(index)


def stored(query):
    """The names of the columns, and the rows."""
    with open(BENCHMARKS / f"answers/sf0.01/{query}.csv", newline="") as file:
        header, *rows = csv.reader(file, delimiter="|")
    names, types = zip(*(column.split(":", 1) for column in header))
    read = [TYPES[kind.split("(")[0]] for kind in types]
    return names, [[convert(cell) if cell else None for convert, cell in zip(read, row, strict=True)] for row in rows]


def sort_columns(query):
    """The columns of the outermost ORDER BY, which is a line of its own."""
    clauses = re.findall(r"^ORDER BY (.*)$", sql(query), re.MULTILINE)
    return [term.split()[0].rstrip(";") for term in clauses[-1].split(",")] if clauses else []


def same(expected, found):
    if not isinstance(expected, float):
        return expected == found
    if found is None:
        return False
    # A server that computes averages in decimals may be off by one unit of the last digit.
    unit = 10.0 ** found.as_tuple().exponent if isinstance(found, decimal.Decimal) else 0.0
    return abs(expected - float(found)) <= max(min(unit, 0.01), 1e-9 * max(abs(expected), abs(float(found))))
