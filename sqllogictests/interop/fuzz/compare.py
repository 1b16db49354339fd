"""Whether two answers are the same.

Numbers are numbers, whatever their type; those that depend on the order of rows (averages, moments) may differ in their last digits. NaN is NaN,
whatever its sign, and the two zeros are one value: which of them stands for a group is left open. Rows may come in any order unless the query
orders by all of its columns.
"""

import decimal
import math
import struct
import uuid

from fuzz.tree import Column

RELATIVE, ABSOLUTE = 1e-9, 1e-9
# Averages of decimals have four digits more than their values (docs/types.md).
CUT = 1e-5
# More rows than this are not paired one by one where tolerances sort them differently.
MATCHED_MAX = 500


def same(left, right, query):
    """Whether two lists of rows answer the query alike."""
    if len(left) != len(right):
        return False
    kinds = [item.expr.kind for item in query.items]
    left, right = ([tuple(comparable(value, kind) for value, kind in zip(row, kinds)) for row in rows] for rows in (left, right))
    if is_ordered(query):
        return all(same_row(a, b, kinds) for a, b in zip(left, right))
    key = lambda row: [value_key(value, kind) for value, kind in zip(row, kinds)]
    left, right = sorted(left, key=key), sorted(right, key=key)
    return all(same_row(a, b, kinds) for a, b in zip(left, right)) or len(left) <= MATCHED_MAX and matched(left, right, kinds)


def is_ordered(query):
    """Whether the query orders by all of its columns."""
    keys = [key.expr for key in query.order]
    names = [key.name for key in keys if isinstance(key, Column) and not key.relation]
    return bool(keys) and all(item.name in names or item.expr in keys for item in query.items)


def matched(left, right, kinds):
    """Whether each row has one of its own on the other side; for rows that tolerances sort differently."""
    left = list(left)
    for row in right:
        found = next((i for i, other in enumerate(left) if same_row(row, other, kinds)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def comparable(value, kind):
    """The value, such that those that count as the same are."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if kind.family == "uuid" and isinstance(value, str):
        return uuid.UUID(value).bytes
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        return "NaN" if value.is_nan() else float(value)
    if kind.name == "real" and isinstance(value, float) and math.isfinite(value):
        value = struct.unpack("f", struct.pack("f", value))[0]
    if isinstance(value, float) and value == 0:
        return 0.0
    if isinstance(value, list):
        return tuple(comparable(item, kind) for item in value)
    if isinstance(value, dict):
        return tuple(comparable(item, kind) for item in value.values())
    return value


def value_key(value, kind):
    """What rows are sorted by: approximate numbers by their first digits."""
    if isinstance(value, tuple):
        return (4, [value_key(item, kind) for item in value])
    if value is None or isinstance(value, bool):
        return (0, str(value))
    if isinstance(value, (int, float, decimal.Decimal)):
        return (1, float(f"{float(value):.8g}") if kind.approximate else value)
    return (2, str(value))


def same_row(left, right, kinds):
    return len(left) == len(right) and all(same_value(a, b, kind) for a, b, kind in zip(left, right, kinds))


def same_value(left, right, kind):
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None or isinstance(left, (str, bytes, tuple)):
        return type(left) is type(right) and left == right
    if isinstance(right, (str, bytes, tuple)):
        return False
    if left == right:
        return True
    if not kind.approximate and not isinstance(left, float) and not isinstance(right, float):
        return False
    a, b = float(left), float(right)
    if kind.approximate:
        return abs(a - b) <= max(CUT if isinstance(left, decimal.Decimal) or isinstance(right, decimal.Decimal) else ABSOLUTE, RELATIVE * max(abs(a), abs(b)))
    return abs(a - b) <= 1e-15 * max(abs(a), abs(b))
