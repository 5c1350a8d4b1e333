"""Outputs of a graph, in any form that converters give them, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ScoringFailed

Label = int | str


def regression_values(output: Any, rows: int) -> NDArray[np.float64]:
    """Return a regression's output of shape (rows,) or (rows, 1) as float64.

    :raises ScoringFailed: for any other shape
    """
    values = np.asarray(output)
    if values.size != rows:
        raise ScoringFailed(f"the model's graph gave shape {values.shape} for {rows} rows")
    return values.reshape(rows).astype(np.float64, copy=False)


def class_indexes(output: Any, index_of: Mapping[Label, int], rows: int) -> NDArray[np.float64]:
    """Return 0-based class indexes of a label output of integers, floats, booleans or texts.

    :param index_of: class index by label, in the order of the classes
    :raises ScoringFailed: for a label that is none of them, or a wrong shape
    """
    labels = np.asarray(output)
    if labels.size != rows:
        raise ScoringFailed(f"the model's graph gave shape {labels.shape} for {rows} rows")
    labels = labels.reshape(rows)
    # for one row a look-up is a tenth of the work
    if rows > 1 and labels.dtype.kind in "fiub" and all(isinstance(label, int) for label in index_of):
        return _integer_indexes(labels, index_of)
    try:
        return np.fromiter(map(index_of.__getitem__, labels.tolist()), np.float64, rows)
    except KeyError as error:
        raise ScoringFailed(f"the model's graph gave the unknown label {error.args[0]!r}") from error


def _integer_indexes(labels: NDArray[Any], index_of: Mapping[Label, int]) -> NDArray[np.float64]:
    known = np.array(list(index_of), np.int64)
    order = np.argsort(known)
    slots = np.minimum(np.searchsorted(known[order], labels), len(known) - 1)
    indexes = order[slots]
    wrong = known[indexes] != labels
    if wrong.any():
        raise ScoringFailed(f"the model's graph gave the unknown label {labels[wrong][0].item()!r}")
    return indexes.astype(np.float64)


def probability_matrix(output: Any, labels: Sequence[Label], classes: int, rows: int) -> NDArray[np.float64]:
    """Return probabilities of shape (rows, classes).

    :param output: of that shape; for two classes also the second's alone, of shape (rows,) or
        (rows, 1); or a list of dictionaries by label (the operator ZipMap)
    :param labels: the labels in the order of the classes
    :raises ScoringFailed: for any other shape
    """
    if isinstance(output, list):
        return _zipmap(output, labels)
    values = np.asarray(output)
    if values.size == rows * classes:
        return values.reshape(rows, classes).astype(np.float64, copy=False)
    if classes == 2 and values.size == rows:
        second = values.reshape(rows).astype(np.float64, copy=False)
        return np.stack([1.0 - second, second], axis=1)
    raise ScoringFailed(
        f"the model's graph gave probabilities of shape {values.shape} for {rows} rows and {classes} classes"
    )


def _zipmap(maps: Sequence[Mapping[Label, float]], labels: Sequence[Label]) -> NDArray[np.float64]:
    try:
        return np.array([[item[label] for label in labels] for item in maps], np.float64)
    except KeyError as error:
        raise ScoringFailed(f"the model's graph gave no probability of {error.args[0]!r}") from error
