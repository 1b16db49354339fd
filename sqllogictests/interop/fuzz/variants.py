"""The ways in which Polynya itself answers one query: each must give what the plain way gives.

A way is a choice of each: where it runs, how many partitions and rows a batch, which optimiser passes are off, where the rows come from, how
much memory there is. Every pass that a session can turn off is off in one of the ways; the other choices are drawn.
"""

import subprocess
from dataclasses import dataclass, field

from fuzz.engines import Polynya
from fuzz.tree import POLYNYA

OPTIMIZER = "datafusion.optimizer."
# Plans that a session may ask for. Each is the other than the server's own choice.
PLANS = [
    ("enable_distinct_aggregation_soft_limit", "false"), ("enable_round_robin_repartition", "false"), ("enable_topk_aggregation", "false"),
    ("enable_window_limits", "false"), ("enable_window_topn", "true"), ("enable_topk_repartition", "false"),
    ("enable_topk_dynamic_filter_pushdown", "false"), ("enable_physical_uncorrelated_scalar_subquery", "false"),
    ("enable_join_dynamic_filter_pushdown", "false"), ("filter_null_join_keys", "true"), ("repartition_aggregations", "false"),
    ("repartition_joins", "false"), ("repartition_windows", "false"), ("repartition_sorts", "false"), ("repartition_file_scans", "false"),
    ("prefer_existing_sort", "true"), ("prefer_existing_union", "true"), ("top_down_join_key_reordering", "false"), ("join_reordering", "false"),
    ("prefer_hash_join", "false"), ("enable_sort_pushdown", "false"), ("enable_leaf_expression_pushdown", "false"),
    ("enable_unions_to_filter", "true"), ("hash_join_single_partition_threshold", "0"), ("max_passes", "1"),
]
OTHERS = [("datafusion.execution.parquet.pushdown_filters", "true"), ("polynya.cache", "off"), ("polynya.wire_views", "kept")]
# The optimiser's passes that an engine can do without. Not here are those that plan subqueries, DISTINCT, joins and exchanges, that rewrite
# functions which cannot be evaluated (simplify_expressions), that answer LIMIT 0 (eliminate_limit), and that compare zeros rightly.
PASSES = [
    "optimize_unions", "unions_to_filter", "eliminate_join", "extract_equijoin_predicate", "eliminate_duplicated_expr",
    "eliminate_filter", "eliminate_cross_join", "propagate_empty_relation", "filter_null_join_keys", "eliminate_outer_join",
    "push_down_limit", "push_down_filter", "single_distinct_aggregation_to_group_by", "eliminate_group_by_constant",
    "common_sub_expression_eliminate", "extract_leaf_expressions", "push_down_leaf_projections", "optimize_projections",
    "aggregate_statistics", "LimitedDistinctAggregation", "FilterPushdown", "FilterPushdown(Post)", "WindowTopN",
    "CombinePartialFinalAggregate", "OptimizeAggregateOrder", "ProjectionPushdown", "LimitAggregation", "LimitPushPastWindows", "HashJoinBuffering",
    "LimitPushdown", "TopKRepartition", "PushdownSort", "EnsureCooperative",
]
# The smallest batch that a session may ask for, and the usual one; every second engine without a pass has batches of three rows.
BATCHES = ["64", "8192"]
SMALL_BATCH_ROWS = 3
ROW_GROUP_ROWS = 3
# Tables as they are written, and with very many row groups.
SCHEMAS = {"plain": "", "groups": f"WITH ('write.parquet.row-group-limit' = '{ROW_GROUP_ROWS}', 'write.parquet.page-row-limit' = '2')"}


@dataclass
class Way:
    name: str
    settings: dict = field(default_factory=dict)
    schema: str = "plain"
    values: bool = False
    where: str = "main"

    def text(self, query, tables):
        """The query as it is asked: with the rows in it, if they come from VALUES."""
        sql = query.sql(POLYNYA)
        return with_values(sql, tables) if self.values else sql


def with_values(sql, tables, dialect=POLYNYA):
    """The query with its tables as common table expressions of their rows."""
    ctes = ", ".join(table.values(dialect) for table in tables if f" {table.name} AS " in sql)
    if not ctes:
        return sql
    return f"WITH {ctes}, {sql[5:]}" if sql.startswith("WITH ") else f"WITH {ctes} {sql}"


def ways(random, workers, small, embedded):
    """Every way once: each pass off, each other plan; the rest of each is drawn. `embedded` are the passes that there are engines without."""
    found = [Way(f"without {name}", {}, random.choice(list(SCHEMAS)), random.random() < 0.1, name) for name in embedded]
    for name, value in PLANS:
        found.append(drawn(random, f"{name} {value}", {OPTIMIZER + name: value}, workers, small))
    for key, value in OTHERS:
        found.append(drawn(random, f"{key} {value}", {key: value}, workers, small))
    for execution in ["local", *(["distributed"] if workers else [])]:
        for partitions in ("1", "8"):
            settings = {"polynya.execution": execution, "datafusion.execution.target_partitions": partitions}
            found.append(drawn(random, f"{execution}, {partitions} partitions", settings, workers, small=False))
    found += [Way("VALUES", values=True), Way("row groups", schema="groups")]
    if small:
        found += [Way("little memory", where="small"), Way("little memory, 8 partitions", {"datafusion.execution.target_partitions": "8"}, where="small")]
    random.shuffle(found)
    return found


def drawn(random, name, settings, workers, small):
    more = {"datafusion.execution.target_partitions": random.choice(["1", "2", "8"]), "datafusion.execution.batch_size": random.choice(BATCHES),
            "polynya.execution": "distributed" if workers and random.random() < 0.3 else "local"}
    little = small and "polynya.execution" not in settings and random.random() < 0.1
    if little:
        more["polynya.execution"] = "local"
    return Way(name, {**more, **settings}, random.choice(list(SCHEMAS)), random.random() < 0.1, "small" if little else "main")


class Sessions:
    """Sessions of the servers, one for each way, opened when they are first asked. `servers` are by the name that ways have for them."""

    def __init__(self, servers):
        self.servers, self.open, self.zone = servers, {}, "UTC"

    def ask(self, way, sql):
        if way.name not in self.open:
            self.open[way.name] = session = Polynya(self.servers[way.where], way.schema, way.settings)
            session.zone(self.zone)
        return self.open[way.name].ask(sql)

    def change_zone(self, zone):
        self.zone = zone
        for session in self.open.values():
            session.zone(zone)

    def close(self):
        for session in self.open.values():
            session.close()
        self.open = {}


class Embedded:
    """Engines in one process, each without a pass (examples/embedded.rs), on the tables of a catalog."""

    def __init__(self, program, uri, warehouse, passes, log):
        command = [program, "--uri", uri, "--warehouse", warehouse, "--batch-rows", str(SMALL_BATCH_ROWS)]
        self.process = subprocess.Popen([*command, *(f"--without={name}" for name in passes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(log, "wb"), text=True)
        lines = [self.process.stdout.readline().split() for _ in passes]
        self.servers = {name: Served(url) for name, url in lines}

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


@dataclass
class Served:
    url: str
