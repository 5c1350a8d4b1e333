"""Preprocessing: what turns features into the matrix that an estimator sees.

It is fitted once and exists in two forms: :meth:`Preprocessing.transform` on NumPy arrays for training,
:meth:`Preprocessing.export` as nodes of an ONNX graph for serving. Numbers go through the same formulas
in both (:mod:`onnx_models.calendar`), texts through the same table of rows, in float64 throughout.

=============  ==========================================================================
feature        columns of the matrix
=============  ==========================================================================
number         its value, limited to float32's range; scaled, to a million standard deviations
boolean        0 or 1
date, time     the components of :mod:`onnx_models.calendar`
text, one-hot  a 0/1 column a category, one for all infrequent ones, one for NULL
text, rank     one column: categories ranked by the target's mean (for trees)
NULL           the median and a 0/1 column that says so; or NaN where the estimator takes it
=============  ==========================================================================

Columns that are constant in the training rows are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .calendar import COMPONENTS, clip, components
from .graph import ML_DOMAIN, Graph, Tensor
from .signature import NULL_TEXT, Feature, Kind
from .table import Column, Columns, Texts, row_count

#: beyond it a float32 would be infinite
LIMIT = float(np.finfo(np.float32).max)
#: standard deviations at which scaled columns end. Farther out, sums of large terms that cancel have no
#: correct digit left, and the same model answers differently in scikit-learn itself, by order of additions.
FARTHEST = 1e6
_TINY = 1e-30
#: pseudo-observations of the overall mean in a category's mean: rare categories stay near it
_SMOOTHING = 20.0


@dataclasses.dataclass(frozen=True)
class Needs:
    """What an estimator wants of its matrix.

    :ivar scale: columns of mean 0 and standard deviation 1 (0/1 columns stay as they are)
    :ivar text: how categories are encoded
    :ivar missing: whether NULL is imputed or handed on as NaN; scaled columns must be imputed
    """

    scale: bool = False
    text: Literal["one-hot", "rank"] = "one-hot"
    missing: Literal["impute", "nan"] = "impute"


@dataclasses.dataclass(frozen=True)
class TextEncoding:
    """How one text feature becomes numbers: a row of a table for each category.

    :ivar categories: the known texts
    :ivar table: (categories + 2, width): a row a category, then NULL's, then the row of any other text
    """

    name: str
    categories: tuple[str, ...]
    table: NDArray[np.float64]

    def rows_of(self, column: Texts) -> NDArray[np.int64]:
        """Return the table's row for every row of a column."""
        index = {text: row for row, text in enumerate(self.categories)}
        other = len(self.categories) + 1
        lookup = np.array([*(index.get(word, other) for word in column.words), other - 1], np.int64)
        return lookup[column.codes]


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A fitted preprocessing.

    :ivar features: in the order of the graph's inputs
    :ivar kept: columns kept of all numbers and components, in their order
    :ivar medians: imputed for NaN in the kept columns; None: NaN stays
    :ivar indicators: positions among the kept columns that get a 0/1 column for NULL
    :ivar means, scales: of the kept columns after imputation; None: not scaled
    :ivar texts: the encodings that contribute columns
    :ivar names: the matrix's columns, for people
    """

    features: tuple[Feature, ...]
    kept: tuple[int, ...]
    medians: NDArray[np.float64] | None
    indicators: tuple[int, ...]
    means: NDArray[np.float64] | None
    scales: NDArray[np.float64] | None
    texts: tuple[TextEncoding, ...]
    names: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of the matrix's columns."""
        return len(self.names)

    def transform(self, columns: Columns) -> NDArray[np.float64]:
        """Return the matrix of shape (rows, width).

        :param columns: by name; other names are ignored
        """
        parts = []
        if self.kept:
            raw = _raw_matrix(self.features, columns)[:, list(self.kept)]
            parts = self._numeric(raw, np)
        for text in self.texts:
            column = columns[text.name]
            parts.append(text.table[text.rows_of(_as_texts(column))])
        return np.ascontiguousarray(np.concatenate(parts, axis=1))

    def export(self, graph: Graph, inputs: Sequence[str]) -> Tensor:
        """Add the preprocessing to a graph.

        :param inputs: the graph's input names, in the order of the features
        :returns: the matrix
        """
        tensors = {
            feature.name: graph.input(name, text=feature.kind == "text")
            for feature, name in zip(self.features, inputs, strict=True)
        }
        parts = []
        if self.kept:
            raw = graph.concat(_raw_columns(self.features, tensors, graph, graph.concat))
            if self.kept != tuple(range(len(_raw_names(self.features)))):
                raw = graph.take(raw, self.kept)
            parts = self._numeric(raw, graph)
        for text in self.texts:
            parts.append(_export_text(graph, text, tensors[text.name]))
        return graph.concat(parts)

    def _numeric(self, raw: Any, xp: Any) -> list[Any]:
        """Impute, mark and scale; the same code for arrays and graphs."""
        values, marks = raw, []
        if self.medians is not None:
            missing = xp.isnan(raw)
            values = xp.where(missing, self.medians, raw)
            if self.indicators:
                marked = _take(missing, self.indicators, xp)
                marks = [xp.where(marked, np.ones(1), np.zeros(1))]
        if self.means is not None and self.scales is not None:
            values = xp.clip((values - self.means) / self.scales, -FARTHEST, FARTHEST)
        return [values, *marks]


