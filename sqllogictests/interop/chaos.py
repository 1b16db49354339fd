"""Workers that die or hang while queries run: `cargo xtask chaos`.

Starts SeaweedFS, a coordinator with `local-process` workers and TPC-H tables, and runs the 22 queries in random order. During each run a
random worker is killed (SIGKILL), or stopped (SIGSTOP, a black hole that keeps its connections), at a random moment. Every answer must be
that of the undisturbed run in the coordinator alone. With retry off the same kills must make queries fail: else they prove nothing.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time

from services import Polynya, Seaweed, Worker

QUERIES = pathlib.Path(__file__).parent.parent.parent / "benchmarks/queries"
# A black hole is known by its silence on the wire: pings each second, three of patience, and then the query runs again.
HEARTBEAT_SECONDS = 4.0
HANG_SECONDS = 120.0
# Connections to the store are kept for this time when nobody uses them, and a little longer.
IDLE_CONNECTION_SECONDS = 150.0


def coordinator(folder, seaweed, workers, sections=None, **settings):
    """A server in `folder`; all servers beside it have the same tables."""
    s3 = {**seaweed.s3_properties(), "s3.path-style-access": True}
    catalog = {"type": "sql", "uri": f"sqlite:///{folder.parent}/catalog.db", "warehouse": "s3://lake/chaos", **s3}
    settings = {"provisioner": "local-process", "min": workers, "max": workers, "execution": "distributed", **settings}
    return Polynya(folder, {"lake": catalog}, workers=settings, cache={"disk_dir": f"{folder}/cache", "disk_bytes": "4GiB"}, **(sections or {}))


def child_processes(server):
    """The process ids of the server's workers. Beside each runs a shell that ends it with the server."""
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
    children = [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    return [child for child in children if is_worker(child)]


def is_worker(process):
    with contextlib.suppress(OSError):  # It has ended.
        return b"\0worker\0" in pathlib.Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def same(left, right):
    """Whether two answers are equal; floating-point numbers may differ in their last digits."""
    def equal(a, b):
        return a == b or isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-9 * max(abs(a), abs(b))
    return len(left) == len(right) and all(len(a) == len(b) and all(map(equal, a, b)) for a, b in zip(left, right))


class Chaos:
    """A coordinator, its workers, and the answers that queries must have."""

    def __init__(self, server, schema, seed):
        self.server, self.schema, self.random = server, schema, random.Random(seed)
        self.queries = {path.stem: path.read_text().rstrip().rstrip(";") for path in sorted(QUERIES.glob("*.sql"))}
        assert len(self.queries) == 22, QUERIES
        self.answers = {name: self.run(name, "local")[0] for name in self.queries}
        self.seconds = {}

    def run(self, name, execution="distributed"):
        """The query's rows, and how long it took in seconds."""
        with self.server.cursor() as cursor:
            cursor.execute(f"USE lake.{self.schema}")
            cursor.execute(f"SET polynya.execution = '{execution}'")
            begun = time.monotonic()
            cursor.execute(self.queries[name])
            rows = [tuple(row.values()) for row in cursor.fetch_arrow_table().to_pylist()]
            return rows, time.monotonic() - begun

    def measure(self, runs=3):
        """Undisturbed times of all queries; the answers must be right."""
        for name in self.queries:
            timed = [self.run(name) for _ in range(runs)]
            assert all(same(rows, self.answers[name]) for rows, _ in timed), f"{name}: another answer on workers"
            self.seconds[name] = statistics.median(seconds for _, seconds in timed)

    def disturb(self, which):
        """Runs a random query while a random worker gets this signal. Returns its name, what became of it, its time, and when the signal came."""
        name = self.random.choice(list(self.queries))
        delay = self.random.uniform(0, self.seconds[name])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.run, name)
            time.sleep(delay)
            victims = child_processes(self.server)
            if victims:
                os.kill(self.random.choice(victims), which)
            try:
                rows, seconds = running.result(timeout=HANG_SECONDS)
                return name, "right" if same(rows, self.answers[name]) else "WRONG", seconds, delay
            except concurrent.futures.TimeoutError:
                self.server.kill()
                return name, "HUNG", HANG_SECONDS, delay
            except Exception as error:  # noqa: BLE001, the driver's errors are its own
                return name, f"FAILED: {error}", 0.0, delay

    def rounds(self, which, count):
        outcomes = []
        for number in range(count):
            outcome = self.disturb(which)
            outcomes.append(outcome)
            name, became, seconds, delay = outcome
            print(f"  {number + 1:3} {which.name} {name}: {became} in {seconds:.2f} s, signal at {delay:.2f} s "
                  f"(undisturbed {self.seconds[name]:.2f} s)", flush=True)
            if became == "HUNG":
                break
        return outcomes


