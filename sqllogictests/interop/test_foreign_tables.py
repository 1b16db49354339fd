"""Tables that PyIceberg wrote, read through ADBC: partitions, evolution, row groups. PyIceberg's own reader is the reference."""

import datetime
import decimal
import uuid

import pyarrow as pa
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform, DayTransform, HourTransform, IdentityTransform, MonthTransform, TruncateTransform, YearTransform,
)
from pyiceberg.types import (
    BinaryType, BooleanType, DateType, DecimalType, DoubleType, FixedType, FloatType, IntegerType, ListType, LongType, MapType,
    NestedField, StringType, StructType, TimestampType, TimestamptzType, TimeType, UUIDType,
)

D = decimal.Decimal
UTC = datetime.timezone.utc


def same(polynya, table):
    """Polynya and PyIceberg give the same rows."""
    got = polynya.table(f"SELECT * FROM {'.'.join(table.name())} ORDER BY id").to_pylist()
    expected = table.scan().to_arrow().sort_by("id").to_pylist()
    assert plain(got) == plain(expected)
    return got


def plain(value):
    """Values that two Arrow libraries may type differently, made equal."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, uuid.UUID):
        return str(value)
    return value


def schema(*fields):
    return Schema(*(NestedField(i, name, kind, required=False) for i, (name, kind) in enumerate(fields, 1)))


EVERY_TYPE = schema(
    ("id", IntegerType()), ("b", BooleanType()), ("l", LongType()), ("f", FloatType()), ("d", DoubleType()), ("m", DecimalType(20, 4)),
    ("day", DateType()), ("t", TimeType()), ("ts", TimestampType()), ("tz", TimestamptzType()), ("s", StringType()),
    ("bin", BinaryType()), ("fix", FixedType(3)),
)


def every_type_rows():
    first = dict(id=1, b=True, l=2**63 - 1, f=1.5, d=1e300, m=D("1234567890123456.7891"), day=datetime.date(1, 1, 1),
                 t=datetime.time(23, 59, 59, 999999), ts=datetime.datetime(1969, 12, 31, 23, 59, 59, 999999),
                 tz=datetime.datetime(2024, 2, 29, 12, 0, tzinfo=UTC), s="ünïcode 日本", bin=b"\x00\xff", fix=b"abc")
    second = dict(id=2, b=False, l=-(2**63), f=-0.0, d=-1e-300, m=D("-0.0001"), day=datetime.date(9999, 12, 31), t=datetime.time(0),
                  ts=datetime.datetime(9999, 12, 31, 23, 59, 59), tz=datetime.datetime(1900, 1, 1, tzinfo=UTC), s="", bin=b"", fix=b"\0\0\0")
    return [first, second, dict.fromkeys(first) | {"id": 3}]


def test_every_primitive_type_is_read_as_written(foreign, polynya):
    table = foreign.create_table("interop.every_type", EVERY_TYPE)
    table.append(pa.Table.from_pylist(every_type_rows(), schema=table.schema().as_arrow()))
    same(polynya, table)


def test_uuids_are_read(foreign, polynya):
    table = foreign.create_table("interop.uuids", schema(("id", IntegerType()), ("u", UUIDType())))
    value = uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7")
    rows = pa.table({"id": pa.array([1, 2], pa.int32()), "u": pa.array([value.bytes, None], pa.binary(16)).cast(pa.uuid())})
    table.append(rows)
    (first, second) = polynya.rows("SELECT u FROM interop.uuids ORDER BY id")
    assert str(value) in str(first[0]) or bytes(first[0]) == value.bytes
    assert second == (None,)


NESTED = Schema(
    NestedField(1, "id", IntegerType(), required=False),
    NestedField(2, "s", StructType(NestedField(5, "a", IntegerType(), required=False),
                                   NestedField(6, "b", StringType(), required=False)), required=False),
    NestedField(3, "l", ListType(7, LongType(), element_required=False), required=False),
    NestedField(4, "m", MapType(8, StringType(), 9, DoubleType(), value_required=False), required=False),
)


def test_nested_types_and_their_evolution(foreign, polynya):
    table = foreign.create_table("interop.nested", NESTED)
    arrow = table.schema().as_arrow()
    rows = [{"id": 1, "s": {"a": 1, "b": "x"}, "l": [1, None], "m": [("k", 1.5)]},
            {"id": 2, "s": None, "l": [], "m": []}, {"id": 3, "s": {"a": None, "b": None}, "l": None, "m": None}]
    table.append(pa.Table.from_pylist(rows, schema=arrow))
    same(polynya, table)
    with table.update_schema() as update:
        update.rename_column("s.b", "renamed")
        update.add_column(("s", "added"), DateType())
        update.update_column("s.a", LongType())
    with table.update_schema() as update:
        update.delete_column("s.renamed")
        update.add_column(("s", "b"), LongType())
    new = [{"id": 4, "s": {"a": 2**40, "added": datetime.date(2024, 1, 1), "b": 7}, "l": [4], "m": [("z", None)]}]
    table.append(pa.Table.from_pylist(new, schema=table.schema().as_arrow()))
    got = same(polynya, table)
    assert got[0]["s"] == {"a": 1, "added": None, "b": None}
    assert polynya.rows("SELECT id FROM interop.nested WHERE s['a'] > 1000") == [(4,)]


def test_columns_are_found_by_id_whatever_they_are_called(foreign, polynya):
    table = foreign.create_table("interop.evolved", schema(
        ("id", IntegerType()), ("a", StringType()), ("b", IntegerType()), ("f", FloatType()), ("m", DecimalType(9, 2))))
    first = pa.Table.from_pylist([{"id": i, "a": f"a{i}", "b": i * 10, "f": i / 2, "m": D(i)} for i in range(5)],
                                 schema=table.schema().as_arrow())
    table.append(first)
    with table.update_schema() as update:
        update.rename_column("a", "c")
        update.update_column("b", LongType())
        update.update_column("f", DoubleType())
        update.update_column("m", DecimalType(18, 2))
        update.move_first("m")
    with table.update_schema() as update:
        update.add_column("a", LongType())
    table.append(pa.Table.from_pylist(
        [{"id": i, "a": i, "b": 2**40 + i, "c": f"c{i}", "f": 1e300, "m": D("1234567890123456.78")} for i in range(5, 9)],
        schema=table.schema().as_arrow()))
    got = same(polynya, table)
    assert list(got[0]) == ["m", "id", "c", "b", "f", "a"]
    assert got[0]["a"] is None and got[0]["c"] == "a0"
    # Bounds that were written with the narrow type still keep the rows.
    assert polynya.rows("SELECT count(*) FROM interop.evolved WHERE b = 30") == [(1,)]
    assert polynya.rows("SELECT count(*) FROM interop.evolved WHERE b < 100 AND f < 100") == [(5,)]
    assert polynya.rows("SELECT id FROM interop.evolved WHERE m = 3.00") == [(3,)]
    assert polynya.rows("SELECT count(*) FROM interop.evolved WHERE a IS NULL") == [(5,)]
    assert polynya.rows("SELECT id FROM interop.evolved WHERE c = 'a2'") == [(2,)]
    with table.update_schema() as update:
        update.delete_column("c")
    with table.update_schema() as update:
        update.add_column("c", StringType())
    same(polynya, table)
    assert polynya.rows("SELECT count(c) FROM interop.evolved") == [(0,)]


SPECS = {
    "identity_string": [("s", IdentityTransform())],
    "identity_date": [("day", IdentityTransform())],
    "identity_decimal": [("m", IdentityTransform())],
    "bucket_int": [("id", BucketTransform(4))],
    "bucket_string": [("s", BucketTransform(3))],
    "bucket_decimal": [("m", BucketTransform(5))],
    "bucket_timestamp": [("ts", BucketTransform(4))],
    "truncate_int": [("n", TruncateTransform(10))],
    "truncate_string": [("s", TruncateTransform(2))],
    "truncate_decimal": [("m", TruncateTransform(100))],
    "year": [("day", YearTransform())],
    "month": [("ts", MonthTransform())],
    "day": [("ts", DayTransform())],
    "hour": [("tz", HourTransform())],
    "several": [("day", MonthTransform()), ("s", BucketTransform(2)), ("n", IdentityTransform())],
}
PARTITIONED = schema(("id", IntegerType()), ("n", IntegerType()), ("s", StringType()), ("m", DecimalType(9, 2)), ("day", DateType()),
                     ("ts", TimestampType()), ("tz", TimestamptzType()))


def partitioned_rows():
    start = datetime.datetime(1969, 12, 28, 22, 30)
    for i in range(60):
        moment = start + datetime.timedelta(hours=9 * i, seconds=i)
        words = ["apple", "apricot", "bänd", "", "z", None]
        yield {"id": i, "n": None if i % 13 == 0 else (i - 30) * 3, "s": words[i % 6], "m": None if i % 7 == 0 else D(i - 30) / 4,
               "day": None if i % 11 == 0 else moment.date(), "ts": moment, "tz": moment.replace(tzinfo=UTC)}


def holds(column, test):
    """A condition that is not true where the column is NULL."""
    return lambda row: row[column] is not None and test(row[column])


PREDICATES = {
    "n = 30": holds("n", lambda n: n == 30),
    "n < -20": holds("n", lambda n: n < -20),
    "n IS NULL": lambda row: row["n"] is None,
    "s = 'apple'": holds("s", lambda s: s == "apple"),
    "s LIKE 'ap%'": holds("s", lambda s: s.startswith("ap")),
    "s IS NULL": lambda row: row["s"] is None,
    "s IN ('z', '')": holds("s", lambda s: s in ("z", "")),
    "m > 2.5": holds("m", lambda m: m > D("2.5")),
    "m = -1.75": holds("m", lambda m: m == D("-1.75")),
    "day < DATE '1970-01-01'": holds("day", lambda day: day < datetime.date(1970, 1, 1)),
    "day = DATE '1970-01-03'": holds("day", lambda day: day == datetime.date(1970, 1, 3)),
    "day IS NULL": lambda row: row["day"] is None,
    "ts >= TIMESTAMP '1970-01-10 00:00:00'": holds("ts", lambda ts: ts >= datetime.datetime(1970, 1, 10)),
    "tz < TIMESTAMP WITH TIME ZONE '1969-12-31 00:00:00+00:00'":
        holds("tz", lambda tz: tz < datetime.datetime(1969, 12, 31, tzinfo=UTC)),
    "n <= 0 OR s = 'z'": lambda row: (row["n"] is not None and row["n"] <= 0) or row["s"] == "z",
}


def predicates_hold(polynya, name, rows):
    for predicate, holds_for in PREDICATES.items():
        got = [row[0] for row in polynya.rows(f"SELECT id FROM {name} WHERE {predicate} ORDER BY id")]
        assert got == [row["id"] for row in rows if holds_for(row)], f"{name}: {predicate}"


@pytest.mark.parametrize("name", SPECS)
def test_partitioned_tables_lose_no_rows_to_pruning(foreign, polynya, name):
    fields = [PartitionField(PARTITIONED.find_field(column).field_id, 1000 + i, transform, f"p{i}_{column}")
              for i, (column, transform) in enumerate(SPECS[name])]
    table = foreign.create_table(f"interop.by_{name}", PARTITIONED, partition_spec=PartitionSpec(*fields))
    rows = list(partitioned_rows())
    for part in (rows[:25], rows[25:]):
        table.append(pa.Table.from_pylist(part, schema=table.schema().as_arrow()))
    same(polynya, table)
    predicates_hold(polynya, f"interop.by_{name}", rows)


def test_a_table_whose_partitioning_changed(foreign, polynya):
    table = foreign.create_table("interop.respec", PARTITIONED)
    rows = list(partitioned_rows())
    table.append(pa.Table.from_pylist(rows[:20], schema=table.schema().as_arrow()))
    with table.update_spec() as update:
        update.add_field("s", IdentityTransform(), "s_id")
    table.append(pa.Table.from_pylist(rows[20:40], schema=table.schema().as_arrow()))
    with table.update_spec() as update:
        update.remove_field("s_id")
        update.add_field("day", MonthTransform(), "day_month")
    table.append(pa.Table.from_pylist(rows[40:], schema=table.schema().as_arrow()))
    same(polynya, table)
    predicates_hold(polynya, "interop.respec", rows)


def test_files_of_many_row_groups(foreign, polynya):
    properties = {"write.parquet.row-group-limit": "1000", "write.parquet.page-row-limit": "100"}
    table = foreign.create_table("interop.row_groups", schema(("id", LongType()), ("s", StringType())), properties=properties)
    table.append(pa.table({"id": pa.array(range(25_000), pa.int64()), "s": [f"value {i % 977}" for i in range(25_000)]}))
    assert polynya.rows("SELECT count(*), sum(id), min(s), max(s) FROM interop.row_groups") == [
        (25_000, sum(range(25_000)), "value 0", "value 99")]
    assert polynya.rows("SELECT id FROM interop.row_groups WHERE id IN (999, 1000, 24999) ORDER BY id") == [(999,), (1000,), (24999,)]
    assert polynya.rows("SELECT id FROM interop.row_groups WHERE id BETWEEN 12345 AND 12347 ORDER BY id") == [(12345,), (12346,), (12347,)]
    assert polynya.rows("SELECT count(*) FROM interop.row_groups WHERE s = 'value 5'") == [(26,)]


def test_files_that_were_deleted_or_replaced_are_not_read(foreign, polynya):
    table = foreign.create_table("interop.rewritten", schema(("id", LongType()), ("s", StringType())))
    for begin in (0, 100, 200):
        table.append(pa.table({"id": pa.array(range(begin, begin + 100), pa.int64()), "s": ["x"] * 100}))
    table.delete("id < 150")
    assert polynya.rows("SELECT count(*), min(id) FROM interop.rewritten") == [(150, 150)]
    table.overwrite(pa.table({"id": pa.array([7], pa.int64()), "s": ["only"]}))
    assert polynya.rows("SELECT id, s FROM interop.rewritten") == [(7, "only")]


def test_an_empty_table_and_a_format_version_1_table(foreign, polynya):
    foreign.create_table("interop.no_rows", schema(("id", LongType())))
    assert polynya.rows("SELECT count(*), sum(id) FROM interop.no_rows") == [(0, None)]
    table = foreign.create_table("interop.v1", schema(("id", LongType()), ("s", StringType())), properties={"format-version": "1"})
    assert table.metadata.format_version == 1
    table.append(pa.table({"id": pa.array([1, 2], pa.int64()), "s": ["a", None]}))
    same(polynya, table)


def test_a_table_that_changes_between_statements_is_seen_changed(foreign, polynya):
    table = foreign.create_table("interop.growing", schema(("id", LongType())))
    for count in range(1, 4):
        table.append(pa.table({"id": pa.array([count], pa.int64())}))
        assert polynya.rows("SELECT count(*) FROM interop.growing") == [(count,)]
