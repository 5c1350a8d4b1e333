"""Dates and times as numbers that estimators can use.

The formulas are written once, for anything that has Python's operators and ``floor``: NumPy arrays
in training, :mod:`onnx_models.graph` tensors in the export. All values are integers far below 2**53
(or seconds with their microseconds), so float64 is exact. The civil calendar is Howard Hinnant's
``civil_from_days``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .signature import Kind

#: what becomes of each kind, in this order
COMPONENTS: Mapping[Kind, tuple[str, ...]] = {
    "date": ("day", "year", "month", "day of month", "day of week", "day of year"),
    "timestamp": (
        "day",
        "year",
        "month",
        "day of month",
        "day of week",
        "day of year",
        "minute of day",
        "hour",
    ),
    "timestamptz": (
        "day",
        "year",
        "month",
        "day of month",
        "day of week",
        "day of year",
        "minute of day",
        "hour",
    ),
    "time": ("minute of day", "hour"),
}
#: PostgreSQL's range, 4713 BC to AD 294276, in seconds since 1970; ``infinity`` becomes its end
FIRST_SECOND = -210_866_803_200.0
LAST_SECOND = 9_224_318_015_999.0


def clip(x: Any, xp: Any, low: float, high: float) -> Any:
    """Limit values to a range; NaN stays NaN in every engine."""
    x = xp.where(x > high, high, x)
    return xp.where(x < low, low, x)


def components(seconds: Any, kind: Kind, xp: Any) -> list[Any]:
    """Return the numbers of :data:`COMPONENTS`, in its order.

    :param seconds: since 1970-01-01 00:00 (timestamptz: UTC), for time since midnight; NaN gives NaN
    :param xp: NumPy or a graph
    """
    seconds = clip(seconds, xp, FIRST_SECOND, LAST_SECOND)
    # the day keeps its fraction for timestamps: it is the age, and trees cut it anywhere
    days = xp.floor(seconds / 86400.0)
    second_of_day = seconds - days * 86400.0
    clock = [xp.floor(second_of_day / 60.0), xp.floor(second_of_day / 3600.0)]
    if kind == "time":
        # 24:00 is a valid time of PostgreSQL
        return [xp.floor(seconds / 60.0), xp.floor(seconds / 3600.0)]
    civil = _civil(days, xp)
    if kind == "date":
        return [days, *civil]
    return [seconds / 86400.0, *civil, *clock]


def _civil(days: Any, xp: Any) -> list[Any]:
    """Return year, month, day of month, day of week (Sunday 0) and day of year of days since 1970."""
    z = days + 719468.0
    era = xp.floor(z / 146097.0)
    day_of_era = z - era * 146097.0
    year_of_era = xp.floor(
        (
            day_of_era
            - xp.floor(day_of_era / 1460.0)
            + xp.floor(day_of_era / 36524.0)
            - xp.floor(day_of_era / 146096.0)
        )
        / 365.0
    )
    leap = xp.floor(year_of_era / 4.0) - xp.floor(year_of_era / 100.0)
    # years begin in March here, so that the leap day comes last
    march_day = day_of_era - (year_of_era * 365.0 + leap)
    march_month = xp.floor((march_day * 5.0 + 2.0) / 153.0)
    day_of_month = march_day - xp.floor((march_month * 153.0 + 2.0) / 5.0) + 1.0
    late = xp.floor(march_month / 10.0)
    month = march_month + 3.0 - late * 12.0
    year = year_of_era + era * 400.0 + late
    week_day = days + 4.0
    day_of_week = week_day - xp.floor(week_day / 7.0) * 7.0
    return [year, month, day_of_month, day_of_week, _day_of_year(year, month, day_of_month, xp)]


def _day_of_year(year: Any, month: Any, day_of_month: Any, xp: Any) -> Any:
    """Return the day of the year, from 1."""
    quarter = year - xp.floor(year / 4.0) * 4.0
    century = year - xp.floor(year / 100.0) * 100.0
    fourth = year - xp.floor(year / 400.0) * 400.0
    # floor(1 - x / n) is 1 for x = 0, else 0, and NaN stays NaN
    leap = _is_zero(quarter, 4.0, xp) - _is_zero(century, 100.0, xp) + _is_zero(fourth, 400.0, xp)
    after_february = xp.floor((month + 9.0) / 12.0)
    start = xp.floor(month * 275.0 / 9.0)
    return start - after_february * (leap * -1.0 + 2.0) + day_of_month - 30.0


def _is_zero(x: Any, modulus: float, xp: Any) -> Any:
    return xp.floor((x * -1.0 + modulus) / modulus)
