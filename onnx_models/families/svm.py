"""Support vector machines with a calibrated probability.

A support vector machine gives a distance from its boundary, not a probability; Platt scaling on
cross-validated distances (scikit-learn's CalibratedClassifierCV) makes one of it. Several classes are one
machine each against the rest, their probabilities made to add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_models.graph import Graph, Tensor, in_blocks
from onnx_models.preprocessing import Needs

from .base import (
    CLASS_WEIGHT,
    Algorithm,
    Estimator,
    Outputs,
    Parameter,
    binary_outputs,
    choice,
    in_units_of_target,
    multiclass_outputs,
    positive,
    target_units,
    without,
)

_BLOCK = 256
#: added to each class's probability: far from all classes they underflow, and their ratio is an accident
_LEAST = 1e-9
_PARAMETERS = {
    "C": positive(1.0),
    "kernel": choice("rbf", "rbf", "linear"),
    "epsilon": Parameter("number", 0.1),
    "class_weight": CLASS_WEIGHT,
}


class CalibratedSvm:
    """Support vector machines for classes, one against the rest, with probabilities.

    :param options: of scikit-learn's SVC
    """

    def __init__(self, options: Mapping[str, Any], seed: int) -> None:
        self.options = dict(options)
        self.seed = seed

    def fit(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> CalibratedSvm:
        """Train one machine for two classes, else one a class."""
        self.classes_ = np.unique(y)
        wanted = self.classes_[1:] if len(self.classes_) == 2 else self.classes_
        self.machines_ = [self._fit_one(x, (y == label).astype(np.int64)) for label in wanted]
        return self

    def _fit_one(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> Estimator:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.frozen import FrozenEstimator
        from sklearn.model_selection import StratifiedKFold
        from sklearn.svm import SVC

        machine = SVC(**self.options)
        folds = min(3, int(np.bincount(y, minlength=2).min()))
        if folds < 2:
            # a class of one row cannot be in every fold: calibrate on the rows of the training itself
            return CalibratedClassifierCV(FrozenEstimator(machine.fit(x, y)), method="sigmoid").fit(x, y)
        split = StratifiedKFold(folds, shuffle=True, random_state=self.seed)
        return CalibratedClassifierCV(machine, method="sigmoid", cv=split, ensemble=False).fit(x, y)

    def predict_proba(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated probabilities."""
        seconds = np.stack([machine.predict_proba(x)[:, 1] for machine in self.machines_], axis=1)
        if len(self.classes_) == 2:
            return np.concatenate([1.0 - seconds, seconds], axis=1)
        shares = seconds + _LEAST
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the most probable class."""
        return np.asarray(self.classes_[np.argmax(self.predict_proba(x), axis=1)])


def _classifier(parameters: Mapping[str, Any], seed: int) -> Estimator:
    return CalibratedSvm(without(parameters, "epsilon"), seed)


def _regressor(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.svm import SVR

    return in_units_of_target(SVR(**without(parameters, "class_weight")))


def _export(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    if not isinstance(estimator, CalibratedSvm):
        inner, mean, scale = target_units(estimator)
        return Outputs(_decision(graph, x, inner) * scale + mean)
    seconds = []
    for machine in estimator.machines_:
        calibrated = machine.calibrated_classifiers_[0]
        curve = calibrated.calibrators[0]
        distance = _decision(graph, x, getattr(calibrated.estimator, "estimator", calibrated.estimator))
        seconds.append(graph.op("Sigmoid", distance * -float(curve.a_) - float(curve.b_)))
    if len(seconds) == 1:
        return binary_outputs(graph, seconds[0], seconds[0] > 0.5)
    shares = graph.concat(seconds) + _LEAST
    shares = shares / graph.row_sum(shares)
    return multiclass_outputs(graph, shares, shares)


def _decision(graph: Graph, x: Tensor, machine: Estimator) -> Tensor:
    """Return the signed distance from the boundary, (rows, 1)."""
    vectors = np.asarray(machine.support_vectors_, np.float64)
    weights = np.asarray(machine.dual_coef_, np.float64).reshape(-1, 1)
    offset = float(machine.intercept_[0])
    if machine.kernel == "linear":
        return x @ (vectors.T @ weights) + offset
    body = Graph()
    rows = body.input("rows", shape=(_BLOCK, vectors.shape[1]))
    squares = (rows @ np.ascontiguousarray(vectors.T)) * -2.0 + np.square(vectors).sum(axis=1)
    # rounding may leave a tiny negative square, which exp would take for a row nearer than near
    squares = body.op("Relu", squares + body.row_sum(rows * rows))
    kernel = body.op("Exp", squares * -float(machine._gamma))
    body.output(kernel @ weights, "distance", (_BLOCK, 1))
    return in_blocks(graph, x, vectors.shape[1], _BLOCK, body) + offset


SVM = Algorithm(
    "svm",
    "support vector machine",
    Needs(scale=True),
    _PARAMETERS,
    _export,
    _classifier,
    _regressor,
    most_rows=10_000,
)
