"""The task that follows from the target."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_models.errors import InvalidParameter, InvalidTrainingData
from onnx_models.signature import KINDS, Feature, Kind
from onnx_models.table import Column, Texts, TrainingTable
from onnx_models.task import RequestedTask, encode_target


def table(type_name: str, target: Column) -> TrainingTable:
    kind: Kind = KINDS.get(type_name, "text")
    rows = np.arange(len(target), dtype=np.float64)
    return TrainingTable(
        (Feature("a", "integer", "number"),), {"a": rows}, target, Feature("y", type_name, kind)
    )


FLAGS = np.array([0.0, 1.0, 0.0, 1.0])
MANY = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("type_name", "target", "requested", "task", "classes"),
    [
        ("boolean", FLAGS, "auto", "binary", ("false", "true")),
        ("text", Texts.of(["b", "a", "b", "a"]), "auto", "binary", ("a", "b")),
        ("mood", Texts.of(["b", "a", "c"] * 2), "auto", "multiclass", ("a", "b", "c")),
        ("integer", FLAGS, "auto", "binary", ("0", "1")),
        ("integer", FLAGS, "regression", "regression", ()),
        ("integer", MANY, "auto", "regression", ()),
        ("integer", MANY, "classification", "multiclass", ("1", "2", "3")),
        ("bigint", -MANY, "classification", "multiclass", ("-3", "-2", "-1")),
        ("numeric", FLAGS, "auto", "regression", ()),
        ("double precision", MANY, "auto", "regression", ()),
    ],
)
def test_task(
    type_name: str, target: Column, requested: RequestedTask, task: str, classes: tuple[str, ...]
) -> None:
    encoded = encode_target(table(type_name, target), requested)
    assert (encoded.task, encoded.classes) == (task, classes)
    if classes and isinstance(target, Texts):
        assert [classes[int(index)] for index in encoded.values] == list(target.values())


@pytest.mark.parametrize(
    ("type_name", "target", "requested", "error", "message"),
    [
        (
            "text",
            Texts.of(["a", "b"] * 2),
            "regression",
            InvalidParameter,
            "regression of 'y', which is a text",
        ),
        ("boolean", FLAGS, "regression", InvalidParameter, "which is a boolean"),
        ("date", MANY * 86_400, "auto", InvalidParameter, "is a date, which cannot be predicted"),
        ("date", MANY * 86_400, "classification", InvalidParameter, "classes of type date"),
        ("text", Texts.of(["a", "a"]), "auto", InvalidTrainingData, "is 'a' in every row"),
        ("boolean", np.ones(4), "auto", InvalidTrainingData, "is 'true' in every row"),
        ("real", np.ones(4), "auto", InvalidTrainingData, "is 1 in every row"),
        ("real", np.array([1.0, np.inf]), "auto", InvalidTrainingData, "infinite"),
        ("text", Texts.of(["a", "a", "b"]), "auto", InvalidTrainingData, "class 'b' of 'y' has a single row"),
        ("text", Texts.of([str(i) for i in range(101)]), "auto", InvalidTrainingData, "101 classes"),
        ("numeric", FLAGS / 2, "classification", InvalidParameter, "class label 0.5 is no whole number"),
        ("integer", np.array([]), "auto", InvalidTrainingData, "no row has a value of 'y'"),
    ],
)
def test_targets_that_cannot_be_predicted(
    type_name: str, target: Column, requested: RequestedTask, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encode_target(table(type_name, target), requested)
