"""Tables that Polynya wrote, read by PyIceberg and by DuckDB: equal counts, sums and rows."""

import datetime
import decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

COLUMNS = "id int NOT NULL, n bigint, s varchar, m decimal(9, 2), d double, day date, ts timestamp, b boolean"
ROWS = """SELECT CAST(value AS int), CASE WHEN value % 7 = 0 THEN NULL ELSE (value - 500) * 1000 END,
    CASE WHEN value % 11 = 0 THEN NULL ELSE 'word ' || CAST(value % 13 AS varchar) END,
    CAST(value AS decimal(9, 2)) / 4, CAST(value AS double) / 8, arrow_cast(CAST(value - 32 AS int), 'Date32'),
    arrow_cast(1704067200000000 + value * 3600000000, 'Timestamp(Microsecond, None)'), value % 2 = 0
    FROM generate_series(1, 1000) AS g (value)"""
SPECS = [
    "", "s", "b", "day", "bucket(4, n)", "bucket(3, s)", "bucket(4, day)", "bucket(4, ts)", "bucket(4, m)", "truncate(100, n)",
    "truncate(6, s)", "truncate(1000, m)", "years(day)", "months(day)", "days(ts)", "hours(ts)", "months(ts), bucket(2, s)",
]


def by_duckdb(duck, foreign, name, select):
    location = foreign.load_table(name).metadata_location
    return duck.execute(f"SELECT {select} FROM iceberg_scan('{location}')").fetchall()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec or "unpartitioned")
def test_inserted_rows_are_read_equal_by_pyiceberg_and_duckdb(foreign, polynya, duck, spec):
    name = "interop.ours_" + "".join(letter if letter.isalnum() else "_" for letter in spec)
    clause = f" PARTITIONED BY ({spec})" if spec else ""
    polynya.run(f"CREATE TABLE {name} ({COLUMNS}){clause}", f"INSERT INTO {name} {ROWS}")
    ours = polynya.table(f"SELECT * FROM {name} ORDER BY id")
    assert ours.num_rows == 1000
    table = foreign.load_table(name)
    theirs = table.scan().to_arrow().sort_by("id")
    assert ours.to_pylist() == theirs.to_pylist()
    aggregates = "count(*), count(n), sum(n), sum(m), sum(d), min(s), max(s), min(day), max(ts), count(*) FILTER (WHERE b)"
    (expected,) = polynya.rows(f"SELECT {aggregates} FROM {name}")
    (got,) = by_duckdb(duck, foreign, name, aggregates)
    assert [plain(value) for value in got] == [plain(value) for value in expected]
    # PyIceberg prunes with what we wrote into the manifests.
    for predicate, where in (("n > 100000", "n > 100000"), ("s = 'word 5'", "s = 'word 5'"), ("s IS NULL", "s is null"),
                             ("day < DATE '1970-02-01'", "day < '1970-02-01'"), ("m = 12.25", "m = 12.25")):
        assert len(table.scan(row_filter=where).to_arrow()) == polynya.rows(f"SELECT count(*) FROM {name} WHERE {predicate}")[0][0]


def plain(value):
    if isinstance(value, (int, float, decimal.Decimal)) and not isinstance(value, bool):
        return round(float(value), 6)
    return value


def test_manifests_carry_counts_and_bounds(foreign, polynya):
    polynya.run("CREATE TABLE interop.stats (id int, s varchar, d double)",
                "INSERT INTO interop.stats VALUES (1, 'a', CAST('NaN' AS double)), (5, NULL, 2.5), (3, 'c', NULL)")
    (file,) = foreign.load_table("interop.stats").inspect.files().to_pylist()
    assert file["record_count"] == 3
    assert dict(file["null_value_counts"]) == {1: 0, 2: 1, 3: 1}
    assert dict(file["value_counts"]) == {1: 3, 2: 3, 3: 3}
    assert dict(file["nan_value_counts"]) == {3: 1}
    bounds = file["readable_metrics"]
    assert (bounds["id"]["lower_bound"], bounds["id"]["upper_bound"]) == (1, 5)
    assert (bounds["s"]["lower_bound"], bounds["s"]["upper_bound"]) == ("a", "c")
    assert file["file_path"].endswith(".parquet") and file["file_size_in_bytes"] > 0
    assert file["split_offsets"] == sorted(file["split_offsets"]) and file["split_offsets"][0] >= 4


