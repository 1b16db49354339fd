"""Draws tables and their rows.

In: a seed, how many rows. Out: tables whose columns are of all kinds; as Arrow, as text for COPY, and as VALUES.
"""

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from fuzz.kinds import KINDS, Kind, draw, literal, written
from fuzz.tree import POSTGRES

NULL_SHARES = [0.0, 0.1, 0.1, 0.3, 1.0]
OTHERS = [name for name, kind in KINDS.items() if not kind.approximate and kind.family != "struct"]


@dataclass(frozen=True)
class RandomTable:
    """Rows have a value for each column, in their order: `id` tells them apart, `k` joins tables."""

    name: str
    columns: dict[str, Kind]
    rows: list[tuple[Any, ...]]

    def with_rows(self, rows):
        return replace(self, rows=rows)

    def only(self, names):
        """The table with these columns alone."""
        kept = [i for i, name in enumerate(self.columns) if name in names]
        columns = {name: kind for name, kind in self.columns.items() if name in names}
        return replace(self, columns=columns, rows=[tuple(row[i] for i in kept) for row in self.rows])

    def definition(self, dialect):
        """What stands in the brackets of CREATE TABLE."""
        collation = ' COLLATE "C"' if dialect == POSTGRES else ""
        return ", ".join(f"{name} {kind.type_name(dialect)}{collation if kind.family == 'text' else ''}" for name, kind in self.spoken(dialect).items())

    def spoken(self, dialect):
        """The columns that the engine has types for."""
        return {name: kind for name, kind in self.columns.items() if dialect != POSTGRES or kind.family != "struct"}

    def arrow(self):
        columns = list(zip(*self.rows)) or [()] * len(self.columns)
        plain = lambda kind, value: str(value) if kind.family == "uuid" and value is not None else value
        return pa.table({name: pa.array([plain(kind, value) for value in column], kind.arrow)
                         for (name, kind), column in zip(self.columns.items(), columns)})

    def copied(self):
        """The rows in PostgreSQL's text form of COPY."""
        kept = [i for i, kind in enumerate(self.columns.values()) if kind.family != "struct"]
        kinds = list(self.columns.values())
        return "".join("\t".join(copied(kinds[i], row[i]) for i in kept) + "\n" for row in self.rows)

    def values(self, dialect):
        """A common table expression with these rows."""
        columns = self.spoken(dialect)
        kept = [i for i, name in enumerate(self.columns) if name in columns]
        rows = self.rows or [(None,) * len(self.columns)]
        kinds = list(self.columns.values())
        text = ", ".join("(" + ", ".join(literal(kinds[i], row[i], dialect) for i in kept) + ")" for row in rows)
        nothing = "" if self.rows else " WHERE false"
        names = ", ".join(columns)
        return f"{self.name} AS (SELECT * FROM (VALUES {text}) AS v({names}){nothing})"


def copied(kind, value):
    if value is None:
        return "\\N"
    if kind.name == "bin":
        return "\\\\x" + value.hex()
    if kind.name == "ints":
        return "{" + ",".join("NULL" if item is None else str(item) for item in value) + "}"
    text = written(value) if kind.family in ("date", "ts", "tstz", "time") else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def tables(random, rows_max):
    """Four tables, one of which may be empty."""
    return [table(random, f"t{number}", rows_max) for number in range(4)]


def table(random, name, rows_max):
    chosen = random.sample(OTHERS, 9) + random.choices(["int", "text", "dbl", "dec", "date", "ts"], k=3) + ["struct"]
    columns = {"id": KINDS["int"], "k": KINDS["int"], **{f"{kind}_{i}": KINDS[kind] for i, kind in enumerate(chosen)}}
    count = random.choice([0, 1, rows_max // 3, rows_max // 2, rows_max, rows_max, rows_max])
    shares = {column: random.choice(NULL_SHARES) for column in columns} | {"k": 0.1}
    # A pool of few values for each column, so that rows meet.
    pools = {column: [draw(random, kind) for _ in range(random.choice([1, 3, 8, 30]))] for column, kind in columns.items()}
    rows = [tuple(number if column == "id" else random.randrange(6) if column == "k" and random.random() > 0.1
                  else None if random.random() < shares[column] else random.choice(pools[column]) for column in columns)
            for number in range(count)]
    return RandomTable(name, columns, rows)
