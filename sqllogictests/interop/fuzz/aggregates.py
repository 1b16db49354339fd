"""Draws aggregates and window functions.

In: what is in scope. Out: calls, whose answer does not depend on the order in which rows come: what does depend on it is ordered by keys that
tell all rows apart, or only shown.
"""

from fuzz.kinds import KINDS
from fuzz.tree import Call, Expr, Key, Literal, Number, Star, Window

SUMMED = {"int": ("big", "bigint"), "big": ("big", "bigint"), "dec": ("dec", "decimal(20, 2)"), "dbl": ("dbl", None), "sdbl": ("sdbl", None)}
EXTREME = ["int", "big", "wint", "wbig", "dec", "wdec", "dbl", "wdbl", "real", "text", "date", "wdate", "ts", "wts", "tstz", "time"]
COUNTED = [name for name, kind in KINDS.items() if kind.sortable and not kind.approximate]
MOMENTS = ["stddev_samp", "stddev_pop", "var_samp", "var_pop"]
PAIRS = ["corr", "covar_pop", "covar_samp", "regr_slope", "regr_intercept", "regr_count", "regr_r2", "regr_avgx", "regr_sxx", "regr_sxy"]
BOUNDS = ["UNBOUNDED PRECEDING", "2 PRECEDING", "1 PRECEDING", "CURRENT ROW", "1 FOLLOWING", "3 FOLLOWING", "UNBOUNDED FOLLOWING"]
RANGED = {"int": ("1", "3"), "big": ("1", "10"), "dec": ("1", "2.5"), "date": ("INTERVAL '1 day'", "INTERVAL '1 month'"),
          "ts": ("INTERVAL '1 hour'", "INTERVAL '1 month'")}


