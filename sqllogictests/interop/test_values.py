"""Floating-point numbers as other writers leave them: NaN with a sign and with bits of its own, in columns and within others."""

import math
import struct

import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi

NAN, SIGNED, PAYLOAD = 0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000BAD
COOKIES = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}


def double(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def doubles(*values):
    """An array of these bits: Python would not keep those of a NaN."""
    return pa.Array.from_buffers(pa.float64(), len(values), [None, pa.py_buffer(struct.pack(f"<{len(values)}Q", *values))])


def bits(array):
    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    return list(struct.unpack_from(f"<{len(array)}Q", array.buffers()[1], 8 * array.offset))


@pytest.fixture(scope="module")
def cursor(plain):
    plain.run("CREATE SCHEMA lake.floats")
    with dbapi.connect(plain.url, db_kwargs=COOKIES, autocommit=True) as connection, connection.cursor() as cursor:
        one, zero, minus_zero = (struct.unpack("<Q", struct.pack("<d", value))[0] for value in (1.0, 0.0, -0.0))
        d = doubles(SIGNED, NAN, PAYLOAD, one, zero, minus_zero)
        f = pa.Array.from_buffers(pa.float32(), 6, [None, pa.py_buffer(struct.pack("<6I", 0xFFC00000, 0x7FC00000, 0x7FC00BAD, 0x3F800000, 0, 1 << 31))])
        table = pa.table({
            "id": pa.array(range(6), pa.int32()), "d": d, "f": f, "s": pa.StructArray.from_arrays([d], ["x"]),
            "l": pa.ListArray.from_arrays(pa.array(range(7), pa.int32()), d)})
        cursor.adbc_ingest("numbers", table, mode="create", catalog_name="lake", db_schema_name="floats")
        yield cursor
    plain.run("DROP SCHEMA lake.floats CASCADE")


def rows(cursor, sql, parameters=None):
    cursor.execute(sql.replace("{n}", "lake.floats.numbers"), parameters)
    return cursor.fetchall()


@pytest.mark.parametrize("value", ["d", "f", "s['x']", "l[1]"])
def test_a_nan_of_a_file_is_the_one_nan(cursor, value):
    ids = lambda condition: [row[0] for row in rows(cursor, f"SELECT id FROM {{n}} WHERE {condition} ORDER BY id")]
    # Twice: as files are decoded, and from what is kept of that.
    for _ in range(2):
        assert ids(f"{value} = CAST('NaN' AS double)") == ids(f"{value} >= 2") == ids(f"NOT {value} < 2") == [0, 1, 2]
        assert ids(f"{value} < 1") == ids(f"{value} = 0") == [4, 5]
    assert [row[0] for row in rows(cursor, f"SELECT id FROM {{n}} ORDER BY {value} DESC, id LIMIT 3")] == [0, 1, 2]
    ((least, most, distinct),) = rows(cursor, f"SELECT min({value}), max({value}), count(DISTINCT {value}) FROM {{n}}")
    assert least == 0 and math.isnan(most) and distinct == 3
    assert len(rows(cursor, f"SELECT {value}, count(*) FROM {{n}} GROUP BY 1")) == 3
    assert len(rows(cursor, f"SELECT DISTINCT {value}, f FROM {{n}}")) == 3
    for kind in ("JOIN", "LEFT JOIN", "FULL JOIN"):
        pairs = rows(cursor, f"SELECT a.id, b.id FROM {{n}} a {kind} {{n}} b ON a.{value} = b.{value}")
        assert sorted(pairs) == [(a, b) for a in range(6) for b in range(6) if a == b or max(a, b) < 3 or min(a, b) > 3]
    assert rows(cursor, f"SELECT count(*) FROM {{n}} WHERE {value} IN (SELECT {value} FROM {{n}} WHERE id = 1)") == [(3,)]
    assert rows(cursor, f"SELECT count(*) FROM (SELECT rank() OVER (ORDER BY {value}) AS r FROM {{n}}) q WHERE r = 4") == [(3,)]


def test_whole_structs_and_lists_compare_as_their_values_do(cursor):
    for value in ("s", "l"):
        assert len(rows(cursor, f"SELECT {value}, count(*) FROM {{n}} GROUP BY 1")) == 3
        assert rows(cursor, f"SELECT count(*) FROM {{n}} a JOIN {{n}} b ON a.{value} = b.{value}") == [(14,)]


def test_the_bits_of_a_nan_are_those_of_the_one_and_a_zero_keeps_its_sign(cursor):
    for sql in ("SELECT d FROM {n} ORDER BY id", "SELECT d FROM {n} LIMIT 6", "SELECT s['x'] AS d FROM {n} ORDER BY id"):
        cursor.execute(sql.replace("{n}", "lake.floats.numbers"))
        found = bits(cursor.fetch_arrow_table().column(0).combine_chunks())
        assert found[:3] == [NAN] * 3 and found[3:] == bits(doubles(*found[3:])) and found[5] == 1 << 63


def test_a_nan_of_a_client_is_the_one_nan(cursor):
    for nan in (SIGNED, PAYLOAD):
        values = pa.RecordBatch.from_arrays([doubles(nan)], ["1"])
        cursor.adbc_prepare("SELECT count(*) FROM lake.floats.numbers WHERE d = ?")
        cursor.execute("SELECT count(*) FROM lake.floats.numbers WHERE d = ?", values)
        assert cursor.fetchall() == [(3,)]
        cursor.execute("SELECT ? AS x", values)
        assert bits(cursor.fetch_arrow_table().column(0).combine_chunks()) == [NAN]