def open_files(server):
    return sum(len(list(pathlib.Path(f"/proc/{process}/fd").iterdir())) for process in [server.process.pid, *child_processes(server)])


def crowd(chaos, clients, seconds):
    """Many clients at once, each with one random query after the other. What was not as it must be, and how many queries ran."""
    server, done, wrong = chaos.server, [], []
    # Workers that run have files and connections of their own.
    for name in chaos.queries:
        chaos.run(name)
    deadline, before = time.monotonic() + seconds, open_files(server)

    def client(seed):
        choices = random.Random(seed)
        while time.monotonic() < deadline:
            name = choices.choice(list(chaos.queries))
            try:
                rows, took = chaos.run(name)
                done.append(took)
                if not same(rows, chaos.answers[name]):
                    wrong.append((name, "WRONG"))
            except Exception as error:  # noqa: BLE001, the driver's errors are its own
                wrong.append((name, f"FAILED: {error}"))

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, seed) for seed in range(clients)]
        while any(not future.done() for future in running):
            time.sleep(5)
            states = dict(server.rows("SELECT state, count(*) FROM system.queries WHERE state NOT IN ('FINISHED', 'FAILED', 'CANCELLED') GROUP BY state"))
            resident = sum(resident_bytes(process) for process in [server.process.pid, *child_processes(server)])
            print(f"  {len(done)} queries, {len(wrong)} wrong; {states}; {resident >> 20} MiB resident", flush=True)
            if time.monotonic() > deadline + HANG_SECONDS:
                wrong.append(("crowd", "HUNG"))
                break
    time.sleep(2)
    left = server.rows("SELECT count(*) FROM system.tasks WHERE state = 'RUNNING'")[0][0]
    under_way = server.rows("SELECT count(*) FROM system.queries WHERE state IN ('QUEUED', 'RUNNING', 'STARTING', 'FINISHING')")[0][0]
    files, patience = open_files(server), time.monotonic() + IDLE_CONNECTION_SECONDS
    while files > before + 8 and time.monotonic() < patience:
        time.sleep(5)
        files = open_files(server)
    print(f"after it: {left} tasks run, {under_way} queries under way, {files} files and connections open ({before} before)")
    # The query that asks is one of those under way.
    if left or under_way > 1 or files > before + 8:
        wrong.append(("crowd", "something was left", left, under_way, files - before))
    return wrong, done


class Warmth:
    """Three workers that somebody else starts, and coordinators that use some of them."""

    def __init__(self, folder, seaweed, chaos):
        self.folder, self.seaweed, self.chaos, self.secret = folder, seaweed, chaos, "a-secret-of-one-cluster"
        self.workers = [Worker(folder / f"static-{number}", self.secret) for number in range(3)]

    def run(self, count):
        """Runs the 22 queries on the first workers: requests to the store for data, pages that were missed, those that peers gave."""
        urls = [worker.url for worker in self.workers[:count]]
        # A coordinator keeps nothing: a new one with other workers is the same cluster, larger.
        server = coordinator(self.folder / f"of-{count}", self.seaweed, count, provisioner="static", urls=urls, secret=self.secret)
        try:
            for name, answer in self.chaos.answers.items():
                with server.cursor() as cursor:
                    cursor.execute(f"USE lake.{self.chaos.schema}")
                    cursor.execute(self.chaos.queries[name])
                    rows = [tuple(row.values()) for row in cursor.fetch_arrow_table().to_pylist()]
                assert same(rows, answer), f"{name}: another answer on {count} workers"
            ((requests,),) = server.rows("SELECT sum(requests_get) FROM system.tasks")
            ((misses, given),) = server.rows("SELECT sum(page_misses), sum(pages_from_peers) FROM system.queries")
            return requests, misses, given
        finally:
            server.stop()

    def failures(self):
        """What is not as it must be when queries repeat, a worker is added, and all are restarted."""
        cold, pages, _ = self.run(2)
        repeated, _, _ = self.run(2)
        added, moved, given = self.run(3)
        # What three workers read once is where they will look for it again.
        self.run(3)
        restarted = 0
        for worker in self.workers:
            worker.stop()
            worker.start()
            restarted += self.run(3)[0]
        print(f"22 queries on 2 workers, cold: {cold} requests for {pages} pages; repeated: {repeated} requests")
        print(f"a third worker: {moved} pages missed ({moved / pages:.0%}), {given} of them from peers ({given / moved:.0%}), {added} requests")
        print(f"all three restarted, one after the other, the queries run after each: {restarted} requests ({restarted / cold:.1%} of cold)")
        must = [("a repeated run", repeated == 0), ("pages that move", 0 < moved <= 0.45 * pages), ("pages from peers", given >= 0.9 * moved),
                ("a rolling restart", restarted <= 0.1 * cold)]
        return [(what, "not so") for what, holds in must if not holds]

    def stop(self):
        for worker in self.workers:
            worker.stop()


