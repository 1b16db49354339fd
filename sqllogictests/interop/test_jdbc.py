"""The JDBC driver that people have: `../jdbc` is a Maven project, run here once for each version, as docs/clients/jdbc.md says to run it.

It talks to a server with users, tokens and TLS, and a little to one without. What the driver does wrong itself is passed over there, in words.
"""

import os
import xml.etree.ElementTree

import pytest

from pages import ROOT, blocks, shell
from services import wait_until

PROJECT = ROOT / "sqllogictests/jdbc"
# The newest of each major version that Maven Central has: the driver of 19 is not there yet (the rest of Arrow Java 19 is). Another
# version is one word here, or one in the environment.
VERSIONS = os.environ.get("POLYNYA_JDBC_VERSIONS", "18.3.0").split(",")


@pytest.fixture(scope="module")
def server(secured):
    secured.run("CREATE SCHEMA lake.jdbc")
    yield secured
    secured.run("DROP SCHEMA lake.jdbc CASCADE")


def maven(server, plain, version, build):
    """Runs the commands of the page, which name another server, version and folder."""
    (script,) = blocks("clients/jdbc.md", "bash")
    for written, meant in [("127.0.0.1:50051/?useEncryption=false", f"127.0.0.1:{server.port}/"), ("=18.3.0", f"={version}"),
                           ("mvn ", f"mvn -Dpolynya.build.directory={build} ")]:
        assert script.count(written) == 1, f"docs/clients/jdbc.md: {written} is not in the commands that run the tests"
        script = script.replace(written, meant)
    known = {
        "POLYNYA_JDBC_USER": "ann",
        "POLYNYA_JDBC_PASSWORD": server.password,
        "POLYNYA_JDBC_TOKEN": server.token,
        "POLYNYA_JDBC_TLS_ROOTS": str(server.authority),
        "POLYNYA_JDBC_TPCH_SCHEMA": "lake.tpch_sf0_01",
        "POLYNYA_JDBC_SERVER_PID": str(server.process.pid),
        "POLYNYA_JDBC_PLAIN": f"127.0.0.1:{plain.port}",
    }
    shell(script, ROOT, seconds=900, **known)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_driver_does_all_that_its_project_asks_of_it(server, plain, tmp_path, version):
    maven(server, plain, version, tmp_path / "build")
    suites = [xml.etree.ElementTree.parse(report).getroot() for report in (tmp_path / "build/surefire-reports").glob("TEST-*.xml")]
    count = lambda what: sum(int(suite.get(what)) for suite in suites)
    assert len(suites) == len(list((PROJECT / "src/test/java/polynya").glob("*Test.java"))), "Maven did not find all classes"
    assert count("tests") >= 60 and count("skipped") == 0, f"{count('tests')} tests ran, {count('skipped')} were skipped"
    wait_until(server.is_at_rest, "queries are under way, or hold memory, after all connections are closed", seconds=20)


def test_the_driver_is_told_of_as_it_is_tested():
    """The pages name a version that is tested, and the flag without which the driver does not start."""
    (dependency,) = blocks("clients/jdbc.md", "xml")
    (flag,) = blocks("clients/jdbc.md", "text")
    pom = (PROJECT / "pom.xml").read_text()
    for part in ("<groupId>org.apache.arrow</groupId>", "<artifactId>flight-sql-jdbc-driver</artifactId>"):
        assert part in dependency and part in pom
    assert any(f"<version>{version}</version>" in dependency for version in VERSIONS), "docs/clients/jdbc.md names another version"
    assert flag.strip() in pom
    dbeaver = (ROOT / "docs/clients/dbeaver.md").read_text()
    assert any(f"`org.apache.arrow:flight-sql-jdbc-driver:{version}`" in dbeaver for version in VERSIONS) and flag.strip() in dbeaver
