"""From a fitted pipeline to its form: every question and product is led back to the features themselves.

A tree asks about a column of the matrix that the preprocessing makes; the form asks about the feature, with a
threshold for which both answers are the same for every double. Weights are those of unscaled columns.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnx_models import calendar
from onnx_models.preprocessing import FARTHEST, LIMIT, Preprocessing, TextEncoding, raw_positions
from onnx_models.signature import Feature, Signature

from .bounds import bounded, renumbered
from .evaluate import Plain
from .exact import last, single
from .form import InlineForm
from .nodes import (
    Category,
    Column,
    Input,
    Leaf,
    Linear,
    Lookup,
    Node,
    Number,
    Part,
    Term,
    Trees,
    make_split,
    nodes_of,
)
from .raw import NoForm, Raw, RawLinear, RawTree, RawTrees
from .size import MOST_SPLITS, check_size, too_many

#: metadata property in which an artifact of ours carries its form
FORM_KEY = "pgpredict.inline"
#: numbers below or above are no use: their products could be too small or too large for a float
_SMALLEST, _LARGEST = 1e-150, 1e150
#: standard deviations that a mean may be away from 0 to be subtracted at last rather than at first
_MOST_SCALES = 1e3
#: types whose values are numbers, but never NaN
_NEVER_NAN = ("smallint", "integer", "bigint")
_RANGES = {
    "boolean": (0.0, 1.0),
    "smallint": (-(2.0**15), 2.0**15),
    "integer": (-(2.0**31), 2.0**31),
    "bigint": (-(2.0**63), 2.0**63),
}


def build(preprocessing: Preprocessing, raw: Raw, signature: Signature) -> InlineForm:
    """Return the form of a fitted pipeline.

    :raises NoForm: for numbers that PostgreSQL's arithmetic cannot take
    """
    if isinstance(raw, RawTrees):
        # leading splits back to features takes time, and merges a part of them at the most
        splits = sum(int((tree.left >= 0).sum()) for tree in raw.trees)
        if splits > 2 * MOST_SPLITS:
            raise too_many(splits)
    with np.errstate(all="ignore"):
        builder = _LinearBuilder(preprocessing, raw) if isinstance(raw, RawLinear) else None
        body, columns = builder.body() if builder else _TreeBuilder(preprocessing, _trees(raw)).body()
    read = {column.feature for column in columns}
    if isinstance(body, Linear):
        read |= {lookup.feature for lookup in body.lookups}
    inputs = tuple(input_of(feature) for feature in signature.features if feature.name in read)
    names = tuple(item.name for item in inputs)
    form = InlineForm(names, inputs, tuple(columns), body, raw.link, raw.rule, signature.classes)
    return bounded(form, {})


def small_form(preprocessing: Preprocessing, raw: Raw, signature: Signature) -> InlineForm | None:
    """Return the form of a pipeline, if it has one that is worth writing out."""
    try:
        form = build(preprocessing, raw, signature)
        check_size(form)
    except NoForm:
        return None
    return form


def unused(preprocessing: Preprocessing, raw: Raw | None) -> tuple[str, ...]:
    """Return the features that cannot change any output, whatever their value, in the signature's order.

    :param raw: None for estimators of which only the preprocessing is known
    """
    owners = column_owners(preprocessing)
    read = {owners[column] for column in (range(len(owners)) if raw is None else raw.columns)}
    return tuple(feature.name for feature in preprocessing.features if feature.name not in read)


def column_owners(preprocessing: Preprocessing) -> list[str]:
    """Return the feature that each column of the matrix is made of."""
    positions = raw_positions(preprocessing.features)
    kept = [positions[column][0].name for column in preprocessing.kept]
    marks = [kept[position] for position in preprocessing.indicators]
    texts = [text.name for text in preprocessing.texts for _ in range(text.table.shape[1])]
    return [*kept, *marks, *texts]


def _trees(raw: Raw) -> RawTrees:
    if isinstance(raw, RawLinear):
        raise TypeError("weighted sums are no trees")
    return raw


def input_of(feature: Feature) -> Input:
    """Return what a form has to know of a feature."""
    is_text = feature.kind == "text"
    return Input(feature.name, is_text, feature.kind == "number" and feature.type not in _NEVER_NAN)


def _checked(number: float) -> float:
    if number and not _SMALLEST <= abs(number) <= _LARGEST:
        raise NoForm(f"it computes with {number:g}")
    return number


class _Columns:
    """The form's columns so far."""

    def __init__(self) -> None:
        self.all: list[Column] = []
        self._position: dict[Column, int] = {}

    def add(self, column: Column) -> int:
        if column not in self._position:
            self._position[column] = len(self.all)
            self.all.append(column)
        return self._position[column]


