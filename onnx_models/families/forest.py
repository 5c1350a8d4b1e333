"""Decision tree, random forest and extra trees: averages of leaf values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnx_models.graph import Graph, Tensor
from onnx_models.inline.raw import Raw, RawTrees
from onnx_models.preprocessing import Needs

from .base import (
    CLASS_WEIGHT,
    Algorithm,
    Estimator,
    Make,
    Outputs,
    Parameter,
    binary_outputs,
    choice,
    count,
    multiclass_outputs,
    without,
)
from .trees import Tree, ensemble, from_tree, raw_tree, splits

_RANKED = Needs(text="rank")
_TREE = {
    "max_depth": count(None, optional=True),
    "min_samples_leaf": count(5),
    "min_samples_split": count(2, 2),
    # bounds the artifact: 100 such trees are about 10 MB, a class
    "max_leaf_nodes": count(1000, 2, optional=True),
    # auto: the root of the columns for classes, a third of them for numbers, where the root is too few
    "max_features": choice("auto", "auto", "sqrt", "log2", "third", optional=True),
    "class_weight": CLASS_WEIGHT,
}
_FOREST = {"n_estimators": count(100, 1, 10_000), **_TREE}


def _maker(name: str, *, of_classes: bool) -> Make:
    def make(parameters: Mapping[str, Any], seed: int) -> Estimator:
        import sklearn.ensemble
        import sklearn.tree

        chosen = dict(parameters) if of_classes else without(parameters, "class_weight")
        default = "sqrt" if of_classes else "third"
        wanted = default if chosen["max_features"] == "auto" else chosen["max_features"]
        chosen["max_features"] = 1 / 3 if wanted == "third" else wanted
        if name.startswith("DecisionTree"):
            return getattr(sklearn.tree, name)(**chosen, random_state=seed)
        return getattr(sklearn.ensemble, name)(**chosen, random_state=seed, n_jobs=2)

    return make


def _members(estimator: Estimator) -> list[Estimator]:
    return list(getattr(estimator, "estimators_", [estimator]))


def _export(graph: Graph, x: Tensor, estimator: Estimator) -> Outputs:
    members = _members(estimator)
    x = graph.float32_rounded(x)
    if not hasattr(estimator, "classes_"):
        value = ensemble(graph, x, [from_tree(m, m.tree_.value[:, 0, 0]) for m in members])
        return Outputs(value / float(len(members)))
    classes = len(estimator.classes_)
    # scikit-learn adds each class's shares, tree by tree; two classes need one sum only, as the shares are
    # complementary, and halves are exact
    wanted = [1] if classes == 2 else list(range(classes))
    sums = [ensemble(graph, x, [_shares(m, c) for m in members]) / float(len(members)) for c in wanted]
    if classes == 2:
        return binary_outputs(graph, sums[0], sums[0] > 0.5)
    shares = graph.concat(sums)
    return multiclass_outputs(graph, shares, shares)


def _shares(member: Estimator, position: int) -> Tree:
    values = member.tree_.value[:, 0, :]
    return from_tree(member, np.ascontiguousarray(values[:, position]))


def _raw(estimator: Estimator) -> Raw:
    members = _members(estimator)
    classes = len(getattr(estimator, "classes_", ()))
    wanted = {0: [0], 2: [1]}.get(classes, list(range(classes)))
    trees = tuple(raw_tree(_shares(m, 0), m.tree_.value[:, 0, :][:, wanted]) for m in members)
    start, divisor = (0.0,) * len(wanted), float(len(members))
    if classes == 0:
        return RawTrees(trees, start, divisor, single=True, link="identity")
    if classes == 2:
        return RawTrees(trees, start, divisor, single=True, link="share", rule="half")
    return RawTrees(trees, start, divisor, single=True, link="shares")


def _thresholds(estimator: Estimator) -> list[tuple[int, float]]:
    return splits(_shares(member, 0) for member in _members(estimator))


def _algorithm(name: str, title: str, stem: str, parameters: dict[str, Parameter]) -> Algorithm:
    return Algorithm(
        name,
        title,
        _RANKED,
        parameters,
        _export,
        _maker(f"{stem}Classifier", of_classes=True),
        _maker(f"{stem}Regressor", of_classes=False),
        thresholds=_thresholds,
        raw=_raw,
    )


DECISION_TREE = _algorithm(
    "decision_tree",
    "a single tree of questions",
    "DecisionTree",
    {
        **_TREE,
        "max_leaf_nodes": count(64, 2, optional=True),
        "max_features": choice(None, "sqrt", "log2", "third", optional=True),
    },
)
RANDOM_FOREST = _algorithm("random_forest", "average of trees on random rows", "RandomForest", _FOREST)
EXTRA_TREES = _algorithm("extra_trees", "average of trees with random cuts", "ExtraTrees", _FOREST)
