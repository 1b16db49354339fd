"""What workers cost and how soon they are there: `cargo xtask elastic`.

Starts SeaweedFS and TPC-H tables, and measures on one machine:

* all 22 queries in the coordinator alone and on workers, in turn, each with page caches that it has filled itself; every answer is checked;
* from no worker: a query is submitted, a worker process is started for it, the first rows come; and after `idle_timeout` no worker is left;
* what the coordinator's processor does while nothing is asked.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import tempfile
import time

from chaos import QUERIES, child_processes, end
from services import Polynya, Seaweed, wait_until

TICKS = os.sysconf("SC_CLK_TCK")
IDLE_TIMEOUT_SECONDS = 2


def server(folder, seaweed, workers=None, **settings):
    """A server in `folder`; all servers beside it have the same tables. Without workers, queries run in it."""
    s3 = {**seaweed.s3_properties(), "s3.path-style-access": True}
    catalog = {"type": "sql", "uri": f"sqlite:///{folder.parent}/catalog.db", "warehouse": "s3://lake/elastic", **s3}
    sections = {"cache": {"disk_dir": f"{folder}/cache", "disk_bytes": "4GiB"}}
    if workers:
        sections["workers"] = {"provisioner": "local-process", "max": workers, "execution": "distributed", **settings}
    return Polynya(folder, {"lake": catalog}, **sections)


def warm_seconds(folder, seaweed, scale, workers, runs):
    """The sum of the 22 queries' warm times, each the median of its runs after the first. All answers are right, or this fails."""
    settings = {"min": workers} if workers else {}
    running = server(folder, seaweed, workers, **settings)
    try:
        report = folder / "report.json"
        running.bench("run", "--scale", scale, "--iterations", str(runs + 1), "--check", "--json", str(report), seconds=1800)
        queries = json.loads(report.read_text())["queries"]
        assert len(queries) == 22 and all(query["check"] == {"result": "ok"} for query in queries), "an answer is wrong, or was not checked"
        if workers:
            ((used,),) = running.rows("SELECT count(DISTINCT worker) FROM system.tasks")
            assert used == workers, f"{used} workers had tasks, and not {workers}"
        return sum(statistics.median(query["times_s"][1:]) for query in queries), sum(query["times_s"][0] for query in queries)
    finally:
        running.stop()


def compared(folder, seaweed, options):
    """Pairs of the coordinator alone and each number of workers, in turn, so that a machine that slows down slows all."""
    folders = {count: folder / f"workers-{count}" for count in (0, *options.workers)}
    warm = {count: [] for count in folders}
    for pair in range(options.pairs):
        for count, place in folders.items() if pair % 2 == 0 else reversed(folders.items()):
            seconds, first = warm_seconds(place, seaweed, options.scale, count, options.runs)
            warm[count].append(seconds)
            print(f"pair {pair + 1}, {count or 'no'} workers: 22 answers right; first run {first:.2f} s, warm {seconds:.2f} s", flush=True)
    wrong = []
    for count in options.workers:
        ratios = [ours / alone for ours, alone in zip(warm[count], warm[0])]
        ratio = sum(warm[count]) / sum(warm[0])
        print(f"{count} workers against the coordinator alone, warm: {ratio:.2f} of the means ({', '.join(f'{each:.2f}' for each in ratios)})")
        if count == 2 and ratio > options.at_most:
            wrong.append(("2 workers, warm", ratio))
    return wrong


def processor_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def from_zero(folder, seaweed, options):
    """Q6 while no worker runs, several times; then none is left, and the coordinator rests."""
    sql, took = (QUERIES / "q06.sql").read_text().rstrip().rstrip(";"), []
    running = server(folder / "zero", seaweed, 2, idle_timeout=f"{IDLE_TIMEOUT_SECONDS}s")
    try:
        with running.cursor() as cursor:
            cursor.execute(f"USE lake.tpch_sf{options.scale.replace('.', '_')}")
            for _ in range(options.starts):
                wait_until(lambda: not child_processes(running), "workers are left", seconds=IDLE_TIMEOUT_SECONDS + 10)
                begun = time.monotonic()
                cursor.execute(sql)
                assert cursor.fetchone() is not None
                took.append(time.monotonic() - begun)
                assert child_processes(running), "the query did not start a worker"
        wait_until(lambda: not child_processes(running), "workers are left", seconds=IDLE_TIMEOUT_SECONDS + 10)
        before = processor_seconds(running.process)
        time.sleep(options.rest)
        idle = (processor_seconds(running.process) - before) / options.rest
    finally:
        running.stop()
    median = statistics.median(took)
    print(f"Q6 from no worker: median {median:.2f} s of {len(took)} (longest {max(took):.2f} s); none left after {IDLE_TIMEOUT_SECONDS} s; "
          f"the coordinator's processor while idle: {idle:.2%}")
    return [("from no worker", median)] * (median > 1.5) + [("the coordinator while idle", idle)] * (idle >= 0.01)


def parse():
    parser = argparse.ArgumentParser(prog="cargo xtask elastic", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--scale", default="1", help="TPC-H scale factor (default: 1)")
    parser.add_argument("--workers", type=int, nargs="*", default=[2], help="numbers of workers to compare with none (default: 2)")
    parser.add_argument("--pairs", type=int, default=3, help="how often each is measured, in turn (default: 3; 0: not at all)")
    parser.add_argument("--runs", type=int, default=3, help="warm runs of each query in a pair (default: 3)")
    parser.add_argument("--at-most", type=float, default=1.4, metavar="RATIO", help="fail if 2 workers take longer than this (default: 1.4)")
    parser.add_argument("--starts", type=int, default=10, help="queries that find no worker (default: 10; 0: none)")
    parser.add_argument("--rest", type=float, default=10, help="seconds for which the idle coordinator is watched (default: 10)")
    return parser.parse_args()


def main():
    options = parse()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="polynya-elastic-"))
    seaweed = Seaweed(folder / "seaweed")
    try:
        print(f"loading TPC-H at scale {options.scale} …", flush=True)
        loading = server(folder / "loading", seaweed)
        loading.bench("load", "--scale", options.scale, seconds=3600)
        loading.stop()
        wrong = from_zero(folder, seaweed, options) if options.starts else []
        if options.pairs:
            wrong += compared(folder, seaweed, options)
    finally:
        seaweed.stop()
        shutil.rmtree(folder, ignore_errors=True)
    end(wrong)


if __name__ == "__main__":
    main()