@dataclasses.dataclass(frozen=True)
class _Numeric:
    """A numeric column of the matrix.

    :ivar rising: whether it never falls when the feature rises
    """

    feature: Feature
    part: int
    median: float | None
    rising: bool

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest number that the feature's type allows."""
        if self.feature.kind not in ("number", "boolean"):
            # clocks and the calendar's parts rise or fall within far less than days since 1970
            return self._day(calendar.FIRST_SECOND), self._day(calendar.LAST_SECOND)
        return _RANGES.get(self.feature.type, (-math.inf, math.inf))

    @staticmethod
    def _day(second: float) -> float:
        return second / 86_400.0

    def value(self, number: float) -> float:
        """Return the column's number for a feature's."""
        if self.feature.kind in ("number", "boolean"):
            return min(max(number, -LIMIT), LIMIT)
        return float(calendar.components(number, self.feature.kind, Plain)[self.part])


def _numeric(preprocessing: Preprocessing) -> list[_Numeric]:
    positions = raw_positions(preprocessing.features)
    columns = []
    for number, column in enumerate(preprocessing.kept):
        feature, part = positions[column]
        median = None if preprocessing.medians is None else float(preprocessing.medians[number])
        name = calendar.COMPONENTS[feature.kind][part] if feature.kind in calendar.COMPONENTS else ""
        rising = name in ("", "day", "year") or feature.kind == "time"
        columns.append(_Numeric(feature, part, median, rising))
    return columns


