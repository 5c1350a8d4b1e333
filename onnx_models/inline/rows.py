"""Rows on which a form is compared with its graph: where it could be wrong if it were."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from onnx_models import calendar
from onnx_models.signature import NULL_TEXT, Feature, Signature
from onnx_models.table import Column, Columns, Texts, row_count, take

from .bounds import Bounds, narrowed
from .exact import after, at_rank, rank
from .form import InlineForm
from .nodes import Category, Leaf, Linear, Node, Number, Trees

#: rows of a certificate; of larger forms it holds a sample
MOST_ROWS = 20_000
#: of these as they occur in the data
MOST_ORDINARY = 5_000
Value = float | str | None
#: values of some features that make a row of an ordinary one
Change = dict[str, Value]

_NUMBERS = (
    0.0, -0.0, 1.0, -1.0, 0.1, 2.0**24 + 1, -(2.0**24) - 1, 2.0**31, 2.0**53, 2.0**53 + 2, 2.0**63, 5e-324,
    -5e-324, 1e-310, 1e-101, 1e-99, 3.4028234663852886e38, 3.4028235677973366e38, 1e300, -1e300,
    1.7976931348623157e308, -1.7976931348623157e308, math.inf, -math.inf,
)  # fmt: skip
_TEXTS = ("", " ", "never seen", "Ünïcödé 東京 🙂", "NULL", "NaN", 'it\'s \\ "quoted"', "a" * 3000)
#: seconds between values that follow each other
_STEPS = {"date": 86_400.0, "timestamp": 1e-6, "timestamptz": 1e-6, "time": 1e-6}
_RANGES = {"smallint": 2.0**15, "integer": 2.0**31, "bigint": 2.0**63}


def certificate_rows(
    form: InlineForm, signature: Signature, ordinary: Columns, seed: int, *, only_ascii: bool = False
) -> dict[str, Column]:
    """Return ordinary rows, and such that were changed to lie on both sides of every border.

    :param ordinary: rows of all features, one at least
    :param only_ascii: make no other texts, for databases that cannot hold them
    """
    generator = np.random.default_rng(seed)
    features = {feature.name: feature for feature in signature.features}
    some = take(ordinary, _some(generator, row_count(ordinary), MOST_ORDINARY))
    single = [
        {item.name: value}
        for item in form.inputs
        for value in _values(form, features[item.name], only_ascii=only_ascii)
    ]
    borders = list(_at_splits(form, features))
    room = MOST_ROWS - row_count(some) - len(single) - 2 * _MIXED
    if len(borders) > room:
        borders = [borders[row] for row in _some(generator, len(borders), max(room, 0))]
    changes = [*single, *borders, *_mixed(form, single, generator)]
    base = take(ordinary, generator.integers(0, row_count(ordinary), len(changes)))
    return {name: _joined(column, base[name], name, changes) for name, column in some.items()}


def made_up(form: InlineForm, signature: Signature, rows: int, seed: int) -> dict[str, Column]:
    """Return rows to begin with where there are no data: any mixture of values that matter."""
    generator = np.random.default_rng(seed)
    columns: dict[str, Column] = {}
    read = {item.name for item in form.inputs}
    for feature in signature.features:
        values: list[Value] = [None]
        if feature.name in read:
            values += _values(form, feature, only_ascii=True)
        elif feature.kind != "text":
            values += [0.0, 1.0]
        picked = [values[k] for k in generator.integers(0, len(values), rows)]
        columns[feature.name] = _column(feature.kind == "text", picked)
    return columns


_MIXED = 300


def _mixed(form: InlineForm, single: Sequence[Change], generator: np.random.Generator) -> Iterator[Change]:
    """Return changes of several features at once, to NULL and to anything."""
    for _ in range(_MIXED):
        yield {item.name: None for item in form.inputs if generator.random() < 0.5}
    yield {item.name: None for item in form.inputs}
    if single:
        for _ in range(_MIXED):
            several = [single[k] for k in generator.integers(0, len(single), 1 + len(form.inputs) // 2)]
            yield {name: value for change in several for name, value in change.items()}


def _values(form: InlineForm, feature: Feature, *, only_ascii: bool) -> list[Value]:
    """Return values of one feature at which something may change."""
    if feature.kind == "text":
        known = {text for column in form.columns if isinstance(column, Category) for text, _ in column.values}
        if isinstance(form.body, Linear):
            known |= {text for lookup in form.body.lookups for text, _ in lookup.values}
        texts = [text for text in _TEXTS if text.isascii() or not only_ascii]
        near = [f"{text}{end}" for text in sorted(known)[:100] for end in (" ", "x")] + [
            text[:-1] for text in sorted(known)[:100]
        ]
        cased = [text.swapcase() for text in sorted(known)[:100]]
        return [*sorted(known), *texts, *near, *cased, None]
    numbers: list[float] = list(_NUMBERS)
    if feature.kind not in ("number", "boolean"):
        numbers += _seconds()
    if isinstance(form.body, Linear):
        for term in form.body.terms:
            if form.columns[term.column].feature == feature.name:
                for border in (term.low, term.center, term.high):
                    numbers += _around(border)
    fitting = (fitted(feature, number) for number in numbers)
    return [*dict.fromkeys(number for number in fitting if number is not None), None]


def _seconds() -> list[float]:
    """Return moments at which components of dates change."""
    days = [0, 30, 31, 58, 59, 60, 364, 365, 789, 790, 11_015, 11_016, 11_322, 47_540, -25_509, -719_528]
    found = [day * 86_400.0 + second for day in days for second in (-0.000001, 0.0, 59.999999, 43_200.0)]
    return [*found, calendar.FIRST_SECOND, calendar.LAST_SECOND, 86_399.999999, 86_400.0]


def _around(border: float) -> list[float]:
    if math.isinf(border):
        return []
    return [at_rank(rank(border) - 1), border, after(border)]


def fitted(feature: Feature, number: float) -> float | None:
    """Return the value of a feature's type that is a number or next below it; None if there is none."""
    if feature.kind == "boolean":
        return number if number in (0.0, 1.0) else None
    if feature.kind == "time" and not 0.0 <= number <= 86_400.0:
        return None
    if feature.kind in _STEPS and math.isfinite(number):
        if not calendar.FIRST_SECOND <= number <= calendar.LAST_SECOND:
            return None
        step = _STEPS[feature.kind]
        # microseconds are no binary fractions: dividing gives the double nearest to each, as PostgreSQL does
        return (
            math.floor(number) + math.floor((number - math.floor(number)) * 1e6) / 1e6
            if step < 1
            else (math.floor(number / step) * step)
        )
    if feature.kind == "number" and feature.type in _RANGES:
        limit = _RANGES[feature.type]
        return math.floor(number) + 0.0 if -limit <= number <= limit and math.isfinite(number) else None
    return number


