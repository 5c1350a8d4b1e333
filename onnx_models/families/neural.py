"""Multi-layer perceptron: matrix products and activations in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx_models.graph import Graph, Tensor
from onnx_models.preprocessing import Needs

from .base import (
    Algorithm,
    Estimator,
    Outputs,
    Parameter,
    binary_outputs,
    choice,
    count,
    in_units_of_target,
    multiclass_outputs,
    positive,
    target_units,
)

_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}
_PARAMETERS = {
    "hidden_units": count(64, 1, 4096),
    "hidden_layers": count(1, 1, 8),
    "activation": choice("relu", *_OPERATORS),
    "alpha": Parameter("number", 1e-4),
    "learning_rate_init": positive(1e-3, 1.0),
    "max_iter": count(50, 1, 10_000),
    "batch_size": count(256, 1, 65_536),
}


def _options(parameters: Mapping[str, Any], seed: int) -> dict[str, Any]:
    options = dict(parameters)
    units, layers = options.pop("hidden_units"), options.pop("hidden_layers")
    return {**options, "hidden_layer_sizes": (units,) * layers, "random_state": seed, "n_iter_no_change": 5}


def _classifier(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(**_options(parameters, seed))


def _regressor(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.neural_network import MLPRegressor

    return in_units_of_target(MLPRegressor(**_options(parameters, seed)))


def _export(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    inner, mean, scale = target_units(estimator)
    last = len(inner.coefs_) - 1
    for position, (weights, bias) in enumerate(zip(inner.coefs_, inner.intercepts_, strict=True)):
        x = x @ weights + bias
        if position < last:
            x = graph.op(_OPERATORS[inner.activation], x)
    if inner is not estimator:
        return Outputs(x * scale + mean)
    if len(estimator.classes_) == 2:
        second = graph.op("Sigmoid", x)
        return binary_outputs(graph, second, second > 0.5)
    return multiclass_outputs(graph, x, graph.op("Softmax", x, axis=1))


MLP = Algorithm(
    "mlp",
    "neural network with hidden layers",
    Needs(scale=True),
    _PARAMETERS,
    _export,
    _classifier,
    _regressor,
)
