"""Estimators that were fitted elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from onnx_models.errors import InvalidArtifact, InvalidParameter, InvalidTrainingData, ParityError
from onnx_models.fitted import compare, convert
from onnx_models.scoring import Model


def people(rows: int = 300) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "age": generator.integers(18, 90, rows),
            "income": generator.normal(3000, 800, rows).round(2),
            "city": generator.choice(["Bonn", "Köln", "Aachen"], rows),
        }
    )


def stays(frame: pd.DataFrame) -> Any:
    return np.where(frame["age"] + (frame["city"] == "Bonn") * 20 > 55, "stay", "leave")


def test_a_pipeline_that_picks_columns_by_name() -> None:
    frame = people()
    pipeline = make_pipeline(
        ColumnTransformer(
            [
                ("n", StandardScaler(), ["age", "income"]),
                ("c", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ]
        ),
        LogisticRegression(),
    ).fit(frame, stays(frame))
    signature, artifact, parity = convert(pipeline, frame, target="stays")
    assert [(f.name, f.type) for f in signature.features] == [
        ("age", "bigint"), ("income", "double precision"), ("city", "text"),
    ]  # fmt: skip
    assert signature.classes == ("leave", "stay")
    assert (signature.target.name, signature.target.type) == ("stays", "text")
    assert parity["rows"] == len(frame)
    assert parity["max_difference"] <= 1e-5
    scores = Model.load(artifact).predict(
        {"age": np.array([80.0]), "income": np.array([1.0]), "city": ["Bonn"]}, 1
    )
    assert signature.classes[int(scores.value[0])] == "stay"


@pytest.mark.parametrize(
    "estimator", [Ridge(), make_pipeline(StandardScaler(), MLPRegressor(max_iter=2000, random_state=0))]
)
def test_a_regression_on_a_matrix(estimator: Any) -> None:
    matrix = people()[["age", "income"]].to_numpy()
    estimator.fit(matrix, matrix[:, 0] * 0.1)
    signature, _, parity = convert(estimator, {"age": matrix[:, 0], "income": matrix[:, 1]})
    assert signature.task == "regression"
    assert signature.binding.layout == "matrix"
    assert parity["max_difference"] <= 1e-5


def test_labels_that_are_whole_numbers_or_booleans() -> None:
    frame = people()[["age", "income"]]
    whole = RandomForestClassifier(5, random_state=0).fit(frame, frame["age"] // 30)
    signature, _, _ = convert(whole, frame)
    assert signature.classes == ("0", "1", "2")
    assert signature.target.type == "bigint"
    truth = LogisticRegression(max_iter=1000).fit(frame, frame["age"] > 50)
    assert convert(truth, frame)[0].classes == ("false", "true")
    assert convert(truth, frame)[0].target.type == "boolean"


def test_an_estimator_that_says_something_else_is_refused() -> None:
    frame = people()[["age", "income"]]
    one = Ridge().fit(frame, frame["age"])
    other = Ridge().fit(frame, frame["income"])
    _, artifact, _ = convert(one, frame)
    with pytest.raises(ParityError, match="differ by"):
        compare(
            Model.load(artifact), other, frame, {name: frame[name].to_numpy() for name in ("age", "income")}
        )


class Unknown(Ridge):  # type: ignore[misc]
    """An estimator that skl2onnx has never heard of."""


def test_an_estimator_without_a_converter_is_refused() -> None:
    frame = people()[["age", "income"]]
    with pytest.raises(InvalidArtifact, match="cannot convert Unknown"):
        convert(Unknown().fit(frame, frame["age"]), frame)


def test_a_sample_without_rows_and_one_with_dates() -> None:
    frame = people()[["age", "income"]]
    ridge = Ridge().fit(frame, frame["age"])
    with pytest.raises(InvalidTrainingData, match="no rows"):
        convert(ridge, frame.head(0))
    with pytest.raises(InvalidParameter, match="'born'"):
        convert(ridge, {"born": np.array(["2001-02-03"], "datetime64[D]")})
