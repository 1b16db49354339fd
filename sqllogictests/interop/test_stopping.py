"""Clients that go away, or cancel, in every way there is, many at once: within 2 s nothing of their queries is left.

What is looked at is the process and the store: processor time, requests, reserved memory, open files, threads. How often it is done is
POLYNYA_TEST_REPEATS times what CI does: 20 makes 1,000 rounds.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import random
import socket
import struct
import threading
import time
import urllib.request

import pyarrow.flight as flight
import pytest

from services import Polynya, Proxy, free_port, wait_until

ROUNDS = 50 * int(os.environ.get("POLYNYA_TEST_REPEATS", "1"))
AT_ONCE = 10
MIB = 1 << 20
WINDOW = 0.25
# Each would run for minutes at least: on the processor, on the store, in memory, or as fast as its client reads.
QUERIES = [
    "SELECT sum(value % 7) AS unwanted FROM generate_series(1, 1000000000000)",
    "SELECT count(*) AS unwanted FROM lake.tpch_sf0_01.lineitem a, lake.tpch_sf0_01.lineitem b "
    "WHERE a.l_comment || b.l_comment || a.l_shipinstruct || b.l_shipmode LIKE '%zzzqqq%'",
    "SELECT repeat(CAST(value AS VARCHAR), 9) AS unwanted FROM generate_series(1, 1000000000) ORDER BY 1",
    "SELECT value, repeat('x', 1000) AS unwanted FROM generate_series(1, 1000000000)",
]
INSERT = "INSERT INTO lake.stopping.t SELECT value AS unwanted, repeat('x', 100) FROM generate_series(1, 1000000000)"


def field(number, data):
    """A field of a Protobuf message: bytes, text, or another message."""
    data = data.encode() if isinstance(data, str) else data
    length, size = b"", len(data)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def packed(name, message):
    """A message of Flight SQL, as its calls carry it."""
    return field(1, f"type.googleapis.com/arrow.flight.protocol.sql.{name}") + field(2, message)


def statement(sql):
    return flight.FlightDescriptor.for_command(packed("CommandStatementQuery", field(1, sql)))


class Forwarder:
    """Stands between a client and the server, so that their connection can be cut without a word."""

    def __init__(self, port):
        self.upstream, self.sockets = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.upstream))
                self.sockets += [client, server]
                for source, target in [(client, server), (server, client)]:
                    threading.Thread(target=self.forward, args=(source, target), daemon=True).start()

    def forward(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(MIB):
                target.sendall(data)

    def cut(self):
        self.listener.close()
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RD)  # wakes who waits for it; the reset is sent once nobody does
                each.close()


def drop_stream(server, client, info, reader):
    reader.cancel()


def cancel_by(server, reader, name, body):
    with flight.FlightClient(server.url) as other:
        list(other.do_action(flight.Action(name, body)))
    # One by one: to pyarrow's read_all a cancelled call is somebody who presses Ctrl-C, and it interrupts the main thread.
    with pytest.raises(Exception, match="(?i)cancel"):
        while reader.read_chunk():
            pass


def cancel_flight_info(server, client, info, reader):
    cancel_by(server, reader, "CancelFlightInfo", field(1, info.serialize()))


def cancel_query(server, client, info, reader):
    cancel_by(server, reader, "CancelQuery", packed("ActionCancelQueryRequest", field(1, info.serialize())))


def close_client(server, client, info, reader):
    client.close()


STOPS = [drop_stream, cancel_flight_info, cancel_query, close_client]


def begin(client, sql):
    info = client.get_flight_info(statement(sql))
    reader = client.do_get(info.endpoints[0].ticket)
    assert len(reader.schema) > 0
    return info, reader


def stop(server, sql, wait, way):
    """Runs a query for a while, then stops it as a client of this kind would."""
    with flight.FlightClient(server.url) as client:
        info, reader = begin(client, sql)
        time.sleep(wait)
        way(server, client, info, reader)


def cut_connection(server, sql, wait):
    forwarder = Forwarder(server.port)
    with flight.FlightClient(f"grpc://127.0.0.1:{forwarder.port}") as client:
        try:
            _, reader = begin(client, sql)
            time.sleep(wait)
        finally:
            forwarder.cut()
        with pytest.raises(Exception):
            reader.read_all()


def give_up_call(server, wait):
    """A statement that writes runs in the call that brings it, whose client waits no longer."""
    with flight.FlightClient(server.url) as client:
        with pytest.raises(Exception, match="(?i)deadline|timed out|timeout|cancel"):
            client.get_flight_info(statement(INSERT), flight.FlightCallOptions(timeout=wait))


def round_of(server, number):
    """The ways and the queries have numbers without a common divisor, so that each meets each: 4 queries, 7 ways."""
    dice = random.Random(number)
    sql, wait = QUERIES[number % len(QUERIES)], dice.uniform(0.0, 0.4)
    way = number % 7
    if way < len(STOPS):
        stop(server, sql, wait, STOPS[way])
    elif way == 6:
        give_up_call(server, 0.05 + wait)
    else:
        cut_connection(server, sql, wait)


@pytest.fixture(scope="module")
def proxy(seaweed):
    proxy = Proxy(seaweed.endpoint)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def server(seaweed, proxy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopping")
    s3 = {**seaweed.s3_properties(), "s3.endpoint": proxy.url, "s3.path-style-access": True}
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": "s3://lake/stopping", **s3}
    metrics = free_port()
    # Hardly a cache, so that every query asks the store; and few results that nobody fetches.
    server = Polynya(folder, {"lake": catalog}, server={"metrics_listen": f"127.0.0.1:{metrics}", "pending_results_max": 2 * AT_ONCE + 8},
                     cache={"memory_bytes": "1MiB", "decoded_bytes": "0MiB"}, memory={"limit": "1GiB"})
    server.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
    server.bench("load", "--scale", "0.01")
    server.run("CREATE SCHEMA lake.stopping", "CREATE TABLE lake.stopping.t (id BIGINT, name VARCHAR)")
    proxy.faults(latency_ms=30, bandwidth_bytes_per_s=4 * MIB)
    yield server
    server.stop()


def of_process(server, name):
    return pathlib.Path(f"/proc/{server.process.pid}/{name}")


def processor_seconds(server):
    fields = of_process(server, "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(server):
    return len(os.listdir(of_process(server, "fd")))


def threads(server):
    return len(os.listdir(of_process(server, "task")))


def requests(proxy):
    """Requests to the store since this was last asked."""
    counters = proxy.counters()
    return sum(counters[kind] for kind in ("gets", "lists", "heads", "puts", "others"))


def under_way(server):
    """How many queries have not ended, and the memory that they have reserved."""
    with urllib.request.urlopen(server.metrics_url) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    queries = sum(float(value) for name, value in lines if name.startswith("polynya_queries{"))
    return queries, next(float(value) for name, value in lines if name == "polynya_memory_used_bytes")


def is_quiet(server, proxy):
    """Whether the server does nothing for a moment: runs no query, uses no processor, asks the store for nothing."""
    requests(proxy)
    before = processor_seconds(server)
    time.sleep(WINDOW)
    used, asked = processor_seconds(server) - before, requests(proxy)
    return used < 0.05 and asked == 0 and under_way(server) == (0, 0)


def batch(server, proxy, pool, numbers):
    """Some rounds at once, after which the server is quiet within 2 s; how many requests they made, and the processor time."""
    requests(proxy)
    before = processor_seconds(server)
    for done in [pool.submit(round_of, server, number) for number in numbers]:
        done.result(timeout=60)
    made, used = requests(proxy), processor_seconds(server) - before
    wait_until(lambda: is_quiet(server, proxy), f"queries go on though nobody wants them (rounds {numbers}): the server is not quiet",
               seconds=2 + WINDOW)
    return made, used


def test_queries_end_with_those_who_want_them(server, proxy):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        batch(server, proxy, pool, range(AT_ONCE))
        before = open_files(server), threads(server), server.resident_bytes()
        done = [batch(server, proxy, pool, range(begin, begin + AT_ONCE)) for begin in range(AT_ONCE, AT_ONCE + ROUNDS, AT_ONCE)]
    assert sum(made for made, _ in done) > ROUNDS / 10 and sum(used for _, used in done) > ROUNDS / 100, done

    # Connections to the store and idle threads are kept for a while.
    wait_until(lambda: open_files(server) <= before[0] + 16, f"files stay open: {before[0]} before", seconds=30)
    wait_until(lambda: threads(server) <= before[1] + 16, f"threads stay: {before[1]} before", seconds=30)
    assert server.resident_bytes() <= before[2] + 512 * MIB
    # The log has room for 1,000 statements. All of these ended as they should.
    states = dict(server.rows("SELECT state, count(*) FROM system.queries WHERE statement LIKE '%unwanted%' "
                              "AND statement NOT LIKE '%system.queries%' GROUP BY state"))
    assert set(states) == {"CANCELLED"} and states["CANCELLED"] >= min(ROUNDS, 500) * 0.8, states
    # There is room for new tickets: none was left behind, but for those of the fixture.
    with flight.FlightClient(server.url) as client:
        infos = [client.get_flight_info(statement("SELECT 1")) for _ in range(2 * AT_ONCE)]
        assert [client.do_get(info.endpoints[0].ticket).read_all().num_rows for info in infos] == [1] * len(infos)
    assert server.rows("SELECT count(*) FROM lake.tpch_sf0_01.nation") == [(25,)]
    assert server.rows("SELECT count(*) FROM lake.stopping.t") == [(0,)]
