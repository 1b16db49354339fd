"""Random queries on random tables, answered by DuckDB, PostgreSQL and Polynya in many ways: `cargo xtask fuzz-sql`.

Starts PostgreSQL, a Polynya server with workers and one with little memory. Draws tables and queries from a seed, and compares the answers: ours with
PostgreSQL's (DuckDB's where PostgreSQL has none), and our plain answer with those on workers, of 1 and 8 partitions, of small batches, with optimiser
passes off, from files of many row groups, from VALUES, and with little memory; and what must hold whatever the answer is (fuzz/rules.py). What
differs is shrunk and printed, with its seed and both answers. Where engines may differ, fuzz/dialects.py says why.
"""

import argparse
import contextlib
import pathlib
import sys
import tempfile

from fuzz.engines import DuckDb, PostgreSql
from fuzz.fuzzer import Fuzzer
from fuzz.variants import PASSES, Embedded
from services import Polynya, Postgres, program

# Less does not do to write the large tables. Sorts, aggregates and joins of them spill.
SMALL_MEMORY = "2MiB"


def serve(folder, name, workers=0, **sections):
    if workers:
        sections["workers"] = {"provisioner": "local-process", "min": workers, "max": workers, "execution": "local"}
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/{name}.db", "warehouse": f"file://{folder}/{name}"}
    return Polynya(folder / f"server-{name}", {"lake": catalog}, cache={"memory_bytes": "64MiB", "decoded_bytes": "64MiB"}, **sections)


def run(folder, options):
    """What was found, and the fuzzer with its counts."""
    folder = pathlib.Path(folder)
    with contextlib.ExitStack() as started:
        servers = {"main": serve(folder, "main", options.workers)}
        started.callback(servers["main"].stop)
        if options.memory != "0":
            servers["small"] = serve(folder, "small", memory={"limit": options.memory, "spill_dir": str(folder)}, admission={"memory_per_query": "512KiB"})
            started.callback(servers["small"].stop)
        if options.passes:
            embedded = Embedded(program("POLYNYA_EMBEDDED_BIN"), f"sqlite:///{folder}/main.db", f"file://{folder}/main", PASSES, folder / "embedded.log")
            started.callback(embedded.stop)
            servers |= embedded.servers
        others = [DuckDb()]
        if options.postgres:
            postgres = Postgres()
            started.callback(postgres.remove)
            others.insert(0, PostgreSql(postgres))
        fuzzer = Fuzzer(options, servers, others)
        started.callback(fuzzer.close)
        return fuzzer.run(), fuzzer


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="cargo xtask fuzz-sql", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="A finding says how to ask it again: --seed S --first N --queries 1.")
    parser.add_argument("--queries", type=int, default=20_000, help="how many (default: 20000)")
    parser.add_argument("--seed", type=int, default=1, help="of tables, queries and ways (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first query (default: 0)")
    parser.add_argument("--ways", type=int, default=2, help="other ways in which we answer each query; all get their turn (default: 2)")
    parser.add_argument("--no-passes", dest="passes", action="store_false", help="turn no pass of the optimiser off")
    parser.add_argument("--length", type=int, default=6_000, help="letters that a query has at most (default: 6000)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes; 0 runs nothing on workers (default: 2)")
    parser.add_argument("--memory", default=SMALL_MEMORY, help=f"memory.limit of the server with little; 0 starts none (default: {SMALL_MEMORY})")
    parser.add_argument("--no-postgres", dest="postgres", action="store_false", help="ask DuckDB alone")
    parser.add_argument("--shrink", type=float, default=60, help="seconds to shrink a finding; 0 shows it as it is (default: 60)")
    parser.add_argument("--progress", type=int, default=500, help="queries between two lines of progress (default: 500)")
    return parser.parse_args(arguments)


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="polynya-fuzz-") as folder:
        findings, fuzzer = run(folder, options)
    print(f"{options.queries} queries of seed {options.seed}: {len(findings)} findings; {fuzzer.tally()}")
    for why, count in fuzzer.refusals.most_common(25):
        print(f"  refused {count} times: {why}")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
