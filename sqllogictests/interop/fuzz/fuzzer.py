"""Asks random queries of everybody, and judges the answers.

In: engines, a server with workers, one with little memory, a seed. Out: findings, each shrunk, and counts of what became of the queries. Query n
of a seed is the same in every run; every hundred queries have tables of their own.
"""

import collections
import random
import re
import time

from fuzz import faults, queries, rules, shrink, variants
from fuzz.compare import same
from fuzz.engines import Polynya
from fuzz.tables import tables
from fuzz.tree import POLYNYA, Column, Table, walk
from fuzz.verdict import Finding, asked, is_fault, judge, reason

QUERIES_A_ROUND = 100
ZONES = ["UTC", "UTC", "Europe/Berlin", "America/New_York"]
RULE_SHARE, NAMED_SHARE = 0.12, 0.1
PLAIN = variants.Way("plain", {"polynya.execution": "local"})
MATERIAL = "as_table"


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
            name = chosen.choice(list(rules.RULES))
            left, right = rules.RULES[name](chosen, self.tables, self.large)
            return self.rule(number, name, left, right, chosen.choice([PLAIN, *self.ways]))
        query = queries.draw(chosen, self.tables, self.options.length, self.large)
        ours = self.compare(number, query)
        if ours.rows is None:
            return
        for i in range(self.options.ways):
            self.way(number, query, ours, self.ways[(number * self.options.ways + i) % len(self.ways)])
        if chosen.random() < NAMED_SHARE and (parts := rules.named(query)):
            self.named(number, query, ours, chosen.choice(parts))

    def ask(self, way, query):
        return self.sessions.ask(way, way.text(query, self.tables))

    def compare(self, number, query):
        """Ours against the others."""
        ours = self.ask(PLAIN, query)
        theirs = {engine.name: answer for engine in self.others if (answer := asked(engine, query))}
        trouble, by = self.verdict(query, ours, theirs)
        if trouble:
            still = lambda smaller: self.still(smaller, trouble, by)
            self.found(number, trouble, PLAIN, query, by, still)
        return ours

    def verdict(self, query, ours, theirs):
        """What is wrong with our answer, and by whom; counts what became of it."""
        trouble, by = judge(query, ours, theirs)
        if ours.error is not None and not trouble:
            self.counts["refused" if any(answer.rows is not None for answer in theirs.values()) else "refused by all"] += 1
            self.refusals[reason(ours.error)] += 1
        elif not trouble:
            answered = [name for name, answer in theirs.items() if answer.rows is not None]
            self.counts["alike" if by in answered else f"of dialect: {by}" if by else "answered by us alone"] += 1
        return trouble, by

    def still(self, query, trouble, by):
        ours = self.ask(PLAIN, query)
        theirs = {engine.name: answer for engine in self.others if (answer := asked(engine, query))}
        return judge(query, ours, theirs) == (trouble, by)

    def way(self, number, query, ours, way):
        """Our plain answer against that of another way."""
        other = self.ask(way, query)
        trouble = self.differs(query, ours, other)
        if trouble == "refused":
            self.counts["ways refused"] += 1
            self.refusals[f"{way.name}: {reason(other.error)}"] += 1
        elif trouble:
            still = lambda smaller: (plain := self.ask(PLAIN, smaller)).rows is not None and self.differs(smaller, plain, self.ask(way, smaller)) == trouble
            self.found(number, trouble, way, query, "plain", still)
        else:
            self.counts["ways alike"] += 1

    def differs(self, query, ours, other):
        if other.error is None:
            return None if same(ours.rows, other.rows, query) else "another answer"
        return "fault" if is_fault(other) else "hangs" if other.late else "refused"

    def rule(self, number, name, left, right, way):
        """Two queries that must have the same rows."""
        answers = [self.ask(way, query) for query in (left, right)]
        if any(map(is_fault, answers)):
            trouble = "fault"
        elif any(answer.rows is None for answer in answers):
            self.counts["rules refused"] += 1
            return
        elif same(answers[0].rows, answers[1].rows, left):
            self.counts["rules kept"] += 1
            return
        else:
            trouble = "rule broken"
        texts = [way.text(query, self.tables) for query in (left, right)]
        self.add(Finding(f"{trouble}: {name}", number, f"{way.name} {way.settings}, zone {self.zone}", *texts, *answers))

    def named(self, number, query, ours, part):
        """The query against one in which a table stands for a part of it."""
        inner = part.query
        session = self.loaders[0]
        session.ask(f"DROP TABLE IF EXISTS {MATERIAL} PURGE")
        if session.ask(f"CREATE TABLE {MATERIAL} AS {inner.sql(POLYNYA)}").error is not None:
            self.counts["rules refused"] += 1
            return
        changed = rules.with_table(query, part, MATERIAL)
        other = self.ask(PLAIN, changed)
        trouble = self.differs(query, ours, other)
        if trouble in ("another answer", "fault"):
            self.add(Finding(f"{trouble}: a query against its text; {MATERIAL} AS {inner.sql(POLYNYA)}", number, "plain", query.sql(POLYNYA),
                                         changed.sql(POLYNYA), ours, other))
            self.counts["rules kept" if trouble is None else "rules refused"] += 1

    def found(self, number, trouble, way, query, by, still):
        """Shrinks what was found, and tells of it."""
        if trouble == "fault" and (error := reason(self.ask(way, query).error or "")) in self.seen:
            self.counts["findings as before"] += 1
            return
        elif trouble == "fault":
            self.seen.add(error)
        small = shrink.shrunk(query, still, self.options.shrink) if self.options.shrink else query
        given, fewer = self.tables, self.tables
        if self.options.shrink and not way.values:
            fewer = self.few_rows(small, way, still)
        ours = self.ask(way if by == "plain" else PLAIN, small)
        if by == "plain":
            other, theirs = small.sql(POLYNYA), self.ask(PLAIN, small)
        else:
            engine = next((engine for engine in self.others if engine.name == by), None)
            other, theirs = (small.sql(by), asked(engine, small)) if engine else ("nobody", None)
        used = {node.name for node in walk(small) if isinstance(node, (Table, Column))}
        needed = [table.only(used) for table in fewer if table.name in used and len(table.rows) <= 12]
        shown_tables = "".join(f"\n  with:     {table.values(POLYNYA)}" for table in needed if table.columns)
        self.add(Finding(trouble, number, f"{way.name} {way.settings}, zone {self.zone}", small.sql(POLYNYA) + shown_tables, f"{by}: {other}", ours, theirs))
        if fewer is not given:
            self.tables = given
            self.load(given)

    def few_rows(self, query, way, still):
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
