"""The task that follows from the target, and the target as numbers."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidParameter, InvalidTrainingData
from .signature import Task
from .table import Texts, TrainingTable

#: what a user asks for; the number of classes then makes it binary or multiclass
RequestedTask = Literal["auto", "classification", "regression"]
MAX_CLASSES = 100
_WHOLE_NUMBERS = ("smallint", "integer", "bigint")


@dataclasses.dataclass(frozen=True)
class EncodedTarget:
    """The target as an estimator takes it.

    :ivar values: regression: the values; classification: 0-based class indexes, as float64
    :ivar classes: labels as PostgreSQL writes them as text; empty for regression
    """

    task: Task
    values: NDArray[np.float64]
    classes: tuple[str, ...] = ()


def encode_target(table: TrainingTable, requested: RequestedTask = "auto") -> EncodedTarget:
    """Choose the task and encode the target.

    Text, enum and boolean targets are classes, other numbers are regressed. Whole numbers are regressed,
    too, unless there are only two of them: a count of few distinct values looks just like a code.

    :raises InvalidParameter: if the task does not go with the target's type
    :raises InvalidTrainingData: if nothing can be learnt from the target
    """
    feature, column = table.target_feature, table.target
    if table.rows == 0:
        raise InvalidTrainingData(
            f"no row has a value of {feature.name!r}", hint="look at what the training query returns"
        )
    discrete = isinstance(column, Texts) or feature.kind == "boolean"
    if requested == "regression" and discrete:
        raise InvalidParameter(
            f"regression of {feature.name!r}, which is a {feature.type}",
            hint="regression predicts numbers; leave --task out, or cast the column",
        )
    if requested == "auto":
        two = feature.type in _WHOLE_NUMBERS and len(np.unique(np.asarray(column))) == 2
        requested = "classification" if discrete or two else "regression"
    if requested == "classification":
        return _classes(table)
    if feature.kind != "number" or isinstance(column, Texts):
        raise InvalidParameter(
            f"{feature.name!r} is a {feature.type}, which cannot be predicted",
            hint="cast it in the training query, for example extract(epoch from ...)",
        )
    if not np.isfinite(column).all():
        raise InvalidTrainingData(f"{feature.name!r} contains infinite values", hint="filter them out")
    if column.min() == column.max():
        raise InvalidTrainingData(
            f"{feature.name!r} is {column[0]:g} in every row: there is nothing to learn"
        )
    return EncodedTarget("regression", column)


def _classes(table: TrainingTable) -> EncodedTarget:
    feature, column = table.target_feature, table.target
    if isinstance(column, Texts):
        used = np.unique(column.codes)
        order = sorted((int(code) for code in used), key=lambda code: column.words[code])
        labels = [column.words[code] for code in order]
        index = np.zeros(len(column.words))
        index[order] = np.arange(len(order))
        values = index[column.codes]
    else:
        numbers, inverse = np.unique(column, return_inverse=True)
        labels = [_label(float(number), feature.kind, feature.type) for number in numbers]
        values = inverse.astype(np.float64)
    if len(labels) < 2:
        raise InvalidTrainingData(
            f"{feature.name!r} is {labels[0]!r} in every row: there is nothing to tell apart",
            hint="check the training query's conditions",
        )
    if len(labels) > MAX_CLASSES:
        raise InvalidTrainingData(
            f"{feature.name!r} has {len(labels)} classes, at most {MAX_CLASSES} are possible",
            hint="group rare classes in the training query, or predict a number with --task regression",
        )
    rare = [labels[code] for code, n in enumerate(np.bincount(values.astype(int))) if n < 2]
    if rare:
        raise InvalidTrainingData(
            f"class {rare[0]!r} of {feature.name!r} has a single row",
            hint="leave such rows out, or group rare classes in the training query",
        )
    return EncodedTarget("binary" if len(labels) == 2 else "multiclass", values, tuple(labels))


def _label(number: float, kind: str, type_name: str) -> str:
    """Return a number as PostgreSQL writes it as text."""
    if kind == "boolean":
        return "true" if number else "false"
    if kind != "number":
        raise InvalidParameter(
            f"classes of type {type_name}", hint="cast the target to text in the training query"
        )
    if number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    what = "is beyond 2^53" if number.is_integer() else "is no whole number"
    raise InvalidParameter(
        f"class label {number:g} {what}",
        hint="cast the target to text in the training query, or predict a number with --task regression",
    )
