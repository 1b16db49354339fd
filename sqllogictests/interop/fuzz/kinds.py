"""The types of values: their names in each engine, what is drawn of them, and how one is written.

Several kinds share a type. A *tame* kind may be computed with: small integers, doubles whose sums are exact in any order. A *wild* one has
extremes and special values, and is only compared, sorted, grouped and joined: what is computed of it would be an error, or depend on the order
of rows. `approximate` values depend on it, and are only shown.
"""

import datetime
import decimal
import math
import uuid
from dataclasses import dataclass

import pyarrow as pa

UTC = datetime.timezone.utc
NAN, NEGATIVE_NAN = math.nan, math.copysign(math.nan, -1.0)


@dataclass(frozen=True)
class Kind:
    name: str
    family: str  # Kinds of one family can be compared, and be a column of a UNION.
    polynya: str
    duckdb: str | None = None
    postgres: str | None = None
    arrow: pa.DataType | None = None
    tame: bool = True
    sortable: bool = True
    approximate: bool = False

    def type_name(self, dialect):
        return getattr(self, dialect) or self.polynya


def kinds(*list_of):
    return {kind.name: kind for kind in list_of}


STRUCT = pa.struct([("a", pa.int32()), ("b", pa.string())])
KINDS = kinds(
    Kind("bool", "bool", "boolean", arrow=pa.bool_()),
    Kind("int", "number", "int", arrow=pa.int32()),
    Kind("big", "number", "bigint", arrow=pa.int64()),
    Kind("wint", "number", "int", arrow=pa.int32(), tame=False),
    Kind("wbig", "number", "bigint", arrow=pa.int64(), tame=False),
    Kind("dec", "number", "decimal(12, 2)", postgres="numeric(12, 2)", arrow=pa.decimal128(12, 2)),
    Kind("wdec", "number", "decimal(38, 10)", postgres="numeric(38, 10)", arrow=pa.decimal128(38, 10), tame=False),
    Kind("dbl", "number", "double", postgres="double precision", arrow=pa.float64()),
    Kind("sdbl", "number", "double", postgres="double precision", arrow=pa.float64(), tame=False),
    Kind("wdbl", "number", "double", postgres="double precision", arrow=pa.float64(), tame=False),
    Kind("real", "number", "float", postgres="real", arrow=pa.float32(), tame=False),
    Kind("approx", "number", "double", postgres="double precision", tame=False, approximate=True),
    Kind("text", "text", "varchar", postgres="text", arrow=pa.string()),
    Kind("date", "date", "date", arrow=pa.date32()),
    Kind("wdate", "date", "date", arrow=pa.date32(), tame=False),
    Kind("ts", "ts", "timestamp", arrow=pa.timestamp("us")),
    Kind("wts", "ts", "timestamp", arrow=pa.timestamp("us"), tame=False),
    Kind("tstz", "tstz", "timestamptz", arrow=pa.timestamp("us", "UTC")),
    Kind("time", "time", "time", arrow=pa.time64("us")),
    Kind("uuid", "uuid", "uuid", arrow=pa.string()),
    Kind("bin", "bin", "bytea", "blob", "bytea", arrow=pa.binary()),
    Kind("ints", "ints", "array<int>", "int[]", "int[]", arrow=pa.list_(pa.int32())),
    Kind("struct", "struct", "struct<a int, b varchar>", "struct(a int, b varchar)", arrow=STRUCT, sortable=False),
)

WORDS = ["", " ", "a", "A", "b", "ab", "abc", "B", "ä", "É", "Zebra", "it's", "%", "a_b", "a%b", "日本語", "🙂", "  pad ", "10", "9", "null",
         "back\\slash", "tab\there", "line\nbreak"]
INT32, INT64 = 2**31, 2**63
DAYS = [datetime.date(2024, 2, 29), datetime.date(2023, 12, 31), datetime.date(1969, 12, 31), datetime.date(1970, 1, 1),
        datetime.date(2024, 3, 31), datetime.date(2024, 10, 27), datetime.date(2000, 1, 1)]


def draw(random, kind):
    """A value of the kind that is not NULL."""
    return DRAWN[kind.name](random)


def day(random):
    return random.choice(DAYS) if random.random() < 0.5 else datetime.date(1960, 1, 1) + datetime.timedelta(random.randrange(25_000))


def moment(random):
    micros = random.choice([0, 0, 1_000_000 * 3600 * 12, 86_399_999_999, random.randrange(86_400_000_000)])
    return datetime.datetime.combine(day(random), datetime.time()) + datetime.timedelta(microseconds=micros)


def text(random):
    if random.random() < 0.04:
        return random.choice("xyä") * random.choice([13, 300, 5_000])
    return random.choice(WORDS)


def ints(random):
    return [None if random.random() < 0.15 else random.randrange(-2, 4) for _ in range(random.choice([0, 1, 1, 2, 3]))]


def quarter(random):
    return random.choice([0.0, -0.0, 0.25, 1.0, 1.5, -2.75, 100.0, random.randrange(-40, 40) / 4])


