"""Conversions that need no server."""

from __future__ import annotations

import contextlib
import datetime
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdw.errors import InvalidFeatures
from fdw.values import Feature, from_column, from_json, other_reading, to_column

NUMBER = Feature("x", "number", "double precision", "double precision")
REAL = Feature("x", "number", "real", "double precision")
INTEGER = Feature("x", "number", "integer", "integer")
TEXT = Feature("x", "text", "text", "text")
CHARACTER = Feature("x", "text", "character", "text")
BOOLEAN = Feature("x", "boolean", "boolean", "boolean")
DATE = Feature("x", "date", "date", "date")
TIMESTAMP = Feature("x", "timestamp", "timestamp without time zone", "text")
TIMESTAMPTZ = Feature("x", "timestamptz", "timestamp with time zone", "text")
TIME = Feature("x", "time", "time without time zone", "text")


@pytest.mark.parametrize(
    ("feature", "value", "seen"),
    [
        (NUMBER, "0.1", 0.1),
        (NUMBER, "Infinity", math.inf),
        (REAL, "0.1", 0.10000000149011612),
        (REAL, "1e39", math.inf),
        (INTEGER, 7, 7.0),
        (TEXT, "UA", "UA"),
        (BOOLEAN, "t", 1),
        (BOOLEAN, "f", 0),
        (BOOLEAN, True, 1),
        (DATE, datetime.date(1970, 1, 2), 86400.0),
        (DATE, datetime.datetime(1970, 1, 2, 12), 129600.0),
        (TIMESTAMP, "1970-01-01 00:00:01.5", 1.5),
        (TIMESTAMP, "1970-01-01T00:00:01", 1.0),
        (TIMESTAMP, "1970-01-02", 86400.0),
        (TIMESTAMP, "infinity", math.inf),
        (TIMESTAMPTZ, "1970-01-01 00:00:00+00", 0.0),
        (TIMESTAMPTZ, "1970-01-01T00:00:00Z", 0.0),
        (TIMESTAMPTZ, "1970-01-01 00:00:00-03:30", 12600.0),
        (TIMESTAMPTZ, "1970-01-01 00:00:00+01:02:03", -3723.0),
        (TIME, "00:00:01.000001", 1.000001),
        (TIME, "24:00:00", 86400.0),
        (TIME, "12:30", 45000.0),
    ],
)
def test_from_column(feature: Feature, value: Any, seen: Any) -> None:
    assert from_column(feature, value) == seen
    assert from_column(feature, None) is None


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        (NUMBER, "text"),
        (NUMBER, "NULL"),
        (BOOLEAN, "maybe"),
        (TIMESTAMP, "2013-13-01 00:00:00"),
        (TIMESTAMP, "0000-01-01"),
        (TIMESTAMP, "99999-01-01 00:00:00"),
        (TIMESTAMP, "2013-01-01 00:00:00+00"),
        (TIMESTAMPTZ, "2013-01-01 00:00:00"),
        (TIME, "25:00"),
        (TIME, "12:61"),
        (TIME, ""),
    ],
)
def test_wrong_columns(feature: Feature, value: str) -> None:
    with pytest.raises(InvalidFeatures, match=r"feature 'x' is '.*' where .* is due"):
        from_column(feature, value)


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        (NUMBER, "7"),
        (NUMBER, True),
        (NUMBER, [1]),
        (TEXT, 7),
        (TEXT, {"a": 1}),
        (BOOLEAN, 1),
        (BOOLEAN, "true"),
        (DATE, 15),
        (TIME, 15),
    ],
)
def test_wrong_json(feature: Feature, value: Any) -> None:
    with pytest.raises(InvalidFeatures):
        from_json(feature, value)


def test_json_numbers_as_postgresql_writes_them() -> None:
    assert math.isnan(float(from_json(NUMBER, "NaN") or 0))
    assert from_json(NUMBER, "-Infinity") == -math.inf
    assert from_json(NUMBER, 10**400 // 10**390) == 1e10
    assert from_json(CHARACTER, "UA  ") == "UA"


def test_to_column() -> None:
    assert to_column(INTEGER, 7.0) == 7
    assert to_column(NUMBER, 7.5) == 7.5
    with pytest.raises(InvalidFeatures, match=r"7\.5 where an integer"):
        to_column(INTEGER, 7.5)


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(InvalidFeatures) as caught:
        from_column(NUMBER, "x" * 10_000)
    assert len(caught.value.message) < 200


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_readings_of_a_float4(number: float) -> None:
    """Whatever float4 PostgreSQL writes as text, one of the readings is its value as a double."""
    text = str(np.float32(number))
    readings = [float(text)]
    other = other_reading(NUMBER, text)
    if other is not None:
        readings.append(other)
    assert number in readings


@given(st.datetimes(min_value=datetime.datetime(1, 1, 1), max_value=datetime.datetime(9999, 12, 31)))
def test_timestamps(moment: datetime.datetime) -> None:
    span = moment - datetime.datetime(1970, 1, 1)
    microseconds = (span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds
    assert from_column(TIMESTAMP, moment.isoformat(" ")) == microseconds / 1e6


@given(st.text())
def test_any_text_is_a_time_or_an_error(text: str) -> None:
    for feature in (NUMBER, TIMESTAMP, TIMESTAMPTZ, TIME, BOOLEAN):
        with contextlib.suppress(InvalidFeatures):
            assert isinstance(from_column(feature, text), (int, float))