def resident_bytes(process):
    return int(pathlib.Path(f"/proc/{process}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]


def end(wrong):
    """Says what was not as it must be, and ends with an exit code that tells whether something was."""
    for failure in wrong:
        print("not as it must be:", failure)
    sys.exit(1 if wrong else 0)


def failures(outcomes):
    return [outcome for outcome in outcomes if outcome[1] != "right"]


def parse():
    parser = argparse.ArgumentParser(prog="cargo xtask chaos", description="Kills and stops workers while TPC-H queries run.")
    parser.add_argument("--kills", type=int, default=100, help="queries during which a worker is killed (default: 100)")
    parser.add_argument("--stops", type=int, default=20, help="queries during which a worker is stopped (default: 20)")
    parser.add_argument("--unprotected", type=int, default=22, help="kills with retry off, of which some must fail (default: 22)")
    parser.add_argument("--clients", type=int, default=64, help="clients at once, with --minutes (default: 64)")
    parser.add_argument("--warm", action="store_true", help="also repeats the queries, adds a worker, and restarts them all, counting requests")
    parser.add_argument("--minutes", type=float, default=0, help="how long they ask (default: 0, not at all)")
    parser.add_argument("--memory", default="4GiB", help="memory.limit of the server with its workers, with --minutes (default: 4GiB)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--scale", default="1", help="TPC-H scale factor (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default: 1)")
    return parser.parse_args()


def main():
    options = parse()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="polynya-chaos-"))
    schema = "tpch_sf" + options.scale.replace(".", "_")
    seaweed = Seaweed(folder / "seaweed")
    wrong = []
    try:
        server = coordinator(folder / "server", seaweed, options.workers)
        print(f"loading TPC-H at scale {options.scale} …", flush=True)
        server.bench("load", "--scale", options.scale, "--keep", seconds=3600)
        chaos = Chaos(server, schema, options.seed)
        chaos.measure()
        undisturbed = list(chaos.seconds.values())
        print(f"undisturbed on {options.workers} workers: {sum(undisturbed):.2f} s for 22 queries, p95 {percentile(undisturbed, 0.95):.2f} s")
        killed = chaos.rounds(signal.SIGKILL, options.kills)
        wrong += failures(killed)
        if killed:
            expected = [chaos.seconds[name] for name, *_ in killed]
            slow, normal = (percentile(values, 0.95) for values in ([seconds for _, _, seconds, _ in killed], expected))
            print(f"{len(killed)} kills: {len(failures(killed))} wrong, failed or hung; p95 {slow:.2f} s, undisturbed {normal:.2f} s ({slow / normal:.2f} x)")
            if slow > 2.5 * normal:
                wrong.append(("p95", "too slow", slow, normal))
        stopped = chaos.rounds(signal.SIGSTOP, options.stops)
        wrong += failures(stopped)
        for name, _, seconds, _ in stopped:
            if seconds > HEARTBEAT_SECONDS + 4 * chaos.seconds[name] + 2:
                wrong.append((name, "recovered late", seconds, chaos.seconds[name]))
        print(f"{len(stopped)} stops: {len(failures(stopped))} wrong, failed or hung")
        if options.warm:
            warmth = Warmth(folder, seaweed, chaos)
            try:
                wrong += warmth.failures()
            finally:
                warmth.stop()
        server.stop()
        if options.minutes:
            server = coordinator(folder / "crowd", seaweed, options.workers, {"memory": {"limit": options.memory}})
            many = Chaos(server, schema, options.seed)
            unlike, done = crowd(many, options.clients, options.minutes * 60)
            wrong += unlike
            print(f"{options.clients} clients, {options.minutes} min: {len(done)} queries, {len(unlike)} not as they must be; p95 {percentile(done, 0.95):.2f} s")
            server.stop()
        if options.unprotected:
            server = coordinator(folder / "unprotected", seaweed, options.workers, retries=0)
            unprotected = Chaos(server, schema, options.seed)
            unprotected.measure(runs=1)
            outcomes = unprotected.rounds(signal.SIGKILL, options.unprotected)
            failed = failures(outcomes)
            print(f"{len(outcomes)} kills with retry off: {len(failed)} queries failed")
            if not failed or any(became in ("WRONG", "HUNG") for _, became, *_ in failed):
                wrong.append(("retry off", "queries must fail, and not otherwise", len(failed), 0))
            server.stop()
    finally:
        seaweed.stop()
        shutil.rmtree(folder, ignore_errors=True)
    end(wrong)


if __name__ == "__main__":
    main()
