"""k nearest neighbours with one answer to ties, in Python and in the graph.

Which of several equally distant rows is a neighbour is left open by scikit-learn: it depends on the
search structure and on threads. On columns of whole numbers ties are the rule, so here the order is fixed:
by distance, then by position in the training rows. For distances to compare equal they must be exact:
columns are rounded to multiples of 2**-14 and limited to 128 standard deviations, which makes every product,
and every sum of up to 256 columns, a multiple of 2**-28 below 2**24, and such numbers fit float64 whatever
the order of the additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_models.graph import Graph, Tensor, in_blocks
from onnx_models.preprocessing import Needs

from .base import Algorithm, Estimator, Outputs, choice, count, multiclass_outputs

_GRID = 2.0**14
_FARTHEST = 128.0
_BLOCK = 256


class _Neighbors:
    """What both estimators share; parameters as scikit-learn's."""

    def __init__(self, n_neighbors: int = 5, weights: str = "uniform") -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights

    def _remember(self, x: NDArray[np.float64]) -> None:
        self.rows_ = on_grid(x)
        self.n_features_in_ = x.shape[1]
        self.neighbors_ = min(self.n_neighbors, len(x))

    def kneighbors(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return squared distances and positions of the neighbours, nearest first."""
        distances = np.empty((len(x), self.neighbors_))
        positions = np.empty((len(x), self.neighbors_), np.int64)
        lengths = np.square(self.rows_).sum(axis=1)
        for start in range(0, len(x), _BLOCK):
            block = on_grid(x[start : start + _BLOCK])
            squares = lengths - 2.0 * (block @ self.rows_.T) + np.square(block).sum(axis=1, keepdims=True)
            limits = np.partition(squares, self.neighbors_ - 1, axis=1)[:, self.neighbors_ - 1]
            for row, (row_squares, limit) in enumerate(zip(squares, limits, strict=True), start):
                near = np.flatnonzero(row_squares <= limit)
                chosen = near[np.argsort(row_squares[near], kind="stable")][: self.neighbors_]
                positions[row], distances[row] = chosen, row_squares[chosen]
        return distances, positions

    def _weights(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return weights that add up to 1 a row."""
        if self.weights == "uniform":
            return np.full(distances.shape, 1.0 / self.neighbors_)
        same = distances == 0.0
        with np.errstate(divide="ignore"):
            inverse = 1.0 / np.sqrt(distances)
        raw = np.where(same.any(axis=1, keepdims=True), same.astype(np.float64), inverse)
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))


class NeighborsClassifier(_Neighbors):
    """k nearest neighbours for classes."""

    def fit(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> NeighborsClassifier:
        """Remember the rows."""
        self._remember(x)
        self.classes_, self.labels_ = np.unique(y, return_inverse=True)
        return self

    def predict_proba(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted share of each class among the neighbours."""
        distances, positions = self.kneighbors(x)
        weights, labels = self._weights(distances), self.labels_[positions]
        shares = [np.where(labels == c, weights, 0.0).sum(axis=1) for c in range(len(self.classes_))]
        return np.stack(shares, axis=1)

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the class with the largest share, the first of several."""
        return np.asarray(self.classes_[np.argmax(_settled(self.predict_proba(x)), axis=1)])


class NeighborsRegressor(_Neighbors):
    """k nearest neighbours for numbers."""

    def fit(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NeighborsRegressor:
        """Remember the rows."""
        self._remember(x)
        self.values_ = np.asarray(y, np.float64)
        return self

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted mean of the neighbours."""
        distances, positions = self.kneighbors(x)
        return np.asarray((self._weights(distances) * self.values_[positions]).sum(axis=1))


def on_grid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to the grid on which distances are exact."""
    return np.asarray(np.floor(np.clip(x, -_FARTHEST, _FARTHEST) * _GRID + 0.5) / _GRID)


def _settled(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round shares, so that equal sums in another order compare equal."""
    return np.asarray(np.floor(shares * 2.0**40 + 0.5))


def _classifier(parameters: Mapping[str, Any], seed: int) -> Estimator:
    return NeighborsClassifier(**parameters)


def _regressor(parameters: Mapping[str, Any], seed: int) -> Estimator:
    return NeighborsRegressor(**parameters)


def _export(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    width, k = estimator.n_features_in_, estimator.neighbors_
    clipped = graph.op("Clip", x, -_FARTHEST, _FARTHEST)
    block = graph.floor(clipped * _GRID + 0.5) / _GRID
    found = in_blocks(graph, block, width, _BLOCK, _search(estimator, width))
    distances = graph.take(found, range(k))
    positions = graph.integer(graph.take(found, range(k, 2 * k)))
    weights = _export_weights(graph, distances, estimator)
    if isinstance(estimator, NeighborsRegressor):
        return Outputs(graph.row_sum(weights * graph.op("Gather", estimator.values_, positions, axis=0)))
    labels = graph.op("Gather", estimator.labels_.astype(np.float64), positions, axis=0)
    shares = graph.concat(
        [
            graph.row_sum(graph.where(graph.op("Equal", labels, float(c)), weights, 0.0))
            for c in range(len(estimator.classes_))
        ]
    )
    return multiclass_outputs(graph, graph.floor(shares * 2.0**40 + 0.5), shares)


def _search(estimator: Estimator, width: int) -> Graph:
    """Return the sub-graph from a block of rows to squared distances and positions of neighbours."""
    body = Graph()
    x = body.input("rows", shape=(_BLOCK, width))
    lengths = np.square(estimator.rows_).sum(axis=1)
    products = x @ np.ascontiguousarray(estimator.rows_.T)
    squares = products * -2.0 + lengths + body.row_sum(x * x)
    k = np.array([estimator.neighbors_], np.int64)
    distances, positions = body.ops("TopK", squares, k, count=2, axis=1, largest=0, sorted=1)
    found = body.concat([distances, body.double(positions)])
    body.output(found, "found", (_BLOCK, 2 * estimator.neighbors_))
    return body


def _export_weights(graph: Graph, distances: Tensor, estimator: Estimator) -> Tensor:
    if estimator.weights == "uniform":
        even = 1.0 / float(estimator.neighbors_)
        return distances * 0.0 + even
    same = graph.where(graph.op("Equal", distances, 0.0), 1.0, 0.0)
    inverse = graph.op("Div", 1.0, graph.op("Sqrt", distances))
    raw = graph.where(graph.row_sum(same) > 0.0, same, inverse)
    return raw / graph.row_sum(raw)


KNN = Algorithm(
    "knn",
    "k nearest neighbours",
    Needs(scale=True),
    {"n_neighbors": count(15, 1, 1000), "weights": choice("uniform", "uniform", "distance")},
    _export,
    _classifier,
    _regressor,
    most_rows=20_000,
)
