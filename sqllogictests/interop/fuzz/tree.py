"""A query as a tree that every engine's text is made of.

In: what the generator drew. Out: `sql(node, dialect)`. Nodes are frozen dataclasses, so that shrink.py can take any part away without
knowing what it is. A node that an engine has no words for raises `Unspoken`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from fuzz.kinds import Kind, literal

DUCKDB, POSTGRES, POLYNYA = "duckdb", "postgres", "polynya"


class Unspoken(Exception):
    """The engine has no words for a part of the query."""


def spoken(kind, dialect):
    """PostgreSQL has no structs without a name."""
    if kind.family == "struct" and dialect == POSTGRES:
        raise Unspoken(dialect)


@dataclass(frozen=True)
class Expr:
    """A value: a template whose {0}, {1} … are the arguments, the same for all engines or one for each ("" for those not named)."""

    kind: Kind
    template: Any
    args: tuple = ()

    def sql(self, dialect):
        template = self.template
        if isinstance(template, dict):
            template = template.get(dialect, template.get(""))
            if template is None:
                raise Unspoken(dialect)
        return template.format(*(arg.sql(dialect) for arg in self.args))


@dataclass(frozen=True)
class Column:
    kind: Kind
    relation: str
    name: str

    def sql(self, dialect):
        spoken(self.kind, dialect)
        return f"{self.relation}.{self.name}" if self.relation else self.name


@dataclass(frozen=True)
class Literal:
    kind: Kind
    value: Any

    def sql(self, dialect):
        spoken(self.kind, dialect)
        return literal(self.kind, self.value, dialect)


@dataclass(frozen=True)
class Star:
    """The argument of count(*)."""

    def sql(self, dialect):
        return "*"


@dataclass(frozen=True)
class Number:
    """An argument that must be a plain number."""

    text: str

    def sql(self, dialect):
        return self.text


@dataclass(frozen=True)
class Key:
    """One term of an ORDER BY."""

    expr: Any
    descending: bool = False
    nulls: str | None = None

    def sql(self, dialect):
        return self.expr.sql(dialect) + (" DESC" if self.descending else "") + (f" NULLS {self.nulls}" if self.nulls else "")


@dataclass(frozen=True)
class Window:
    partition: tuple = ()
    order: tuple = ()
    frame: str | None = None

    def sql(self, dialect):
        parts = ["PARTITION BY " + commas(self.partition, dialect)] if self.partition else []
        parts += ["ORDER BY " + commas(self.order, dialect)] if self.order else []
        parts += [self.frame] if self.frame else []
        return "(" + " ".join(parts) + ")"


@dataclass(frozen=True)
class Call:
    """An aggregate, or a window function."""

    kind: Kind
    name: str
    args: tuple = ()
    distinct: bool = False
    order: tuple = ()
    where: Any = None
    window: Window | None = None
    ignore_nulls: bool = False
    cast: str | None = None

    def sql(self, dialect):
        ignore = " IGNORE NULLS" if self.ignore_nulls else ""
        if ignore and dialect == POSTGRES:
            raise Unspoken(dialect)
        text = ("DISTINCT " if self.distinct else "") + commas(self.args, dialect)
        text += " ORDER BY " + commas(self.order, dialect) if self.order else ""
        text = f"{self.name}({text}{ignore})" if dialect == DUCKDB else f"{self.name}({text}){ignore}"
        text += f" FILTER (WHERE {self.where.sql(dialect)})" if self.where else ""
        text += f" OVER {self.window.sql(dialect)}" if self.window else ""
        return f"CAST({text} AS {self.cast})" if self.cast else text


@dataclass(frozen=True)
class Table:
    """A relation that has a name: a table of the data, or a common table expression."""

    name: str
    alias: str

    def sql(self, dialect):
        return f"{self.name} AS {self.alias}" if self.name != self.alias else self.name


@dataclass(frozen=True)
class Unnest:
    """The items of a list as rows of one column, item."""

    expr: Any
    alias: str

    def sql(self, dialect):
        return f"unnest({self.expr.sql(dialect)}) AS {self.alias}(item)"


@dataclass(frozen=True)
class Derived:
    """A query in FROM."""

    query: Any
    alias: str
    lateral: bool = False

    def sql(self, dialect):
        return ("LATERAL " if self.lateral else "") + f"({self.query.sql(dialect)}) AS {self.alias}"


@dataclass(frozen=True)
class Join:
    kind: str
    left: Any
    right: Any
    on: Any = None
    using: str | None = None

    def sql(self, dialect):
        right = f"({self.right.sql(dialect)})" if isinstance(self.right, Join) else self.right.sql(dialect)
        condition = f" ON {self.on.sql(dialect)}" if self.on else f" USING ({self.using})" if self.using else ""
        return f"{self.left.sql(dialect)} {self.kind} JOIN {right}{condition}"


@dataclass(frozen=True)
class Group:
    """GROUP BY; `sets` are tuples of positions in `by`, for GROUPING SETS."""

    by: tuple
    form: str = ""
    sets: tuple = ()

    def sql(self, dialect):
        if self.form == "GROUPING SETS":
            by = [expr.sql(dialect) for expr in self.by]
            return "GROUPING SETS (" + ", ".join("(" + ", ".join(by[i] for i in of if i < len(by)) + ")" for of in self.sets) + ")"
        return f"{self.form}({commas(self.by, dialect)})" if self.form else commas(self.by, dialect)


@dataclass(frozen=True)
class Item:
    """A column of a SELECT."""

    expr: Any
    name: str

    def sql(self, dialect):
        return f"{self.expr.sql(dialect)} AS {self.name}"


@dataclass(frozen=True)
class Cte:
    name: str
    query: Any

    def sql(self, dialect):
        return f"{self.name} AS ({self.query.sql(dialect)})"


@dataclass(frozen=True)
class Select:
    items: tuple
    relation: Any = None
    where: Any = None
    group: Group | None = None
    having: Any = None
    distinct: bool = False
    distinct_on: tuple = ()
    order: tuple = ()
    limit: int | None = None
    offset: int | None = None
    ctes: tuple = ()

    def sql(self, dialect):
        head = f"WITH {commas(self.ctes, dialect)} " if self.ctes else ""
        distinct = "DISTINCT " if self.distinct else f"DISTINCT ON ({commas(self.distinct_on, dialect)}) " if self.distinct_on else ""
        text = f"{head}SELECT {distinct}{commas(self.items, dialect)}"
        text += f" FROM {self.relation.sql(dialect)}" if self.relation else ""
        text += f" WHERE {self.where.sql(dialect)}" if self.where else ""
        text += f" GROUP BY {self.group.sql(dialect)}" if self.group and self.group.by else ""
        text += f" HAVING {self.having.sql(dialect)}" if self.having else ""
        return text + tail(self, dialect)


@dataclass(frozen=True)
class SetOperation:
    word: str
    left: Any
    right: Any
    order: tuple = ()
    limit: int | None = None
    offset: int | None = None

    def sql(self, dialect):
        return f"({self.left.sql(dialect)}) {self.word} ({self.right.sql(dialect)})" + tail(self, dialect)

    @property
    def items(self):
        return self.left.items


@dataclass(frozen=True)
class Values:
    """Rows of literals as a query; its columns are c1, c2 …"""

    kinds: tuple
    rows: tuple
    order = ()

    def sql(self, dialect):
        names = ", ".join(f"c{i + 1}" for i in range(len(self.kinds)))
        rows = ", ".join("(" + commas(row, dialect) + ")" for row in self.rows)
        return f"SELECT * FROM (VALUES {rows}) AS v({names})"

    @property
    def items(self):
        return tuple(Item(Literal(kind, None), f"c{i + 1}") for i, kind in enumerate(self.kinds))


def tail(query, dialect):
    text = " ORDER BY " + commas(query.order, dialect) if query.order else ""
    text += f" LIMIT {query.limit}" if query.limit is not None else ""
    return text + (f" OFFSET {query.offset}" if query.offset is not None else "")


def commas(nodes, dialect):
    return ", ".join(node.sql(dialect) for node in nodes)


def children(node):
    """The nodes right below one, with where they are: (field, position in it or none, node)."""
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if isinstance(value, tuple):
            yield from ((field.name, i, item) for i, item in enumerate(value) if hasattr(item, "sql"))
        elif hasattr(value, "sql"):
            yield field.name, None, value


def walk(node):
    """The node and all below it."""
    yield node
    for _, _, child in children(node):
        yield from walk(child)
