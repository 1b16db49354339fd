"""Asks random queries of everybody, and judges the answers.

In: engines, a server with workers, one with little memory, a seed. Out: findings, each shrunk, and counts of what became of the queries. Query n
of a seed is the same in every run; every hundred queries have tables of their own.
"""

import collections
import random
import re
import time

from fuzz import faults, queries, rules, shrink, variants
from fuzz.engines import Polynya
from fuzz.tables import tables
from fuzz.tree import POLYNYA, Column, Table, walk
from fuzz.verdict import Finding, asked, differs, is_fault, judge, reason

QUERIES_A_ROUND = 100
ZONES = ["UTC", "UTC", "Europe/Berlin", "America/New_York"]
RULE_SHARE, NAMED_SHARE = 0.12, 0.1
PLAIN = variants.Way("plain", {"polynya.execution": "local"})
MATERIAL = "as_table"
ROWS_SHOWN_MAX = 12
# What differs() says that is a finding; the rest is a refusal.
WRONG = ("another answer", "fault", "hangs")


class Fuzzer:
    """`seed` decides everything. `servers` are ours by name: main, perhaps small (with little memory), and those without a pass; `others` are
    PostgreSQL and DuckDB, or one of them."""

    def __init__(self, options, servers, others):
        self.options, self.servers, self.others = options, servers, others
        passes = [name for name in servers if name in variants.PASSES]
        self.ways = variants.ways(random.Random(f"{options.seed} ways"), options.workers, "small" in servers, passes)
        self.sessions = variants.Sessions(servers)
        self.counts, self.refusals, self.findings = collections.Counter(), collections.Counter(), []
        self.seen, self.loaders = set(), []
        for name in ("main", "small"):
            if name in servers:
                for schema in variants.SCHEMAS:
                    servers[name].run(f"CREATE SCHEMA IF NOT EXISTS lake.{schema}")
                    self.loaders.append(Polynya(servers[name], schema))
        self.round = None

    def begin(self, number):
        """New tables, the same for everybody."""
        if self.round == number:
            return
        self.round = number
        chosen = random.Random(f"{self.options.seed} round {number}")
        self.large = number % 10 == 9
        self.tables = tables(chosen, 1_500 if self.large else chosen.choice([6, 30, 60]))
        self.zone = chosen.choice(ZONES)
        self.load(self.tables)
        self.sessions.change_zone(self.zone)

    def load(self, some):
        for engine in self.others:
            engine.load(some, self.zone)
        for session in self.loaders:
            session.load(some, variants.SCHEMAS[session.schema])

    def run(self):
        begun, first = time.monotonic(), self.options.first
        for number in range(first, first + self.options.queries):
            self.begin(number // QUERIES_A_ROUND)
            self.one(number)
            if dead := [name for name, running in self.servers.items() if getattr(running, "process", None) and running.process.poll() is not None]:
                raise RuntimeError(f"query {number} ended the servers {dead}: {self.servers[dead[0]].log.read_text()[-4000:]}")
            done = number - first + 1
            if self.options.progress and (done % self.options.progress == 0 or done == self.options.queries):
                print(f"  {done} of {self.options.queries}: {len(self.findings)} differ, {self.tally()}; {done / (time.monotonic() - begun):.0f}/s", flush=True)
        return self.findings

    def tally(self):
        return ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))

    def one(self, number):
        """One query, or one rule."""
        chosen = random.Random(f"{self.options.seed} query {number}")
        if chosen.random() < RULE_SHARE:
            name, way = chosen.choice(list(rules.RULES)), chosen.choice([PLAIN, *self.ways])
            return self.rule(number, rules.draw(chosen, self.tables, self.large), name, way)
        query = queries.draw(chosen, self.tables, self.options.length, self.large)
        ours = self.compare(number, query)
        if ours.rows is None:
            return
        for i in range(self.options.ways):
            self.way(number, query, ours, self.ways[(number * self.options.ways + i) % len(self.ways)])
        if chosen.random() < NAMED_SHARE and rules.named(query):
            self.named(number, query)

    def ask(self, way, query):
        return self.sessions.ask(way, way.text(query, self.tables))

    def ask_all(self, query):
        """Our plain answer, and those of the others that have words for the query."""
        return self.ask(PLAIN, query), {engine.name: answer for engine in self.others if (answer := asked(engine, query))}

    def compare(self, number, query):
        """Ours against the others."""
        ours, theirs = self.ask_all(query)
        trouble, by = judge(query, ours, theirs)
        answered = [name for name, answer in theirs.items() if answer.rows is not None]
        if trouble:
            def pair(small):
                ours, theirs = self.ask_all(small)
                return small.sql(POLYNYA), ours, f"{by}: {small.sql(by)}" if by else "nobody", theirs.get(by)
            self.found(number, trouble, PLAIN, query, lambda smaller: judge(smaller, *self.ask_all(smaller)) == (trouble, by), pair)
        elif ours.error is not None:
            self.counts["refused" if answered else "refused by all"] += 1
            self.refusals[reason(ours.error)] += 1
        else:
            self.counts["alike" if by in answered else f"of dialect: {by}" if by else "answered by us alone"] += 1
        return ours

    def way(self, number, query, ours, way):
        """Our plain answer against that of another way."""
        other = self.ask(way, query)
        trouble = differs(query, ours, other)
        if trouble == "refused":
            self.counts["ways refused"] += 1
            self.refusals[f"{way.name}: {reason(other.error)}"] += 1
        elif trouble:
            def pair(small):
                return way.text(small, self.tables), self.ask(way, small), f"plain: {small.sql(POLYNYA)}", self.ask(PLAIN, small)
            self.found(number, trouble, way, query, lambda smaller: differs(smaller, self.ask(PLAIN, smaller), self.ask(way, smaller)) == trouble, pair)
        else:
            self.counts["ways alike"] += 1

    def rule(self, number, query, name, way):
        """Two queries that must have the same rows."""
        def broken(query):
            left, right = rules.RULES[name](query)
            return differs(left, self.ask(way, left), self.ask(way, right))

        def pair(small):
            left, right = rules.RULES[name](small)
            return way.text(left, self.tables), self.ask(way, left), way.text(right, self.tables), self.ask(way, right)
        self.keep(number, f"rule: {name}", way, query, lambda smaller: rules.applies(smaller) and broken(smaller), pair)

    def named(self, number, query):
        """A query against the same one in which a table stands for a part of it."""
        def pair(small):
            """With the first part that shows a difference, or with the last."""
            ours, session = self.ask(PLAIN, small), self.loaders[0]
            shown = small.sql(POLYNYA), ours, "", None
            for part in rules.named(small):
                session.ask(f"DROP TABLE IF EXISTS {MATERIAL} PURGE")
                if session.ask(f"CREATE TABLE {MATERIAL} AS {part.query.sql(POLYNYA)}").error is None:
                    changed = rules.with_table(small, part, MATERIAL)
                    other = self.ask(PLAIN, changed)
                    shown = small.sql(POLYNYA), ours, f"{changed.sql(POLYNYA)} with {MATERIAL} AS {part.query.sql(POLYNYA)}", other
                    if differs(small, ours, other) in WRONG:
                        break
            return shown

        def broken(smaller):
            _, ours, _, other = pair(smaller)
            return differs(smaller, ours, other)
        self.keep(number, "rule: a query against its text", PLAIN, query, broken, pair)

    def keep(self, number, what, way, query, broken, pair):
        """Counts whether a rule is kept, and finds where it is not."""
        trouble = broken(query)
        if trouble in WRONG:
            self.found(number, f"{trouble}, {what}", way, query, lambda smaller: broken(smaller) == trouble, pair)
        else:
            self.counts["rules refused" if trouble else "rules kept"] += 1

    def found(self, number, what, way, query, still, pair):
        """Shrinks what was found, and tells of it. `still` tells whether a smaller query shows it, `pair` has both texts and answers."""
        error = next((reason(answer.error) for answer in pair(query)[1::2] if answer is not None and is_fault(answer)), None)
        if error in self.seen:
            self.counts["findings as before"] += 1
            return
        self.seen.update([error] if error else [])
        small, given = query, self.tables
        if self.options.shrink:
            small = shrink.shrunk(query, still, self.options.shrink)
            self.tables = given if way.values else self.few_rows(small, still)
        sql, ours, other, theirs = pair(small)
        used = {node.name for node in walk(small) if isinstance(node, (Table, Column))}
        needed = [table.only(used) for table in self.tables if table.name in used and len(table.rows) <= ROWS_SHOWN_MAX]
        sql += "".join(f"\n  with:     {table.values(POLYNYA)}" for table in needed if table.columns)
        self.add(Finding(what, number, f"{way.name} {way.settings}, zone {self.zone}", sql, other, ours, theirs))
        if self.tables is not given:
            self.tables = given
            self.load(given)

    def few_rows(self, query, still):
        """Tables with the rows that the finding needs; they are loaded."""
        for table in [table for table in self.tables if any(isinstance(node, Table) and node.name == table.name for node in walk(query))]:
            def still_so(fewer):
                self.load([fewer])
                return still(query)
            fewer = shrink.rows(table, still_so, self.options.shrink / 2)
            self.load([fewer])
            self.tables = [fewer if other.name == table.name else other for other in self.tables]
        return self.tables

    def add(self, finding):
        """Tells of a finding; of one that is like another only that it is there, and of a known fault nothing."""
        if name := faults.known(finding.sql, finding.ours, finding.theirs):
            self.counts[f"of a known fault: {name}"] += 1
            return
        self.findings.append(finding)
        self.counts["findings"] += 1
        likeness = re.sub(r"\d+|'[^']*'", "…", f"{finding.what} {finding.sql}")
        if likeness in self.seen:
            print(f"  seed {self.options.seed}, query {finding.number}: as before, {finding.sql[:160]}", flush=True)
            return
        self.seen.add(likeness)
        print(f"\nseed {self.options.seed}, {finding}\n  again:    --seed {self.options.seed} --first {finding.number} --queries 1\n", flush=True)

    def close(self):
        self.sessions.close()
        for session in self.loaders:
            session.close()
