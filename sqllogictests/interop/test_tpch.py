"""TPC-H at scale 0.01, loaded by polynya-bench through each kind of catalog, its 22 answers checked; then read by others."""

import re

import pyarrow.compute as pc
import pytest

TABLES = {"region": 5, "nation": 25, "supplier": 100, "customer": 1500, "part": 2000, "partsupp": 8000, "orders": 15_000, "lineitem": 60_175}


@pytest.mark.parametrize("catalog", ["lake", "pg", "rest"])
@pytest.mark.parametrize("partitioned", [False, True], ids=["plain", "partitioned"])
def test_22_answers_are_right(polynya, catalog, partitioned):
    if partitioned and catalog != "lake":
        pytest.skip("the layout does not depend on the catalog")
    schema = "tpch_by_month" if partitioned else "tpch_sf0_01"
    polynya.bench("load", "--scale", "0.01", "--catalog", catalog, "--schema", schema, *(["--partitioned"] if partitioned else []))
    counts = {table: polynya.rows(f"SELECT count(*) FROM {catalog}.{schema}.{table}")[0][0] for table in TABLES}
    assert counts == TABLES
    output = polynya.bench("run", "--scale", "0.01", "--catalog", catalog, "--schema", schema, "--iterations", "1", "--check")
    assert "22" in output


def test_loaded_tables_are_read_equal_by_pyiceberg_and_duckdb(polynya, foreign, duck):
    assert foreign.namespace_exists("tpch_sf0_01"), "the load above failed, or was not run"
    aggregates = "count(*), sum(l_quantity), sum(l_extendedprice), sum(l_orderkey), min(l_shipdate), max(l_comment)"
    (ours,) = polynya.rows(f"SELECT {aggregates} FROM lake.tpch_sf0_01.lineitem")
    table = foreign.load_table("tpch_sf0_01.lineitem")
    (by_duckdb,) = duck.execute(f"SELECT {aggregates} FROM iceberg_scan('{table.metadata_location}')").fetchall()
    assert [str(value) for value in ours] == [str(value) for value in by_duckdb]
    rows = table.scan(selected_fields=("l_quantity", "l_orderkey")).to_arrow()
    assert (rows.num_rows, pc.sum(rows["l_quantity"]).as_py(), pc.sum(rows["l_orderkey"]).as_py()) == (ours[0], ours[1], ours[3])


def test_q6_opens_only_the_months_of_1994(polynya, foreign):
    files = foreign.load_table("tpch_by_month.lineitem").inspect.files()["partition"].to_pylist()
    of_1994 = [file for file in files if 1994 in {1970 + month // 12 for month in file.values()}]
    assert len(files) > 80 and 12 <= len(of_1994) < len(files) / 2
    plan = "\n".join(row[-1] for row in polynya.rows(
        "EXPLAIN ANALYZE SELECT sum(l_extendedprice * l_discount) FROM lake.tpch_by_month.lineitem WHERE l_shipdate >= DATE '1994-01-01' "
        "AND l_shipdate < DATE '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24"))
    considered, pruned, to_read = map(int, re.search(r"files: (\d+) considered, (\d+) pruned, (\d+) to read", plan).groups())
    assert (considered, to_read) == (len(files), len(of_1994)), plan
    assert pruned == considered - to_read
    gets = int(re.search(r"requests: (\d+) GET", plan).group(1))
    # A footer and a range or two of each file, and no file besides.
    assert gets <= 4 * len(of_1994), plan
