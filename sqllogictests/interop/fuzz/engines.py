"""Who answers: DuckDB, PostgreSQL, Polynya.

In: tables, the text of a query. Out: an `Answer`: rows of plain values, or an error. Every engine has the same tables, the same time zone and
the same order of NULLs. A query that takes too long is stopped, so that the fuzzer never hangs.
"""

import datetime
import threading
import uuid
import warnings
from dataclasses import dataclass

import duckdb
import psycopg2
import psycopg2.extensions
import pyarrow as pa

from fuzz.tree import DUCKDB, POLYNYA, POSTGRES
from services import wait_until

SECONDS_MAX = 10


@dataclass
class Answer:
    rows: list | None = None
    error: str | None = None
    late: bool = False


def plain(value):
    """A value as all engines' drivers could give it."""
    if isinstance(value, datetime.datetime):
        return (value.astimezone(datetime.timezone.utc) if value.tzinfo else value).isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def arrow_rows(table):
    """Rows of an Arrow table. Dates and times beyond Python's are given as they are stored."""
    columns = []
    for column in table.columns:
        try:
            values = column.to_pylist()
        except (ValueError, OverflowError):
            values = [f"{column.type} {value}" for value in column.cast(pa.int64() if not pa.types.is_date32(column.type) else pa.int32()).to_pylist()]
        columns.append([plain(value) for value in values])
    return list(zip(*columns)) if columns else [()] * table.num_rows


class DuckDb:
    name = DUCKDB

    def __init__(self):
        self.connection = duckdb.connect()
        self.connection.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
        self.connection.execute("SET threads = 1")
        self.connection.execute("SET memory_limit = '1GB'")

    def load(self, tables, zone):
        self.connection.execute(f"SET TimeZone = '{zone}'")
        for table in tables:
            given = table.arrow()  # noqa: F841, DuckDB reads the variable by its name
            self.connection.execute(f"CREATE OR REPLACE TABLE {table.name} ({table.definition(self.name)})")
            self.connection.execute(f"INSERT INTO {table.name} SELECT * FROM given")

    def ask(self, sql):
        timer = threading.Timer(SECONDS_MAX, self.connection.interrupt)
        timer.start()
        try:
            return Answer(rows=arrow_rows(self.connection.execute(sql).to_arrow_table()))
        except Exception as error:  # noqa: BLE001, the driver's errors are its own
            return Answer(error=str(error), late=isinstance(error, duckdb.InterruptException))
        finally:
            timer.cancel()


class PostgreSql:
    name = POSTGRES

    def __init__(self, service):
        wait_until(lambda: connects(service.uri), "PostgreSQL did not start")
        connection = psycopg2.connect(service.uri)
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE fuzz TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'")
        connection.close()
        self.connection = psycopg2.connect(service.uri.replace("/postgres", "/fuzz"))
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.cursor.execute(f"SET statement_timeout = '{SECONDS_MAX}s'; SET jit = off; SET max_parallel_workers_per_gather = 0; SET work_mem = '64MB'")
        text = psycopg2.extensions.new_type((1082, 1083, 1114, 1184), "TIMES", lambda value, _: value and times(value))
        psycopg2.extensions.register_type(text, self.connection)
        psycopg2.extensions.register_type(psycopg2.extensions.new_type((2950,), "UUID", lambda value, _: value and uuid.UUID(value).bytes), self.connection)
        self.zone = "UTC"

    def load(self, tables, zone):
        self.zone = zone
        self.cursor.execute(f"SET TimeZone = '{zone}'; SET DateStyle = 'ISO'")
        for table in tables:
            self.cursor.execute(f"DROP TABLE IF EXISTS {table.name}; CREATE TABLE {table.name} ({table.definition(self.name)})")
            self.cursor.copy_expert(f"COPY {table.name} FROM STDIN", Lines(table.copied()))
            self.cursor.execute(f"ANALYZE {table.name}")

    def ask(self, sql):
        try:
            self.cursor.execute(sql)
            return Answer(rows=[tuple(map(plain, row)) for row in self.cursor.fetchall()])
        except psycopg2.Error as error:
            return Answer(error=str(error), late=error.pgcode == "57014")


def connects(uri):
    """Whether it is up: for a moment it listens, and is not."""
    try:
        psycopg2.connect(uri).close()
        return True
    except psycopg2.OperationalError:
        return False


class Lines:
    """Text that COPY reads."""

    def __init__(self, text):
        self.data = text.encode()

    def read(self, size):
        piece, self.data = self.data[:size], self.data[size:]
        return piece


def times(value):
    """PostgreSQL's text of a date or time as Python would write it; those with a time zone in UTC."""
    try:
        if len(value) > 10 and value[10] == " ":
            return plain(datetime.datetime.fromisoformat(padded(value)))
        return plain((datetime.date if "-" in value[1:] else datetime.time).fromisoformat(padded(value)))
    except ValueError:
        return value


def padded(value):
    """With six digits after the point and a zone of hours and minutes, as Python 3.10 wants them."""
    at = next((i for i in range(19, len(value)) if value[i] in "+-"), len(value))
    moment, zone = value[:at], value[at:]
    if "." in moment:
        whole, part = moment.split(".")
        moment = f"{whole}.{part:0<6}"
    return moment + (zone + ":00" if len(zone) == 3 else zone)


class Polynya:
    """A session of a server, with settings of its own. `schema` has the tables."""

    name = POLYNYA

    def __init__(self, server, schema, settings=()):
        from adbc_driver_flightsql import dbapi
        bounds = {f"adbc.flight.sql.rpc.timeout_seconds.{what}": str(4 * SECONDS_MAX) for what in ("fetch", "query", "update")}
        cookies = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}
        with warnings.catch_warnings():
            # There are no transactions to be had.
            warnings.simplefilter("ignore")
            self.connection = dbapi.connect(server.url, db_kwargs={**cookies, **bounds})
        self.cursor = self.connection.cursor()
        self.server, self.schema, self.settings = server, schema, dict(settings)
        self.cursor.execute(f"USE lake.{schema}")
        for key, value in self.settings.items():
            self.cursor.execute(f"SET {key} = '{value}'")

    def zone(self, zone):
        self.cursor.execute(f"SET time_zone = '{zone}'")

    def load(self, tables, properties=""):
        """Each table from Arrow; `properties` are those of the tables."""
        for table in tables:
            self.cursor.execute(f"DROP TABLE IF EXISTS {table.name} PURGE")
            self.cursor.execute(f"CREATE TABLE {table.name} ({table.definition(self.name)}) {properties}")
            if table.rows:
                self.cursor.adbc_ingest(table.name, table.arrow(), mode="append", catalog_name="lake", db_schema_name=self.schema)

    def ask(self, sql):
        try:
            self.cursor.execute(sql)
            return Answer(rows=arrow_rows(self.cursor.fetch_arrow_table()))
        except Exception as error:  # noqa: BLE001
            return Answer(error=str(error), late="DEADLINE" in str(error).upper() or "timeout" in str(error).lower())

    def close(self):
        self.cursor.close()
        self.connection.close()
