"""Linear models: one matrix product in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnx_models.graph import Graph, Tensor
from onnx_models.inline.raw import Raw, RawLinear
from onnx_models.preprocessing import Needs

from .base import (
    CLASS_WEIGHT,
    Algorithm,
    Estimator,
    Outputs,
    Parameter,
    binary_outputs,
    count,
    in_units_of_target,
    multiclass_outputs,
    positive,
    target_units,
)

_SCALED = Needs(scale=True)
_RATIO = Parameter("number", 0.5, 0.0, 1.0)


def _linear(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def _ridge(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.linear_model import Ridge

    return Ridge(**parameters, random_state=seed)


def _lasso(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.linear_model import Lasso

    return in_units_of_target(Lasso(**parameters, random_state=seed))


def _elastic_net(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.linear_model import ElasticNet

    return in_units_of_target(ElasticNet(**parameters, random_state=seed))


def _logistic(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**parameters, random_state=seed)


def _export_regression(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    inner, mean, scale = target_units(estimator)
    weights = np.asarray(inner.coef_, np.float64).reshape(-1, 1)
    value = x @ weights + np.asarray(inner.intercept_, np.float64).reshape(1)
    return Outputs(value * scale + mean if inner is not estimator else value)


def _export_logistic(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    scores = x @ np.asarray(estimator.coef_, np.float64).T + np.asarray(estimator.intercept_, np.float64)
    if len(estimator.classes_) == 2:
        return binary_outputs(graph, graph.op("Sigmoid", scores), scores > 0.0)
    return multiclass_outputs(graph, scores, graph.op("Softmax", scores, axis=1))


def _raw_regression(estimator: Estimator) -> Raw:
    inner, mean, scale = target_units(estimator)
    weights = np.asarray(inner.coef_, np.float64).reshape(-1, 1)
    start = np.asarray(inner.intercept_, np.float64).reshape(1)
    return RawLinear(weights * scale, start * scale + mean, "identity")


def _raw_logistic(estimator: Estimator) -> Raw:
    weights = np.asarray(estimator.coef_, np.float64).T
    start = np.asarray(estimator.intercept_, np.float64)
    return RawLinear(weights, start, "logistic" if len(start) == 1 else "softmax")


LINEAR = Algorithm(
    "linear",
    "linear regression, least squares",
    _SCALED,
    {},
    _export_regression,
    None,
    _linear,
    raw=_raw_regression,
)
RIDGE = Algorithm(
    "ridge",
    "linear regression with L2 penalty",
    _SCALED,
    {"alpha": positive(1.0)},
    _export_regression,
    None,
    _ridge,
    raw=_raw_regression,
)
LASSO = Algorithm(
    "lasso",
    "linear regression with L1 penalty, which drops features",
    _SCALED,
    {"alpha": positive(0.001), "max_iter": count(10_000)},
    _export_regression,
    None,
    _lasso,
    raw=_raw_regression,
)
ELASTIC_NET = Algorithm(
    "elastic_net",
    "linear regression with L1 and L2 penalty",
    _SCALED,
    {"alpha": positive(0.001), "l1_ratio": _RATIO, "max_iter": count(10_000)},
    _export_regression,
    None,
    _elastic_net,
    raw=_raw_regression,
)
LOGISTIC = Algorithm(
    "logistic",
    "logistic regression",
    _SCALED,
    {"C": positive(1.0), "max_iter": count(1000), "class_weight": CLASS_WEIGHT},
    _export_logistic,
    _logistic,
    raw=_raw_logistic,
)
