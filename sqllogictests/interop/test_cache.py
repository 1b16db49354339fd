"""The page cache and the reads behind it: restarts, kills, damage, faults of the store, limits.

A server whose S3 is behind a proxy that counts and fails. How often the long tests repeat is POLYNYA_TEST_REPEATS times what CI does.
"""

import concurrent.futures
import os
import random
import threading
import time

import pytest

from services import Polynya, Proxy

REPEATS = int(os.environ.get("POLYNYA_TEST_REPEATS", "1"))
MIB = 1 << 20
# Memory of the server under test, in MiB.
LIMITS = {"queries": 512, "pages": 64, "decoded": 96, "metadata": 32, "prefetch": 64}
ON_THEIR_WAY_TO_DISK = 64
# Three queries that read most of lineitem and orders.
QUERIES = [
    "SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice), count(*) FROM lineitem GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT o_orderpriority, count(*), sum(l_discount) FROM orders JOIN lineitem ON o_orderkey = l_orderkey GROUP BY 1 ORDER BY 1",
    "SELECT count(DISTINCT l_partkey), count(DISTINCT l_suppkey), min(l_shipdate), max(l_commitdate), sum(length(l_comment)) FROM lineitem",
]


@pytest.fixture(scope="module")
def proxy(seaweed):
    proxy = Proxy(seaweed.endpoint)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def catalog(seaweed, proxy, tmp_path_factory):
    """A catalog of its own whose S3 is behind the proxy."""
    s3 = {**seaweed.s3_properties(), "s3.endpoint": proxy.url, "s3.path-style-access": True}
    file = tmp_path_factory.mktemp("catalog") / "catalog.db"
    return {"type": "sql", "uri": f"sqlite:///{file}", "warehouse": "s3://lake/cached", **s3}


def sections(folder, limits):
    """Settings of a server with these limits, in MiB."""
    cache = {"memory": "pages", "decoded": "decoded", "metadata": "metadata", "prefetch": "prefetch"}
    return {"memory": {"limit": f"{limits['queries']}MiB"},
            "cache": {**{f"{setting}_bytes": f"{limits[name]}MiB" for setting, name in cache.items()},
                      "disk_dir": str(folder / "pages"), "disk_bytes": "256MiB"}}


