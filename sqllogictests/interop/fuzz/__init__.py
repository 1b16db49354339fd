"""The parts of `cargo xtask fuzz-sql`; ../fuzz_sql.py puts them together.

kinds, tables: what data is drawn. tree, functions, expressions, aggregates, queries: what queries are drawn. engines, variants: who answers.
compare, verdict: whether two answers are the same, and what is wrong if not. dialects, faults: where they may differ, and where they do. rules: what
must hold where no other engine answers. shrink: the smallest query that shows a difference. fuzzer: asks, and counts.
"""