def fit(
    features: Sequence[Feature],
    columns: Columns,
    needs: Needs,
    order_by: NDArray[np.float64],
    max_categories: int = 100,
) -> Preprocessing:
    """Learn medians, categories and scales from the training rows.

    :param order_by: one number a row, whose mean ranks categories (the target, or an indicator of a class)
    :param max_categories: the most frequent texts of a feature that are kept apart
    :returns: a preprocessing; its width is 0 when every column is constant
    """
    features = tuple(features)
    raw_names, raw = _raw_names(features), _raw_matrix(features, columns)
    missing = np.isnan(raw)
    kept = _varying(raw, missing, needs)
    raw, missing = raw[:, kept], missing[:, kept]
    medians: NDArray[np.float64] | None = None
    indicators: tuple[int, ...] = ()
    if needs.missing == "impute":
        # a column of NULL only has no median; it is here for its indicator, if at all
        medians = np.array([_median(raw[:, j], missing[:, j]) for j in range(raw.shape[1])])
        indicators = _first_of_each_feature(kept, np.asarray(missing.any(axis=0)), features)
        raw = np.where(missing, medians, raw)
    means = scales = None
    if needs.scale:
        means, scales = _scaling(raw)
    names = [raw_names[int(j)] for j in kept] + [f"{raw_names[int(kept[j])]} is null" for j in indicators]
    texts = []
    for feature in features:
        if feature.kind == "text":
            encoding, columns_of_it = _fit_text(
                feature.name, _as_texts(columns[feature.name]), needs, order_by, max_categories
            )
            if columns_of_it:
                texts.append(encoding)
                names += columns_of_it
    return Preprocessing(
        features, tuple(int(j) for j in kept), medians, indicators, means, scales, tuple(texts), tuple(names)
    )


def raw_positions(features: Sequence[Feature]) -> list[tuple[Feature, int]]:
    """Return the feature and its component for every raw column, in their order."""
    plain = [(feature, 0) for feature in features if feature.kind in ("number", "boolean")]
    for kind, names in COMPONENTS.items():
        of_kind = [feature for feature in features if feature.kind == kind]
        plain += [(feature, part) for part in range(len(names)) for feature in of_kind]
    return plain


def _raw_names(features: Sequence[Feature]) -> list[str]:
    return [
        f"{feature.name} ({COMPONENTS[feature.kind][part]})" if feature.kind in COMPONENTS else feature.name
        for feature, part in raw_positions(features)
    ]


def _raw_columns(features: Sequence[Feature], tensors: Any, xp: Any, concat: Any) -> list[Any]:
    """Return the raw columns in a few blocks, each (rows, some)."""
    blocks = []
    plain = [tensors[feature.name] for feature in features if feature.kind in ("number", "boolean")]
    if plain:
        blocks.append(clip(concat(plain), xp, -LIMIT, LIMIT))
    kind: Kind
    for kind in COMPONENTS:
        of_kind = [tensors[feature.name] for feature in features if feature.kind == kind]
        if of_kind:
            blocks += components(concat(of_kind), kind, xp)
    return blocks


def _raw_matrix(features: Sequence[Feature], columns: Columns) -> NDArray[np.float64]:
    rows = row_count(columns)
    arrays = {
        feature.name: np.asarray(columns[feature.name], np.float64).reshape(rows, 1)
        for feature in features
        if feature.kind != "text"
    }
    if not arrays:
        return np.empty((rows, 0))
    blocks = _raw_columns(features, arrays, np, lambda items: np.concatenate(items, axis=1))
    return np.concatenate(blocks, axis=1)


