"""Fitting preprocessing and an estimator to some rows, and what there is to say about how."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from . import preprocessing
from .errors import InvalidTrainingData
from .families import AUTO, Algorithm, Estimator, ParameterValue, estimator_for
from .parity import Fitted
from .preprocessing import Preprocessing
from .signature import Task
from .table import Columns, TrainingTable, take
from .task import EncodedTarget, RequestedTask

# OpenMP's threads wait for each other by spinning, which on a busy machine costs three times the training
# itself (measured: 27 s against 9 s, 250,000 rows). Read when scikit-learn is first imported, which is later.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@dataclasses.dataclass(frozen=True)
class Progress:
    """What training is doing.

    :ivar step: ``reading``, ``choosing``, ``fitting``, ``converting``, ``verifying``, ``inline``, ``storing``
        or ``warning``
    :ivar text: for people
    """

    step: str
    text: str


Report = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """How to train.

    :ivar algorithm: a name of :data:`onnx_models.families.ALGORITHMS`, or ``auto``
    :ivar parameters: hyperparameters by name, as text or in their own type
    :ivar test_size: share of rows held out
    :ivar max_categories: most frequent texts of a feature that are told apart
    """

    algorithm: str = AUTO
    parameters: Mapping[str, ParameterValue] = dataclasses.field(default_factory=dict)
    task: RequestedTask = "auto"
    test_size: float = 0.2
    seed: int = 0
    max_categories: int = 100


def fit(
    table: TrainingTable,
    target: EncodedTarget,
    rows: NDArray[np.int64],
    algorithm: Algorithm,
    parameters: Mapping[str, ParameterValue],
    options: Options,
) -> tuple[Fitted, list[str]]:
    """Fit preprocessing and estimator on some rows.

    :returns: the pipeline, and what scikit-learn warned of
    """
    columns, values = take(table.columns, rows), target.values[rows]
    prepared = preprocessing.fit(
        table.features, columns, algorithm.needs, _order_by(values, target), options.max_categories
    )
    if prepared.width == 0:
        raise InvalidTrainingData(
            "every feature has the same value in all rows", hint="give the training query columns that vary"
        )
    return _fit_estimator(prepared, columns, values, target.task, algorithm, parameters, options.seed)


def _fit_estimator(
    prepared: Preprocessing,
    columns: Columns,
    values: NDArray[np.float64],
    task: Task,
    algorithm: Algorithm,
    parameters: Mapping[str, ParameterValue],
    seed: int,
) -> tuple[Fitted, list[str]]:
    estimator: Estimator = estimator_for(algorithm, task, parameters, seed)
    matrix = prepared.transform(columns)
    y = values if task == "regression" else values.astype(np.int64)
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            estimator.fit(matrix, y)
        # values that are each allowed, but not together or not for these rows
        except (ValueError, ArithmeticError) as error:
            text = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InvalidTrainingData(
                f"scikit-learn cannot fit {algorithm.name}: {text}",
                hint="try other hyperparameters or another --algorithm",
            ) from error
    if getattr(estimator, "n_jobs", None) is not None:
        # threads add trees up in any order, which changes the last bit from call to call
        estimator.n_jobs = None
    notes = sorted({str(w.message).split("\n")[0] for w in caught if _is_about_fit(w)})
    classes = 0 if task == "regression" else len(np.unique(y))
    return Fitted(prepared, estimator, classes), notes


def _is_about_fit(warning: warnings.WarningMessage) -> bool:
    from sklearn.exceptions import ConvergenceWarning

    return issubclass(warning.category, ConvergenceWarning)


def _order_by(values: NDArray[np.float64], target: EncodedTarget) -> NDArray[np.float64]:
    """Return the number whose mean ranks categories."""
    if target.task != "multiclass":
        return values
    most_common = np.argmax(np.bincount(values.astype(np.int64)))
    return np.asarray(values == most_common, np.float64)
