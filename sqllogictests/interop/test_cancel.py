"""Queries that would take hours: others go on beside them, and they stop when nobody wants them any more."""

import concurrent.futures
import os
import pathlib
import time

import pytest

from services import Polynya, wait_until

# Each compares all pairs of a table's rows; none has a row to give.
ENDLESS = {
    "nested_loop_join": "SELECT count(*) FROM lineitem a, lineitem b WHERE a.l_comment || b.l_comment LIKE '%zzzqqq%'",
    "hash_join": "SELECT count(*) FROM lineitem a JOIN lineitem b ON a.l_linenumber = b.l_linenumber "
                 "WHERE a.l_comment || b.l_comment LIKE '%zzzqqq%'",
    "cross_join": "SELECT max(a.l_quantity + b.l_quantity) FROM lineitem a, lineitem b",
    "anti_join": "SELECT count(*) FROM lineitem a WHERE NOT EXISTS "
                 "(SELECT 1 FROM lineitem b WHERE a.l_comment || b.l_comment LIKE '%zzzqqq%')",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cancelled")
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
    server = Polynya(folder, {"lake": catalog})
    server.bench("load", "--scale", "0.1")
    yield server
    server.stop()


def processor_seconds(server):
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_idle(server):
    before = processor_seconds(server)
    time.sleep(0.5)
    return processor_seconds(server) - before < 0.1


@pytest.mark.parametrize("sql", ENDLESS.values(), ids=ENDLESS.keys())
def test_an_endless_join_leaves_room_and_can_be_cancelled(server, sql):
    with server.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(1) as pool:
        cursor.execute("USE lake.tpch_sf0_1")

        def run():
            cursor.execute(sql)
            return cursor.fetchall()

        endless = pool.submit(run)
        wait_until(lambda: ("RUNNING", sql) in server.rows("SELECT state, statement FROM system.queries"), "the query did not start")
        for _ in range(5):
            begun = time.monotonic()
            assert server.rows("SELECT count(*) FROM lake.tpch_sf0_1.nation") == [(25,)]
            assert time.monotonic() - begun < 10
        assert not endless.done()
        cursor.adbc_cancel()
        with pytest.raises(Exception, match="(?i)cancel"):
            endless.result(timeout=20)
    wait_until(lambda: is_idle(server), "the query goes on after it was cancelled", seconds=20)
    states = server.rows("SELECT state, statement FROM system.queries")
    assert ("CANCELLED", sql) in states and ("RUNNING", sql) not in states