@pytest.fixture(scope="module")
def server(catalog, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cached")
    server = Polynya(folder, {"lake": catalog}, **sections(folder, LIMITS))
    server.bench("load", "--scale", "0.1")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def expected(server):
    return answers(server)


def answers(server):
    with server.cursor() as cursor:
        cursor.execute("USE lake.tpch_sf0_1")
        return [rows(cursor, sql) for sql in QUERIES]


def rows(cursor, sql):
    cursor.execute(sql)
    return [tuple(row.values()) for row in cursor.fetch_arrow_table().to_pylist()]


def evict(server, tier="all"):
    server.run(f"CALL system.evict(tier => '{tier}')")


def test_a_restart_on_the_same_folder_asks_the_store_for_no_data(server, proxy, expected):
    evict(server)
    proxy.counters()
    assert answers(server) == expected
    assert proxy.counters()["data"]["gets"] > 0
    server.stop()
    server.start()
    proxy.counters()
    assert answers(server) == expected
    counted = proxy.counters()
    assert (counted["data"]["requests"], counted["heads"]) == (0, 0), counted


def test_a_warm_server_asks_for_no_data_and_says_so(server, proxy, expected):
    assert answers(server) == expected
    proxy.counters()
    assert answers(server) == expected
    assert proxy.counters()["data"]["requests"] == 0
    latest = server.rows("SELECT page_misses, cost_usd FROM (SELECT cache_hit_ratio AS page_misses, cost_usd, statement FROM system.queries) "
                         "WHERE statement LIKE 'SELECT count(DISTINCT%' LIMIT 1")
    assert latest[0][0] == 1.0


def test_kills_during_writes_to_the_cache_leave_it_usable(server, proxy, expected):
    for seed in range(10 * REPEATS):
        evict(server)
        wait = random.Random(seed).uniform(0.0, 1.5)
        killer = threading.Timer(wait, server.kill)
        killer.start()
        try:
            assert answers(server) == expected
        except AssertionError:
            raise
        except Exception:  # the connection breaks where the server was killed
            pass
        killer.join()
        server.start()
        assert answers(server) == expected
    proxy.counters()
    assert answers(server) == expected
    assert proxy.counters()["data"]["requests"] == 0


def test_damaged_cache_files_are_read_again(server, proxy, expected):
    dice = random.Random(11)
    pages = server.folder / "pages"
    damages = 0
    for round in range(5 * REPEATS):
        assert answers(server) == expected
        server.stop() if round % 2 else server.kill()
        segments = sorted(pages.glob("*.segment"))
        for _ in range(20):
            segment = dice.choice(segments)
            size = segment.stat().st_size
            if size < 100:
                continue
            with open(segment, "r+b") as file:
                if dice.random() < 0.1:
                    file.truncate(dice.randrange(size))
                else:
                    file.seek(dice.randrange(size))
                    byte = file.read(1)
                    file.seek(-1, os.SEEK_CUR)
                    file.write(bytes([byte[0] ^ (1 << dice.randrange(8))]))
            damages += 1
        server.start()
        assert answers(server) == expected
    assert damages >= 50
    assert proxy.counters()["data"]["gets"] > 0


def test_faults_of_the_store_cost_requests_but_no_answer(server, proxy):
    evict(server)
    proxy.counters()
    server.bench("run", "--scale", "0.1", "--check", "--iterations", "1")
    calm = proxy.counters()["data"]["gets"]
    seen = dict.fromkeys(["fault_503", "fault_reset", "fault_truncate", "fault_ignore_range", "fault_stall"], 0)
    asked = 0
    rounds = 3 * REPEATS
    proxy.faults(fault_503=0.05, fault_reset=0.01, fault_truncate=0.01, fault_ignore_range=0.01, fault_stall=0.01, stall_ms=5000)
    try:
        for _ in range(rounds):
            evict(server)
            server.bench("run", "--scale", "0.1", "--check", "--iterations", "1")
            counted = proxy.counters()
            asked += counted["data"]["gets"]
            seen = {fault: count + counted[fault] for fault, count in seen.items()}
    finally:
        proxy.faults(fault_503=0, fault_reset=0, fault_truncate=0, fault_ignore_range=0, fault_stall=0)
    assert seen["fault_503"] > 0 and sum(seen.values()) >= rounds * calm * 0.03, seen
    assert asked <= 1.5 * calm * rounds, (asked, calm)


def test_a_store_that_is_away_is_a_clear_error_and_then_forgotten(server, proxy, expected):
    evict(server)
    proxy.faults(down=True)
    try:
        begun = time.monotonic()
        with pytest.raises(Exception, match="lake|127.0.0.1") as failure:
            answers(server)
        assert time.monotonic() - begun < 40
        assert "secret" not in str(failure.value)
        time.sleep(min(60, 4 * (REPEATS - 1)))
    finally:
        proxy.faults(down=False)
    begun = time.monotonic()
    assert answers(server) == expected
    assert time.monotonic() - begun < 15


def test_a_limit_stops_a_query_and_names_the_setting(server, expected):
    with server.cursor() as cursor:
        cursor.execute("USE lake.tpch_sf0_1")
        for setting, value in [("polynya.max_scan_bytes", "'1MB'"), ("polynya.max_cost_usd", "0.0000005")]:
            evict(server)
            cursor.execute(f"SET {setting} = {value}")
            with pytest.raises(Exception, match=setting):
                rows(cursor, QUERIES[2])
            cursor.execute(f"RESET {setting}")
        assert rows(cursor, QUERIES[2]) == expected[2]


@pytest.mark.parametrize("decoded", [0, 16])
def test_a_big_scan_leaves_the_hot_set(catalog, server, tmp_path, decoded):
    """A table four times the cache is read through once; a small table that is in use stays in memory."""
    pages = 5
    small = Polynya(tmp_path, {"lake": catalog}, cache={
        "memory_bytes": f"{pages}MiB", "decoded_bytes": f"{decoded}MiB", "prefetch_bytes": "4MiB"})
    hot = "SELECT sum(c_acctbal), count(DISTINCT c_nationkey), max(length(c_name)) FROM lake.tpch_sf0_1.customer"
    try:
        for _ in range(3):
            small.rows(hot)
        for table in ["lineitem", "orders", "partsupp"]:
            columns = small.table(f"SELECT * FROM lake.tpch_sf0_1.{table} LIMIT 0").column_names
            small.rows(f"SELECT {', '.join(f'max({column})' for column in columns)} FROM lake.tpch_sf0_1.{table}")
        scanned = small.rows("SELECT sum(bytes_from_store) FROM system.queries WHERE statement LIKE 'SELECT max(%'")[0][0]
        assert scanned >= 4 * pages * MIB, scanned
        small.rows(hot)
        ratio = small.rows("SELECT cache_hit_ratio FROM system.queries WHERE statement LIKE 'SELECT sum(c_acctbal)%' LIMIT 1")[0][0]
        assert ratio >= 0.9, ratio
    finally:
        small.stop()


def resident_peak(server, expected, rounds):
    """Memory of the server while 16 clients ask it, at most, beyond what it had when idle; in bytes."""
    idle, peak, done = server.resident_bytes(), 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, server.resident_bytes())

    evict(server)  # so that the disk is written to, too
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert all(answer == expected for answer in pool.map(lambda _: answers(server), range(16 * rounds)))
    finally:
        done.set()
        watcher.join()
    print(f"resident: {idle / MIB:.0f} MiB idle, {peak / MIB:.0f} MiB at most")
    return peak - idle


