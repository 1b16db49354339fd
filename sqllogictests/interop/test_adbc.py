"""The ADBC driver that people have (Go's, from PyPI): all of its DB-API, what it adds to it, and pandas and polars on top."""

import concurrent.futures
import datetime
import decimal
import uuid

import pandas
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from adbc_driver_flightsql import dbapi

import answers
from services import wait_until

COOKIES = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}
AUTHORIZATION = "adbc.flight.sql.authorization_header"
NATIONS = "SELECT n_nationkey, n_name FROM lake.tpch_sf0_01.nation ORDER BY n_nationkey"


@pytest.fixture(scope="module")
def server(plain):
    plain.run("CREATE SCHEMA lake.adbc")
    yield plain
    plain.run("DROP SCHEMA lake.adbc CASCADE")


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


def test_more_connections_than_may_be_open_at_once_leave_nothing_behind(server):
    """The server keeps 200 sessions and 200 prepared statements (conftest.py)."""
    before = server.open_files()
    for number in range(300):
        with dbapi.connect(server.url, db_kwargs=COOKIES) as connection, connection.cursor() as cursor:
            connection.adbc_current_catalog = "lake"
            assert one(cursor, f"SELECT {number}") == number
    wait_until(lambda: server.open_files() <= before + 5, f"the server had {before} open files and does not come back to them", seconds=20)


# ---- Who is calling.

def test_a_password_and_a_token_are_taken_over_tls(secured):
    shown = {"ann": {"username": "ann", "password": secured.password}, "robot": {AUTHORIZATION: f"Bearer {secured.token}"}}
    for user, credentials in shown.items():
        with dbapi.connect(secured.url, db_kwargs={**COOKIES, **secured.trust, **credentials}) as connection, connection.cursor() as cursor:
            connection.adbc_current_catalog = "lake"
            assert one(cursor, "SELECT count(*) FROM tpch_sf0_01.nation") == 25
            sql = f"SELECT '{user} was here'"
            cursor.execute(sql)
            assert cursor.fetchall() == [(f"{user} was here",)]
            assert set(secured.rows("SELECT \"user\", statement FROM system.queries WHERE statement LIKE '%was here''%'")) >= {(user, sql)}


def test_logins_that_end_leave_nothing_behind(secured):
    """The driver closes its session, which is the login: the server keeps 200."""
    for _ in range(250):
        with secured.cursor() as cursor:
            assert one(cursor, "SELECT 1") == 1


@pytest.mark.parametrize("credentials, message", [
    ({"username": "ann", "password": "not hers"}, "name or the password is wrong"),
    ({"username": "nobody", "password": "not his"}, "name or the password is wrong"),
    ({AUTHORIZATION: "Bearer not-a-token-of-this-server"}, "not valid here"),
    ({}, "asks who is calling"),
], ids=["password", "user", "token", "nothing"])
def test_who_shows_the_wrong_thing_is_told_so(secured, credentials, message):
    with pytest.raises(dbapi.Error, match=message):
        with dbapi.connect(secured.url, db_kwargs={**secured.trust, **credentials}) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")


def test_a_certificate_of_an_unknown_authority_is_refused(secured):
    with pytest.raises(dbapi.Error, match="(?i)certificate"):
        with dbapi.connect(secured.url, db_kwargs={"username": "ann", "password": secured.password}):
            pass


def test_transactions_are_refused_in_words(connection):
    with pytest.raises(dbapi.NotSupportedError):
        connection.adbc_connection.set_autocommit(False)


# ---- Statements and parameters.