class _TreeBuilder:
    def __init__(self, preprocessing: Preprocessing, raw: RawTrees) -> None:
        self._raw = raw
        self._numeric = _numeric(preprocessing)
        self._marks = [self._numeric[position] for position in preprocessing.indicators]
        self._texts = [(text, j) for text in preprocessing.texts for j in range(text.table.shape[1])]
        self._columns = _Columns()

    def body(self) -> tuple[Trees, list[Column]]:
        grown = [self._node(tree, 0) for tree in self._raw.trees if tree.left[0] >= 0]
        # the graph adds trees that never split as one constant, after the others
        stumps = [tree.values[0] for tree in self._raw.trees if tree.left[0] < 0]
        constant = [Leaf(self._values(sum(stumps[1:], stumps[0])))] if stumps else []
        trees: list[Node] = [*grown, *constant]
        used = sorted({n.column for t in trees for n in nodes_of(t) if not isinstance(n, Leaf)})
        number = {column: position for position, column in enumerate(used)}
        start = tuple(_checked(value) for value in self._raw.start)
        body = Trees(tuple(renumbered(tree, number) for tree in trees), start, self._raw.divisor)
        return body, [self._columns.all[column] for column in used]

    def _node(self, tree: RawTree, at: int) -> Node:
        if tree.left[at] < 0:
            return Leaf(self._values(tree.values[at]))
        low, high = self._node(tree, int(tree.left[at])), self._node(tree, int(tree.right[at]))
        column, threshold = int(tree.feature[at]), float(tree.threshold[at])
        if column < len(self._numeric):
            numeric = self._numeric[column]
            missing_low = bool(tree.missing_left[at])
            if numeric.median is not None:
                missing_low = self._rounded(numeric.median) <= threshold
            if numeric.rising:
                position = self._columns.add(Number(numeric.feature.name))
                return make_split(position, self._border(column, threshold), missing_low, low, high)
            position = self._columns.add(Part(numeric.feature.name, numeric.feature.kind, numeric.part))
            return make_split(position, _whole(threshold), missing_low, low, high)
        column -= len(self._numeric)
        if column < len(self._marks):
            return self._about_mark(self._marks[column], threshold, low, high)
        text, j = self._texts[column - len(self._marks)]
        return self._about_text(text, j, threshold, low, high)

    def _values(self, values: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(_checked(value) for value in values.tolist())

    def _about_mark(self, numeric: _Numeric, threshold: float, low: Node, high: Node) -> Node:
        """Lead a question about a 0/1 column back to whether the feature is missing."""
        position = self._columns.add(Number(numeric.feature.name))
        there, missing = threshold >= 0.0, threshold >= 1.0
        if there == missing:
            return low if there else high
        return make_split(position, math.inf, False, low, high)

    def _about_text(self, text: TextEncoding, j: int, threshold: float, low: Node, high: Node) -> Node:
        numbers = text.table[:, j].tolist()
        if len({self._rounded(number) <= threshold for number in numbers}) == 1:
            return low if self._rounded(numbers[0]) <= threshold else high
        known = len(text.categories)
        values = tuple(zip(text.categories, numbers[:known], strict=True))
        position = self._columns.add(Category(text.name, values, numbers[known], numbers[known + 1]))
        return make_split(position, max(n for n in numbers if n <= threshold), False, low, high)

    def _rounded(self, number: float) -> float:
        return single(number) if self._raw.single else number

    @functools.cache  # noqa: B019 - lives as long as the builder
    def _border(self, column: int, threshold: float) -> float:
        numeric = self._numeric[column]
        found = last(lambda number: self._rounded(numeric.value(number)) <= threshold)
        return -math.inf if found is None else found


def _whole(threshold: float) -> float:
    """Return a threshold for whole numbers that float32 holds exactly, which clocks and calendars give."""
    return math.floor(threshold) + 0.0 if math.isfinite(threshold) else threshold


class _LinearBuilder:
    def __init__(self, preprocessing: Preprocessing, raw: RawLinear) -> None:
        self._prepared, self._raw = preprocessing, raw
        self._numeric = _numeric(preprocessing)

    def body(self) -> tuple[Linear, list[Column]]:
        columns, terms = _Columns(), []
        weights, start = self._raw.weights, self._raw.start.copy()
        marks: dict[str, NDArray[np.float64]] = {}
        for number, position in enumerate(self._prepared.indicators, len(self._numeric)):
            marks[self._numeric[position].feature.name] = weights[number]
        for number, numeric in enumerate(self._numeric):
            # a date's components are missing together, and told once
            mark = marks.pop(numeric.feature.name, None)
            if not weights[number].any() and (mark is None or not mark.any()):
                continue
            center, term = self._term(number, numeric, mark, columns)
            start -= center * np.array(term.weights)
            terms.append(term)
        return Linear(self._numbers(start, small=True), tuple(terms), self._lookups()), columns.all

    def _term(
        self, number: int, numeric: _Numeric, mark: NDArray[np.float64] | None, columns: _Columns
    ) -> tuple[float, Term]:
        """Return a term, and what is left to subtract from the number in the start."""
        prepared = self._prepared
        if prepared.means is None or prepared.scales is None or numeric.median is None:
            raise NoForm("its numbers are not scaled")
        mean, scale = float(prepared.means[number]), float(prepared.scales[number])
        per_unit = self._raw.weights[number] / scale
        low, high = max(mean - FARTHEST * scale, -LIMIT), min(mean + FARTHEST * scale, LIMIT)
        if low <= numeric.range[0] and numeric.range[1] <= high:
            low, high = -math.inf, math.inf
        # One operation less; a mean much larger than the scale would cost digits. Numbers on both sides of 0
        # would need more comparisons than it saves: near 0 a product may be too small for PostgreSQL.
        least = 0.0 if math.isinf(high) else scale
        center, left = (0.0, mean) if least <= abs(mean) <= _MOST_SCALES * scale else (mean, 0.0)
        missing = (numeric.median - center) * per_unit
        if mark is not None:
            missing = missing + mark
        name, kind = numeric.feature.name, numeric.feature.kind
        column: Column = Number(name) if kind in ("number", "boolean") else Part(name, kind, numeric.part)
        weights = self._numbers(per_unit)
        return left, Term(columns.add(column), center, low, high, weights, self._numbers(missing, small=True))

    def _lookups(self) -> tuple[Lookup, ...]:
        lookups = []
        at = len(self._numeric) + len(self._prepared.indicators)
        for text in self._prepared.texts:
            width, known = text.table.shape[1], len(text.categories)
            weights = self._raw.weights[at : at + width]
            at += width
            if not weights.any():
                continue
            rows = [self._numbers(row, small=True) for row in text.table @ weights]
            # texts that weigh what unknown ones do need not be told apart from them
            values = [
                (word, row) for word, row in zip(text.categories, rows, strict=False) if row != rows[-1]
            ]
            lookups.append(Lookup(text.name, tuple(values), rows[known], rows[known + 1]))
        return tuple(lookups)

    def _numbers(self, numbers: NDArray[np.float64], *, small: bool = False) -> tuple[float, ...]:
        """Return numbers, checked; those that are only added may be small."""
        values: Sequence[float] = numbers.tolist()
        for value in values:
            _checked(max(abs(value), _SMALLEST) if small else value)
        return tuple(values)