def test_limits_of_memory_and_disk_hold_under_concurrent_queries(server, expected):
    server.stop()
    server.start()
    peak = resident_peak(server, expected, REPEATS)
    tiers = server.rows("SELECT tier, bytes, limit_bytes FROM system.cache")
    assert {tier for tier, _, _ in tiers} == {"decoded", "memory", "disk"}
    for tier, held, limit in tiers:
        assert 0 < held <= limit * 1.1, (tier, held, limit)
    on_disk = sum(path.stat().st_size for path in (server.folder / "pages").glob("*"))
    assert on_disk <= 256 * MIB * 1.1
    assert peak <= (sum(LIMITS.values()) + ON_THEIR_WAY_TO_DISK) * MIB * 1.1


def test_pages_that_come_from_disk_leave_no_memory_behind(catalog, server, expected, tmp_path):
    """Without memory tiers every page is read from disk, by whichever thread is free."""
    limits = {**LIMITS, "pages": 0, "decoded": 0}
    on_disk = Polynya(tmp_path, {"lake": catalog}, **sections(tmp_path, limits))
    try:
        peak = resident_peak(on_disk, expected, 2 * REPEATS)
        tiers = dict(on_disk.rows("SELECT tier, hits FROM system.cache"))
        assert tiers["disk"] > 1000 and tiers["memory"] == tiers["decoded"] == 0, tiers
        assert peak <= (sum(limits.values()) + ON_THEIR_WAY_TO_DISK) * MIB * 1.1
    finally:
        on_disk.stop()


def test_warming_reads_once_what_a_query_would_read(server, proxy, expected):
    evict(server)
    proxy.counters()
    warmed = server.rows("CALL system.warm('lake.tpch_sf0_1.lineitem')")
    assert warmed[-1][1] == warmed[-1][2] and warmed[-1][3] > MIB
    assert proxy.counters()["data"]["gets"] > 0
    assert server.rows(f"SELECT sum(length(l_comment)), sum(l_tax) FROM lake.tpch_sf0_1.lineitem")
    assert proxy.counters()["data"]["requests"] == 0
    forgotten = server.rows("CALL system.evict('lake.tpch_sf0_1.lineitem')")
    assert forgotten[0][0] > 0
    server.rows(f"SELECT sum(length(l_comment)), sum(l_tax) FROM lake.tpch_sf0_1.lineitem")
    assert proxy.counters()["data"]["gets"] > 0


def test_what_is_forgotten_takes_no_room(server, expected):
    for _ in range(3):
        assert answers(server) == expected
        evict(server)
        held = dict(server.rows("SELECT tier, bytes FROM system.cache"))
        assert (held["decoded"], held["memory"]) == (0, 0), held


def test_what_this_server_writes_needs_no_footer_read(server, proxy):
    server.run("CREATE SCHEMA IF NOT EXISTS lake.hydrated",
               "CREATE TABLE lake.hydrated.t AS SELECT * FROM lake.tpch_sf0_1.nation")
    proxy.counters()
    assert server.rows("SELECT count(n_comment) FROM lake.hydrated.t") == [(25,)]
    assert proxy.counters()["data"]["requests"] == 0
    server.run("DROP TABLE lake.hydrated.t")


def test_a_limit_reads_no_further_than_it_needs(server, proxy):
    server.run("CREATE SCHEMA IF NOT EXISTS lake.limited", "CREATE TABLE lake.limited.t (id bigint)",
               *[f"INSERT INTO lake.limited.t VALUES ({number})" for number in range(12)])

    def gets(sql, count):
        evict(server)
        proxy.counters()
        assert len(server.rows(sql)) == count
        return proxy.counters()["data"]["gets"]

    assert gets("SELECT id FROM lake.limited.t", 12) == 12
    assert gets("SELECT id FROM lake.limited.t LIMIT 1", 1) <= 6
    assert gets("SELECT id FROM lake.limited.t WHERE id % 2 < 2 LIMIT 1", 1) <= 6
    server.run("DROP TABLE lake.limited.t")
