"""Gradient boosting: sums of small trees, each mending what the ones before left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnx_models.graph import Graph, Tensor
from onnx_models.inline.nodes import Link, Rule
from onnx_models.inline.raw import Raw, RawTrees
from onnx_models.preprocessing import Needs

from .base import (
    CLASS_WEIGHT,
    Algorithm,
    Estimator,
    Outputs,
    Parameter,
    binary_outputs,
    count,
    multiclass_outputs,
    positive,
    without,
)
from .trees import Tree, ensemble, from_histogram, from_tree, raw_tree, splits

_GRADIENT = {
    "n_estimators": count(100, 1, 10_000),
    "learning_rate": positive(0.1, 1.0),
    "max_depth": count(3, 1, 32),
    "min_samples_leaf": count(5),
    "subsample": positive(1.0, 1.0),
}
_HISTOGRAM = {
    "max_iter": count(100, 1, 10_000),
    "learning_rate": positive(0.1, 1.0),
    "max_leaf_nodes": count(31, 2, optional=True),
    "max_depth": count(None, optional=True),
    "min_samples_leaf": count(20),
    "l2_regularization": Parameter("number", 0.0),
    "max_bins": count(255, 2, 255),
    "class_weight": CLASS_WEIGHT,
}


def _gradient_classifier(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(**parameters, random_state=seed)


def _gradient_regressor(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(**parameters, random_state=seed)


def _histogram_classifier(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # early stopping would hold rows back by itself and depend on their number
    return HistGradientBoostingClassifier(**parameters, random_state=seed, early_stopping=False)


def _histogram_regressor(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.ensemble import HistGradientBoostingRegressor

    chosen = without(parameters, "class_weight")
    return HistGradientBoostingRegressor(**chosen, random_state=seed, early_stopping=False)


def _gradient_trees(estimator: Estimator) -> list[list[Tree]]:
    """Return the trees by column of the raw prediction."""
    rate = estimator.learning_rate
    return [
        [from_tree(member, member.tree_.value[:, 0, 0] * rate) for member in estimator.estimators_[:, column]]
        for column in range(estimator.estimators_.shape[1])
    ]


def _histogram_trees(estimator: Estimator) -> list[list[Tree]]:
    # private, and the only way to the trees; skl2onnx reads the same attributes
    stages = estimator._predictors
    return [[from_histogram(stage[column]) for stage in stages] for column in range(len(stages[0]))]


def _gradient_start(estimator: Estimator) -> Any:
    # the start is the same for every row
    return estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))


def _export_gradient(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    trees, start = _gradient_trees(estimator), _gradient_start(estimator)
    return _export(graph, graph.float32_rounded(x), estimator, trees, start)


def _export_histogram(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    return _export(graph, x, estimator, _histogram_trees(estimator), estimator._baseline_prediction)


def _export(graph: Graph, x: Tensor, estimator: Estimator, trees: list[list[Tree]], start: Any) -> Outputs:
    starts = np.asarray(start, np.float64).reshape(-1)
    raw = graph.concat([ensemble(graph, x, column) for column in trees]) + starts
    if not hasattr(estimator, "classes_"):
        return Outputs(raw)
    if len(estimator.classes_) == 2:
        second = graph.op("Sigmoid", raw)
        on_second = raw >= 0.0 if _rule(estimator) == "from" else raw > 0.0
        return binary_outputs(graph, second, on_second)
    return multiclass_outputs(graph, raw, graph.op("Softmax", raw, axis=1))


def _rule(estimator: Estimator) -> Rule:
    """Return where the second class begins: the one says class 1 on the fence, the other only beyond."""
    return "from" if hasattr(estimator, "estimators_") else "above"


def _raw_gradient(estimator: Estimator) -> Raw:
    return _raw(estimator, _gradient_trees(estimator), _gradient_start(estimator), single=True)


def _raw_histogram(estimator: Estimator) -> Raw:
    return _raw(estimator, _histogram_trees(estimator), estimator._baseline_prediction, single=False)


def _raw(estimator: Estimator, trees: list[list[Tree]], start: Any, *, single: bool) -> Raw:
    """Return all trees, each of which adds to one score only."""
    starts, all_trees = np.asarray(start, np.float64).reshape(-1), []
    for score, column in enumerate(trees):
        for tree in column:
            values = np.zeros((len(tree.value), len(trees)))
            values[:, score] = tree.value
            all_trees.append(raw_tree(tree, values))
    classes = len(getattr(estimator, "classes_", ()))
    link: Link = {0: "identity", 2: "logistic"}.get(classes, "softmax")  # type: ignore[assignment]
    return RawTrees(tuple(all_trees), tuple(starts.tolist()), 1.0, single, link, _rule(estimator))


GRADIENT_BOOSTING = Algorithm(
    "gradient_boosting",
    "gradient boosting, exact; slow beyond some 100,000 rows",
    Needs(text="rank"),
    _GRADIENT,
    _export_gradient,
    _gradient_classifier,
    _gradient_regressor,
    thresholds=lambda estimator: splits(tree for column in _gradient_trees(estimator) for tree in column),
    raw=_raw_gradient,
)
HIST_GRADIENT_BOOSTING = Algorithm(
    "hist_gradient_boosting",
    "gradient boosting on histograms; takes NULL as it is, fast on millions of rows",
    Needs(text="rank", missing="nan"),
    _HISTOGRAM,
    _export_histogram,
    _histogram_classifier,
    _histogram_regressor,
    thresholds=lambda estimator: splits(tree for column in _histogram_trees(estimator) for tree in column),
    raw=_raw_histogram,
)
