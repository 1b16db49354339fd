"""The ADBC driver that people have (Go's, from PyPI): all of its DB-API, what it adds to it, and pandas and polars on top."""

import concurrent.futures
import csv
import datetime
import decimal
import pathlib
import re
import textwrap

import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi

from services import Polynya, wait_until

ROOT = pathlib.Path(__file__).parent.parent.parent
BENCHMARKS = ROOT / "benchmarks"
COOKIES = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adbc")
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
    server = Polynya(folder, {"lake": catalog}, server={"sessions_max": 100, "prepared_statements_max": 100})
    server.run("CREATE SCHEMA lake.adbc")
    server.bench("load", "--scale", "0.01")
    yield server
    server.stop()


@pytest.fixture
def connection(server):
    with dbapi.connect(server.url, db_kwargs=COOKIES) as connection:
        connection.adbc_current_catalog = "lake"
        connection.adbc_current_db_schema = "adbc"
        yield connection


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


def fresh(cursor, name, columns):
    cursor.execute(f"DROP TABLE IF EXISTS {name}")
    cursor.execute(f"CREATE TABLE {name} ({columns})")


def one(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    ((value,),) = cursor.fetchall()
    return value


# ---- Connections and sessions.

def test_current_catalog_and_schema_are_set_and_read(server):
    with dbapi.connect(server.url, db_kwargs=COOKIES) as connection, connection.cursor() as cursor:
        connection.adbc_current_catalog = "lake"
        connection.adbc_current_db_schema = "tpch_sf0_01"
        assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("lake", "tpch_sf0_01")
        assert one(cursor, "SELECT count(*) FROM nation") == 25
        with pytest.raises(dbapi.Error):
            connection.adbc_current_catalog = "nowhere"


def test_three_times_as_many_connections_as_may_be_open_leave_nothing_behind(server):
    for number in range(300):
        with dbapi.connect(server.url, db_kwargs=COOKIES) as connection, connection.cursor() as cursor:
            connection.adbc_current_catalog = "lake"
            assert one(cursor, f"SELECT {number}") == number


def test_transactions_are_refused_in_words(connection):
    with pytest.raises(dbapi.NotSupportedError):
        connection.adbc_connection.set_autocommit(False)


# ---- Statements and parameters.

PARAMETERS = [
    ("boolean", True), ("int", 7), ("bigint", 9_000_000_000), ("float", 1.5), ("double", 2.25), ("decimal(10, 2)", decimal.Decimal("-12.34")),
    ("date", datetime.date(2024, 2, 29)), ("time", datetime.time(13, 45, 10, 250_000)),
    ("timestamp", datetime.datetime(2024, 2, 29, 13, 45, 10, 250_000)),
    ("timestamptz", datetime.datetime(2024, 2, 29, 13, 45, 10, 250_000, tzinfo=datetime.timezone.utc)),
    ("varchar", "grüße"), ("binary", b"\x00\xff"),
]


@pytest.mark.parametrize("sql_type, value", PARAMETERS, ids=[sql_type for sql_type, _ in PARAMETERS])
def test_a_parameter_of_each_type_is_stored_found_and_read(cursor, sql_type, value):
    fresh(cursor, "one_parameter", f"id int, v {sql_type}")
    cursor.execute("INSERT INTO one_parameter VALUES (?, ?)", (1, value))
    cursor.execute("INSERT INTO one_parameter VALUES (?, ?)", (2, None))
    assert one(cursor, "SELECT v FROM one_parameter WHERE id = ?", (1,)) == value
    assert one(cursor, "SELECT v FROM one_parameter WHERE id = $1", (2,)) is None
    assert one(cursor, "SELECT count(*) FROM one_parameter WHERE v = ?", (value,)) == 1


def test_executemany_stores_all_rows(cursor):
    fresh(cursor, "many", "id bigint, name varchar")
    cursor.executemany("INSERT INTO many VALUES (?, ?)", [(number, f"n{number}") for number in range(500)])
    assert one(cursor, "SELECT count(DISTINCT name) FROM many") == 500
    batch = pa.record_batch({"id": pa.array(range(1000, 3000)), "name": pa.array(["x"] * 2000)})
    cursor.executemany("INSERT INTO many VALUES (?, ?)", batch)
    assert one(cursor, "SELECT count(*) FROM many") == 2500


def test_a_wrong_number_of_parameters_is_an_error(cursor):
    with pytest.raises(dbapi.Error):
        cursor.execute("SELECT ? + 1", (1, 2))
    with pytest.raises(dbapi.Error):
        cursor.execute("SELECT CAST(? AS int)")
    assert one(cursor, "SELECT 1") == 1


def test_the_schema_is_told_without_running_anything(cursor):
    schema = cursor.adbc_execute_schema("SELECT l_orderkey, l_quantity, l_comment FROM lake.tpch_sf0_01.lineitem")
    assert schema.names == ["l_orderkey", "l_quantity", "l_comment"]
    assert [str(kind) for kind in schema.types][0] == "int64" and schema.types[2] == pa.string()
    note = schema.field("l_quantity").metadata
    assert note[b"ARROW:FLIGHT:SQL:TYPE_NAME"] == b"DECIMAL" and note[b"ARROW:FLIGHT:SQL:SCALE"] == b"2"


def test_every_type_is_read(cursor):
    fresh(cursor, "types", "bo boolean, i int, b bigint, f float, d double, de decimal(38, 10), da date, ti time, ts timestamp, "
          "tz timestamptz, s varchar, u uuid, fx fixed(2), bi binary, st struct<a int, b varchar>, ar array<varchar>, ma map<varchar, int>")
    cursor.execute("INSERT INTO types VALUES (true, 7, 8, 1.5, 2.25, 1.5, DATE '2024-02-29', '13:45:10', '2024-02-29 13:45:10.25', "
                   "'2024-02-29T13:45:10.25Z', 'x', 'f47ac10b-58cc-4372-a567-0e02b2c3d479', X'00ff', X'00', "
                   "named_struct('a', 1, 'b', 'y'), ['p', NULL], MAP {'k': 1})")
    cursor.execute("SELECT * FROM types")
    table = cursor.fetch_arrow_table()
    assert (table.schema.field("s").type, table.schema.field("bi").type) == (pa.string(), pa.binary())
    assert table.schema.field("ar").type.value_type == pa.string()
    (row,) = table.to_pylist()
    assert (row["bo"], row["i"], row["de"], row["da"]) == (True, 7, decimal.Decimal("1.5"), datetime.date(2024, 2, 29))
    assert (row["st"], row["ar"], row["ma"]) == ({"a": 1, "b": "y"}, ["p", None], [("k", 1)])
    assert bytes(row["fx"]) == b"\x00\xff" and row["ts"] == datetime.datetime(2024, 2, 29, 13, 45, 10, 250_000)


# ---- Bulk ingest.

def rows(count, start=0):
    numbers = range(start, start + count)
    return pa.table({"id": pa.array(numbers, pa.int64()), "name": [f"n{number}" for number in numbers],
                     "price": pa.array([number / 4 for number in numbers], pa.float64())})


def test_a_million_rows_are_ingested(cursor):
    cursor.execute("DROP TABLE IF EXISTS million")
    data = rows(1_000_000)
    assert cursor.adbc_ingest("million", data, mode="create") in (1_000_000, -1)
    cursor.execute("SELECT count(*), count(DISTINCT id), sum(id), max(name) FROM million")
    assert cursor.fetchall() == [(1_000_000, 1_000_000, 499_999_500_000, "n999999")]


def test_ingest_creates_appends_and_replaces_as_the_mode_says(cursor):
    cursor.execute("DROP TABLE IF EXISTS modes")
    with pytest.raises(dbapi.Error):
        cursor.adbc_ingest("modes", rows(1), mode="append")
    cursor.adbc_ingest("modes", rows(1000), mode="create")
    with pytest.raises(dbapi.Error, match="exists"):
        cursor.adbc_ingest("modes", rows(1), mode="create")
    cursor.adbc_ingest("modes", rows(500, 1000), mode="append")
    cursor.adbc_ingest("modes", rows(500, 1500).to_reader(max_chunksize=50), mode="create_append")
    assert one(cursor, "SELECT count(DISTINCT id) FROM modes") == 2000
    cursor.adbc_ingest("modes", rows(3), mode="replace", catalog_name="lake", db_schema_name="adbc")
    assert one(cursor, "SELECT count(*) FROM lake.adbc.modes") == 3


# ---- What there is to query.

def objects(connection, **filters):
    return connection.adbc_get_objects(**filters).read_all().to_pylist()


def test_objects_are_listed_at_every_depth(connection):
    (catalog,) = objects(connection, depth="catalogs")
    assert catalog["catalog_name"] == "lake" and not catalog["catalog_db_schemas"]
    (catalog,) = objects(connection, depth="db_schemas")
    assert {schema["db_schema_name"] for schema in catalog["catalog_db_schemas"]} == {"adbc", "tpch_sf0_01"}
    (catalog,) = objects(connection, depth="tables", db_schema_filter="tpch%")
    (schema,) = catalog["catalog_db_schemas"]
    assert len(schema["db_schema_tables"]) == 8 and {table["table_type"] for table in schema["db_schema_tables"]} == {"TABLE"}
    (catalog,) = objects(connection, depth="all", catalog_filter="lake", db_schema_filter="tpch_sf0_01", table_name_filter="nat%")
    ((table,),) = [schema["db_schema_tables"] for schema in catalog["catalog_db_schemas"]]
    assert [column["column_name"] for column in table["table_columns"]] == ["n_nationkey", "n_name", "n_regionkey", "n_comment"]
    assert connection.adbc_get_table_types() == ["TABLE"]


def test_a_tables_schema_and_the_servers_name_are_given(connection):
    schema = connection.adbc_get_table_schema("region", catalog_filter="lake", db_schema_filter="tpch_sf0_01")
    assert schema.names == ["r_regionkey", "r_name", "r_comment"]
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Polynya"


# ---- How results travel.

@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_results_are_the_same_under_every_compression(cursor, compression):
    cursor.execute(f"SET polynya.wire_compression = '{compression}'")
    cursor.execute("SELECT value, repeat('x', 50) AS s FROM generate_series(1, 200000)")
    table = cursor.fetch_arrow_table()
    assert table.num_rows == 200_000 and table["value"].to_pylist()[-1] == 200_000 and table["s"][0].as_py() == "x" * 50


def test_dictionaries_are_hydrated_or_kept(cursor):
    sql = "SELECT arrow_cast(n_name, 'Dictionary(Int32, Utf8)') AS name FROM lake.tpch_sf0_01.nation ORDER BY n_name"
    cursor.execute(sql)
    plain = cursor.fetch_arrow_table()
    assert plain.schema.field("name").type == pa.string()
    cursor.execute("SET polynya.wire_dictionaries = 'kept'")
    cursor.execute(sql)
    kept = cursor.fetch_arrow_table()
    assert pa.types.is_dictionary(kept.schema.field("name").type)
    assert kept["name"].to_pylist() == plain["name"].to_pylist()


def test_a_row_that_no_message_holds_is_an_error_that_says_so(server):
    sql = "SELECT repeat('x', 20000000) AS large"
    with dbapi.connect(server.url, db_kwargs=COOKIES) as connection, connection.cursor() as cursor:
        with pytest.raises(dbapi.Error, match="wire_message_bytes"):
            cursor.execute(sql)
            cursor.fetchall()
    larger = {**COOKIES, "adbc.flight.sql.client_option.with_max_msg_size": str(64 << 20)}
    with dbapi.connect(server.url, db_kwargs=larger) as connection, connection.cursor() as cursor:
        cursor.execute("SET polynya.wire_message_bytes = '64MiB'")
        cursor.execute(sql)
        assert len(cursor.fetchall()[0][0]) == 20_000_000


# ---- Errors and cancelling.

def test_errors_point_at_the_place_and_tell_their_query(server, cursor):
    with pytest.raises(dbapi.Error) as error:
        cursor.execute("SELECT 1\nFORM t x")
    assert "Line: 2" in str(error.value) and "FORM t x" in str(error.value) and "^" in str(error.value)
    with pytest.raises(dbapi.Error, match="does not exist") as error:
        cursor.execute("SELECT * FROM lake.tpch_sf0_01.natoin")
    details = {key.lower(): bytes(value).decode() for key, value in error.value.details}
    assert details["polynya-sqlstate"] == "42P01" and details["polynya-query-id"], details
    assert "did you mean nation" in str(error.value)
    for sql, meant in [("SELECT n_nme FROM lake.tpch_sf0_01.nation", "n_name"), ("SELECT uppr('x')", "upper"),
                       ("SELECT * FROM lake.tpch_sf0_1.nation", "tpch_sf0_01"), ("SELECT * FROM lak.tpch_sf0_01.nation", "lake")]:
        with pytest.raises(dbapi.Error, match=f"(?is)did you mean.*{meant}"):
            cursor.execute(sql)


def test_a_cancelled_query_stops_on_the_server(server, connection):
    sql = "SELECT sum(value % 7) AS adbc_cancelled FROM generate_series(1, 1000000000000)"
    with connection.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(1) as pool:
        def run():
            cursor.execute(sql)
            return cursor.fetchall()

        endless = pool.submit(run)
        states = lambda: {state for state, statement in server.rows("SELECT state, statement FROM system.queries") if statement == sql}
        wait_until(lambda: "RUNNING" in states(), "the query did not start")
        cursor.adbc_cancel()
        with pytest.raises(Exception, match="(?i)cancel"):
            endless.result(timeout=20)
    wait_until(lambda: "RUNNING" not in states(), "the query goes on after it was cancelled", seconds=5)


# ---- pandas, polars, TPC-H.

def test_pandas_reads_a_query(connection):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_sql("SELECT n_nationkey, n_name FROM lake.tpch_sf0_01.nation ORDER BY n_nationkey", connection)
    assert frame.shape == (25, 2) and frame["n_name"][0] == "ALGERIA"


def test_polars_reads_a_query(connection):
    polars = pytest.importorskip("polars")
    frame = polars.read_database("SELECT n_nationkey, n_name FROM lake.tpch_sf0_01.nation ORDER BY n_nationkey", connection)
    assert frame.shape == (25, 2) and frame["n_name"][0] == "ALGERIA"


def test_the_page_about_python_runs_as_it_is_written(server):
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    server.run("CREATE SCHEMA lake.shop")
    first, *others = re.findall(r"```python\n(.*?)```", (ROOT / "docs/clients/python.md").read_text(), re.DOTALL)
    code = first + "".join(textwrap.indent(block, "    ") for block in others)
    exec(compile(code.replace("grpc://127.0.0.1:50051", server.url), "python.md", "exec"), {})
    assert server.rows("SELECT count(*), max(amount) FROM lake.shop.orders") == [(3, 9.99)]
    server.run("DROP SCHEMA lake.shop CASCADE")


@pytest.mark.parametrize("query", sorted(path.stem for path in (BENCHMARKS / "queries").glob("q*.sql")))
def test_tpch(connection, query):
    connection.adbc_current_db_schema = "tpch_sf0_01"
    with connection.cursor() as cursor:
        cursor.execute((BENCHMARKS / f"queries/{query}.sql").read_text())
        table = cursor.fetch_arrow_table()
    with open(BENCHMARKS / f"answers/sf0.01/{query}.csv", newline="") as file:
        header, *expected = csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE)
    assert (table.num_columns, table.num_rows) == (len(header), len(expected))
    for column, (name, values) in enumerate(zip(header, table.columns)):
        assert same(values.to_pylist(), [row[column] for row in expected]), f"{query}: {name}"


def same(found, expected):
    """Whether a column holds the expected values. Rows that the ORDER BY does not tell apart may come in any order."""
    if all(isinstance(value, (int, float, decimal.Decimal)) or value is None for value in found):
        pairs = zip(sorted(float(value or 0) for value in found), sorted(float(text or 0) for text in expected), strict=True)
        return all(abs(left - right) <= 1e-5 + 1e-9 * abs(right) for left, right in pairs)
    return sorted(str(value).strip() for value in found) == sorted(text.strip() for text in expected)