def test_create_table_as_is_one_snapshot(foreign, polynya, duck):
    polynya.run("CREATE TABLE interop.made PARTITIONED BY (k) AS SELECT value % 3 AS k, value AS v FROM generate_series(1, 300) AS g (value)")
    table = foreign.load_table("interop.made")
    assert len(table.snapshots()) <= 1 or table.snapshots()[-1].summary["added-records"] == "300"
    assert pc.sum(table.scan().to_arrow()["v"]).as_py() == 45150
    assert by_duckdb(duck, foreign, "interop.made", "count(*), sum(v), count(DISTINCT k)") == [(300, 45150, 3)]


def test_every_type_goes_out_and_comes_back(foreign, polynya, duck):
    polynya.run(
        "CREATE TABLE interop.types_out (i int, l bigint, f real, d double, m decimal(38, 10), s varchar, b binary, x fixed(2), "
        "day date, t time, ts timestamp, tz timestamp with time zone, y boolean, a array<int>, st struct<p int, q varchar>)",
        "INSERT INTO interop.types_out VALUES (2147483647, -9223372036854775808, 1.5, 1e300, 1234567890.0123456789, 'ü', X'00ff', X'0102', "
        "DATE '0001-01-01', TIME '23:59:59.999999', TIMESTAMP '9999-12-31 23:59:59.999999', "
        "TIMESTAMP WITH TIME ZONE '2024-01-01 00:00:00+01:00', true, [1, NULL], named_struct('p', 1, 'q', 'x'))",
        "INSERT INTO interop.types_out (i) VALUES (NULL)")
    rows = foreign.load_table("interop.types_out").scan().to_arrow().sort_by("i").to_pylist()
    assert rows[0] == {
        "i": 2147483647, "l": -(2**63), "f": 1.5, "d": 1e300, "m": decimal.Decimal("1234567890.0123456789"), "s": "ü", "b": b"\x00\xff",
        "x": b"\x01\x02", "day": datetime.date(1, 1, 1), "t": datetime.time(23, 59, 59, 999999),
        "ts": datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
        "tz": datetime.datetime(2023, 12, 31, 23, tzinfo=datetime.timezone.utc), "y": True, "a": [1, None], "st": {"p": 1, "q": "x"}}
    assert set(rows[1].values()) == {None}
    assert by_duckdb(duck, foreign, "interop.types_out", "count(*), count(i), max(m), max(s), max(ts)") == [
        (2, 1, decimal.Decimal("1234567890.0123456789"), "ü", datetime.datetime(9999, 12, 31, 23, 59, 59, 999999))]


def test_both_write_one_table(foreign, polynya):
    polynya.run("CREATE TABLE interop.shared (id bigint, who varchar) PARTITIONED BY (who)", "INSERT INTO interop.shared VALUES (1, 'polynya')")
    table = foreign.load_table("interop.shared")
    table.append(pa.table({"id": pa.array([2], pa.int64()), "who": ["pyiceberg"]}))
    polynya.run("INSERT INTO interop.shared VALUES (3, 'polynya')")
    table.refresh()
    with table.update_schema() as update:
        update.rename_column("who", "writer")
    polynya.run("INSERT INTO interop.shared (id, writer) VALUES (4, 'polynya')")
    table.refresh()
    expected = [(1, "polynya"), (2, "pyiceberg"), (3, "polynya"), (4, "polynya")]
    assert [tuple(row.values()) for row in table.scan().to_arrow().sort_by("id").to_pylist()] == expected
    assert polynya.rows("SELECT id, writer FROM interop.shared ORDER BY id") == expected
    assert len(table.snapshots()) == 4
