"""What must hold of our own answers where no other engine answers.

In: a random query. Out: pairs of queries that must give the same rows: a query and its partition by a predicate (p, NOT p, p IS NULL), a count of rows
and a sum over them, and a query that names another in WITH against one that names a table of its rows.
"""

from dataclasses import replace

from fuzz.kinds import KINDS
from fuzz.queries import Queries
from fuzz.tree import Call, Cte, Derived, Expr, Item, Select, SetOperation, Star, Table, walk

BOOL, BIG = KINDS["bool"], KINDS["big"]


def draw(random, tables, large):
    """A query with a condition."""
    queries = Queries(random, tables, large)
    relation, scope = queries.relation(1, None)
    condition = queries.expressions.condition(scope, 2)
    return Select(tuple(Item(queries.item(None, scope, scope), f"c{i + 1}") for i in range(random.choice([1, 2, 3]))), relation, condition)


def applies(query):
    """Whether the rules hold for a query: it is one condition over rows."""
    rest = (query.group, query.having, query.distinct, query.order, query.ctes) if isinstance(query, Select) else (True,)
    return not any(rest) and query.where is not None


def partition(query):
    """The query without its condition, and the three that the condition makes of it."""
    p = query.where
    first, second, third = (replace(query, where=where) for where in (p, Expr(BOOL, "(NOT {0})", (p,)), Expr(BOOL, "({0} IS NULL)", (p,))))
    return replace(query, where=None), SetOperation("UNION ALL", SetOperation("UNION ALL", first, second), third)


def counted(query):
    """How many rows the condition leaves, and the sum of 1 over the rows for which it holds."""
    one = Expr(BIG, "coalesce(sum(CASE WHEN {0} THEN 1 ELSE 0 END), 0)", (query.where,))
    return replace(query, items=(Item(Call(BIG, "count", (Star(),)), "c1"),)), replace(query, items=(Item(one, "c1"),), where=None)


def named(query):
    """The queries in a query that a table could stand for: those of WITH, and those in FROM that see nothing around them."""
    found = list(getattr(query, "ctes", ())[:1])
    found += [node for node in walk(query) if isinstance(node, Derived) and not node.lateral and isinstance(node.query, (Select, SetOperation))]
    return found


def with_table(query, part, name):
    """The query with a table of this name in the place of a part."""
    if isinstance(part, Cte):
        rest = tuple(Cte(cte.name, renamed(cte.query, part.name, name)) for cte in query.ctes[1:])
        return renamed(replace(query, ctes=rest), part.name, name)
    return replaced(query, part, Table(name, part.alias))


def renamed(node, old, new):
    found = [table for table in walk(node) if isinstance(table, Table) and table.name == old]
    for table in found:
        node = replaced(node, table, Table(new, table.alias))
    return node


def replaced(node, old, new):
    """The tree with one node in the place of another."""
    if node is old or node == old:
        return new
    if not hasattr(node, "__dataclass_fields__"):
        return node
    changes = {}
    for field in node.__dataclass_fields__:
        value = getattr(node, field)
        if isinstance(value, tuple):
            changed = tuple(replaced(item, old, new) if hasattr(item, "sql") else item for item in value)
        else:
            changed = replaced(value, old, new) if hasattr(value, "sql") else value
        if changed is not value and changed != value:
            changes[field] = changed
    return replace(node, **changes) if changes else node


RULES = {"partition of a condition": partition, "count of a condition": counted}
