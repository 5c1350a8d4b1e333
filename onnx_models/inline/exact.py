"""Exact borders between doubles: the largest number of which a rising function is still low enough."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

_SIGN = 1 << 63


def rank(number: float) -> int:
    """Return a double's position among all doubles; -0 and 0 have different ones, side by side."""
    bits: int = struct.unpack("<Q", struct.pack("<d", number))[0]
    return _SIGN - 1 - (bits - _SIGN) if bits & _SIGN else _SIGN + bits


def at_rank(position: int) -> float:
    """Return the double at a position."""
    bits = position - _SIGN if position >= _SIGN else _SIGN + (_SIGN - 1 - position)
    number: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return number


def last(holds: Callable[[float], bool]) -> float | None:
    """Return the largest double for which something holds that holds below it, too; None if for none.

    :param holds: true from -infinity up to some number, false from there to infinity
    """
    if not holds(-math.inf):
        return None
    low, high = rank(-math.inf), rank(math.inf) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if holds(at_rank(middle)):
            low = middle
        else:
            high = middle
    # 0 rather than -0: PostgreSQL compares them as equal, and people read this
    return at_rank(low) + 0.0


def after(number: float) -> float:
    """Return the next larger double."""
    return math.nextafter(number, math.inf)


def single(number: float) -> float:
    """Return a number rounded to float32, ties to even; beyond its range infinity."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)
