"""Random queries, in small: `cargo xtask fuzz-sql` asks more. Also its own parts: seeds, and what shrinking leaves."""

import random

import fuzz_sql
from fuzz import queries, shrink
from fuzz.kinds import KINDS
from fuzz.tables import tables
from fuzz.tree import DUCKDB, Call, walk

QUERIES = 500


def test_random_queries_have_the_same_answers_everywhere(tmp_path):
    options = fuzz_sql.parse(["--queries", str(QUERIES), "--seed", "11", "--length", "1500", "--ways", "1", "--shrink", "5", "--progress", "0"])
    findings, fuzzer = fuzz_sql.run(tmp_path, options)
    assert not findings, "\n".join(map(str, findings))
    # Most of what is asked is answered by somebody else, too.
    assert fuzzer.counts["alike"] > QUERIES / 2


def test_a_seed_draws_the_same_queries():
    def texts():
        chosen = random.Random("a seed")
        return [queries.draw(chosen, tables(chosen, 6), length_max=6_000).sql(DUCKDB) for _ in range(20)]
    assert texts() == texts()


def test_shrinking_leaves_what_shows_the_difference():
    def has_window(query):
        return any(isinstance(node, Call) and node.window for node in walk(query))
    chosen = random.Random(1)
    given = tables(chosen, 6)
    query = next(query for _ in range(1000) if has_window(query := queries.draw(chosen, given, length_max=6_000)) and len(query.sql(DUCKDB)) > 1_000)
    small = shrink.shrunk(query, has_window, seconds=20)
    assert has_window(small)
    assert len(small.sql(DUCKDB)) < 150, small.sql(DUCKDB)
    assert all(item.expr.kind in KINDS.values() for item in small.items)