DRAWN = {
    "bool": lambda r: r.random() < 0.5,
    "int": lambda r: r.choice([0, 1, 2, 3, -1, r.randrange(-5, 12), r.randrange(-100, 100)]),
    "big": lambda r: r.choice([0, 1, 2, -1, r.randrange(-5, 12), r.randrange(-100, 1000)]),
    "wint": lambda r: r.choice([0, 1, INT32 - 1, -INT32, r.randrange(-INT32, INT32)]),
    "wbig": lambda r: r.choice([0, 1, INT64 - 1, -INT64, 2**53 + 1, 2**53, INT32, r.randrange(-INT64, INT64)]),
    "dec": lambda r: decimal.Decimal(r.choice([0, 1, 50, 100, 199, -250, r.randrange(-100_000, 100_000)])).scaleb(-2),
    "wdec": lambda r: decimal.Decimal(r.choice([0, 1, -1, 10**10, 10**38 - 1, 1 - 10**38, r.randrange(-10**30, 10**30)])).scaleb(-10, WIDE),
    "dbl": quarter,
    "sdbl": lambda r: r.choice([NAN, NEGATIVE_NAN, math.inf, -math.inf, -0.0]) if r.random() < 0.3 else quarter(r),
    "wdbl": lambda r: r.choice([NAN, NEGATIVE_NAN, math.inf, -math.inf, 0.0, -0.0, 1.7976931348623157e308, 5e-324, -1e300, 0.1, 1e17, 2.0**53,
                                1.0, r.uniform(-10, 10)]),
    "real": lambda r: r.choice([NAN, NEGATIVE_NAN, math.inf, -math.inf, 0.0, -0.0, 0.5, 1.0, 2.0**24, 0.10000000149011612, -3.25]),
    "text": text,
    "date": day,
    "wdate": lambda r: r.choice([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(1582, 10, 10), day(r)]),
    "ts": moment,
    "wts": lambda r: r.choice([datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999), moment(r)]),
    "tstz": lambda r: moment(r).replace(tzinfo=UTC),
    "time": lambda r: r.choice([datetime.time(0), datetime.time(23, 59, 59, 999_999), datetime.time(12), datetime.time(r.randrange(24), 30, 5, 250_000)]),
    "uuid": lambda r: uuid.UUID(int=r.choice([0, 1, 2**128 - 1, 2**127, r.getrandbits(128)])),
    "bin": lambda r: r.choice([b"", b"\x00", b"a", b"\xff\xfe", b"abc", bytes(r.randrange(256) for _ in range(3))]),
    "ints": ints,
    "struct": lambda r: {"a": None if r.random() < 0.2 else r.randrange(3), "b": None if r.random() < 0.2 else r.choice(WORDS)},
}
WIDE = decimal.Context(prec=60)


def literal(kind, value, dialect):
    """The value as SQL, with its type."""
    name = kind.type_name(dialect)
    if kind.name == "uuid" and dialect == "polynya":
        # A column's type, and none that CAST knows.
        bytes_of = "NULL" if value is None else f"X'{value.hex}'"
        return f"arrow_cast({bytes_of}, 'FixedSizeBinary(16)')"
    if value is None:
        return f"CAST(NULL AS {name})"
    if kind.name == "bool":
        return "true" if value else "false"
    if kind.name in ("int", "big", "dec") and value >= 0 and kind.name != "big":
        return format(value, "f") if kind.name == "dec" else str(value)
    if kind.family == "text":
        return quoted(value)
    if kind.family in ("date", "ts", "time", "tstz"):
        return f"{ {'ts': 'TIMESTAMP', 'tstz': 'TIMESTAMPTZ'}.get(kind.family, kind.family.upper()) } '{written(value)}'"
    if kind.name == "bin":
        return {"polynya": f"X'{value.hex()}'", "postgres": f"'\\x{value.hex()}'::bytea",
                "duckdb": "'" + "".join(f"\\x{byte:02x}" for byte in value) + "'::blob"}[dialect]
    if kind.name == "ints":
        items = ", ".join("NULL" if item is None else str(item) for item in value)
        return f"CAST(ARRAY[{items}] AS int[])"
    if kind.name == "struct":
        a, b = "NULL" if value["a"] is None else value["a"], "NULL" if value["b"] is None else quoted(value["b"])
        return f"CAST(named_struct('a', {a}, 'b', {b}) AS {name})" if dialect == "polynya" else f"CAST({{'a': {a}, 'b': {b}}} AS {name})"
    if kind.family == "number" and isinstance(value, float):
        if math.isnan(value) and math.copysign(1.0, value) < 0:
            return f"(-CAST('NaN' AS {name}))"
        shown = "NaN" if math.isnan(value) else ("-Infinity" if value < 0 else "Infinity") if math.isinf(value) else repr(value)
        return f"CAST('{shown}' AS {name})"
    return f"CAST('{format(value, 'f') if isinstance(value, decimal.Decimal) else value}' AS {name})"


def written(value):
    """A date or time in ISO 8601; the year has four digits."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    return value.isoformat()


def quoted(value):
    return "'" + value.replace("'", "''") + "'"
