"""Draws queries: joins of every kind, grouping sets, windows, subqueries, set operations, orders with limits.

In: the tables, a seed. Out: a tree. The same seed draws the same tree. Every query has one right answer: what it limits is ordered by all of its
columns, and what SQL leaves open is not asked.
"""

from fuzz.aggregates import Aggregates
from fuzz.expressions import Expressions, Scope
from fuzz.kinds import KINDS
from fuzz.tree import DUCKDB, Call, Column, Cte, Derived, Expr, Group, Item, Join, Key, Select, SetOperation, Table, Unnest, Values, walk

# PostgreSQL cannot answer a query with structs.
SHOWN = [name for name, kind in KINDS.items() if not kind.approximate and kind.family != "struct"]
STRUCT_SHARE = 0.02
# Of what we refuse, some is asked all the same.
REFUSED_SHARE = 0.05
BOOL, INT = KINDS["bool"], KINDS["int"]


class Queries:
    """A generator of queries on some tables. With `large` tables it joins few of them, and by equality."""

    def __init__(self, random, tables, large=False):
        self.random, self.tables, self.large, self.aliases, self.ctes = random, tables, large, 0, []
        self.expressions = Expressions(random, self)
        self.aggregates = Aggregates(random, Expressions(random))

    def chance(self, share):
        return self.random.random() < share

    def alias(self):
        self.aliases += 1
        return f"a{self.aliases}"

    def draw(self):
        """A whole query."""
        ctes = []
        for _ in range(self.random.choice([0, 0, 0, 1, 2])):
            query = self.query(1)
            ctes.append(Cte(f"w{len(ctes) + 1}", query))
            self.ctes = list(ctes)
        query = self.query(2, limited=0.4)
        if not ctes:
            return query
        if isinstance(query, SetOperation):
            query = self.outer(query)
        return Select(**{**vars(query), "ctes": tuple(ctes)})

    def outer(self, query):
        alias = self.alias()
        return Select(tuple(Item(Column(item.expr.kind, alias, item.name), item.name) for item in query.items), Derived(query, alias))

    def query(self, depth, scope=None, kinds=None, limited=0.15):
        """A SELECT or a set operation, whose columns are of these kinds if some are given."""
        if depth > 0 and self.chance(0.15):
            kinds = kinds or [KINDS[self.random.choice(SHOWN)] for _ in range(self.random.choice([1, 1, 2, 3]))]
            words = ["UNION ALL", "UNION", "INTERSECT", "EXCEPT"]
            # We refuse these.
            words = ["INTERSECT ALL", "EXCEPT ALL"] if self.chance(REFUSED_SHARE) else words
            sides = [self.query(depth - 1, scope, kinds, 0.05) if self.chance(0.9) else self.values(kinds) for _ in range(2)]
            return self.ordered(SetOperation(self.random.choice(words), *sides), limited)
        return self.select(depth, scope, kinds, limited)

    def values(self, kinds):
        rows = tuple(tuple(self.expressions.literal(kind) for kind in kinds) for _ in range(self.random.choice([1, 2, 5])))
        return Values(tuple(kinds), rows)

    def select(self, depth, outer=None, kinds=None, limited=0.15):
        relation, scope = self.relation(depth, outer)
        where = self.expressions.condition(scope, 2) if self.chance(0.6) else None
        group, having = None, None
        kinds_wanted = kinds or [None] * self.random.choice([1, 2, 2, 3, 4])
        if self.chance(0.35):
            group, scope = self.grouped(scope)
            having = self.expressions.condition(scope, 1) if self.chance(0.25) else None
        plain = scope
        if self.chance(0.25 if outer is None else REFUSED_SHARE):
            local = Scope(scope.atoms, scope.keys)
            windows = [self.aggregates.window(local) for _ in range(self.random.choice([1, 1, 2]))]
            scope = Scope(scope.atoms + windows, scope.keys, scope.outer)
        items = tuple(Item(self.item(kind, scope, plain), f"c{i + 1}") for i, kind in enumerate(kinds_wanted))
        query = Select(items, relation, where, group, having, distinct=self.chance(0.1) and distinguishable(items))
        if not query.distinct and len(items) > 1 and distinguishable(items) and self.chance(0.03):
            order = tuple(Key(item.expr, self.chance(0.3)) for item in items)
            return Select(**{**vars(query), "distinct_on": (items[0].expr,), "order": order})
        return self.ordered(query, limited)

    def item(self, kind, scope, plain):
        """A column. What was made for it (aggregates, windows) is taken most often; a subquery sees only columns."""
        if kind is None:
            made = [atom for atom in scope.atoms if isinstance(atom, Call)]
            if made and self.chance(0.6):
                return self.random.choice(made)
            columns = [atom for atom in scope.atoms if atom.kind.family != "struct"]
            if columns and self.chance(0.4):
                return self.random.choice(columns)
            kind = KINDS["struct" if self.chance(STRUCT_SHARE) else self.random.choice(SHOWN)]
        return self.expressions.value(kind, scope, 2)

    def ordered(self, query, share):
        """The query in an order of all its columns, perhaps with a limit."""
        if not self.chance(share) or not distinguishable(query.items):
            return query
        items = list(query.items)
        self.random.shuffle(items)
        order = tuple(Key(Column(item.expr.kind, "", item.name), self.chance(0.4), self.random.choice([None, None, "FIRST", "LAST"])) for item in items)
        limit = self.random.choice([None, 0, 1, 3, 10]) if self.chance(0.7) else None
        offset = self.random.choice([1, 2, 7]) if self.chance(0.2) else None
        return type(query)(**{**vars(query), "order": order, "limit": limit, "offset": offset})

    def grouped(self, scope):
        """GROUP BY, and what is in scope after it."""
        local = Scope(scope.atoms, scope.keys)
        by = []
        columns = [atom for atom in local.atoms if atom.kind.sortable and not atom.kind.approximate]
        for _ in range(self.random.choice([0, 1, 1, 2, 3]) if columns else 0):
            expr = self.random.choice(columns)
            if self.chance(0.25):
                drawn = self.aggregates.expressions.value(KINDS[self.random.choice(["int", "text", "bool", "date", "dbl"])], local, 1)
                # A number alone would be the place of a column.
                expr = drawn if any(isinstance(node, Column) for node in walk(drawn)) else expr
            by += [expr] if expr not in by else []
        form = self.random.choice(["", "", "", "ROLLUP", "CUBE", "GROUPING SETS"]) if by else ""
        sets = ()
        if form == "GROUPING SETS":
            drawn = [[expr for expr in by if self.chance(0.5)] for _ in range(self.random.choice([1, 2, 3]))]
            # What is in no set is not grouped by.
            by = [expr for expr in by if any(expr in some for some in drawn)]
            sets = tuple(tuple(by.index(expr) for expr in some) for some in drawn)
            form = form if by else ""
        aggregates = [self.aggregates.aggregate(local) for _ in range(self.random.choice([1, 1, 2, 3]))]
        if form and self.chance(0.5):
            aggregates.append(Call(INT, "grouping", (self.random.choice(by),), cast="int"))
        keys = list(by) if not form else []
        return (Group(tuple(by), form, sets) if by else None), Scope(by + aggregates, keys, scope.outer, grouped=True)

    def relation(self, depth, outer):
        """The FROM clause, and its columns."""
        node, columns, keys = self.source(depth, outer)
        joins = self.random.choice([0, 0, 1, 1, 2]) if not self.large else self.random.choice([0, 0, 0, 1])
        for _ in range(joins):
            # The column of a USING may be in the next relation, too.
            columns = [column for column in columns if column.relation]
            left = Scope(columns, keys or [], outer)
            if depth > 0 and not self.large and self.chance(0.1):
                node, columns, keys = self.lateral(node, left, depth, keys)
                continue
            right, more, more_keys = self.source(depth, outer)
            node, columns = self.join(node, left, right, Scope(more, more_keys or [], outer))
            keys = keys + more_keys if keys and more_keys else None
        return node, Scope(columns, keys or [], outer)

    def join(self, left, left_scope, right, right_scope):
        kind = self.random.choice(["INNER", "INNER", "LEFT", "LEFT", "RIGHT", "FULL", "CROSS"] if not self.large else ["INNER", "LEFT", "FULL"])
        columns = left_scope.atoms + right_scope.atoms
        tables = isinstance(left, Table) and isinstance(right, Table) and "k" in [column.name for column in left_scope.atoms]
        if kind != "CROSS" and tables and self.chance(0.15 if kind != "FULL" else REFUSED_SHARE) and "k" in [column.name for column in right_scope.atoms]:
            merged = Column(INT, "", "k")
            return Join(kind, left, right, using="k"), [merged] + [column for column in columns if column.name != "k"]
        if kind == "CROSS":
            return Join(kind, left, right), columns
        on = self.expressions.equality(left_scope, right_scope)
        if on is None:
            return Join("CROSS", left, right), columns
        both = Scope(columns, [], left_scope.outer)
        if kind == "FULL":
            # PostgreSQL joins so by equality alone.
            return Join(kind, left, right, Expr(BOOL, "({0} = {1})", on.args)), columns
        if self.chance(0.25):
            on = Expr(BOOL, "({0} AND {1})", (on, self.join_condition(both)))
        elif self.chance(0.1) and not self.large:
            on = self.join_condition(both)
        return Join(kind, left, right, on), columns

    def join_condition(self, scope):
        return self.expressions.condition(scope, 1) if self.chance(REFUSED_SHARE) else self.expressions.value(BOOL, scope, 2)

    def lateral(self, node, left, depth, keys):
        """A join with a query, or the items of a list, of each row on the left."""
        alias = self.alias()
        lists = [atom for atom in left.atoms if atom.kind.name == "ints"]
        if lists and self.chance(0.4):
            return Join("CROSS", node, Unnest(self.random.choice(lists), alias)), left.atoms + [Column(INT, alias, "item")], None
        query = self.select(depth - 1, Scope(left.atoms, left.keys, None), limited=0.1)
        more = [Column(item.expr.kind, alias, item.name) for item in query.items]
        kind, on = self.random.choice([("CROSS", None), ("LEFT", Expr(BOOL, "true")), ("INNER", Expr(BOOL, "true"))])
        return Join(kind, node, Derived(query, alias, lateral=True), on), left.atoms + more, None

    def source(self, depth, outer):
        """One relation, its columns, and those that tell its rows apart, if some do."""
        alias = self.alias()
        if self.ctes and self.chance(0.4):
            cte = self.random.choice(self.ctes)
            return Table(cte.name, alias), [Column(item.expr.kind, alias, item.name) for item in cte.query.items], None
        if depth > 0 and self.chance(0.2):
            query = self.query(depth - 1)
            columns = [Column(item.expr.kind, alias, item.name) for item in query.items]
            certain = isinstance(query, Select) and query.distinct or isinstance(query, SetOperation) and query.word in ("UNION", "INTERSECT", "EXCEPT")
            return Derived(query, alias), columns, columns if certain and distinguishable(query.items) else None
        if self.chance(0.05):
            values = self.values([KINDS[self.random.choice(SHOWN)] for _ in range(2)])
            return Derived(values, alias), [Column(item.expr.kind, alias, item.name) for item in values.items], None
        table = self.random.choice(self.tables)
        columns = [Column(kind, alias, name) for name, kind in table.columns.items()]
        return Table(table.name, alias), columns, [Column(INT, alias, "id")]

    def scalar(self, kind, scope, depth):
        """A subquery that is a value: an aggregate, or the first of an order."""
        if self.chance(0.7) and (kind.name == "big" or kind.name in EXTREME):
            relation, inner = self.relation(0, scope)
            where = self.expressions.condition(inner, 1) if self.chance(0.8) else None
            local = Scope(inner.atoms, inner.keys)
            name = "count" if kind.name == "big" and self.chance(0.5) else self.random.choice(["min", "max"])
            expr = Call(kind, name, (self.aggregates.expressions.value(kind, local, 1),))
            return Expr(kind, "({0})", (Select((Item(expr, "c1"),), relation, where),))
        query = self.select(depth, scope, [kind], 0)
        if not distinguishable(query.items) or query.distinct_on:
            return None
        order = (Key(Column(kind, "", "c1"), self.chance(0.5)),)
        return Expr(kind, "({0})", (Select(**{**vars(query), "order": order, "limit": 1}),))

    def condition(self, scope, depth):
        """A predicate with a subquery."""
        form = self.random.choice(["ANY", "ALL", "row"] if self.chance(REFUSED_SHARE) else ["EXISTS", "IN"])
        if form == "EXISTS":
            return Expr(BOOL, self.random.choice(["EXISTS ({0})", "(NOT EXISTS ({0}))"]), (self.query(depth, scope, limited=REFUSED_SHARE),))
        if form == "row":
            query = self.query(depth, scope, [INT, KINDS["text"]], 0)
            left = (self.expressions.value(INT, scope, 0), self.expressions.value(KINDS["text"], scope, 0))
            return Expr(BOOL, self.random.choice(["(({0}, {1}) IN ({2}))", "(({0}, {1}) NOT IN ({2}))"]), (*left, query))
        kind = KINDS[self.random.choice(["int", "big", "text", "wdbl", "dec", "date", "wbig", "tstz"])]
        words = {"IN": ["IN", "NOT IN"], "ANY": ["= ANY", "< ANY", ">= ANY", "<> ANY"], "ALL": ["<> ALL", "> ALL", "<= ALL", "= ALL"]}[form]
        query = self.query(depth, scope, [kind], REFUSED_SHARE)
        return Expr(BOOL, f"({{0}} {self.random.choice(words)} ({{1}}))", (self.expressions.value(kind, scope, 1), query))


EXTREME = ["int", "wint", "wbig", "dec", "wdec", "dbl", "wdbl", "text", "date", "ts", "tstz"]


def distinguishable(items):
    """Whether an order of all columns leaves nothing open."""
    return all(item.expr.kind.sortable and not item.expr.kind.approximate for item in items)


def draw(random, tables, length_max, large=False):
    """A query that is not too long to read."""
    while True:
        query = Queries(random, tables, large).draw()
        if len(query.sql(DUCKDB)) <= length_max:
            return query
