"""Queries under limits so tight that whatever can wait for itself does: `cargo xtask soak`.

Starts SeaweedFS, loads TPC-H and TPC-DS, and runs random queries of both by several clients at once on servers whose limits are tiny: few
requests to the store at once, next to no memory to read ahead, small caches; every second server runs its queries on workers. Every answer
must be that of the first run, without such limits, and every query must end in time. What did not is told with where its parts waited.
With `--catalog`, the tables are there already: those of the peers' bench, say; with `--answers`, every answer must be the one in a file
there, which another engine gave.
"""

import argparse
import concurrent.futures
import contextlib
import csv
import itertools
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time

from services import Polynya, Seaweed

TPCH_QUERIES = pathlib.Path(__file__).parent.parent.parent / "benchmarks/queries"
REQUESTS = [1, 2, 8]
AHEAD = ["16KiB", "1MiB", "24MiB"]


def tpch_queries():
    return {path.stem: path.read_text().rstrip().rstrip(";") for path in sorted(TPCH_QUERIES.glob("*.sql"))}


class TpcDs:
    """DuckDB's TPC-DS: data, queries, and answers on DuckDB's own tables."""

    def __init__(self, folder, scale):
        import importlib.metadata as metadata

        import duckdb

        self.database = duckdb.connect(str(folder / f"tpcds_{scale}.duckdb"), config={"allow_unsigned_extensions": "true"})
        files = metadata.files("duckdb_extension_tpcds")
        extension = next(file for file in files if str(file).endswith(".duckdb_extension"))
        self.database.execute(f"LOAD '{extension.locate()}'")
        self.scale, self.schema = scale, f"tpcds_sf{scale}".replace(".", "_")

    def tables(self):
        return [name for (name,) in self.database.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()]

    def load(self, server):
        """Writes the tables through the server, those that it does not have."""
        if not self.tables():
            self.database.execute(f"CALL dsdgen(sf={self.scale})")
        server.run(f"CREATE SCHEMA IF NOT EXISTS lake.{self.schema}")
        there = {name for (name,) in server.rows(f"SELECT table_name FROM lake.information_schema.tables WHERE table_schema = '{self.schema}'")}
        for table in self.tables():
            if table not in there:
                reader = self.database.execute(f"SELECT * FROM {table}").to_arrow_reader(1 << 17)
                with server.cursor() as cursor:
                    cursor.adbc_ingest(table, reader, mode="create", catalog_name="lake", db_schema_name=self.schema)

    def queries(self):
        return {f"ds{number:02}": text.rstrip().rstrip(";") for number, text in self.database.execute("SELECT query_nr, query FROM tpcds_queries()").fetchall()}


def comparable(rows):
    """Rows in an order of their own: ties may come in any. Floating-point numbers are cut where their sums may differ."""
    def cut(value):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    return sorted(tuple(map(cut, row)) for row in rows)


class Told:
    """An answer as another engine has written it, to be compared with rows: `==`."""

    def __init__(self, path):
        with path.open(newline="") as lines:
            self.rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter="|", quoting=csv.QUOTE_NONE)][1:]

    def __eq__(self, rows):
        rows = [["" if value is None else str(value).strip() for value in row] for row in rows]
        if len(rows) != len(self.rows):
            return False
        # Ties may come in any order.
        return self.equal(self.rows, rows) or self.equal(sorted(self.rows, key=self.rounded), sorted(rows, key=self.rounded))

    @staticmethod
    def rounded(row):
        def cut(cell):
            try:
                return f"{float(cell):030.2f}"
            except ValueError:
                return cell
        return [cut(cell) for cell in row]

    @staticmethod
    def equal(left, right):
        # Two decimals, or six digits: others give a double where we give a decimal. A timestamp may have a time of day.
        def same(told, given):
            try:
                return told == given or abs(float(told) - float(given)) <= 0.011 + 1e-6 * abs(float(told))
            except ValueError:
                return bool(told) and given.startswith(told)
        return all(len(a) == len(b) and all(map(same, a, b)) for a, b in zip(left, right))