class Aggregates:
    """A generator of calls; `expressions` draws their arguments."""

    def __init__(self, random, expressions):
        self.random, self.expressions = random, expressions

    def chance(self, share):
        return self.random.random() < share

    def aggregate(self, scope, window=None):
        """One of any kind. `scope` must not reach the queries around it: SQL would take some aggregates for theirs."""
        value = lambda name: self.expressions.value(KINDS[name], scope, 1)
        call = lambda result, name, *args, **more: Call(KINDS[result], name, args, window=window, **more)
        where = self.expressions.value(KINDS["bool"], scope, 1) if self.chance(0.2) else None
        form = self.random.choice(["count", "count", "sum", "sum", "avg", "extreme", "extreme", "bool", "moment", "pair", "bits", "string", "list"])
        if form == "count" and self.chance(0.4):
            return call("big", "count", Star(), where=where)
        if form == "count":
            distinct = not window and self.chance(0.5)
            return call("big", "count", value(self.random.choice(COUNTED)), distinct=distinct, where=where)
        if form == "sum":
            name = self.random.choice(list(SUMMED))
            result, cast = SUMMED[name]
            return call(result, "sum", value(name), distinct=not window and self.chance(0.15), where=where, cast=cast)
        if form == "avg":
            return call("approx", "avg", value(self.random.choice(list(SUMMED))), where=where)
        if form == "extreme":
            name = self.random.choice(EXTREME)
            return call(name, self.random.choice(["min", "max"]), value(name), where=where)
        if form == "bool":
            return call("bool", self.random.choice(["bool_and", "bool_or"]), value("bool"), where=where)
        if form == "moment":
            return call("approx", self.random.choice(MOMENTS), value(self.random.choice(["int", "dbl"])), where=where)
        if form == "pair":
            return call("approx", self.random.choice(PAIRS), value("dbl"), value("dbl"), where=where)
        if form == "bits":
            return call("int", self.random.choice(["bit_and", "bit_or", "bit_xor"]), value("int"), where=where)
        if window:
            return call("big", "count", value("text"), where=where)
        if form == "string":
            text = value("text")
            return call("text", "string_agg", text, Literal(KINDS["text"], ","), order=(Key(text, self.chance(0.5)),), where=where)
        number = value("int")
        return call("ints", "array_agg", number, order=(Key(number, self.chance(0.5), self.random.choice([None, "FIRST", "LAST"])),), where=where)

    def window(self, scope):
        """A window function, over a window that makes its answer certain."""
        value = lambda name: self.expressions.value(KINDS[name], scope, 1)
        partition = tuple(self.by(scope) for _ in range(self.random.choice([0, 1, 1, 2])))
        loose = tuple(self.key(self.by(scope)) for _ in range(self.random.choice([0, 1, 1, 2])))
        total = loose + tuple(self.key(key) for key in scope.keys)
        # After GROUP BY without columns there is one row.
        certain = bool(scope.keys)
        form = self.random.choice(["rank", "frame", "frame", "range", "peers", *(["row", "row", "value", "value", "rows", "rows"] if certain else [])])
        if form == "rank":
            name = self.random.choice(["rank", "dense_rank", "percent_rank", "cume_dist"])
            return Call(KINDS["big" if "rank" in name and "percent" not in name else "wdbl"], name, window=Window(partition, loose or (self.key(self.by(scope)),)))
        if form == "row":
            name, args = self.random.choice([("row_number", ()), ("ntile", (Number("3"),))])
            return Call(KINDS["big"], name, args, window=Window(partition, total))
        if form == "value":
            kind = KINDS[self.random.choice(["int", "dbl", "wdbl", "text", "dec", "date", "ts", "bool", "wbig"])]
            args = (self.expressions.value(kind, scope, 1),)
            name = self.random.choice(["lag", "lead", "lag", "lead", "first_value", "last_value", "nth_value"])
            if name in ("lag", "lead"):
                args += (Number(str(self.random.choice([0, 1, 2, 3]))),) if self.chance(0.6) else ()
                args += (self.expressions.literal(kind),) if len(args) == 2 and self.chance(0.3) else ()
                return Call(kind, name, args, window=Window(partition, total), ignore_nulls=self.chance(0.1))
            args += (Number(str(self.random.choice([1, 2, 3]))),) if name == "nth_value" else ()
            return Call(kind, name, args, window=Window(partition, total, self.frame("ROWS")), ignore_nulls=self.chance(0.1))
        if form == "rows":
            return self.aggregate(scope, Window(partition, total, self.frame("ROWS")))
        if form == "range":
            names = [atom for atom in scope.atoms if atom.kind.name in RANGED]
            if names:
                atom = self.random.choice(names)
                return self.aggregate(scope, Window(partition, (self.key(atom),), self.range(atom.kind)))
        if form == "peers" and loose:
            return self.aggregate(scope, Window(partition, loose, self.frame("GROUPS")))
        frame = self.random.choice([None, "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", "RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
                                    "RANGE BETWEEN CURRENT ROW AND CURRENT ROW"])
        return self.aggregate(scope, Window(partition, loose, frame))

    def by(self, scope):
        """What to part or order by: a column, most often."""
        atoms = [atom for atom in scope.atoms if atom.kind.sortable and not atom.kind.approximate and not isinstance(atom, Call)]
        if atoms and self.chance(0.85):
            return self.random.choice(atoms)
        return Expr(KINDS["int"], "({0} % 3)", (self.expressions.value(KINDS["int"], scope, 1),))

    def key(self, expr):
        return Key(expr, self.chance(0.35), self.random.choice([None, None, None, "FIRST", "LAST"]))

    def frame(self, unit):
        start = self.random.randrange(len(BOUNDS) - 1)
        end = self.random.randrange(max(start, 1), len(BOUNDS))
        return f"{unit} BETWEEN {BOUNDS[start]} AND {BOUNDS[end]}"

    def range(self, kind):
        near, far = RANGED[kind.name]
        bounds = ["UNBOUNDED PRECEDING", f"{far} PRECEDING", f"{near} PRECEDING", "CURRENT ROW", f"{near} FOLLOWING", f"{far} FOLLOWING", "UNBOUNDED FOLLOWING"]
        start = self.random.randrange(len(bounds) - 1)
        end = self.random.randrange(max(start, 1), len(bounds))
        return f"RANGE BETWEEN {bounds[start]} AND {bounds[end]}"
