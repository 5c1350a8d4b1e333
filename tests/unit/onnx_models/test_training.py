"""Training without a database: splits, metrics, auto, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onnx_models.errors import InvalidParameter, InvalidTrainingData
from onnx_models.metrics import evaluate
from onnx_models.scoring import Model
from onnx_models.table import Texts, TrainingTable, for_scoring
from onnx_models.task import EncodedTarget
from onnx_models.training import Options, Progress, input_names, sample, split, train_table
from tests.fix_models import Task, mixed_table


def test_auto_chooses_and_says_so(mixed_tables: dict[Task, TrainingTable]) -> None:
    for task, table in mixed_tables.items():
        steps: list[Progress] = []
        trained = train_table(table, report=steps.append)
        assert trained.algorithm in trained.training["tried"]
        assert len(trained.training["tried"]) == 3
        assert any(step.step == "choosing" for step in steps)
        assert any("looks like an identifier" in step.text for step in steps if step.step == "warning")
        assert any("'nothing' is NULL in every row" in step.text for step in steps), task


def test_the_signature_is_that_of_the_query(mixed_tables: dict[Task, TrainingTable]) -> None:
    table = mixed_tables["multiclass"]
    trained = train_table(table, Options(algorithm="logistic"))
    signature = Model.load(trained.artifact).signature
    assert signature == trained.signature
    assert signature.classes == ("high", "low", "middle")
    names = [feature.name for feature in signature.features]
    assert names == [feature.name for feature in table.features]
    by_name = {feature.name: feature for feature in signature.features}
    assert set(by_name["lettré"].categories or ()) == {letter * 2 for letter in "abcdefé"}
    assert by_name["id"].categories is None


def test_held_out_rows_of_each_class() -> None:
    values = np.array([0.0] * 95 + [1.0] * 5)
    train, test = split(EncodedTarget("binary", values, ("a", "b")), None, 0.2, 0)
    assert len(train) + len(test) == 100
    assert not set(train) & set(test)
    assert (values[test] == 1.0).sum() == 1
    assert (values[test] == 0.0).sum() == 19


def test_the_newest_rows_are_held_out() -> None:
    order = np.random.default_rng(0).permutation(100).astype(np.float64)
    train, test = split(EncodedTarget("regression", order), order, 0.1, 0)
    assert sorted(order[test]) == list(range(90, 100))
    assert order[train].max() == 89


@pytest.mark.parametrize("test_size", [0.01, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("ordered", [False, True])
def test_neither_side_of_a_split_is_empty(test_size: float, *, ordered: bool) -> None:
    order = np.arange(10.0) if ordered else None
    for part in split(EncodedTarget("regression", np.arange(10.0)), order, test_size, 0):
        assert len(part)


def test_a_class_of_two_rows_is_on_both_sides() -> None:
    values = np.array([0.0] * 40 + [1.0] * 2 + [2.0] * 40)
    train, test = split(EncodedTarget("multiclass", values, ("a", "b", "c")), None, 0.8, 0)
    assert set(values[train]) == set(values[test]) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_survives_the_sample_of_a_slow_algorithm(seed: int) -> None:
    values = np.array([0.0, 2.0] * 500)
    values[7] = 1.0
    rows = np.arange(100, 1000)
    rows[0] = 7
    chosen = sample(rows, 50, EncodedTarget("multiclass", values, ("a", "b", "c")), seed)
    assert len(set(chosen)) == 50
    assert set(chosen) <= set(rows)
    assert set(values[chosen]) == {0.0, 1.0, 2.0}


def test_what_scikit_learn_refuses_is_no_stack_trace(mixed_tables: dict[Task, TrainingTable]) -> None:
    options = Options(algorithm="decision_tree", parameters={"min_samples_leaf": "1e20"})
    with pytest.raises(InvalidTrainingData, match="scikit-learn cannot fit decision_tree"):
        train_table(mixed_tables["regression"], options)


def test_a_class_that_is_new_is_an_error() -> None:
    values = np.array([0.0, 1.0] * 45 + [2.0] * 10)
    with pytest.raises(InvalidTrainingData, match="newest rows only"):
        split(EncodedTarget("multiclass", values, ("a", "b", "c")), np.arange(100.0), 0.1, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (Options(test_size=0.0), InvalidParameter, "test size"),
        (Options(test_size=1.0), InvalidParameter, "test size"),
        (Options(max_categories=0), InvalidParameter, "max categories"),
        (Options(parameters={"C": 1}), InvalidParameter, "without an algorithm"),
        (Options(algorithm="nothing"), InvalidParameter, "'nothing' is unknown"),
    ],
)
def test_options_that_make_no_sense(options: Options, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train_table(mixed_table("binary", rows=50), options)


def test_few_rows_and_rare_classes_work_for_every_algorithm() -> None:
    target = Texts.of(["a"] * 20 + ["b"] * 8 + ["c"] * 2)
    table = replace(mixed_table("multiclass", rows=30), target=target)
    for name in ("auto", "knn", "svm", "gradient_boosting", "mlp"):
        trained = train_table(table, Options(algorithm=name))
        assert trained.signature.classes == ("a", "b", "c")


def test_whole_numbers_as_classes() -> None:
    table = mixed_table("regression", rows=200)
    levels = np.asarray(table.columns["level"])
    target = replace(table.target_feature, type="integer")
    coded = replace(table, target=levels * 10.0, target_feature=target)
    trained = train_table(coded, Options(algorithm="decision_tree", task="classification"))
    assert trained.signature.classes == ("0", "10", "20", "30")
    scores = Model.load(trained.artifact).predict(for_scoring(table.columns), table.rows)
    assert np.array_equal(scores.value * 10.0, levels * 10.0)


def test_input_names_are_plain_and_unique() -> None:
    names = input_names(mixed_table("binary", rows=20).features)
    assert len(set(names)) == len(names)
    assert all(name.isascii() and " " not in name for name in names)


def test_metrics_of_a_perfect_and_a_useless_classifier() -> None:
    truth = np.array([0.0, 0.0, 0.0, 1.0])
    sure = np.stack([1.0 - truth, truth], axis=1)
    perfect = evaluate(truth, truth, sure, ("no", "yes"), truth)
    assert (perfect["accuracy"], perfect["roc_auc"], perfect["average_precision"], perfect["f1"]) == (
        1,
        1,
        1,
        1,
    )
    assert perfect["log_loss"] == pytest.approx(0.0)
    assert perfect["confusion_matrix"] == [[3, 0], [0, 1]]
    assert perfect["baseline"]["accuracy"] == 0.75
    assert perfect["baseline"]["roc_auc"] == 0.5
    wrong = evaluate(truth, 1.0 - truth, 1.0 - sure, ("no", "yes"), truth)
    assert (wrong["accuracy"], wrong["roc_auc"]) == (0.0, 0.0)


def test_metrics_of_classes_that_are_not_held_out() -> None:
    truth = np.zeros(3)
    shares = np.tile([0.5, 0.3, 0.2], (3, 1))
    metrics = evaluate(truth, truth, shares, ("a", "b", "c"), np.array([0.0, 1.0, 2.0]))
    assert metrics["roc_auc"] is None
    assert metrics["accuracy"] == 1.0


def test_metrics_of_a_regression() -> None:
    truth = np.array([1.0, 2.0, 3.0])
    metrics = evaluate(truth, truth + 1.0, None, (), truth)
    assert metrics == {
        "rows": 3,
        "r2": pytest.approx(-0.5),
        "mae": 1.0,
        "rmse": 1.0,
        "baseline": {"r2": 0.0, "mae": pytest.approx(2 / 3), "rmse": pytest.approx((2 / 3) ** 0.5)},
    }
