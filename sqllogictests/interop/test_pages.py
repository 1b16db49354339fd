"""The pages for users of clients (docs/clients, docs/security.md): what they say to type is typed here, with this server in their place.

What docs/clients/jdbc.md and dbeaver.md say is done by `test_jdbc.py` and the project that it runs.
"""

import re
import textwrap

import pytest
from adbc_driver_flightsql import dbapi

from pages import ROOT, blocks, shell


@pytest.fixture
def shop(plain):
    plain.run("CREATE SCHEMA lake.shop")
    yield plain
    plain.run("DROP SCHEMA lake.shop CASCADE")


def test_the_page_about_python_runs_as_it_is_written(shop):
    first, *others = blocks("clients/python.md", "python")
    code = first + "".join(textwrap.indent(block, "    ") for block in others)
    assert code.count("grpc://127.0.0.1:50051") == 1
    exec(compile(code.replace("grpc://127.0.0.1:50051", shop.url), "python.md", "exec"), {})
    assert shop.rows("SELECT count(*), max(amount) FROM lake.shop.orders") == [(3, 9.99)]


def test_the_page_about_python_installs_what_is_tested():
    (install,) = blocks("clients/python.md", "bash")
    packages = install.removeprefix("pip install ").split()
    pinned = {re.split(r"[=\[]", line)[0] for line in (ROOT / "xtask/requirements.txt").read_text().splitlines()}
    assert set(packages) <= pinned and len(packages) == 3


def test_a_model_of_dbt_is_run_as_the_page_says(shop, tmp_path):
    models = tmp_path / "target/compiled/my_project/models"
    models.mkdir(parents=True)
    (models / "model.sql").write_text("SELECT n_regionkey AS region, count(*) AS nations\nFROM lake.tpch_sf0_01.nation\nGROUP BY 1\n")
    (script,) = blocks("clients/dbt.md", "bash")
    shell(script.replace("grpc://127.0.0.1:50051", shop.url), tmp_path)
    assert shop.rows("SELECT region, nations FROM lake.shop.model ORDER BY region") == [(region, 5) for region in range(5)]


def test_a_syntax_error_looks_as_the_page_shows_it(plain):
    (shown,) = blocks("clients/README.md", "text")
    statement = next(line.strip() for line in shown.splitlines() if line.startswith("  ") and "^" not in line)
    with plain.cursor() as cursor, pytest.raises(dbapi.Error) as error:
        cursor.execute(f"SELECT 1\n{statement}")
    assert shown.rstrip() in str(error.value)


def test_options_of_the_session_take_the_values_of_the_page(plain):
    page = (ROOT / "docs/clients/README.md").read_text()
    rows = re.findall(r"^\| `(polynya\.wire_\w+)` \| (.*?) \|", page, re.MULTILINE)
    names = ("views", "timestamptz", "dictionaries", "compression", "message_bytes")
    assert [option for option, _ in rows] == [f"polynya.wire_{name}" for name in names]
    with plain.cursor() as cursor:
        for option, values in rows:
            for value in re.findall("`(.*?)`", values):
                cursor.execute(f"SET {option} = '{value}'")
            with pytest.raises(dbapi.Error):
                cursor.execute(f"SET {option} = 'nonsense'")


def test_users_are_made_as_the_page_says(tmp_path):
    (script,) = [block for block in blocks("security.md", "bash") if "hash-password" in block]
    shell(script.replace("/etc/polynya/users", "users"), tmp_path, typed="a password\n")
    assert re.fullmatch(r"ann:\$argon2id\$v=19\$m=19456,t=2,p=1\$\S+\n", (tmp_path / "users").read_text())


def test_the_shell_logs_in_as_the_page_says(secured, tmp_path):
    (script,) = [block for block in blocks("security.md", "bash") if "--token-file" in block]
    by_variable, by_file, by_token, with_certificate = [line.partition("#")[0].strip() for line in script.splitlines()]
    (tmp_path / "password").write_text(secured.password + "\n")
    (tmp_path / "token").write_text(secured.token + "\n")
    rest = f" --tls-ca {secured.authority} -c 'SELECT 6 * 7 AS answer'"
    for line, file, environment in [(by_variable, "", {"POLYNYA_PASSWORD": secured.password}), (by_file, "password", {}), (by_token, "token", {})]:
        printed = shell(line.replace("grpc+tls://host:50051", secured.url).replace("FILE", file) + rest, tmp_path, **environment)
        assert "answer" in printed and "42" in printed, line
    # Certificates of clients are tested in flight-server/tests/flight/tls.rs; here, that the options are there.
    known = shell("polynya sql --help", tmp_path)
    assert all(option in known for option in re.findall(r"--[a-z-]+", with_certificate))