PARAMETERS = [
    ("boolean", True), ("int", 7), ("bigint", 9_000_000_000), ("float", 1.5), ("double", 2.25), ("decimal(10, 2)", decimal.Decimal("-12.34")),
    ("date", datetime.date(2024, 2, 29)), ("time", datetime.time(13, 45, 10, 250_000)),
    ("timestamp", datetime.datetime(2024, 2, 29, 13, 45, 10, 250_000)),
    ("timestamptz", datetime.datetime(2024, 2, 29, 13, 45, 10, 250_000, tzinfo=datetime.timezone.utc)),
    ("varchar", "grüße"), ("uuid", uuid.UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479").bytes), ("fixed(2)", b"\x00\xff"), ("binary", b"\x00\xff"),
]


@pytest.mark.parametrize("sql_type, value", PARAMETERS, ids=[sql_type for sql_type, _ in PARAMETERS])
def test_a_parameter_of_each_type_is_stored_found_and_read(cursor, sql_type, value):
    fresh(cursor, "one_parameter", f"id int, v {sql_type}")
    cursor.execute("INSERT INTO one_parameter VALUES (?, ?)", (1, value))
    cursor.execute("INSERT INTO one_parameter VALUES (?, ?)", (2, None))
    assert one(cursor, "SELECT v FROM one_parameter WHERE id = ?", (1,)) == value
    assert one(cursor, "SELECT v FROM one_parameter WHERE id = $1", (2,)) is None
    assert one(cursor, "SELECT count(*) FROM one_parameter WHERE v = ?", (value,)) == 1
    assert one(cursor, "SELECT count(*) FROM one_parameter WHERE v = ?", (None,)) == 0


def test_nested_parameters_are_stored(cursor):
    fresh(cursor, "nested", "ar array<int>, st struct<a int, b varchar>, ma map<varchar, int>")
    kinds = {"ar": pa.list_(pa.int32()), "st": pa.struct({"a": pa.int32(), "b": pa.string()}), "ma": pa.map_(pa.string(), pa.int32())}
    rows = [{"ar": [1, None, 3], "st": {"a": 1, "b": "x"}, "ma": [("k", 1)]}, {"ar": None, "st": None, "ma": None}]
    batch = pa.RecordBatch.from_pylist(rows, pa.schema(kinds))
    cursor.executemany("INSERT INTO nested VALUES (?, ?, ?)", batch)
    cursor.execute("SELECT * FROM nested ORDER BY ar IS NULL")
    assert cursor.fetch_arrow_table().to_pylist() == rows


def test_executemany_stores_all_rows(cursor):
    fresh(cursor, "many", "id bigint, name varchar")
    cursor.executemany("INSERT INTO many VALUES (?, ?)", [(number, f"n{number}") for number in range(500)])
    assert one(cursor, "SELECT count(DISTINCT name) FROM many") == 500
    batch = pa.record_batch({"id": pa.array(range(1000, 3000)), "name": pa.array(["x"] * 2000)})
    cursor.executemany("INSERT INTO many VALUES (?, ?)", batch)
    assert one(cursor, "SELECT count(*) FROM many") == 2500
    assert cursor.executemany("INSERT INTO many VALUES (?, ?)", []) is None
    assert one(cursor, "SELECT count(*) FROM many") == 2500


def test_a_wrong_number_of_parameters_is_an_error(cursor):
    with pytest.raises(dbapi.Error):
        cursor.execute("SELECT ? + 1", (1, 2))
    with pytest.raises(dbapi.Error):
        cursor.execute("SELECT CAST(? AS int)")
    assert one(cursor, "SELECT 1") == 1


@pytest.mark.parametrize("sql, parameters, message", [
    ("DELETE FROM nation WHERE n_nationkey = ?", (1,), "DELETE is not supported"),
    ("DELETE FROM nation", None, "DELETE is not supported"),
    ("SELECT $0", (1,), "parameter \\$0 is not supported"),
    ("SELECT :name", (1,), "parameter :name is not supported"),
])
def test_what_is_not_supported_is_told_with_parameters_and_without(cursor, sql, parameters, message):
    with pytest.raises(dbapi.Error, match=message):
        cursor.execute(sql, parameters)


def test_the_parameters_of_a_prepared_statement_are_told(cursor):
    sql = "SELECT n_name FROM lake.tpch_sf0_01.nation WHERE n_nationkey = CAST(? AS bigint) AND n_name LIKE ?"
    assert cursor.adbc_prepare(sql).types == [pa.int64(), pa.string()]
    for key, name in [(0, "ALGERIA"), (1, "ARGENTINA")]:
        assert one(cursor, sql, (key, "A%")) == name


def test_rows_come_one_by_one_in_batches_and_in_frames(cursor):
    sql = "SELECT value, CAST(value AS varchar) AS text FROM generate_series(1, 10) ORDER BY value"
    cursor.execute(sql)
    assert [column[0] for column in cursor.description] == ["value", "text"]
    assert (cursor.fetchone(), cursor.fetchmany(2)) == ((1, "1"), [(2, "2"), (3, "3")])
    assert (cursor.rownumber, len(cursor.fetchall()), cursor.fetchone()) == (3, 7, None)
    cursor.execute(sql)
    assert [value for value, _ in cursor] == list(range(1, 11))
    cursor.execute(sql)
    assert cursor.fetch_record_batch().read_all()["value"].to_pylist() == list(range(1, 11))
    cursor.execute(sql)
    assert cursor.fetch_df()["text"].tolist() == [str(value) for value in range(1, 11)]
    cursor.execute(sql)
    assert cursor.fetch_polars()["value"].sum() == 55
    cursor.executescript("CREATE TABLE IF NOT EXISTS script (a int)")
    assert one(cursor, "SELECT count(*) FROM script") == 0


@pytest.mark.parametrize("incremental", ["false", "true"], ids=["at once", "polled"])
def test_partitions_of_a_result_are_read(connection, incremental):
    """Incremental execution asks PollFlightInfo until there is nothing more to fetch."""
    sql, rows = "SELECT value FROM generate_series(1, 1000)", []
    with connection.cursor(adbc_stmt_kwargs={"adbc.statement.exec.incremental": incremental}) as cursor:
        partitions, schema = cursor.adbc_execute_partitions(sql)
        assert schema.names == ["value"] and partitions
        while partitions:
            for partition in partitions:
                cursor.adbc_read_partition(partition)
                rows += cursor.fetchall()
            partitions = cursor.adbc_execute_partitions(sql)[0] if incremental == "true" else []
    assert sorted(rows) == [(value,) for value in range(1, 1001)]


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
    # The driver sends a batch as one message, and none above 16 MiB.
    data = rows(1_000_000).to_reader(max_chunksize=100_000)
    assert cursor.adbc_ingest("million", data, mode="create") == 1_000_000
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
    (batch,) = rows(3).to_batches()
    cursor.adbc_ingest("modes", batch, mode="replace", catalog_name="lake", db_schema_name="adbc")
    cursor.execute("SELECT * FROM lake.adbc.modes ORDER BY id")
    assert cursor.fetch_arrow_table().to_pylist() == batch.to_pylist()
    for mode in ("replace", "create_append"):
        cursor.adbc_ingest(f"modes_{mode}", rows(2), mode=mode)
        assert one(cursor, f"SELECT count(*) FROM modes_{mode}") == 2
    with pytest.raises(dbapi.Error):
        cursor.adbc_ingest("modes_temporary", rows(1), temporary=True)


def test_ingest_has_the_limits_of_names_and_types_that_statements_have(cursor):
    nested = pa.int64()
    for _ in range(60):
        nested = pa.list_(nested)
    columns = {"deep": pa.table({"d": pa.nulls(3, nested)}), "b" * 1100: rows(1), "long": pa.table({"c" * 1100: [1]})}
    for table, data in columns.items():
        with pytest.raises(dbapi.Error, match="more than 50 levels|may have 1024"):
            cursor.adbc_ingest(table, data, mode="create")
    cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_name IN ('deep', 'long')")
    assert cursor.fetchall() == []


# ---- What there is to query.

def objects(connection, **filters):
    return connection.adbc_get_objects(**filters).read_all().to_pylist()


def schemas(connection, **filters):
    (catalog,) = objects(connection, **filters)
    return catalog["catalog_db_schemas"]


def test_objects_are_listed_at_every_depth(connection):
    (catalog,) = objects(connection, depth="catalogs")
    assert catalog["catalog_name"] == "lake" and not catalog["catalog_db_schemas"]
    (catalog,) = objects(connection, depth="db_schemas")
    assert {"adbc", "tpch_sf0_01"} <= {schema["db_schema_name"] for schema in catalog["catalog_db_schemas"]}
    assert not any(schema["db_schema_tables"] for schema in catalog["catalog_db_schemas"])
    (schema,) = schemas(connection, depth="tables", db_schema_filter="tpch%")
    assert len(schema["db_schema_tables"]) == 8 and {table["table_type"] for table in schema["db_schema_tables"]} == {"TABLE"}
    assert not any(table["table_columns"] for table in schema["db_schema_tables"])
    for depth in ("all", "columns"):
        (schema,) = schemas(connection, depth=depth, catalog_filter="lake", db_schema_filter="tpch_sf0_01", table_name_filter="nat%")
        (table,) = schema["db_schema_tables"]
        columns = [(column["ordinal_position"], column["column_name"]) for column in table["table_columns"]]
        assert columns == [(1, "n_nationkey"), (2, "n_name"), (3, "n_regionkey"), (4, "n_comment")]


def test_objects_are_listed_by_their_types_and_columns(connection):
    (schema,) = schemas(connection, depth="tables", db_schema_filter="tpch_sf0_01", table_types_filter=["TABLE"])
    assert len(schema["db_schema_tables"]) == 8
    assert not any(schema["db_schema_tables"] for schema in schemas(connection, depth="tables", table_types_filter=["VIEW"]))
    found = schemas(connection, db_schema_filter="tpch_sf0_01", table_name_filter="nation", column_name_filter="%name")
    names = [column["column_name"] for schema in found for table in schema["db_schema_tables"] for column in table["table_columns"]]
    assert names == ["n_name"]
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
    assert (table.num_rows, pc.sum(table["value"]).as_py(), pc.unique(table["s"]).to_pylist()) == (200_000, 20_000_100_000, ["x" * 50])


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
    details = {key.decode().lower(): value.decode() for key, value in error.value.details}
    assert details["polynya-sqlstate"] == "42P01" and details["polynya-query-id"], details
    assert "did you mean nation" in str(error.value)
    for sql, meant in [("SELECT n_nme FROM lake.tpch_sf0_01.nation", "n_name"), ("SELECT uppr('x')", "upper"),
                       ("SELECT * FROM lake.tpch_sf0_1.nation", "tpch_sf0_01"), ("SELECT * FROM lak.tpch_sf0_01.nation", "lake")]:
        with pytest.raises(dbapi.Error, match=f"(?is)did you mean.*{meant}"):
            cursor.execute(sql)


def states(server, sql):
    return {state for state, statement in server.rows("SELECT state, statement FROM system.queries") if statement == sql}


def test_a_cancelled_query_stops_on_the_server(server, connection):
    sql = "SELECT sum(value % 7) AS adbc_cancelled FROM generate_series(1, 1000000000000)"
    with connection.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(1) as pool:
        def run():
            cursor.execute(sql)
            return cursor.fetchall()

        endless = pool.submit(run)
        wait_until(lambda: "RUNNING" in states(server, sql), "the query did not start")
        cursor.adbc_cancel()
        with pytest.raises(Exception, match="(?i)cancel"):
            endless.result(timeout=20)
    wait_until(lambda: states(server, sql) == {"CANCELLED"}, "the query goes on after it was cancelled", seconds=5)


def test_a_query_whose_rows_nobody_wants_any_more_stops_on_the_server(server, connection):
    sql = "SELECT a.value AS adbc_left, b.value AS other FROM generate_series(1, 1000) a CROSS JOIN generate_series(1, 1000000000) b"
    with connection.cursor() as cursor:
        cursor.execute(sql)
        assert cursor.fetchone() and states(server, sql) == {"RUNNING"}
    wait_until(lambda: "RUNNING" not in states(server, sql), "the query goes on after its cursor was closed", seconds=10)


# ---- pandas, polars, TPC-H.

def test_pandas_reads_a_query(connection):
    frame = pandas.read_sql(NATIONS, connection)
    assert frame.shape == (25, 2) and frame["n_name"][0] == "ALGERIA"


def test_polars_reads_a_query(connection):
    frame = polars.read_database(NATIONS, connection)
    assert frame.shape == (25, 2) and frame["n_name"][0] == "ALGERIA"


@pytest.mark.parametrize("query", answers.QUERIES)
def test_tpch(connection, query):
    connection.adbc_current_db_schema = "tpch_sf0_01"
    with connection.cursor() as cursor:
        cursor.execute(answers.sql(query))
        answers.check(query, cursor.fetchall())


def test_tpch_has_22_queries():
    assert len(answers.QUERIES) == 22
