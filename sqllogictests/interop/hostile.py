"""Hostile clients beside an honest one: `cargo xtask hostile`.

Starts SeaweedFS and a server with small limits. The honest client runs TPC-H; beside it others send statements that mean no good
(hostile_statements.py), uploads that unpack to very much, queries of damaged files, and connections that say nothing. All of it comes from a
seed. The server must live, its memory must stay within 1.25 times its limits, and the honest client must get right answers, in time.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import pathlib
import random
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time

import pyarrow
from hostile_statements import statement
from services import KEY, REGION, SECRET, Polynya, Seaweed

TPCH_QUERIES = pathlib.Path(__file__).parent.parent.parent / "benchmarks/queries"
LIMITS = {"memory": {"limit": "1GiB", "spill_limit": "2GiB"},
          "cache": {"memory_bytes": "256MiB", "decoded_bytes": "384MiB", "metadata_bytes": "256MiB", "prefetch_bytes": "128MiB"}}
LIMIT_BYTES = 2048 << 20
MEMORY_SHARE_MAX = 1.25
SLOWER_MAX = 3.0
STATEMENT_SECONDS = 20.0


def same(left, right):
    def equal(a, b):
        return a == b or isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-9 * max(abs(a), abs(b))
    return len(left) == len(right) and all(len(a) == len(b) and all(map(equal, a, b)) for a, b in zip(left, right))


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]


class Honest:
    """Runs TPC-H, one query after the other, and knows the answers."""

    def __init__(self, server, schema):
        self.server, self.schema = server, schema
        self.queries = {path.stem: path.read_text().rstrip().rstrip(";") for path in sorted(TPCH_QUERIES.glob("*.sql"))}
        self.answers = {name: self.ask(name)[0] for name in self.queries}
        self.seconds, self.wrong = [], []

    def ask(self, name):
        begun = time.monotonic()
        with self.server.cursor() as cursor:
            cursor.execute(f"USE lake.{self.schema}")
            cursor.execute(self.queries[name])
            return [tuple(row.values()) for row in cursor.fetch_arrow_table().to_pylist()], time.monotonic() - begun

    def undisturbed(self):
        return [self.ask(name)[1] for _ in range(3) for name in self.queries]

    def run(self, stop):
        choices = random.Random(1)
        while not stop.is_set():
            name = choices.choice(list(self.queries))
            try:
                rows, seconds = self.ask(name)
                self.seconds.append(seconds)
                if not same(rows, self.answers[name]):
                    self.wrong.append((name, "WRONG"))
            except Exception as error:  # noqa: BLE001, the driver's errors are its own
                self.wrong.append((name, f"FAILED: {error}"[:400]))


class Hostile:
    """What the others do, each until it is told to stop. Counts what became of it."""

    def __init__(self, server, seaweed, seed):
        self.server, self.seaweed, self.seed = server, seaweed, seed
        self.became, self.unbounded = collections.Counter(), []

    def count(self, what, error):
        self.became[f"{what}: {'answered' if error is None else type(error).__name__}"] += 1

    def statements(self, stop, number):
        from adbc_driver_flightsql import dbapi
        choices = random.Random(f"{self.seed} statements {number}")
        bounds = {f"adbc.flight.sql.rpc.timeout_seconds.{what}": str(STATEMENT_SECONDS) for what in ("fetch", "query", "update")}
        while not stop.is_set():
            try:
                with dbapi.connect(self.server.url, db_kwargs=bounds) as connection, connection.cursor() as cursor:
                    cursor.execute(statement(choices))
                    for _ in range(3):
                        if not cursor.fetchmany(1000):
                            break
                self.count("statement", None)
            except Exception as error:  # noqa: BLE001
                self.count("statement", error)
                if not isinstance(error, dbapi.Error):
                    time.sleep(0.2)

    def uploads(self, stop, number):
        from adbc_driver_flightsql import dbapi
        choices = random.Random(f"{self.seed} uploads {number}")
        bounds = {f"adbc.flight.sql.rpc.timeout_seconds.{what}": str(STATEMENT_SECONDS) for what in ("fetch", "query", "update")}
        zeros = pyarrow.array([0] * 1_000_000, pyarrow.int64())
        one = pyarrow.array(["x" * 100_000])
        while not stop.is_set():
            rows = choices.choice([1_000, 50_000, 400_000])
            text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * min(rows, 20_000), pyarrow.int32()), one)
            table = choices.choice([
                lambda: pyarrow.table({f"c{i}": zeros.slice(0, rows) for i in range(choices.choice([1, 16, 64]))}),
                lambda: pyarrow.table({"d": text}),
                lambda: pyarrow.table({"t": pyarrow.array(["y" * choices.choice([10, 10_000])] * min(rows, 5_000))}),
            ])()
            try:
                with dbapi.connect(self.server.url, db_kwargs=bounds) as connection, connection.cursor() as cursor:
                    mode = choices.choice(["replace", "create_append"])
                    cursor.adbc_ingest(f"upload{number}", table, mode=mode, catalog_name="lake", db_schema_name="hostile")
                self.count("upload", None)
            except Exception as error:  # noqa: BLE001
                self.count("upload", error)

    def damaged(self, stop, number):
        """Data files of one table, some of whose bytes are others than were written."""
        import pyarrow.fs
        choices = random.Random(f"{self.seed} damaged {number}")
        store = pyarrow.fs.S3FileSystem(access_key=KEY, secret_key=SECRET, region=REGION, endpoint_override=self.seaweed.endpoint)
        while not stop.is_set():
            table = f"damaged{number}"
            try:
                self.server.run(f"DROP TABLE IF EXISTS lake.hostile.{table}",
                                f"CREATE TABLE lake.hostile.{table} AS SELECT value AS a, md5(value) AS t, value % 7 AS k FROM range(0, {choices.choice([500, 50_000])})")
                files = [info.path for info in store.get_file_info(pyarrow.fs.FileSelector("lake/hostile", recursive=True))
                         if f"/{table}" in info.path and info.path.endswith(".parquet")]
                for path in files:
                    with store.open_input_stream(path) as file:
                        data = bytearray(file.read())
                    for _ in range(choices.choice([1, 20])):
                        at = choices.choice([choices.randrange(len(data)), len(data) - 1 - choices.randrange(min(len(data), 600))])
                        data[at] ^= 1 << choices.randrange(8)
                    with store.open_output_stream(path) as file:
                        file.write(bytes(data))
                self.server.rows(f"SELECT count(*), min(a), max(t), sum(k) FROM lake.hostile.{table}")
                self.count("damaged file", None)
            except Exception as error:  # noqa: BLE001
                self.count("damaged file", error)

    def silence(self, stop, number):
        """Connections that say nothing, or the half of what is said first."""
        choices, held = random.Random(f"{self.seed} silence {number}"), []
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        while not stop.is_set():
            try:
                connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=5)
                connection.sendall(choices.choice([b"", preface[:9], preface, preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n"]))
                held.append(connection)
                self.count("silence", None)
            except OSError as error:
                self.count("silence", error)
                time.sleep(0.1)
            while len(held) > 300:
                held.pop(choices.randrange(len(held))).close()
            time.sleep(choices.choice([0, 0.01, 0.05]))
        for connection in held:
            connection.close()


def run(folder, seaweed, options):
    """What was not as it must be, after so many minutes."""
    s3 = {**seaweed.s3_properties(), "s3.path-style-access": True}
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": "s3://lake", **s3}
    limits = {**LIMITS, "cache": {**LIMITS["cache"], "disk_dir": f"{folder}/cache", "disk_bytes": "1GiB"}}
    server = Polynya(folder / "server", {"lake": catalog}, **limits)
    stop, peak, failures = threading.Event(), [0], []

    def watch():
        while not stop.wait(0.1):
            if server.process.poll() is not None:
                failures.append(("server", f"it ended with {server.process.returncode}", server.log.read_text()[-2000:]))
                stop.set()
                return
            with contextlib.suppress(OSError, IndexError):  # It ended just now.
                peak[0] = max(peak[0], server.resident_bytes())

    try:
        server.bench("load", "--scale", options.scale, "--keep", seconds=1800)
        server.run("CREATE SCHEMA IF NOT EXISTS lake.hostile")
        honest = Honest(server, "tpch_sf" + options.scale.replace(".", "_"))
        normal = honest.undisturbed()
        hostile = Hostile(server, seaweed, options.seed)
        jobs = [hostile.statements, hostile.uploads, hostile.statements, hostile.damaged, hostile.statements, hostile.silence, hostile.uploads, hostile.statements]
        with concurrent.futures.ThreadPoolExecutor(options.clients + 2) as pool:
            running = [pool.submit(watch), pool.submit(honest.run, stop)]
            running += [pool.submit(jobs[number % len(jobs)], stop, number) for number in range(options.clients)]
            stop.wait(options.minutes * 60)
            stop.set()
            for future in running:
                future.result(timeout=300)
        failures += honest.wrong
        slow, before = percentile(honest.seconds or [0.0], 0.95), percentile(normal, 0.95)
        share = peak[0] / LIMIT_BYTES
        print(f"{options.clients} hostile clients, {options.minutes} min: {dict(sorted(hostile.became.items()))}")
        print(f"honest: {len(honest.seconds)} queries, {len(honest.wrong)} wrong or failed; p95 {slow:.2f} s against {before:.2f} s ({slow / before:.2f} x), "
              f"median {statistics.median(honest.seconds or [0.0]):.2f} s; {peak[0] >> 20} MiB resident at most, {share:.2f} x the limits")
        if share > MEMORY_SHARE_MAX:
            failures.append(("memory", f"{peak[0] >> 20} MiB"))
        if options.timed and slow > SLOWER_MAX * before:
            failures.append(("p95", slow, before))
    finally:
        stop.set()
        if server.process.poll() is None:
            server.stop()
    return failures


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="cargo xtask hostile", description="Hostile clients beside an honest one.")
    parser.add_argument("--minutes", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--clients", type=int, default=8, help="hostile clients (default: 8)")
    parser.add_argument("--scale", default="0.1", help="TPC-H scale factor of the honest client (default: 0.1)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is hostile (default: 1)")
    parser.add_argument("--untimed", dest="timed", action="store_false", help="do not judge how long the honest client waits")
    return parser.parse_args(arguments)


def main():
    options = parse()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="polynya-hostile-"))
    seaweed = Seaweed(folder / "seaweed")
    try:
        failures = run(folder, seaweed, options)
    finally:
        seaweed.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for failure in failures:
        print("not as it must be:", failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
