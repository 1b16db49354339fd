"""What is wrong with an answer, and by whom; and how it is shown.

In: our answer and the others'. Out: nothing, or what is wrong: a fault (an internal error, a panic, a lost worker), another answer, a query that
does not end. An error of ours that is none of these is a refusal, which is counted and is no finding.
"""

import re
from dataclasses import dataclass

from fuzz import dialects
from fuzz.compare import same
from fuzz.tree import DUCKDB, POSTGRES, Unspoken

# What the server says when the fault is its own.
FAULTS = ("internal error", "(Internal;", "(Unknown;", "(DataLoss;", "panicked", "(Unavailable;")


@dataclass
class Finding:
    what: str
    number: int
    way: str
    sql: str
    other: str
    ours: object
    theirs: object

    def __str__(self):
        return (f"query {self.number}, {self.what} ({self.way})\n  asked:    {self.sql}\n  answered: {shown(self.ours, self.theirs)}\n"
                f"  against:  {self.other}\n  answered: {shown(self.theirs, self.ours)}")


def shown(answer, other):
    """An answer's error, or its rows, those first that the other has not."""
    if answer is None:
        return "-"
    if answer.error is not None:
        return "error: " + " ".join(answer.error.split())[:600]
    theirs = list(map(str, other.rows)) if other is not None and other.rows is not None else []
    rows = sorted(answer.rows, key=lambda row: str(row) in theirs)
    return f"{len(rows)} rows, " + ", ".join(map(str, rows[:8]))[:1_500]


def is_fault(answer):
    return answer.error is not None and any(word in answer.error for word in FAULTS)


def asked(engine, query):
    """The engine's answer; none if it has no words for the query."""
    try:
        return engine.ask(query.sql(engine.name))
    except Unspoken:
        return None


def judge(query, ours, theirs):
    """(What is wrong with our answer or none, the engine that says so). PostgreSQL is believed first, then DuckDB where its dialect allows."""
    if is_fault(ours):
        return "fault", None
    answered = [(name, theirs[name]) for name in (POSTGRES, DUCKDB) if name in theirs and theirs[name].rows is not None]
    if ours.late:
        return ("hangs", answered[0][0]) if answered else (None, None)
    if ours.error is not None:
        return None, None
    for name, answer in answered:
        if same(ours.rows, answer.rows, query):
            return None, name
        excuse = dialects.excused(name, query.sql(name))
        if not excuse:
            return "another answer", name
        return None, excuse
    return None, None


def differs(query, ours, other):
    """What is wrong between two answers of ours to the same question; none if they are alike."""
    answers = [answer for answer in (ours, other) if answer is not None]
    if any(map(is_fault, answers)):
        return "fault"
    if len(answers) == 2 and ours.late != other.late:
        return "hangs"
    if len(answers) < 2 or any(answer.rows is None for answer in answers):
        return "refused"
    return None if same(ours.rows, other.rows, query) else "another answer"


def reason(error):
    """An error without what is of one query alone."""
    text = " ".join(error.split()).split("[FlightSQL] ")[-1]
    return re.sub(r"\d+|'[^']*'|\b[act]\d+(\.\w+)?", "…", text)[:100]
