"""Every algorithm for every task: scikit-learn and ONNX Runtime say the same, on every kind of row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnx_models import artifact
from onnx_models.errors import ParityError
from onnx_models.families import ALGORITHMS
from onnx_models.parity import BOUND, compare
from onnx_models.scoring import Model
from onnx_models.table import TrainingTable, for_scoring, take
from onnx_models.training import Options, train_table
from tests.fix_models import Task, mixed_table

#: what float64 throughout gives; BOUND is what the gate allows
EXACT = 1e-9
CASES = [
    (name, task)
    for name, algorithm in ALGORITHMS.items()
    for task in ("binary", "multiclass", "regression")
    if (algorithm.regressor if task == "regression" else algorithm.classifier) is not None
]
SMALL: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 25},
    "extra_trees": {"n_estimators": 25},
    "gradient_boosting": {"n_estimators": 25},
    "hist_gradient_boosting": {"max_iter": 25},
    "mlp": {"max_iter": 10, "hidden_layers": 2},
}


def test_every_algorithm_is_in_a_case() -> None:
    assert {name for name, _ in CASES} == set(ALGORITHMS)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_scikit_learn_and_onnx_runtime_agree(
    name: str, task: Task, mixed_tables: dict[Task, TrainingTable]
) -> None:
    options = Options(algorithm=name, parameters=SMALL.get(name, {}))
    trained = train_table(mixed_tables[task], options)
    artifact.check(trained.artifact)
    assert trained.parity["max_difference"] <= EXACT
    assert trained.parity["edge_rows"] > 100
    # rows of another kind than those that the gate has seen
    other = mixed_table(task, rows=3001, seed=7)
    model = Model.load(trained.artifact)
    assert compare(model, other.columns, trained.fitted.predict(other.columns), "other") <= EXACT
    scores = model.predict(for_scoring(other.columns), other.rows)
    if task != "regression":
        assert scores.probabilities is not None
        assert scores.probabilities.shape == (3001, len(trained.signature.classes))
        assert scores.probabilities.sum(axis=1) == pytest.approx(1.0)
    # one row alone is the same row
    single = take(other.columns, np.array([17]))
    assert model.predict(for_scoring(single), 1).value[0] == pytest.approx(scores.value[17], rel=1e-12)


@pytest.mark.parametrize("parameters", [{"weights": "distance"}, {"weights": "distance", "n_neighbors": 1}])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_neighbors_with_weights_and_ties(task: Task, parameters: dict[str, Any]) -> None:
    table = mixed_table(task)
    # whole numbers only, so that most distances are equal to some other
    kept = tuple(feature for feature in table.features if feature.name in ("level", 'fl"ag', "lettré"))
    tied = replace(table, features=kept)
    trained = train_table(tied, Options(algorithm="knn", parameters=parameters))
    assert trained.parity["max_difference"] <= EXACT


@pytest.mark.parametrize("name", ["decision_tree", "random_forest", "extra_trees"])
def test_ties_between_classes(name: str) -> None:
    table = mixed_table("binary", rows=2000)
    kept = tuple(feature for feature in table.features if feature.name in ("level", 'fl"ag'))
    parameters: dict[str, Any] = {"min_samples_leaf": 1} | (
        {} if name == "decision_tree" else {"n_estimators": 2}
    )
    trained = train_table(replace(table, features=kept), Options(algorithm=name, parameters=parameters))
    assert trained.parity["labels_equal"]


def test_trees_that_never_split() -> None:
    generator = np.random.default_rng(0)
    table = mixed_table("binary", rows=40)
    noise = replace(table, target=(generator.random(40) > 0.5).astype(np.float64))
    for name in ("decision_tree", "random_forest", "hist_gradient_boosting"):
        options = Options(algorithm=name, parameters={"min_samples_leaf": 1000})
        assert train_table(noise, options).parity["max_difference"] <= EXACT


def test_linear_svm_and_other_activations() -> None:
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("svm", {"kernel": "linear"}),
        ("mlp", {"activation": "tanh", "max_iter": 5}),
        ("mlp", {"activation": "logistic", "max_iter": 5}),
    )
    tasks: tuple[Task, ...] = ("multiclass", "regression")
    for name, parameters in cases:
        for task in tasks:
            trained = train_table(mixed_table(task, rows=200), Options(algorithm=name, parameters=parameters))
            assert trained.parity["max_difference"] <= EXACT


def test_same_data_and_seed_give_the_same_artifact() -> None:
    table = mixed_table("binary")
    first, second = (train_table(table, Options(algorithm="random_forest", seed=3)) for _ in range(2))
    assert first.artifact == second.artifact


def test_the_gate_refuses_another_model() -> None:
    table = mixed_table("binary")
    one = train_table(table, Options(algorithm="logistic"))
    other = train_table(table, Options(algorithm="decision_tree"))
    with pytest.raises(ParityError, match=r"labels of .* rows differ"):
        compare(Model.load(other.artifact), table.columns, one.fitted.predict(table.columns), "held-out")
    regression = mixed_table("regression")
    line = train_table(regression, Options(algorithm="linear"))
    tree = train_table(regression, Options(algorithm="decision_tree"))
    with pytest.raises(ParityError, match=f"allowed is {BOUND:g}"):
        compare(Model.load(tree.artifact), table.columns, line.fitted.predict(table.columns), "held-out")
