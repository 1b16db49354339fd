"""Produces the expected answers beside this file: the 22 queries of ../queries, run by DuckDB on TPC-H Parquet files.

usage: produce.py SCALE [DATA_FOLDER]      for example: produce.py 0.1

Needs `pip install duckdb==1.5.5 tpchgen-cli==4.0.0`. Without DATA_FOLDER the data is made by tpchgen-cli in a temporary folder.
README.md in this folder describes the format.
"""

import csv
import pathlib
import re
import subprocess
import sys
import tempfile

import duckdb

TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]
HERE = pathlib.Path(__file__).resolve().parent


def generate(scale, folder):
    cli = pathlib.Path(sys.executable).with_name("tpchgen-cli")
    subprocess.run([str(cli), "parquet", "-s", scale, "--output-dir", str(folder)], check=True)


def text(value):
    if value is None:
        return ""
    assert value != "", "an empty string would read as NULL"
    return repr(value) if isinstance(value, float) else str(value)


def no_tie_at_limit(connection, sql, number):
    """Rows that tie across a LIMIT would make several answers right; the stored ones must be the only ones."""
    limited = re.search(r"\nORDER BY ([^\n]*)\nLIMIT (\d+)\s*$", sql)
    if not limited:
        return
    keys = [key.split()[0] for key in limited.group(1).split(",")]
    columns = ", ".join(keys)
    body = sql[: limited.start()]
    rows = connection.execute(
        f"SELECT {columns} FROM ({body}\n) ORDER BY {limited.group(1)} LIMIT 2 OFFSET {int(limited.group(2)) - 1}"
    ).fetchall()
    assert len(rows) < 2 or rows[0] != rows[1], f"Q{number}: rows tie across the limit: {rows}"


def main():
    scale = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        data = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else scratch)
        if len(sys.argv) <= 2:
            generate(scale, data)
        connection = duckdb.connect()
        for table in TABLES:
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM '{data / table}.parquet'")
        folder = HERE / f"sf{scale}"
        folder.mkdir(exist_ok=True)
        for number in range(1, 23):
            sql = (HERE.parent / "queries" / f"q{number:02}.sql").read_text()
            no_tie_at_limit(connection, sql, number)
            result = connection.execute(sql)
            with open(folder / f"q{number:02}.csv", "w", newline="") as file:
                writer = csv.writer(file, delimiter="|", lineterminator="\n")
                writer.writerow(f"{column[0]}:{str(column[1]).lower()}" for column in result.description)
                writer.writerows([text(value) for value in row] for row in result.fetchall())
    print(f"scale {scale}: 22 answers in {folder}")


main()
