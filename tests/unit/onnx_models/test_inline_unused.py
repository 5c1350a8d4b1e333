"""Features that are said to be unused change no output, whatever they are."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_models.families import ALGORITHMS, ParameterValue
from onnx_models.inline.building import unused
from onnx_models.scoring import Model
from onnx_models.signature import Feature
from onnx_models.table import Column, Texts, TrainingTable, for_scoring
from onnx_models.training import Options, train_table
from tests.fix_models import Task, mixed_table

VALUES = (0.0, -0.0, 1.0, -1e308, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"), 123.456)
WORDS = (None, "", "never seen", "aa", "bb", "id 7", "NaN", "Ünïcödé")
ROWS = 300
PARAMETERS: dict[str, dict[str, ParameterValue]] = {
    "decision_tree": {"max_leaf_nodes": 6},
    "random_forest": {"n_estimators": 3, "max_leaf_nodes": 4},
    "extra_trees": {"n_estimators": 3, "max_leaf_nodes": 4},
    "gradient_boosting": {"n_estimators": 3},
    "hist_gradient_boosting": {"max_iter": 3, "max_leaf_nodes": 4},
    "lasso": {"alpha": 0.05},
}


def changed(
    columns: dict[str, Column], names: tuple[str, ...], features: dict[str, Feature]
) -> dict[str, Column]:
    generator = np.random.default_rng(9)
    result = dict(columns)
    for name in names:
        if features[name].kind == "text":
            result[name] = Texts.of([WORDS[k] for k in generator.integers(0, len(WORDS), ROWS)])
        else:
            result[name] = np.array(VALUES)[generator.integers(0, len(VALUES), ROWS)]
    return result


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_unused_features_change_nothing(task: Task, algorithm: str) -> None:
    offered = ALGORITHMS[algorithm]
    if (offered.regressor if task == "regression" else offered.classifier) is None:
        pytest.skip("for the other task")
    table: TrainingTable = mixed_table(task, rows=ROWS)
    trained = train_table(table, Options(algorithm=algorithm, parameters=PARAMETERS.get(algorithm, {})))
    raw = offered.raw(trained.fitted.estimator) if offered.raw else None
    names = unused(trained.fitted.preprocessing, raw)
    assert {"constant", "nothing", "no text"} <= set(names)
    if algorithm in PARAMETERS:
        assert len(names) > 4, "the model is too large to leave features out"
    model = Model.load(trained.artifact)
    features = {feature.name: feature for feature in table.features}
    before = model.predict(for_scoring(table.columns), ROWS)
    after = model.predict(for_scoring(changed(dict(table.columns), names, features)), ROWS)
    assert np.array_equal(before.value, after.value)
    if before.probabilities is not None:
        assert after.probabilities is not None
        assert np.array_equal(before.probabilities, after.probabilities)


def test_used_features_change_something() -> None:
    """All that is not listed does change some output, in a tree that asks about every one of them."""
    table = mixed_table("binary", rows=ROWS)
    trained = train_table(table, Options(algorithm="decision_tree"))
    raw = ALGORITHMS["decision_tree"].raw
    assert raw is not None
    names = set(unused(trained.fitted.preprocessing, raw(trained.fitted.estimator)))
    model = Model.load(trained.artifact)
    features = {feature.name: feature for feature in table.features}
    before = model.predict(for_scoring(table.columns), ROWS)
    for name in set(features) - names:
        after = model.predict(for_scoring(changed(dict(table.columns), (name,), features)), ROWS)
        assert before.probabilities is not None
        assert after.probabilities is not None
        assert not np.array_equal(before.probabilities, after.probabilities), name
