"""Makes a query that shows a difference small.

In: a query, and a test that tells whether a query still shows it. Out: a query from which no part can be taken away. Parts are taken away without
knowledge of SQL: what is then no query is an error in every engine, and shows nothing. Only what makes an answer certain is kept: orders below limits,
and those of windows and aggregates.
"""

import time
from dataclasses import fields, replace

from fuzz.compare import is_ordered
from fuzz.tree import Call, Column, Derived, Expr, Item, Join, Literal, Number, Select, SetOperation, Values, Window, children, walk

SIMPLE = {"bool": True, "int": 1, "big": 1, "text": "a"}


def shrunk(query, still, seconds=60.0):
    """The smallest query found within so many seconds for which `still` holds."""
    deadline, changed = time.monotonic() + seconds, True
    while changed and time.monotonic() < deadline:
        changed = False
        for smaller in candidates(query):
            if time.monotonic() > deadline:
                break
            if size(smaller) < size(query) and is_certain(smaller) and still(smaller):
                query, changed = smaller, True
                break
    return query


def is_certain(query):
    """Whether limits are below orders of all columns."""
    return all(is_ordered(node) for node in walk(query) if getattr(node, "limit", None) is not None or getattr(node, "offset", None)
               or getattr(node, "distinct_on", ()))


def rows(table, still, seconds=20.0):
    """The table with as few rows as `still` needs."""
    deadline, kept = time.monotonic() + seconds, list(table.rows)
    piece = max(1, len(kept) // 2)
    while piece and time.monotonic() < deadline:
        start = 0
        while start < len(kept) and time.monotonic() < deadline:
            fewer = kept[:start] + kept[start + piece:]
            if still(table.with_rows(fewer)):
                kept = fewer
            else:
                start += piece
        piece //= 2
    return table.with_rows(kept)


def size(node):
    """Nodes, and what they hold: every step of shrinking makes it smaller."""
    total = 0
    for part in walk(node):
        total += 3 if not isinstance(part, (Column, Literal, Number)) else 2 if isinstance(part, Column) else 1
        total += sum(1 for field in fields(part) if field.name in OPTIONAL and getattr(part, field.name))
        if isinstance(part, Literal):
            total += len(str(part.value)) if part.value is not None else 0
    return total


OPTIONAL = ["limit", "offset", "distinct", "frame", "descending", "nulls", "lateral", "ignore_nulls", "form"]


def candidates(query):
    """Smaller queries, those first that lack most."""
    if isinstance(query, Select) and isinstance(query.relation, Derived):
        yield query.relation.query
    for node in walk(query):
        if isinstance(node, (Select, SetOperation, Values)) and node is not query:
            yield node
    yield from variations(query)


def variations(node):
    """The node with one of its parts smaller or away."""
    if isinstance(node, SetOperation):
        yield from (node.left, node.right)
    if isinstance(node, Join):
        yield from (node.left, node.right)
    if isinstance(node, Item):
        yield from (Item(part, node.name) for part in inside(node.expr))
    if isinstance(node, (Expr, Call)):
        yield from (arg for arg in node.args if getattr(arg, "kind", None) is not None and arg.kind.family == node.kind.family)
    if isinstance(node, (Expr, Call, Column)):
        yield Literal(node.kind, None)
        if node.kind.name in SIMPLE:
            yield Literal(node.kind, SIMPLE[node.kind.name])
    if isinstance(node, Select) and isinstance(node.relation, Join):
        for kept in (node.relation.left, node.relation.right):
            yield without_others(replace(node, relation=kept))
    for field in fields(node):
        value = getattr(node, field.name)
        if field.name == "order" and isinstance(node, (Call, Window)):
            continue
        if isinstance(value, tuple) and field.name != "args":
            yield from (replace(node, **{field.name: value[:i] + value[i + 1:]}) for i in range(len(value)) if field.name != "items" or len(value) > 1)
        elif field.name in ("where", "having", "group", "on", "window", "relation", "limit", "offset", "frame", "nulls") and value is not None:
            yield replace(node, **{field.name: None})
        elif field.name in ("distinct", "descending", "lateral", "ignore_nulls") and value:
            yield replace(node, **{field.name: False})
        elif field.name == "form" and value:
            yield replace(node, form="", sets=())
    for name, position, child in children(node):
        if isinstance(node, Window) and name == "order" or isinstance(node, Call) and node.order:
            continue
        for smaller in variations(child):
            yield put(node, name, position, smaller)


def inside(expr):
    """The values that a value is made of, of any kind."""
    for arg in getattr(expr, "args", ()):
        if isinstance(arg, (Expr, Call, Column)):
            yield arg
            yield from inside(arg)


def put(node, name, position, child):
    if position is None:
        return replace(node, **{name: child})
    value = getattr(node, name)
    return replace(node, **{name: value[:position] + (child,) + value[position + 1:]})


def without_others(query):
    """The query with NULL for the columns of relations that are no longer there."""
    names = {part.alias for part in walk(query) if hasattr(part, "alias")}

    def visit(node):
        if isinstance(node, Column) and node.relation and node.relation not in names:
            return Literal(node.kind, None)
        for name, position, child in list(children(node)):
            changed = visit(child)
            if changed is not child:
                node = put(node, name, position, changed)
        return node
    return visit(query)
