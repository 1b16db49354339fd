"""Fixtures: the services, once for all tests; a Polynya server on them; PyIceberg and DuckDB on the same tables."""

import importlib.metadata

import duckdb
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from services import KEY, REGION, SECRET, Polynya, Postgres, Seaweed, Secured, free_port

# What leaves sessions or prepared statements behind meets these soon.
FEW = {"sessions_max": 200, "prepared_statements_max": 200}


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    service = Seaweed(tmp_path_factory.mktemp("seaweed"))
    yield service
    service.stop()


@pytest.fixture(scope="session")
def postgres():
    service = Postgres()
    yield service
    service.remove()


@pytest.fixture(scope="session")
def catalog_file(tmp_path_factory):
    return tmp_path_factory.mktemp("catalog") / "catalog.db"


@pytest.fixture(scope="session")
def foreign(seaweed, catalog_file):
    """PyIceberg's SQL catalog: SQLite, with the tables in S3."""
    catalog = SqlCatalog("lake", uri=f"sqlite:///{catalog_file}", warehouse="s3://lake/warehouse", **seaweed.s3_properties())
    catalog.create_namespace("interop")
    return catalog


@pytest.fixture(scope="session")
def polynya(seaweed, postgres, foreign, catalog_file, tmp_path_factory):
    """A server with three catalogs: `lake` is PyIceberg's file, `pg` PostgreSQL, `rest` SeaweedFS's own; all tables in S3."""
    s3 = {**seaweed.s3_properties(), "s3.path-style-access": True}
    server = Polynya(tmp_path_factory.mktemp("polynya"), {
        "lake": {"type": "sql", "uri": f"sqlite:///{catalog_file}", "warehouse": "s3://lake/warehouse", **s3},
        "pg": {"type": "sql", "uri": postgres.uri, "warehouse": "s3://lake/pg", **s3},
        "rest": {"type": "rest", "uri": seaweed.rest_uri, "warehouse": "s3://iceberg-tables", "credential": f"{KEY}:{SECRET}", **s3},
    })
    yield server
    server.stop()


@pytest.fixture(scope="session")
def lake(tmp_path_factory):
    """A catalog in a file, its tables in a folder."""
    folder = tmp_path_factory.mktemp("lake")
    return {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}


@pytest.fixture(scope="session")
def plain(lake, tmp_path_factory):
    """A server for clients that asks nobody who is calling. The catalog `lake` has TPC-H at scale 0.01."""
    server = Polynya(tmp_path_factory.mktemp("plain"), {"lake": lake}, FEW)
    server.bench("load", "--scale", "0.01")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def secured(plain, lake, tmp_path_factory):
    """The same tables, for users whom the server knows. `lake` is not the catalog of names without one, so that choosing it matters."""
    # One user does what all tests do.
    settings = {**FEW, "user_share": 1.0, "metrics_listen": f"127.0.0.1:{free_port()}"}
    server = Secured(tmp_path_factory.mktemp("secured"), {"scratch": {"type": "memory"}, "lake": lake}, settings)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def duck(seaweed):
    """DuckDB with its Iceberg reader: an independent implementation."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in ("httpfs", "avro", "iceberg"):
        files = importlib.metadata.files(f"duckdb_extension_{name}")
        connection.execute(f"LOAD '{next(file for file in files if str(file).endswith('.duckdb_extension')).locate()}'")
    host = seaweed.endpoint.removeprefix("http://")
    connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', REGION '{REGION}', ENDPOINT '{host}', "
                       "URL_STYLE 'path', USE_SSL false)")
    return connection
