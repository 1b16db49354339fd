"""The parts of `cargo xtask fuzz-sql`; ../fuzz_sql.py puts them together.

kinds, tables: what data is drawn. tree, functions, expressions, queries: what queries are drawn. engines, variants: who answers.
compare, dialects: whether two answers are the same, and where they may differ. rules: what must hold where no other engine answers. shrink:
the smallest query that shows a difference.
"""
