"""Types of values that a driver writes into the text of a statement."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Sequence
from typing import Any

_BOOL, _INT8, _INT4, _NUMERIC, _FLOAT8 = 16, 20, 23, 1700, 701
_DATE, _TIMESTAMP, _TIMESTAMPTZ = 1082, 1114, 1184


def literal_types(values: Sequence[Any]) -> list[int]:
    """Return oids of the types that PostgreSQL gives to values as literals; 0 where it finds out."""
    return [_type(value) for value in values]


def _type(value: Any) -> int:
    if isinstance(value, bool):
        return _BOOL
    if isinstance(value, int):
        return _INT4 if -(2**31) <= value < 2**31 else _INT8 if -(2**63) <= value < 2**63 else _NUMERIC
    if isinstance(value, float):
        return _NUMERIC if math.isfinite(value) else _FLOAT8
    if isinstance(value, decimal.Decimal):
        return _NUMERIC
    if isinstance(value, datetime.datetime):
        return _TIMESTAMP if value.tzinfo is None else _TIMESTAMPTZ
    return _DATE if isinstance(value, datetime.date) else 0
