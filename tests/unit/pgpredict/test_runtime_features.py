from __future__ import annotations

import math
from typing import Any

import pytest

from onnx_models.errors import InvalidFeatures
from onnx_models.signature import KINDS, Binding, Feature, Kind, Signature, Target
from pgpredict.runtime.features import decode_row


def signature(kind: Kind) -> Signature:
    return Signature(
        "regression",
        Target("y", "double precision"),
        (Feature("x", next(name for name, of in KINDS.items() if of == kind), kind),),
        Binding("columns", ("x",), "y"),
    )


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("number", 1, 1.0),
        ("number", 1.5, 1.5),
        ("number", "1e3", 1000.0),
        ("number", "-Infinity", -math.inf),
        ("boolean", True, 1.0),
        ("boolean", "f", 0.0),
        ("boolean", 1, 1.0),
        ("date", "1970-01-02", 86400.0),
        ("date", "infinity", math.inf),
        ("date", 86400, 86400.0),
        ("timestamp", "1970-01-01 00:00:01.5", 1.5),
        ("timestamp", "2013-01-01T05:00:00", 1357016400.0),
        ("timestamptz", "1970-01-01T01:00:00+01:00", 0.0),
        ("timestamptz", "1970-01-01 00:00:00+00", 0.0),
        ("timestamptz", "-infinity", -math.inf),
        ("time", "00:01:00.25", 60.25),
        ("time", "24:00:00", 86400.0),
    ],
)
def test_numbers(kind: Kind, value: Any, wanted: float) -> None:
    assert decode_row(signature(kind), {"x": value})["x"] == [wanted]


@pytest.mark.parametrize("kind", ["number", "boolean", "date", "timestamp", "timestamptz", "time"])
def test_null_is_nan(kind: Kind) -> None:
    assert math.isnan(float(decode_row(signature(kind), {"x": None})["x"][0] or 0))


@pytest.mark.parametrize("value", ["", "é", None])
def test_texts(value: str | None) -> None:
    assert decode_row(signature("text"), {"x": value})["x"] == [value]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "abc"),
        ("number", True),
        ("number", [1]),
        ("number", 10**400),
        ("boolean", "maybe"),
        ("date", "2013-13-01"),
        ("timestamp", ""),
        ("time", "25:00:00"),
        ("text", 5),
        ("text", {"a": 1}),
    ],
)
def test_values_of_a_wrong_type_name_the_feature(kind: Kind, value: Any) -> None:
    with pytest.raises(InvalidFeatures, match="'x'"):
        decode_row(signature(kind), {"x": value})


def test_other_names_are_ignored_and_missing_ones_left_out() -> None:
    assert decode_row(signature("number"), {"z": 1}) == {}
