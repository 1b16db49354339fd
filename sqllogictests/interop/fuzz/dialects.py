"""Where engines may answer otherwise, each with its reason. What is not here is a fault.

`AVOIDED` is what the generator does not ask, or writes in other words for one engine. `EXCUSED` is what it does ask: a difference in a query
whose text has the pattern, against the engine named, counts as one of dialect.
PostgreSQL's answer is the right one where both can be asked; DuckDB's counts where PostgreSQL has none.
"""

import re
from dataclasses import dataclass

from fuzz.tree import DUCKDB

AVOIDED = {
    "division of integers": "DuckDB's / gives a double; its // is what PostgreSQL and we mean by /. PostgreSQL and we fail for a divisor of 0, where "
    "DuckDB gives NULL: divisors are nullif(x, 0).",
    "texts in an order of a language": "PostgreSQL sorts by the database's collation; its tables here have COLLATE \"C\", which is how we sort.",
    "NULLs in an order": "DuckDB puts NULLs last, whatever the direction; it is told to sort as PostgreSQL and we do.",
    "CAST of a fraction to an integer": "PostgreSQL and DuckDB round, we cut off (docs/types.md): what is cast is trunc(x).",
    "round() of a double": "PostgreSQL rounds halves to even, DuckDB and we away from zero.",
    "a double as text": "1e+20 in PostgreSQL, 1e20 in DuckDB: both are the same number.",
    "sums of doubles in any order": "Additions of doubles depend on their order, so that only those are summed whose sums are exact: quarters, and "
    "values that are NaN or infinite.",
    "averages of decimals": "PostgreSQL gives 16 digits or more, we four more than the values have (docs/types.md), DuckDB a double: they are "
    "compared to five digits.",
    "quotients of decimals": "As averages: every engine has its own number of digits.",
    "upper() of ß": "One letter in PostgreSQL and DuckDB, two (SS) by Unicode's full mapping.",
    "substring() from before the text": "DuckDB counts from the end.",
    "backslashes in LIKE": "An escape in PostgreSQL, a letter in DuckDB.",
    "date + interval": "A timestamp in PostgreSQL and DuckDB, and compared as a date.",
    "date_trunc() of a date": "A timestamp with time zone in PostgreSQL, a date in DuckDB.",
    "min() and max() of booleans, UUIDs and bytes": "PostgreSQL 15 has none.",
    "FULL JOIN on other conditions than equality": "PostgreSQL refuses them.",
    "IGNORE NULLS": "PostgreSQL 15 has none: DuckDB's answer counts.",
    "structs": "PostgreSQL's have a name: DuckDB's answer counts.",
    "aggregates of outer columns alone": "They belong to the outer query in SQL, and to the inner one in DuckDB.",
    "a number in GROUP BY or DISTINCT ON": "It is the place of a column.",
}


@dataclass(frozen=True)
class Difference:
    name: str
    engine: str
    pattern: str
    reason: str


EXCUSED = [
    Difference("comparison of rows", DUCKDB, r"\(\([^()]*(\([^()]*\)[^()]*)*, .*\) (<|>=|IN|NOT IN) \(", "DuckDB compares rows as structs, whose NULLs are values; "
               "in SQL they make the comparison unknown."),
    Difference("grand total of a correlated subquery", DUCKDB, r"(ROLLUP|CUBE|GROUPING SETS) ?\(", "DuckDB 1.5 loses the row of the empty grouping set of a "
               "subquery that is correlated and finds nothing."),
    Difference("regression without variance", DUCKDB, r"(corr|regr_\w+)\(", "NaN in DuckDB, NULL in SQL:2003 and PostgreSQL."),
]


def excused(engine, text):
    """The difference that a query's text allows against the engine, if any does."""
    return next((difference.name for difference in EXCUSED if difference.engine == engine and re.search(difference.pattern, text)), None)
