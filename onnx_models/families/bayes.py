"""Gaussian naive Bayes: a normal distribution a class and column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnx_models.graph import Graph, Tensor
from onnx_models.preprocessing import Needs

from .base import Algorithm, Estimator, Outputs, multiclass_outputs, positive


def _make(parameters: Mapping[str, Any], seed: int) -> Estimator:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(**parameters)


def _export(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    columns = []
    for prior, mean, variance in zip(estimator.class_prior_, estimator.theta_, estimator.var_, strict=True):
        distance = x - mean
        start = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * variance))
        columns.append(graph.row_sum(distance * distance / variance) * -0.5 + float(start))
    joint = graph.concat(columns)
    return multiclass_outputs(graph, joint, graph.op("Softmax", joint, axis=1))


NAIVE_BAYES = Algorithm(
    "naive_bayes",
    "Gaussian naive Bayes",
    Needs(scale=True),
    # 1e-9 lets a nearly constant 0/1 column outweigh all others
    {"var_smoothing": positive(1e-3)},
    _export,
    _make,
)
