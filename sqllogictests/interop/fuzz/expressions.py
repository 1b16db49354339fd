"""Draws values: of a kind, from what is in scope.

In: a kind, a scope (the columns of the FROM clause, and those of the queries around it), how deep. Out: a node of tree.py.
"""

from dataclasses import dataclass

from fuzz.functions import BY_RESULT
from fuzz.kinds import KINDS, draw
from fuzz.tree import Column, Expr, Literal

NULL_SHARE = 0.06


@dataclass
class Scope:
    """`atoms` are columns, or after GROUP BY what is grouped by and aggregates. `keys` tell every row from every other, if any do."""

    atoms: list
    keys: list
    outer: "Scope | None" = None
    grouped: bool = False


def fits(kind, wanted):
    """Whether a value of the kind can stand where another is wanted: a tame one for a wild one, never the other way."""
    return kind == wanted or kind.family == wanted.family and not wanted.tame and not kind.approximate and WIDER.get((kind.name, wanted.name), False)


WIDER = {(tame, wild): True for wild, tames in {
    "wint": ["int"], "wbig": ["big"], "wdec": [], "sdbl": ["dbl"], "wdbl": ["dbl", "sdbl"], "wdate": ["date"], "wts": ["ts"]}.items() for tame in tames}


class Expressions:
    """A generator of values. `query` draws subqueries; it is given by queries.py."""

    def __init__(self, random, subqueries=None):
        self.random, self.subqueries = random, subqueries

    def chance(self, share):
        return self.random.random() < share

    def value(self, kind, scope, depth=2):
        """A value of this kind."""
        if depth <= 0 or self.chance(0.3):
            return self.leaf(kind, scope)
        if self.subqueries and self.chance(0.06):
            found = self.subqueries.scalar(kind, scope, depth - 1)
            if found:
                return found
        signatures = BY_RESULT.get(kind.name, {})
        if not signatures:
            return self.leaf(kind, scope)
        args = self.random.choice(list(signatures))
        if "struct" in args and kind.name != "struct" and self.chance(0.9):
            return self.leaf(kind, scope)
        chosen = self.random.choice(signatures[args])
        return Expr(kind, chosen.template, tuple(self.value(KINDS[arg], scope, depth - 1) for arg in args))

    def leaf(self, kind, scope):
        columns = [atom for atom in scope.atoms if fits(atom.kind, kind)] if scope else []
        outer = scope.outer if scope else None
        if outer and self.chance(0.3):
            columns = [atom for atom in outer.atoms if fits(atom.kind, kind) and isinstance(atom, Column)] or columns
        if columns and self.chance(0.8):
            return self.random.choice(columns)
        return self.literal(kind)

    def literal(self, kind):
        return Literal(kind, None if self.chance(NULL_SHARE) else draw(self.random, kind))

    def condition(self, scope, depth=2):
        """A predicate; more often than a value of any kind, it compares columns, and it may ask a subquery."""
        if self.subqueries and depth > 0 and self.chance(0.25):
            found = self.subqueries.condition(scope, depth - 1)
            if found:
                return found
        return self.value(KINDS["bool"], scope, depth)

    def equality(self, left, right):
        """An equality of a column of each side, of one family; none if there is none."""
        pairs = [(a, b) for a in left.atoms for b in right.atoms if a.kind.family == b.kind.family and a.kind.sortable and not a.kind.approximate
                 and not b.kind.approximate]
        same = [pair for pair in pairs if pair[0].kind.name == pair[1].kind.name]
        pairs = same if same and self.chance(0.8) else pairs
        if not pairs:
            return None
        a, b = self.random.choice(pairs)
        word = "IS NOT DISTINCT FROM" if self.chance(0.1) else "="
        return Expr(KINDS["bool"], f"({{0}} {word} {{1}})", (a, b))