class Soak:
    """What is asked, and what must be answered."""

    def __init__(self, seaweed, folder, options):
        self.seaweed, self.folder, self.options = seaweed, folder, options
        self.random, self.served, self.wrong, self.done = random.Random(options.seed), 0, [], 0
        self.suites = {}

    def serve(self, cache=None, workers=0, **sections):
        self.served += 1
        if self.options.catalog:
            catalog = json.loads(pathlib.Path(self.options.catalog).read_text())
        else:
            s3 = {**self.seaweed.s3_properties(), "s3.path-style-access": True}
            catalog = {"type": "sql", "uri": f"sqlite:///{self.folder}/catalog.db", "warehouse": "s3://lake/soak", **s3}
        if workers:
            sections["workers"] = {"provisioner": "local-process", "min": workers, "max": workers, "execution": "distributed"}
        folder = self.folder / f"server-{self.served}"
        return Polynya(folder, {"lake": catalog}, cache={"disk_dir": f"{folder}/cache", "disk_bytes": "256MiB", **(cache or {})}, **sections)

    def prepare(self):
        """Loads what is not there yet, and takes the answers of a server without tight limits."""
        server = self.serve()
        try:
            schema = "tpch_sf" + self.options.scale.replace(".", "_")
            if not self.options.catalog:
                print(f"loading TPC-H at scale {self.options.scale} …", flush=True)
                server.bench("load", "--scale", self.options.scale, "--keep", seconds=3600)
            self.suites[schema] = tpch_queries()
            if self.options.tpcds != "0":
                tpcds = TpcDs(self.folder, self.options.tpcds)
                if not self.options.catalog:
                    print(f"loading TPC-DS at scale {self.options.tpcds} …", flush=True)
                    tpcds.load(server)
                self.suites[tpcds.schema] = tpcds.queries()
            self.answers = {}
            for schema, queries in self.suites.items():
                for name in queries:
                    if self.options.answers:
                        folder = pathlib.Path(self.options.answers) / ("answers_" + schema.removeprefix("tpch_"))
                        self.answers[name] = Told(folder / f"q{int(name.strip('qds'))}.csv")
                        continue
                    self.answers[name] = comparable(self.ask(server, schema, name))
                    print(f"  {name}: {len(self.answers[name])} rows", flush=True)
        finally:
            server.stop()

    def ask(self, server, schema, name):
        bounds = {f"adbc.flight.sql.rpc.timeout_seconds.{what}": str(self.options.bound) for what in ("fetch", "query", "update")}
        from adbc_driver_flightsql import dbapi
        cookies = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}
        with dbapi.connect(server.url, db_kwargs={**cookies, **bounds}) as connection, connection.cursor() as cursor:
            cursor.execute(f"USE lake.{schema}")
            cursor.execute(self.suites[schema][name])
            return list(zip(*(column.to_pylist() for column in cursor.fetch_arrow_table().columns)))

    def round(self, requests, ahead, workers, seconds):
        """Some clients on a server with these limits, until the time is over."""
        label = f"{requests} requests at once, {ahead} ahead, {workers} workers"
        limits = {"memory_bytes": "32MiB", "decoded_bytes": self.random.choice(["0B", "64MiB"]), "metadata_bytes": "4MiB",
                  "concurrent_requests": requests, "prefetch_bytes": ahead}
        server = self.serve(limits, workers, admission={"max_running": self.random.choice([2, 8])})
        until, begun, counted = time.monotonic() + seconds, time.monotonic(), self.done

        def client(seed):
            choices = random.Random(seed)
            while time.monotonic() < until:
                schema = choices.choice(list(self.suites))
                name = choices.choice(list(self.suites[schema]))
                asked = time.monotonic()
                try:
                    rows, told = self.ask(server, schema, name), self.answers[name]
                    if not (told == rows if isinstance(told, Told) else told == comparable(rows)):
                        self.wrong.append((label, name, "WRONG"))
                except Exception as error:  # noqa: BLE001, the driver's errors are its own
                    late = time.monotonic() - asked >= self.options.bound - 1
                    self.wrong.append((label, name, "HUNG" if late else "FAILED", str(error)[:500], self.stalled(server)))
                self.done += 1

        try:
            with concurrent.futures.ThreadPoolExecutor(self.options.clients) as pool:
                list(pool.map(client, [self.random.random() for _ in range(self.options.clients)]))
            stalled = self.stalled(server)
            if stalled:
                self.wrong.append((label, "stalled", stalled))
        finally:
            server.stop()
        print(f"{label}: {self.done - counted} queries in {time.monotonic() - begun:.0f} s, {len(self.wrong)} not as they must be so far", flush=True)
        shutil.rmtree(server.folder, ignore_errors=True)

    def stalled(self, server):
        try:
            return server.rows("SELECT query_id, stalled FROM system.queries WHERE stalled IS NOT NULL")
        except Exception as error:  # noqa: BLE001
            return [("the server does not answer", str(error)[:200])]

    def run(self):
        rounds = list(itertools.product(REQUESTS, AHEAD))
        self.random.shuffle(rounds)
        seconds = self.options.minutes * 60 / len(rounds)
        for number, (requests, ahead) in enumerate(rounds):
            self.round(requests, ahead, (number % 2) * self.options.workers, seconds)


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="cargo xtask soak", description="Runs TPC-H and TPC-DS under limits so tight that whatever can wait for itself does.")
    parser.add_argument("--scale", default="10", help="TPC-H scale factor (default: 10)")
    parser.add_argument("--tpcds", default="1", help="TPC-DS scale factor; 0 leaves it out (default: 1)")
    parser.add_argument("--minutes", type=float, default=120, help="how long, over all limits (default: 120)")
    parser.add_argument("--clients", type=int, default=8, help="clients at once (default: 8)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of every second server (default: 2)")
    parser.add_argument("--bound", type=float, default=900, help="seconds in which every query must end (default: 900)")
    parser.add_argument("--folder", help="where data is kept for the next run (default: a temporary folder, removed at the end)")
    parser.add_argument("--catalog", help="JSON file with the properties of a catalog that has the tables, in schemas tpch_sf… and tpcds_sf… (default: they are made)")
    parser.add_argument("--answers", help="folder with answers_sf… (TPC-H) and answers_tpcds_sf…, each of files q1.csv, …: header, fields between | (default: answers without tight limits)")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default: 1)")
    return parser.parse_args(arguments)


def main():
    options = parse()
    folder = pathlib.Path(options.folder or tempfile.mkdtemp(prefix="polynya-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if not options.folder:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        seaweed = None
        if not options.catalog:
            seaweed = Seaweed(folder / "seaweed")
            stack.callback(seaweed.stop)
        soak = Soak(seaweed, folder, options)
        soak.prepare()
        soak.run()
    print(f"{soak.done} queries, {len(soak.wrong)} not as they must be")
    for failure in soak.wrong:
        print("not as it must be:", failure)
    sys.exit(1 if soak.wrong else 0)


if __name__ == "__main__":
    main()
