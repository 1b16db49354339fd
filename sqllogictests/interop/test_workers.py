"""Workers: TPC-H on them, their deaths, their silence, their comings and goings."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

from chaos import HEARTBEAT_SECONDS, Chaos, child_processes, coordinator, failures
from services import Worker, free_port, listens, program, wait_until

# How often each kind of disturbance happens; a soak asks for more.
REPEATS = int(os.environ.get("POLYNYA_TEST_REPEATS", "1"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def server(seaweed, folder):
    server = coordinator(folder / "server", seaweed, 2)
    server.bench("load", "--scale", "0.01")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def chaos(server):
    chaos = Chaos(server, "tpch_sf0_01", seed=1)
    chaos.measure(runs=1)
    return chaos


def tasks_of(server, statement):
    quoted = statement.replace("'", "''")
    return server.rows(f"SELECT t.worker, t.state, t.attempt, t.rows FROM system.tasks t JOIN system.queries q ON t.query_id = q.query_id "
                       f"WHERE q.statement = '{quoted}'")


def test_22_answers_are_right_on_two_workers_and_both_had_tasks(server):
    output = server.bench("run", "--scale", "0.01", "--catalog", "lake", "--schema", "tpch_sf0_01", "--iterations", "1", "--check")
    assert "22" in output
    workers = server.rows("SELECT worker_id, state FROM system.workers ORDER BY worker_id")
    assert workers == [("local-0", "READY"), ("local-1", "READY")]
    tasks = server.rows("SELECT worker, count(*), sum(rows) FROM system.tasks WHERE state = 'FINISHED' GROUP BY worker")
    assert len(tasks) == 2 and all(count > 20 and rows > 0 for _, count, rows in tasks), tasks


def test_a_kill_during_a_query_is_not_seen(chaos):
    assert failures(chaos.rounds(signal.SIGKILL, 8 * REPEATS)) == []


def test_a_worker_that_hangs_is_given_up(server, chaos):
    for _ in range(REPEATS):
        for worker in child_processes(server)[:1]:
            os.kill(worker, signal.SIGSTOP)
        rows, seconds = chaos.run("q03")
        assert rows == chaos.answers["q03"] and HEARTBEAT_SECONDS / 4 < seconds < HEARTBEAT_SECONDS + 20, seconds
        assert server.rows("SELECT max(workers_lost) FROM system.queries") >= [(1,)]
    assert failures(chaos.rounds(signal.SIGSTOP, REPEATS)) == []


def test_without_retry_a_kill_is_an_error_that_can_be_retried(seaweed, folder, chaos):
    server = coordinator(folder / "unprotected", seaweed, 2, retries=0)
    try:
        unprotected = Chaos(server, "tpch_sf0_01", seed=2)
        unprotected.measure(runs=1)
        for _ in range(20):
            failed = failures([unprotected.disturb(signal.SIGKILL)])
            if failed:
                break
        assert failed and "a worker was lost" in failed[0][1] and "workers.retries" in failed[0][1], failed
    finally:
        server.stop()


def test_workers_come_for_a_query_and_go_after_it(seaweed, folder, server):
    lazy = coordinator(folder / "lazy", seaweed, 2, min=0, idle_timeout="3s")
    try:
        assert child_processes(lazy) == []
        count = "SELECT count(*) FROM lake.tpch_sf0_01.lineitem WHERE l_quantity < 10"
        rows, workers = lazy.rows(count), child_processes(lazy)
        assert rows == server.rows(count) and len(workers) == 2
        assert {state for _, state, _, _ in tasks_of(lazy, count)} == {"FINISHED"}
        wait_until(lambda: not child_processes(lazy), "workers stayed after their idle timeout", seconds=20)
        assert lazy.rows("SELECT worker_id FROM system.workers") == []
        assert lazy.rows(count) == rows
    finally:
        lazy.stop()
    # Workers of a coordinator that is killed are gone, too.
    orphaned = coordinator(folder / "orphaned", seaweed, 2)
    orphaned.rows(count)
    workers = child_processes(orphaned)
    orphaned.kill()
    assert len(workers) == 2
    wait_until(lambda: not any(pathlib.Path(f"/proc/{worker}/exe").exists() for worker in workers), "orphans stayed", seconds=15)


def test_a_worker_that_drains_ends_its_tasks_and_others_take_the_rest(server, chaos):
    for worker in child_processes(server):
        # One that the test before has ended may still be on its way out.
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGTERM)
        for name in ("q01", "q06"):
            rows, _ = chaos.run(name)
            assert rows == chaos.answers[name]
    wait_until(lambda: len(child_processes(server)) == 2, "not two workers", seconds=15)


def test_a_join_that_nobody_waits_for_stops_on_the_workers(server):
    endless = ("SELECT count(*) FROM lake.tpch_sf0_01.lineitem a, lake.tpch_sf0_01.lineitem b "
               "WHERE a.l_comment || b.l_comment LIKE '%zzzqqq%'")

    def seconds_of_workers():
        stats = [pathlib.Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split() for worker in child_processes(server)]
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")

    def busy(seconds=0.5):
        before = seconds_of_workers()
        time.sleep(seconds)
        return seconds_of_workers() - before > 0.1

    with server.cursor() as cursor:
        def run():
            try:
                cursor.execute(endless)
                cursor.fetchall()
            except Exception:  # noqa: BLE001, it is cancelled below
                pass
        thread = threading.Thread(target=run)
        thread.start()
        wait_until(busy, "the join did not start on a worker")
        cursor.adbc_cancel()
        thread.join(timeout=20)
        assert not thread.is_alive()
    wait_until(lambda: not busy(), "the join goes on after it was cancelled", seconds=15)


def test_explain_analyze_shows_stages_and_a_worker_without_a_secret_does_not_start(server):
    plan = "\n".join(row[-1] for row in server.rows("EXPLAIN ANALYZE SELECT l_returnflag, count(*) FROM lake.tpch_sf0_01.lineitem GROUP BY 1"))
    assert "Stage 1" in plan and "output_rows" in plan, plan
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POLYNYA__")}
    refused = subprocess.run([program("POLYNYA_BIN"), "worker", "--listen", f"127.0.0.1:{port}"], env=environment, cwd=server.folder / "..",
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert refused.returncode != 0 and "workers.secret" in refused.stderr and not listens(port)


@pytest.fixture
def three_workers(folder):
    secret = "a-secret-of-one-cluster"
    workers = [Worker(folder / f"static-{number}", secret) for number in range(3)]
    yield secret, workers
    for worker in workers:
        worker.stop()


def test_static_workers_are_used_and_a_wrong_secret_is_refused(seaweed, folder, server, three_workers):
    secret, workers = three_workers
    urls = [worker.url for worker in workers]
    count = "SELECT l_shipmode, count(*) FROM lake.tpch_sf0_01.lineitem GROUP BY 1 ORDER BY 1"
    static = coordinator(folder / "static", seaweed, 2, provisioner="static", urls=urls, secret=secret)
    try:
        assert static.rows(count) == server.rows(count)
        assert len({worker for worker, *_ in tasks_of(static, count)}) == 3
    finally:
        static.stop()
    stranger = coordinator(folder / "stranger", seaweed, 2, provisioner="static", urls=urls, secret=secret[::-1])
    try:
        with pytest.raises(Exception, match="workers.secret"):
            stranger.rows(count)
        log = stranger.log.read_text()
        assert secret not in log and secret[::-1] not in log
    finally:
        stranger.stop()


def test_a_third_worker_takes_its_pages_from_its_peers_and_a_restart_keeps_them(seaweed, folder, server, three_workers):
    secret, workers = three_workers
    server.bench("load", "--scale", "0.01", "--schema", "by_month", "--partitioned", "--keep")
    columns = "SELECT sum(l_quantity), sum(l_extendedprice), min(l_shipdate), max(l_comment) FROM lake.by_month.lineitem"

    def read(count):
        """What the workers asked the store for, and the pages that they did not have."""
        urls = [worker.url for worker in workers[:count]]
        # A coordinator keeps nothing: a new one with other workers is the same cluster, larger.
        coordinating = coordinator(folder / f"of-{count}", seaweed, count, provisioner="static", urls=urls, secret=secret)
        try:
            rows = coordinating.rows(columns)
            assert rows == server.rows(columns)
            ((requests,),) = coordinating.rows("SELECT sum(requests_get) FROM system.tasks")
            ((misses, from_peers),) = coordinating.rows(
                f"SELECT page_misses, pages_from_peers FROM system.queries WHERE statement = '{columns}'")
            return requests, misses, from_peers
        finally:
            coordinating.stop()

    cold, pages, _ = read(2)
    assert cold >= 80 and pages >= 80
    assert read(2)[0] == 0, "the second run asked the store"
    requests, misses, from_peers = read(3)
    assert 0 < misses <= 0.45 * pages, f"{misses} of {pages} pages moved"
    assert from_peers >= 0.9 * misses and requests <= 0.1 * misses, f"{from_peers} of {misses} came from peers, {requests} requests"
    assert read(3)[0] == 0
    for worker in workers:
        worker.stop()
        worker.start()
        requests = read(3)[0]
        assert requests <= 0.1 * cold, f"{requests} requests after a restart, {cold} when cold"
