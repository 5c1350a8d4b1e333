"""The algorithms, in one explicit table: what is not here cannot be trained."""

from __future__ import annotations

from collections.abc import Mapping

from onnx_models.errors import InvalidParameter
from onnx_models.signature import Task

from .base import Algorithm, Estimator, Make, Outputs, Parameter, ParameterValue
from .bayes import NAIVE_BAYES
from .boosting import GRADIENT_BOOSTING, HIST_GRADIENT_BOOSTING
from .forest import DECISION_TREE, EXTRA_TREES, RANDOM_FOREST
from .linear import ELASTIC_NET, LASSO, LINEAR, LOGISTIC, RIDGE
from .neighbors import KNN
from .neural import MLP
from .svm import SVM

__all__ = [
    "ALGORITHMS",
    "AUTO",
    "Algorithm",
    "Estimator",
    "Outputs",
    "Parameter",
    "ParameterValue",
    "choose",
    "estimator_for",
]

ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        LINEAR,
        RIDGE,
        LASSO,
        ELASTIC_NET,
        LOGISTIC,
        DECISION_TREE,
        RANDOM_FOREST,
        EXTRA_TREES,
        GRADIENT_BOOSTING,
        HIST_GRADIENT_BOOSTING,
        KNN,
        SVM,
        NAIVE_BAYES,
        MLP,
    )
}
#: the name that stands for a choice by cross-validation
AUTO = "auto"


def choose(name: str, task: Task) -> Algorithm:
    """Return an algorithm that can do a task.

    :raises InvalidParameter: if there is none of that name, or it is for the other task
    """
    able = [algorithm.name for algorithm in ALGORITHMS.values() if _maker(algorithm, task) is not None]
    if name not in ALGORITHMS:
        raise InvalidParameter(
            f"algorithm {name!r} is unknown", hint=f"choose {AUTO}, {', '.join(ALGORITHMS)}"
        )
    if name not in able:
        other = "classification" if task == "regression" else "regression"
        raise InvalidParameter(
            f"{name} is for {other}, the target asks for {task}",
            hint=f"choose {AUTO}, {', '.join(able)}; or change the task with --task",
        )
    return ALGORITHMS[name]


def estimator_for(
    algorithm: Algorithm, task: Task, parameters: Mapping[str, ParameterValue], seed: int
) -> Estimator:
    """Return an unfitted estimator.

    :param parameters: complete, as :meth:`Algorithm.read_parameters` returns them
    """
    make = _maker(algorithm, task)
    if make is None:
        raise InvalidParameter(f"{algorithm.name} is not for {task}")
    return make(parameters, seed)


def _maker(algorithm: Algorithm, task: Task) -> Make | None:
    return algorithm.regressor if task == "regression" else algorithm.classifier
