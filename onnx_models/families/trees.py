"""Decision trees and everything made of them, exported in float64.

The operator TreeEnsemble of ai.onnx.ml 5 compares and adds in float64, as scikit-learn does; the older
operators round thresholds and sums to float32, which moves rows across thresholds and turns near ties into
other labels. scikit-learn's single trees and forests round their input to float32 first, and so does
the graph; histogram gradient boosting does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from onnx_models.graph import ML_DOMAIN, Graph, Tensor
from onnx_models.inline.raw import RawTree

from .base import Estimator

#: node mode "less or equal"
_LEQ = 0
_SUM = 1


@dataclasses.dataclass(frozen=True)
class Tree:
    """One tree as arrays by node; leaves have ``left`` = -1.

    :ivar left, right: child nodes; rows with value <= threshold go left
    :ivar missing_left: whether NaN goes left
    :ivar value: (nodes,) what a leaf contributes
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    value: NDArray[np.float64]


def from_tree(estimator: Estimator, value: NDArray[np.float64]) -> Tree:
    """Return the tree inside a DecisionTree estimator.

    :param value: what every node would contribute
    """
    tree = estimator.tree_
    return Tree(
        tree.feature.astype(np.int64),
        tree.threshold.astype(np.float64),
        tree.children_left.astype(np.int64),
        tree.children_right.astype(np.int64),
        # imputed matrices have no NaN; the column exists only so that graphs are complete
        np.zeros(tree.node_count, np.bool_),
        value,
    )


def from_histogram(predictor: Estimator) -> Tree:
    """Return the tree inside a predictor of histogram gradient boosting."""
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"].astype(np.float64),
        np.where(leaf, -1, nodes["left"].astype(np.int64)),
        np.where(leaf, -1, nodes["right"].astype(np.int64)),
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"].astype(np.float64),
    )


def ensemble(graph: Graph, x: Tensor, trees: Sequence[Tree]) -> Tensor:
    """Add the sum of some trees, in their order.

    :returns: (rows, 1)
    """
    # a tree that never splits has no node for the operator: it is a constant
    stumps = [tree for tree in trees if tree.left[0] < 0]
    constant = float(sum(float(tree.value[0]) for tree in stumps))
    grown = [tree for tree in trees if tree.left[0] >= 0]
    if not grown:
        zero = graph.op("Mul", graph.take(x, [0]), 0.0)
        return graph.where(graph.isnan(zero), 0.0, zero) + constant
    total = graph.op("TreeEnsemble", x, domain=ML_DOMAIN, **_attributes(grown))
    return total + constant if stumps else total


def raw_tree(tree: Tree, values: NDArray[np.float64]) -> RawTree:
    """Return a tree for the SQL form.

    :param values: (nodes, scores)
    """
    return RawTree(tree.feature, tree.threshold, tree.left, tree.right, tree.missing_left, values)


def _attributes(trees: Iterable[Tree]) -> dict[str, object]:
    """Return the operator's attributes: inner nodes and leaves are numbered apart, over all trees."""
    from onnx import numpy_helper

    parts: dict[str, list[NDArray[np.generic]]] = {
        key: [] for key in ("f", "s", "t", "e", "tl", "el", "m", "w")
    }
    roots, nodes, leaves = [], 0, 0
    for tree in trees:
        is_leaf = tree.left < 0
        inner = np.flatnonzero(~is_leaf)
        number = np.where(is_leaf, np.cumsum(is_leaf) - 1 + leaves, np.cumsum(~is_leaf) - 1 + nodes)
        left, right = tree.left[inner], tree.right[inner]
        roots.append(nodes)
        for key, values in (
            ("f", tree.feature[inner]),
            ("s", tree.threshold[inner]),
            ("t", number[left]),
            ("e", number[right]),
            ("tl", is_leaf[left].astype(np.int64)),
            ("el", is_leaf[right].astype(np.int64)),
            ("m", tree.missing_left[inner].astype(np.int64)),
            ("w", tree.value[is_leaf]),
        ):
            parts[key].append(values)
        nodes, leaves = nodes + len(inner), leaves + int(is_leaf.sum())
    joined = {key: np.concatenate(values) for key, values in parts.items()}
    return {
        "n_targets": 1,
        "aggregate_function": _SUM,
        "post_transform": 0,
        "tree_roots": roots,
        "nodes_featureids": joined["f"].tolist(),
        "nodes_modes": numpy_helper.from_array(np.full(nodes, _LEQ, np.uint8), "modes"),
        "nodes_splits": numpy_helper.from_array(joined["s"], "splits"),
        "nodes_truenodeids": joined["t"].tolist(),
        "nodes_falsenodeids": joined["e"].tolist(),
        "nodes_trueleafs": joined["tl"].tolist(),
        "nodes_falseleafs": joined["el"].tolist(),
        "nodes_missing_value_tracks_true": joined["m"].tolist(),
        "leaf_targetids": [0] * leaves,
        "leaf_weights": numpy_helper.from_array(joined["w"], "weights"),
    }


def splits(trees: Iterable[Tree]) -> list[tuple[int, float]]:
    """Return (column, threshold) of every inner node."""
    found: list[tuple[int, float]] = []
    for tree in trees:
        inner = tree.left >= 0
        found += zip(tree.feature[inner].tolist(), tree.threshold[inner].tolist(), strict=True)
    return found
