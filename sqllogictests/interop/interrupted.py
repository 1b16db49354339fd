"""Ingests and definitions that are ended at random moments: `cargo xtask interrupt`.

Each round begins one change of a table and ends it at a moment that is drawn around the time that it takes: its client cuts the
connection, its deadline passes, or the server is killed (SIGKILL) and started again. Then the table must be as it was or as it was to be,
`system.queries` must say which, and nothing may be in the warehouse that no table refers to.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import pathlib
import random
import statistics
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.fs
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchTableError

from services import KEY, REGION, SECRET, Polynya, Seaweed
from test_stopping import Forwarder, field, packed, statement

ROWS = 20_000
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])
# Within this time a statement that was given up has ended, and what it left is gone.
SETTLED_SECONDS = 30.0
# Later than this nobody asks for.
LONGEST_SECONDS = 60.0


class Lake:
    """A catalog, its warehouse, and both as PyIceberg sees them."""

    def __init__(self, folder, store, seaweed=None):
        self.store, self.fs = store, None
        if seaweed:
            self.fs = pyarrow.fs.S3FileSystem(access_key=KEY, secret_key=SECRET, region=REGION, endpoint_override=seaweed.endpoint)
        s3 = seaweed.s3_properties() if seaweed else {}
        if store == "rest":
            self.warehouse = "s3://iceberg-tables"
            foreign = {"type": "rest", "uri": seaweed.rest_uri, "warehouse": self.warehouse, "credential": f"{KEY}:{SECRET}", **s3}
            # SeaweedFS's table bucket takes nothing but tables.
            self.settings = {**foreign, "s3.path-style-access": True, "polynya.changes-location": "s3://lake/notes"}
        else:
            self.warehouse = "s3://lake/interrupted" if store == "s3" else f"file://{folder}/warehouse"
            foreign = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": self.warehouse, **s3}
            self.settings = {**foreign, **({"s3.path-style-access": True} if s3 else {})}
        self.folder, self.foreign, self.opened = pathlib.Path(folder), foreign, None

    def catalog(self):
        self.opened = self.opened or load_catalog("lake", **self.foreign)
        return self.opened

    def files(self):
        """Every file in the warehouse."""
        if self.fs is None:
            folder = self.folder / "warehouse"
            return {f"file://{path}" for path in folder.rglob("*") if path.is_file()}
        root = self.warehouse.removeprefix("s3://")
        found = self.fs.get_file_info(pyarrow.fs.FileSelector(root, recursive=True, allow_not_found=True))
        return {f"s3://{entry.path}" for entry in found if entry.is_file}

    def strays(self, schema, tables):
        """Files that none of these tables refers to."""
        files = self.files()
        for name in tables:
            with contextlib.suppress(NoSuchTableError):
                files -= set(reached(self.catalog().load_table((schema, name))))
        if self.store == "rest":
            # What the service keeps of tables that were staged; and what a request to it may still need, for an hour.
            files = {file for file in files if "/.iceberg_staged/" not in file and not file.endswith("/v1.metadata.json")}
            files = {file for file in files if not any(change in file for change in self.committing())}
        return sorted(files)

    def committing(self):
        """The ids of changes for which the catalog may have been asked."""
        found = self.fs.get_file_info(pyarrow.fs.FileSelector("lake/notes", recursive=True, allow_not_found=True))
        notes = []
        for entry in (entry for entry in found if entry.is_file):
            with contextlib.suppress(FileNotFoundError), self.fs.open_input_file(entry.path) as note:
                notes.append(json.loads(note.read()))
        return [note["change"]["change_id"] for note in notes if note["phase"] == "committing" and note["change"]["kind"] == "write"]


def reached(table):
    """All files that a table refers to."""
    yield table.metadata_location
    for entry in table.metadata.metadata_log:
        yield entry.metadata_file
    for snapshot in table.metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                yield entry.data_file.file_path


def ingest(table, exists, missing):
    """The command of a bulk ingest into lake.s.table."""
    number = lambda key, value: bytes([key << 3, value])
    options = number(1, missing) + number(2, exists)
    return flight.FlightDescriptor.for_command(
        packed("CommandStatementIngest", field(1, options) + field(2, table) + field(3, "s") + field(4, "lake")))


class Kind:
    """A change: what there is before, what it does, and what may be there after it: the old rows of the table, or the new ones."""

    def __init__(self, before, act, old, new, other=None):
        self.before, self.act, self.old, self.new, self.other = before, act, old, new, other


def put(exists, missing):
    def act(client, table, options):
        writer, reader = client.do_put(ingest(table, exists, missing), SCHEMA, options)
        for begin in range(0, ROWS, ROWS // 4):
            ids = range(begin, begin + ROWS // 4)
            writer.write_batch(pa.record_batch([pa.array(ids, pa.int64()), pa.array([f"text {i}" for i in ids])], schema=SCHEMA))
        writer.done_writing()
        reader.read()
        writer.close()
    return act


def sql(text):
    return lambda client, table, options: client.get_flight_info(statement(text.format(t=table, n=ROWS)), options)


SERIES = "SELECT value AS id, 'text ' || value AS text FROM generate_series(1, {n})"
ONE = "CREATE TABLE lake.s.{t} PARTITIONED BY (bucket(4, id)) AS SELECT CAST(-1 AS bigint) AS id, 'old' AS text"
KINDS = {
    "replace": Kind(ONE, put(3, 1), 1, ROWS),
    "append": Kind(ONE, put(2, 2), 1, ROWS + 1),
    "create": Kind(None, put(1, 1), None, ROWS),
    "create as": Kind(None, sql("CREATE TABLE lake.s.{t} PARTITIONED BY (bucket(4, id)) AS " + SERIES), None, ROWS),
    "insert": Kind(ONE, sql("INSERT INTO lake.s.{t} " + SERIES), 1, ROWS + 1),
    "create table": Kind(None, sql("CREATE TABLE lake.s.{t} (id bigint, text varchar)"), None, 0),
    "purge": Kind(ONE, sql("DROP TABLE lake.s.{t} PURGE"), 1, None),
    "rename": Kind(ONE, sql("ALTER TABLE lake.s.{t} RENAME TO {t}_renamed"), 1, None, other="_renamed"),
}
ENDS = ["client", "deadline", "kill"]


class Interrupted:
    """One server and its lake."""

    def __init__(self, lake, seed, kinds=None):
        self.lake, self.random, self.number = lake, random.Random(seed), 0
        self.server = Polynya(lake.folder / "server", {"lake": lake.settings})
        self.server.run("CREATE SCHEMA lake.s")
        self.kinds = {name: KINDS[name] for name in kinds or KINDS}
        self.seconds = {name: statistics.median(self.undisturbed(name) for _ in range(3)) for name in self.kinds}

    def table(self):
        self.number += 1
        return f"t{self.number}"

    def prepare(self, kind, table):
        if kind.before:
            self.server.run(kind.before.format(t=table))

    def undisturbed(self, name):
        kind, table = self.kinds[name], self.table()
        self.prepare(kind, table)
        client = flight.FlightClient(self.server.url)
        begun = time.monotonic()
        kind.act(client, table, flight.FlightCallOptions(timeout=LONGEST_SECONDS))
        seconds = time.monotonic() - begun
        client.close()
        assert self.rows(table) == kind.new and (not kind.other or self.rows(table + kind.other) == kind.old), f"{name}: not even undisturbed"
        self.remove(kind, table)
        return seconds

    def rows(self, table):
        """How many there are; none if there is no table."""
        try:
            return self.server.rows(f"SELECT count(*) FROM lake.s.{table}")[0][0]
        except Exception as error:  # noqa: BLE001, the driver's errors are its own
            if "does not exist" in str(error):
                return None
            raise

    def remove(self, kind, table):
        for name in [table, *([table + kind.other] if kind.other else [])]:
            self.server.run(f"DROP TABLE IF EXISTS lake.s.{name} PURGE")

    def end(self, kind, how, table, delay):
        """Runs the change, and ends it after so long. Whether its client was told that it is done."""
        forwarder = Forwarder(self.server.port) if how == "client" else None
        client = flight.FlightClient(f"grpc://127.0.0.1:{forwarder.port}" if forwarder else self.server.url)
        options = flight.FlightCallOptions(timeout=max(delay, 0.001) if how == "deadline" else LONGEST_SECONDS)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(kind.act, client, table, options)
            if how != "deadline":
                concurrent.futures.wait([running], timeout=delay)
            if forwarder:
                forwarder.cut()
            if how == "kill":
                self.server.kill()
            try:
                running.result(timeout=LONGEST_SECONDS)
                told = True
            except Exception:  # noqa: BLE001, however the driver says it
                told = False
        client.close()
        if how == "kill":
            self.server.start()
        return told

    def state(self, table):
        """How the statement ended, as the server has it; none if it does not know of one."""
        under_way = ("PLANNING", "RUNNING", "QUEUED")
        query = f"SELECT state FROM system.queries WHERE statement LIKE '%lake.s.{table} %' OR statement LIKE '%lake.s.{table}'"
        query += " ORDER BY started_at DESC"
        deadline = time.monotonic() + SETTLED_SECONDS
        while True:
            # The one that asks is among them.
            states = [state for (state,) in self.server.rows(query) if state != "PLANNING"]
            if not any(state in under_way for state in states) or time.monotonic() > deadline:
                return states[0] if states else None
            time.sleep(0.05)

    def round(self, name, how):
        """One change ended at a random moment. What is wrong, and whether the table is old or new."""
        kind, table = self.kinds[name], self.table()
        self.prepare(kind, table)
        delay = self.random.uniform(0, 1.15 * self.seconds[name])
        told = self.end(kind, how, table, delay)
        wrong = []
        state = self.state(table) if how != "kill" and kind.before is None else None
        # A statement that goes on has ended when nothing is under way any more.
        rows, other = self.settled(kind, table)
        became = {(kind.old, None): "old", (kind.new, None): "new"}.get((rows, None))
        if kind.other:
            became = {(kind.old, None): "old", (None, kind.old): "new"}.get((rows, other))
        if became is None:
            wrong.append(f"neither old nor new: {rows} rows, {other} in the other")
        if told and became != "new":
            wrong.append(f"the client was told that it is done, and it is {became}")
        if state in ("FINISHED", "FAILED", "CANCELLED") and (state == "FINISHED") != (became == "new"):
            wrong.append(f"system.queries says {state}, and it is {became}")
        tables = [table, *([table + kind.other] if kind.other else [])]
        deadline = time.monotonic() + SETTLED_SECONDS
        while strays := self.lake.strays("s", tables):
            if time.monotonic() > deadline:
                wrong.append(f"{len(strays)} files are left: {strays[:3]}")
                break
            time.sleep(0.1)
        self.remove(kind, table)
        return wrong, became, delay

    def settled(self, kind, table):
        """The rows of the table, once they are the same twice, and no statement is under way."""
        deadline = time.monotonic() + SETTLED_SECONDS
        while time.monotonic() < deadline:
            under_way = self.server.rows("SELECT count(*) FROM system.queries WHERE state IN ('PLANNING', 'RUNNING', 'QUEUED')")[0][0]
            if under_way <= 1:
                break
            time.sleep(0.05)
        return self.rows(table), self.rows(table + kind.other) if kind.other else None

    def rounds(self, count):
        """So many rounds; all that was wrong."""
        wrong, became = [], collections.Counter()
        for number in range(count):
            name, how = self.random.choice(list(self.kinds)), ENDS[number % len(ENDS)]
            found, end, delay = self.round(name, how)
            became[name, end] += 1
            if found:
                wrong.append((number, name, how, *found))
                print(f"  {number + 1:4} {name}, ended by {how} at {delay:.3f} s of {self.seconds[name]:.3f}: {'; '.join(found)}", flush=True)
            elif (number + 1) % 25 == 0:
                print(f"  {number + 1:4} rounds, {len(wrong)} wrong", flush=True)
        print("  " + ", ".join(f"{name} {end}: {times}" for (name, end), times in sorted(became.items(), key=str)))
        return wrong


def main():
    parser = argparse.ArgumentParser(prog="cargo xtask interrupt", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["local", "s3", "rest"], default="local", help="where the tables are (rest: in SeaweedFS's own catalog)")
    parser.add_argument("--only", nargs="*", choices=list(KINDS), help="only these changes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seaweed = Seaweed(pathlib.Path(folder) / "seaweed") if arguments.store != "local" else None
        interrupted = None
        try:
            interrupted = Interrupted(Lake(folder, arguments.store, seaweed), arguments.seed, arguments.only)
            wrong = interrupted.rounds(arguments.rounds)
        finally:
            if interrupted:
                interrupted.server.stop()
            if seaweed:
                seaweed.stop()
    print(f"{arguments.rounds} changes ended at random moments, {len(wrong)} of them wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