def _varying(raw: NDArray[np.float64], missing: NDArray[np.bool_], needs: Needs) -> NDArray[np.int64]:
    """Return the columns that are not constant; where NULL is told apart, NULL counts as a value."""
    if raw.shape[0] == 0:
        return np.empty(0, np.int64)
    low = np.min(np.where(missing, np.inf, raw), axis=0, initial=np.inf)
    high = np.max(np.where(missing, -np.inf, raw), axis=0, initial=-np.inf)
    some, every = missing.any(axis=0), missing.all(axis=0)
    varying: NDArray[np.int64] = np.flatnonzero((low < high) | (some & ~every))
    return varying


def _median(values: NDArray[np.float64], missing: NDArray[np.bool_]) -> float:
    known = values[~missing]
    return float(np.median(known)) if len(known) else 0.0


def _scaling(raw: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not raw.shape[0]:
        return np.zeros(raw.shape[1]), np.ones(raw.shape[1])
    with np.errstate(over="ignore"):
        means, scales = raw.mean(axis=0), raw.std(axis=0)
    usable = np.isfinite(scales) & (scales > _TINY)
    scales = np.where(usable, scales, np.maximum(1.0, np.abs(raw).max(axis=0)))
    # ONNX Runtime leaves out the subtraction of a single constant that is 0 as a float32, and the
    # division by one that is 1 as a float32: it must be so in float64, too
    return np.where(np.abs(means) > _TINY, means, 0.0), scales.astype(np.float32).astype(np.float64)


def _first_of_each_feature(
    kept: NDArray[np.int64], missing: NDArray[np.bool_], features: Sequence[Feature]
) -> tuple[int, ...]:
    """Return one position for every feature with NULL: a date's components are NULL together."""
    owners = [feature.name for feature, _ in raw_positions(features)]
    first: dict[str, int] = {}
    for position, column in enumerate(kept):
        if missing[position]:
            first.setdefault(owners[column], position)
    return tuple(first.values())


def _fit_text(
    name: str, column: Texts, needs: Needs, order_by: NDArray[np.float64], max_categories: int
) -> tuple[TextEncoding, list[str]]:
    """Return an encoding and the names of its columns, none if the feature is constant."""
    counts = column.counts()
    # the most frequent first, by text among equals: the same data give the same model
    order = sorted(range(len(counts)), key=lambda code: (-counts[code], column.words[code]))
    # a text that occurs once says nothing, unless texts are few altogether
    fewest = 1 if len(order) <= max_categories else 2
    categories = tuple(column.words[code] for code in order[:max_categories] if counts[code] >= fewest)
    bare = TextEncoding(name, categories, np.zeros((len(categories) + 2, 1)))
    rows = bare.rows_of(column)
    seen = np.bincount(rows, minlength=len(categories) + 2)
    if np.count_nonzero(seen) < 2:
        return bare, []
    if needs.text == "rank":
        return dataclasses.replace(bare, table=_ranks(rows, seen, order_by)), [name]
    used = np.flatnonzero(seen)
    table = np.zeros((len(categories) + 2, len(used)))
    table[used, np.arange(len(used))] = 1.0
    labels = [*(f"{name} = {text}" for text in categories), f"{name} is null", f"{name} is another text"]
    return dataclasses.replace(bare, table=table), [labels[row] for row in used]


def _ranks(
    rows: NDArray[np.int64], seen: NDArray[np.int64], order_by: NDArray[np.float64]
) -> NDArray[np.float64]:
    overall = float(order_by.mean())
    sums = np.bincount(rows, weights=order_by, minlength=len(seen))
    means = (sums + _SMOOTHING * overall) / (seen + _SMOOTHING)
    ranks = np.empty(len(seen))
    ranks[np.argsort(means, kind="stable")] = np.arange(len(seen), dtype=np.float64)
    return ranks.reshape(-1, 1)


def _export_text(graph: Graph, text: TextEncoding, tensor: Tensor) -> Tensor:
    keys = [*text.categories, NULL_TEXT]
    rows = graph.op(
        "LabelEncoder",
        tensor,
        domain=ML_DOMAIN,
        keys_strings=keys,
        values_int64s=list(range(len(keys))),
        default_int64=len(keys),
    )
    picked = graph.op("Gather", text.table, rows, axis=0)
    return graph.op("Reshape", picked, np.array([-1, text.table.shape[1]], np.int64))


def _take(x: Any, columns: Sequence[int], xp: Any) -> Any:
    return xp.take(x, columns) if isinstance(xp, Graph) else x[:, list(columns)]


def _as_texts(column: Column) -> Texts:
    return column if isinstance(column, Texts) else Texts.of([None if v is None else str(v) for v in column])
