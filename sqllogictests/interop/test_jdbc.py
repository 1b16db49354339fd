"""The JDBC driver that people have: `../jdbc` is a Maven project, run here against a server of its own, once for each version.

What the driver does wrong itself is passed over there, in words. Users, tokens and TLS are tested where the server has them:
POLYNYA_JDBC_USER, _PASSWORD, _TOKEN and _TLS_ROOTS reach the project from a server's fixture.
"""

import datetime
import decimal
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from services import Polynya

PROJECT = pathlib.Path(__file__).parent.parent / "jdbc"
QUERIES = pathlib.Path(__file__).parent.parent.parent / "benchmarks/queries"
# The newest of each major version that Maven Central has: the driver of 19 is not there yet (the rest of Arrow Java 19 is). Another
# version is one word here, or one in the environment.
VERSIONS = os.environ.get("POLYNYA_JDBC_VERSIONS", "18.3.0").split(",")
# What leaves sessions or prepared statements behind meets these soon; the driver itself leaves one statement behind for each time a
# java.sql.Statement is used again.
SERVER = {"sessions_max": 200, "prepared_statements_max": 200}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jdbc")
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
    server = Polynya(folder, {"lake": catalog}, server=SERVER)
    server.run("CREATE SCHEMA lake.jdbc")
    server.bench("load", "--scale", "0.01")
    yield server
    server.stop()


def text(value):
    """A value as TpchTest.java writes it."""
    match value:
        case None:
            return "NULL"
        case decimal.Decimal():
            return format(value, "f")
        case float():
            return f"{value:.4f}"
        case datetime.date():
            return value.isoformat()
    return str(value)


@pytest.fixture(scope="module")
def tpch(server, tmp_path_factory):
    """A folder with TPC-H's queries and what ADBC reads for each."""
    folder = tmp_path_factory.mktemp("tpch")
    with server.cursor() as cursor:
        cursor.execute("USE lake.tpch_sf0_01")
        for query in sorted(QUERIES.glob("q*.sql")):
            shutil.copy(query, folder)
            cursor.execute(query.read_text())
            rows = cursor.fetch_arrow_table().to_pylist()
            lines = ["|".join(text(value) for value in row.values()) + "\n" for row in rows]
            (folder / f"{query.stem}.rows").write_text("".join(lines))
    return folder


def maven(server, tpch, version, build, **environment):
    port = server.url.rsplit(":", 1)[1]
    command = ["mvn", "-q", "-B", f"-Darrow.jdbc.version={version}", f"-Dpolynya.build.directory={build}", "test"]
    known = {
        "POLYNYA_JDBC_URL": f"jdbc:arrow-flight-sql://127.0.0.1:{port}/?useEncryption=false",
        "POLYNYA_JDBC_CATALOG": "lake",
        "POLYNYA_JDBC_SCHEMA": "jdbc",
        "POLYNYA_JDBC_TPCH": str(tpch),
        "POLYNYA_JDBC_TPCH_SCHEMA": "lake.tpch_sf0_01",
    }
    return subprocess.run(command, cwd=PROJECT, env={**os.environ, **known, **environment}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_driver_does_all_that_its_project_asks_of_it(server, tpch, tmp_path, version):
    done = maven(server, tpch, version, tmp_path / "build")
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-4_000:]
    reports = list((tmp_path / "build/surefire-reports").glob("TEST-*.xml"))
    counts = [re.search(r'<testsuite [^>]*\btests="(\d+)"', report.read_text()) for report in reports]
    assert sum(int(count.group(1)) for count in counts) >= 50, "Maven ran too few tests: it found only a part of them"


def test_the_documented_connection_is_the_tested_one():
    """docs/clients/jdbc.md names a version that is tested, and the flag without which the driver does not start."""
    page = (PROJECT.parent.parent / "docs/clients/jdbc.md").read_text()
    assert any(f"<version>{version}</version>" in page for version in VERSIONS), "docs/clients/jdbc.md names another version"
    assert "--add-opens=java.base/java.nio=ALL-UNNAMED" in page and "--add-opens" in (PROJECT / "pom.xml").read_text()