def _at_splits(form: InlineForm, features: dict[str, Feature]) -> Iterator[Change]:
    """Return, for each split of each tree, changes that lead to it and then to either side."""
    if isinstance(form.body, Trees):
        for tree in form.body.trees:
            yield from _below(form, tree, {}, features)


def _below(
    form: InlineForm, node: Node, known: dict[str, Bounds], features: dict[str, Feature]
) -> Iterator[Change]:
    if isinstance(node, Leaf):
        return
    column = form.columns[node.column]
    here = known.get(column.feature, Bounds())
    there = _row(form, known, features)
    if isinstance(column, Number):
        step = _STEPS.get(features[column.feature].kind, 1.0)
        for number in [] if math.isinf(node.at) else [node.at, after(node.at), node.at + 1.5 * step]:
            value = fitted(features[column.feature], number)
            if value is not None and here.low <= value <= here.high:
                yield {**there, column.feature: value}
    elif isinstance(column, Category):
        for text in [text for text, _ in column.values if here.allows(text)] + ["never seen"]:
            yield {**there, column.feature: text}
    if here.missing:
        yield {**there, column.feature: None}
    for low in (True, False):
        found = narrowed(column, here, node, low=low)
        if found is not None:
            child = node.low if low else node.high
            yield from _below(form, child, {**known, column.feature: found}, features)


def _row(form: InlineForm, known: dict[str, Bounds], features: dict[str, Feature]) -> Change:
    """Return values within bounds."""
    change: Change = {}
    for name, bounds in known.items():
        if not bounds.has_value:
            change[name] = None
        elif features[name].kind == "text":
            if bounds.texts is not None:
                change[name] = sorted(bounds.texts - bounds.excluded)[0]
            elif bounds.excluded:
                change[name] = "never seen"
        elif bounds.high < math.inf:
            change[name] = fitted(features[name], bounds.high)
        elif bounds.low > -math.inf:
            change[name] = fitted(features[name], max(bounds.low + 1.0, after(bounds.low)))
    return change


def _some(generator: np.random.Generator, count: int, most: int) -> NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(generator.choice(count, most, replace=False))


def _joined(some: Column, base: Column, name: str, changes: Sequence[Change]) -> Column:
    is_text = isinstance(some, Texts)
    values = _listed(base)
    for row, change in enumerate(changes):
        if name in change:
            values[row] = change[name]
    return _column(is_text, [*_listed(some), *values])


def _listed(column: Column) -> list[Value]:
    values: list[Value] = (column.values() if isinstance(column, Texts) else column).tolist()
    return values


def _column(is_text: bool, values: Sequence[Value]) -> Column:
    if is_text:
        return Texts.of([None if value is None or value == NULL_TEXT else str(value) for value in values])
    return np.array([math.nan if value is None else value for value in values], np.float64)
