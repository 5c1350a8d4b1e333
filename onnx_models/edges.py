"""Rows where a conversion is most likely to go wrong, made from ordinary rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .preprocessing import Preprocessing, raw_positions
from .signature import Feature
from .table import Column, Columns, Texts, row_count, take

#: beyond float32's whole numbers, float64's, and float32's range; PostgreSQL has 'Infinity', too
_NUMBERS = (
    0.0, -0.0, 1.0, -1.0, 0.1, 2.0**24 + 1, -(2.0**24) - 1, 2.0**31, 2.0**53, 2.0**63, 1e-300, 1e38, -1e38,
    1e300, -1e300, float("inf"), float("-inf"),
)  # fmt: skip
#: 1969-12-31 23:59:59.999999, leap days, year 1900 and 2000, ends of PostgreSQL's range, infinity
_SECONDS = (
    0.0, -0.000001, 951_782_400.0, 951_868_799.999999, 1_709_164_800.0, -2_203_977_600.0, -210_866_803_200.0,
    9_224_318_015_999.0, float("inf"), float("-inf"),
)  # fmt: skip
_TIMES = (0.0, 59.999999, 3600.0, 86_399.999999, 86_400.0)
_TEXTS = (None, "", " ", "\u0000never seen".strip("\u0000"), "Ünïcödé 東京 🙂", "NULL", "NaN", "a" * 5000)
_MOST_THRESHOLDS = 300


def edge_rows(
    preprocessing: Preprocessing, columns: Columns, thresholds: Sequence[tuple[int, float]], seed: int
) -> dict[str, Column]:
    """Return rows that differ from ordinary ones in one feature, and one of NULL only.

    :param columns: ordinary rows, at least one
    :param thresholds: (column of the matrix, value) at which a tree's answer jumps
    """
    generator = np.random.default_rng(seed)
    changes: list[tuple[str, float | str | None]] = []
    for feature in preprocessing.features:
        changes += [(feature.name, value) for value in _values(feature)]
    changes += _around(preprocessing, thresholds, generator)
    base = take(columns, generator.integers(0, row_count(columns), len(changes) + 1))
    return {
        feature.name: _changed(feature, base[feature.name], changes) for feature in preprocessing.features
    }


def _values(feature: Feature) -> tuple[float | str | None, ...]:
    if feature.kind == "text":
        return _TEXTS
    if feature.kind == "boolean":
        return (0.0, 1.0, float("nan"))
    if feature.kind == "number":
        return (*_NUMBERS, float("nan"))
    return (*(_TIMES if feature.kind == "time" else _SECONDS), float("nan"))


def _around(
    preprocessing: Preprocessing, thresholds: Sequence[tuple[int, float]], generator: np.random.Generator
) -> list[tuple[str, float | str | None]]:
    """Return the thresholds themselves and their neighbours in float64 and float32.

    Only for columns that are a feature's own values: a date's components cannot be chosen one by one.
    """
    owners = [feature for feature, _ in raw_positions(preprocessing.features)]
    direct = {
        position: owners[column].name
        for position, column in enumerate(preprocessing.kept)
        if owners[column].kind == "number"
    }
    usable = sorted({(direct[column], value) for column, value in thresholds if column in direct})
    if len(usable) > _MOST_THRESHOLDS:
        chosen = generator.choice(len(usable), _MOST_THRESHOLDS, replace=False)
        usable = [usable[position] for position in chosen]
    changes: list[tuple[str, float | str | None]] = []
    for name, value in usable:
        single = np.float32(value)
        for neighbour in (
            value,
            np.nextafter(value, np.inf),
            np.nextafter(value, -np.inf),
            single,
            np.nextafter(single, np.float32(np.inf)),
            np.nextafter(single, np.float32(-np.inf)),
        ):
            changes.append((name, float(neighbour)))
    return changes


def _changed(feature: Feature, column: Column, changes: Sequence[tuple[str, float | str | None]]) -> Column:
    """Return a column with its own changes made; the last row is NULL in every column."""
    mine = [(row, value) for row, (name, value) in enumerate(changes) if name == feature.name]
    if isinstance(column, Texts):
        texts = column.values().tolist()
        for row, value in mine:
            texts[row] = value
        texts[-1] = None
        return Texts.of(texts)
    numbers: NDArray[np.float64] = column.copy()
    for row, value in mine:
        numbers[row] = value
    numbers[-1] = np.nan
    return numbers
