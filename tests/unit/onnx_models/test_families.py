"""The table of algorithms: what may be set, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_models.errors import InvalidParameter
from onnx_models.families import ALGORITHMS, choose, estimator_for
from onnx_models.signature import Task
from pgpredict.cli import train as command

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


def test_the_command_line_offers_all() -> None:
    assert ("auto", *ALGORITHMS) == command.ALGORITHMS


@pytest.mark.parametrize("name", ALGORITHMS)
def test_scikit_learn_takes_every_parameter(name: str) -> None:
    algorithm = ALGORITHMS[name]
    for task in TASKS:
        maker = algorithm.regressor if task == "regression" else algorithm.classifier
        if maker is not None:
            estimator_for(algorithm, task, algorithm.read_parameters({}), 0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_defaults_are_allowed(name: str) -> None:
    algorithm = ALGORITHMS[name]
    for key, parameter in algorithm.parameters.items():
        assert parameter.read(key, parameter.default) == parameter.default
        assert parameter.describe()


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("random_forest", {"n_estimators": "20"}, 20),
        ("random_forest", {"max_depth": "none"}, None),
        ("random_forest", {"class_weight": "balanced"}, "balanced"),
        ("logistic", {"C": "0.5"}, 0.5),
        ("logistic", {"C": "1e-3"}, 0.001),
        ("elastic_net", {"l1_ratio": 1}, 1.0),
    ],
)
def test_values_are_read(name: str, given: dict[str, Any], read: Any) -> None:
    (key,) = given
    assert ALGORITHMS[name].read_parameters(given)[key] == read


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("random_forest", {"n_estimators": "0"}),
        ("random_forest", {"n_estimators": "1.5"}),
        ("random_forest", {"n_estimators": "many"}),
        ("random_forest", {"n_estimators": "none"}),
        ("random_forest", {"n_estimators": True}),
        ("random_forest", {"class_weight": "{0: 1}"}),
        ("logistic", {"C": "0"}),
        ("logistic", {"C": "nan"}),
        ("ridge", {"alpha": "inf"}),
        ("mlp", {"alpha": "1e999"}),
        ("logistic", {"C": "-1"}),
        ("elastic_net", {"l1_ratio": "1.1"}),
    ],
)
def test_values_are_refused_with_what_is_allowed(name: str, given: dict[str, Any]) -> None:
    (key,) = given
    with pytest.raises(InvalidParameter, match=f"{key} = ") as caught:
        ALGORITHMS[name].read_parameters(given)
    assert caught.value.hint is not None
    assert ALGORITHMS[name].parameters[key].describe() in caught.value.hint


def test_unknown_parameters_are_answered_with_all_there_are() -> None:
    with pytest.raises(InvalidParameter, match="logistic has no parameter 'solver'") as caught:
        ALGORITHMS["logistic"].read_parameters({"solver": "saga"})
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in ALGORITHMS["logistic"].parameters)


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("linear", "binary", "linear is for regression"),
        ("logistic", "regression", "logistic is for classification"),
        ("os.system", "binary", "algorithm 'os.system' is unknown"),
    ],
)
def test_algorithms_that_cannot_do_it(name: str, task: Task, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        choose(name, task)
