"""Values of features: what PostgreSQL gives, what the runtime takes, and what PostgreSQL gets back.

The runtime takes numbers (dates and times as seconds, booleans as 0 and 1), texts and NULL. PostgreSQL
compares the row that it gets back with the condition that it gave and drops the row if they
differ, so what goes back is what came, or an error.
"""

from __future__ import annotations

import datetime
import math
import re
import struct
from dataclasses import dataclass
from typing import Any, Union

from .errors import InvalidFeatures

Scalar = Union[float, int, str, None]

_EPOCH = datetime.datetime(1970, 1, 1)
_TIMESTAMP = re.compile(
    r"\s*(\d{4,})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?)?"
    r"\s*(Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?\s*"
)
_TIME = re.compile(r"\s*(\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?\s*")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?:?(\d\d)?")
_NAMED_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
#: characters of a float4 as text, without an exponent: 15 digits, a sign and a point
LONGEST_FLOAT4 = 17
_INTEGERS = ("smallint", "integer", "bigint")


@dataclass(frozen=True)
class Feature:
    """A feature's column in the model table.

    :ivar name: name of feature and column
    :ivar kind: ``number``, ``boolean``, ``date``, ``timestamp``, ``timestamptz``, ``time`` or ``text``
    :ivar type: type in the training query, as PostgreSQL writes it
    :ivar column_type: type of the column that carries it, as PostgreSQL writes it
    """

    name: str
    kind: str
    type: str
    column_type: str


def from_column(feature: Feature, value: Any) -> Scalar:
    """Return what the runtime takes for a value that Multicorn passed.

    :param value: number, text, date or None
    :raises InvalidFeatures: if it is no value of the feature's kind
    """
    if value is None:
        return None
    if feature.kind == "number":
        return _number(feature, value)
    if feature.kind == "boolean":
        return _boolean(feature, value)
    if feature.kind == "text":
        return str(value)
    return _seconds(feature, value)


def from_json(feature: Feature, value: Any) -> Scalar:
    """Return what the runtime takes for a value of a JSON object.

    Numbers and texts are told apart: ``"7"`` is no number.

    :raises InvalidFeatures: if it is no value of the feature's kind
    """
    if value is None:
        return None
    if feature.kind == "text":
        if not isinstance(value, str):
            raise _wrong(feature, value, "text")
        # char(n) without its padding, as a cast to text gives it
        return value.rstrip(" ") if feature.type == "character" else value
    if feature.kind == "number":
        if isinstance(value, str) and value not in _NAMED_NUMBERS:
            raise _wrong(feature, value, "a number")
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise _wrong(feature, value, "a number")
        return _number(feature, value)
    if feature.kind == "boolean":
        if not isinstance(value, bool):
            raise _wrong(feature, value, "true or false")
        return int(value)
    if not isinstance(value, str):
        raise _wrong(feature, value, _ARTICLES[feature.kind])
    return _seconds(feature, value)


def to_column(feature: Feature, value: Any) -> Any:
    """Return the column's value for one of a JSON object.

    :param value: a value that :func:`from_json` accepted
    :raises InvalidFeatures: for a fraction where the column takes integers
    """
    if value is None or isinstance(value, str):
        return value
    if feature.column_type in _INTEGERS and isinstance(value, float):
        if not value.is_integer():
            raise _wrong(feature, value, "an integer")
        return int(value)
    return value


def other_reading(feature: Feature, value: Any) -> float | None:
    """Return the double that a float's text stands for if it was a float4.

    A float8 column may be compared with a float4, and Multicorn passes both as their shortest text:
    ``0.1`` is 0.1 or 0.100000001490116. PostgreSQL keeps the row with the reading that was meant.

    :returns: None where both readings are the same
    """
    if feature.column_type != "double precision" or not isinstance(value, str):
        return None
    if (
        len(value.strip("-").replace(".", "")) > 15
    ):  # more digits than a float4's text has; the quick test first
        return None
    number = _parse(value)
    if number is None or not math.isfinite(number):
        return None
    rounded = _float4(number)
    return None if rounded == number or math.isinf(rounded) else rounded


def _float4(number: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


def _parse(value: Any) -> float | None:
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _number(feature: Feature, value: Any) -> Scalar:
    # Python reads PostgreSQL's NaN and Infinity
    number = _parse(value)
    if number is None:
        raise _wrong(feature, value, "a number")
    # training saw the column's own values, which are rounded to float4
    return _float4(number) if feature.type == "real" else number


def _boolean(feature: Feature, value: Any) -> Scalar:
    if value in (True, "t", "true"):
        return 1
    if value in (False, "f", "false"):
        return 0
    raise _wrong(feature, value, "true or false")


_ARTICLES = {
    "date": "a date such as '2013-01-31'",
    "timestamp": "a timestamp such as '2013-01-31 17:59:00'",
    "timestamptz": "a timestamp with its offset such as '2013-01-31 17:59:00+00'",
    "time": "a time such as '17:59:00'",
}


def _seconds(feature: Feature, value: Any) -> float:
    """Return seconds since 1970-01-01 00:00 UTC, or since midnight for times."""
    if isinstance(value, datetime.datetime):
        return (value.replace(tzinfo=None) - _EPOCH).total_seconds()
    if isinstance(value, datetime.date):
        return float((value - _EPOCH.date()).days * 86400)
    text = str(value)
    if text in ("infinity", "-infinity"):
        return float(text)
    if feature.kind == "time":
        return _time_of_day(feature, text)
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise _wrong(feature, value, _ARTICLES[feature.kind])
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if (offset is None) == (feature.kind == "timestamptz"):
        raise _wrong(feature, value, _ARTICLES[feature.kind])
    try:
        days = (datetime.date(int(year), int(month), int(day)) - _EPOCH.date()).days
    except ValueError:
        raise _wrong(feature, value, _ARTICLES[feature.kind]) from None
    clock = _clock(hour or 0, minute or 0, second or 0, fraction)
    if clock is None:
        raise _wrong(feature, value, _ARTICLES[feature.kind])
    # divided once, as extract(epoch) does
    return (days * 86_400_000_000 + clock - _offset_seconds(offset) * 1_000_000) / 1e6


def _time_of_day(feature: Feature, text: str) -> float:
    match = _TIME.fullmatch(text)
    clock = _clock(match[1], match[2], match[3] or 0, match[4]) if match is not None else None
    if clock is None:
        raise _wrong(feature, text, _ARTICLES["time"])
    return clock / 1e6


def _clock(hour: Any, minute: Any, second: Any, fraction: str | None) -> int | None:
    """Return microseconds since midnight, which may be 24:00:00; None if there is no such time."""
    whole = int(hour) * 3600 + int(minute) * 60 + int(second)
    if int(minute) > 59 or int(second) > 60 or whole > 86400:
        return None
    return whole * 1_000_000 + (round(float(fraction) * 1e6) if fraction else 0)


def _offset_seconds(offset: str | None) -> int:
    match = _OFFSET.fullmatch(offset or "Z")
    if match is None:
        return 0
    sign, hours, minutes, seconds = match.groups(default="0")
    total = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return -total if sign == "-" else total


def _wrong(feature: Feature, value: Any, due: str) -> InvalidFeatures:
    shown = repr(value) if isinstance(value, str) else str(value)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    if isinstance(value, bool):
        shown = shown.lower()
    return InvalidFeatures(f"feature {feature.name!r} is {shown} where {due} is due")
