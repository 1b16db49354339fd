"""How fast answers reach a client: `cargo xtask wire`.

Starts a server on TPC-H tables in a local folder (or takes the one at --url), measures round trips of one row (`polynya-bench latency`), and
then reads a large result through ADBC: from the server, and from `polynya-bench raw-flight`, which sends the same record batches from memory
with arrow-flight alone. The two take turns, and the order within a pair changes, so that a machine that slows down slows both. Batches are
read and let go. The first read of each is not measured: the server's cache has what it needs, as it does for a table that is in use.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from adbc_driver_flightsql import dbapi

from services import Polynya, program

TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(process):
    """What a process has used, in user and kernel mode; none if it is not ours."""
    if process is None:
        return None
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Source:
    """A server to read from; `process` is known if we have started it."""

    def __init__(self, name, url, options, process=None):
        self.name, self.url, self.options, self.process = name, url, options, process
        self.rows, self.size, self.seconds, self.first, self.served, self.read = 0, 0, [], [], [], []

    def fetch(self, sql, measured=True):
        rows = size = 0
        with dbapi.connect(self.url, db_kwargs=self.options, autocommit=True) as connection, connection.cursor() as cursor:
            served, read, begun, first = processor_seconds(self.process), time.process_time(), time.perf_counter(), None
            cursor.execute(sql)
            for batch in cursor.fetch_record_batch():
                first = first or time.perf_counter() - begun
                rows += batch.num_rows
                size += batch.nbytes
            seconds, read = time.perf_counter() - begun, time.process_time() - read
        if self.rows not in (0, rows):
            raise RuntimeError(f"{self.name} gave {rows} rows, and {self.rows} before")
        self.rows, self.size = rows, size
        if measured:
            self.seconds.append(seconds)
            self.first.append(first or seconds)
            self.read.append(read)
            if served is not None:
                self.served.append(processor_seconds(self.process) - served)
        return seconds

    def line(self):
        middle = statistics.median(self.seconds)
        served = f"{statistics.median(self.served):10.2f}" if self.served else f"{'-':>10}"
        return (f"{self.name:12} {middle:9.3f} {self.rows / middle / 1e6:12.2f} {self.size / middle / 1e6:9.0f} {statistics.median(self.first) * 1e3:14.1f} "
                f"{served} {statistics.median(self.read):10.2f}")


HEADER = f"{'median of':12} {'seconds':>9} {'M rows/s':>12} {'MB/s':>9} {'first batch ms':>14} {'server CPU':>10} {'client CPU':>10}"


@contextlib.contextmanager
def own_server(folder, scale, tables):
    """A server on a SQLite catalog and a folder, with the tables that are wanted."""
    (folder / "warehouse").mkdir(parents=True, exist_ok=True)
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}
    server = Polynya(folder / "server", {"lake": catalog})
    try:
        print(f"loading {tables} at scale {scale} …", flush=True)
        server.bench("load", "--scale", scale, "--tables", tables, "--keep", seconds=3600)
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def raw_server(url, sql):
    """arrow-flight alone, with the rows that the server at `url` gives."""
    command = [program("POLYNYA_BENCH_BIN"), "raw-flight", "--url", url, "--sql", sql]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        raw_url = process.stdout.readline().strip()
        if not raw_url:
            raise RuntimeError(f"polynya-bench raw-flight ended with {process.wait()}")
        print(f"raw: {process.stdout.readline().strip()}", flush=True)
        yield raw_url, process
    finally:
        process.kill()
        process.wait()


def login():
    """How to log in at --url, as the environment says it for polynya-bench too."""
    user, password, token = (os.environ.get(f"POLYNYA_{name}") for name in ("USER", "PASSWORD", "TOKEN"))
    if token:
        return {"adbc.flight.sql.authorization_header": f"Bearer {token}"}
    return {"username": user, "password": password or ""} if user else {}


def latencies(url, schema, rounds):
    command = [program("POLYNYA_BENCH_BIN"), "latency", "--url", url, "--schema", schema, "--rounds", str(rounds)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def compare(url, process, sql, pairs):
    """Reads from both in turn. The ratio of the medians: how much of raw's throughput the server has."""
    with raw_server(url, sql) as (raw_url, raw_process):
        ours = Source("polynya", url, login(), process)
        raw = Source("arrow-flight", raw_url, {}, raw_process)
        for source in (ours, raw):
            source.fetch(sql, measured=False)
        for number in range(pairs):
            pair = (raw, ours) if number % 2 == 0 else (ours, raw)
            times = {source.name: source.fetch(sql) for source in pair}
            print(f"pair {number + 1}: arrow-flight {times[raw.name]:.3f} s, polynya {times[ours.name]:.3f} s, ratio "
                  f"{times[raw.name] / times[ours.name]:.3f}", flush=True)
        if ours.rows != raw.rows:
            raise RuntimeError(f"polynya gave {ours.rows} rows, arrow-flight {raw.rows}")
        print(HEADER, raw.line(), ours.line(), sep="\n")
        print(f"{ours.rows:,} rows, {ours.size / 1e6:,.0f} MB in Arrow's arrays")
        return statistics.median(raw.seconds) / statistics.median(ours.seconds)


def parse():
    parser = argparse.ArgumentParser(prog="cargo xtask wire", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--url", help="a running server (default: one of our own); POLYNYA_USER, POLYNYA_PASSWORD and POLYNYA_TOKEN log in")
    parser.add_argument("--scale", default="1", help="TPC-H scale factor (default: 1, which has 6,001,215 rows in lineitem)")
    parser.add_argument("--schema", help="schema of the TPC-H tables at --url (default: that of --scale)")
    parser.add_argument("--sql", help="the large query (default: all of lineitem)")
    parser.add_argument("--pairs", type=int, default=5, help="reads of each server (default: 5)")
    parser.add_argument("--rounds", type=int, default=500, help="measured rounds of small queries (default: 500; 0: none)")
    parser.add_argument("--dir", type=pathlib.Path, help="folder of our own server's tables, kept and used again (default: a temporary one)")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="RATIO", help="fail if the server's throughput is less than this of raw's")
    return parser.parse_args()


def main():
    options = parse()
    schema = options.schema or "tpch_sf" + options.scale.replace(".", "_")
    sql = options.sql or f"SELECT * FROM {schema}.lineitem"
    with contextlib.ExitStack() as stack:
        url, process = options.url, None
        if not url:
            folder = options.dir or pathlib.Path(tempfile.mkdtemp(prefix="polynya-wire-"))
            if not options.dir:
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            server = stack.enter_context(own_server(folder.resolve(), options.scale, "nation,lineitem"))
            url, process = server.url, server.process
        if options.rounds:
            latencies(url, schema, options.rounds)
        ratio = compare(url, process, sql, options.pairs)
    print(f"throughput of arrow-flight alone that the server has: {ratio:.1%}")
    sys.exit(0 if ratio >= options.at_least else 1)


if __name__ == "__main__":
    main()
