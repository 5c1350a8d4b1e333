"""What features become, in Python and in the graph."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnx_models.graph import Graph
from onnx_models.preprocessing import LIMIT, Needs, Preprocessing, fit
from onnx_models.signature import NULL_TEXT, Feature
from onnx_models.table import Columns, Texts

NUMBER = Feature("n", "double precision", "number")
TEXT = Feature("t", "text", "text")
ALL_NEEDS = [
    Needs(scale=scale, text=text, missing=missing)
    for scale in (False, True)
    for text in ("one-hot", "rank")
    for missing in ("impute", "nan")
    if missing == "impute" or not scale
]


def run(prepared: Preprocessing, columns: Columns) -> NDArray[np.float64]:
    """Return the matrix that ONNX Runtime makes."""
    graph = Graph()
    names = [f"input_{position}" for position in range(len(prepared.features))]
    graph.output(prepared.export(graph, names), "matrix", (None, prepared.width))
    session = ort.InferenceSession(graph.to_model("preprocessing").SerializeToString())
    feed = {}
    for name, feature in zip(names, prepared.features, strict=True):
        column = columns[feature.name]
        if isinstance(column, Texts):
            texts = [NULL_TEXT if text is None else text for text in column.values()]
            feed[name] = np.array(texts, object).reshape(-1, 1)
        else:
            feed[name] = column.reshape(-1, 1)
    matrix: NDArray[np.float64] = session.run(None, feed)[0]
    return matrix


texts = st.none() | st.sampled_from(["a", "b", "", " ", "é", "🙂", "NaN", "null"]) | st.text(
    st.characters(exclude_characters="\x00\ufdd0", exclude_categories=["Cs"]), max_size=5
)  # fmt: skip
numbers = st.none() | st.floats() | st.integers(-(2**63), 2**63)
rows = st.lists(st.tuples(numbers, texts), min_size=2, max_size=30)


def columns_of(values: list[tuple[float | None, str | None]]) -> Columns:
    column = np.array([np.nan if number is None else number for number, _ in values], np.float64)
    return {"n": column, "t": Texts.of([text for _, text in values])}


@settings(max_examples=60, deadline=None)
@given(rows, rows, st.sampled_from(ALL_NEEDS))
def test_the_graph_gives_the_same_bits(
    known: list[tuple[float | None, str | None]], fresh: list[tuple[float | None, str | None]], needs: Needs
) -> None:
    columns = columns_of(known)
    prepared = fit((NUMBER, TEXT), columns, needs, np.arange(len(known), dtype=np.float64), 3)
    if prepared.width == 0:
        return
    for given_columns in (columns, columns_of(fresh)):
        expected = prepared.transform(given_columns)
        assert np.array_equal(run(prepared, given_columns), expected, equal_nan=True)
        assert needs.missing == "nan" or np.isfinite(expected).all()


def one(
    feature: Feature, column: NDArray[np.float64] | Texts, needs: Needs, limit: int = 100
) -> Preprocessing:
    return fit((feature,), {feature.name: column}, needs, np.arange(len(column), dtype=np.float64), limit)


def test_null_becomes_the_median_and_an_indicator() -> None:
    prepared = one(NUMBER, np.array([1.0, 2.0, 4.0, np.nan]), Needs())
    assert prepared.names == ("n", "n is null")
    assert prepared.transform({"n": np.array([np.nan, 9.0])}).tolist() == [[2.0, 1.0], [9.0, 0.0]]


def test_null_stays_nan_where_the_estimator_takes_it() -> None:
    prepared = one(NUMBER, np.array([1.0, 2.0, 4.0, np.nan]), Needs(missing="nan"))
    assert np.isnan(prepared.transform({"n": np.array([np.nan])})).all()


def test_null_that_was_not_seen_in_training_is_the_median() -> None:
    prepared = one(NUMBER, np.array([1.0, 2.0, 4.0]), Needs())
    assert prepared.transform({"n": np.array([np.nan])}).tolist() == [[2.0]]


def test_texts_one_hot() -> None:
    column = Texts.of(["a", "a", "a", "b", "b", "c", None])
    prepared = one(TEXT, column, Needs(), limit=2)
    assert prepared.names == ("t = a", "t = b", "t is null", "t is another text")
    matrix = prepared.transform({"t": Texts.of(["b", None, "c", "never seen"])})
    assert matrix.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]


def test_an_unseen_text_is_none_of_the_categories() -> None:
    prepared = one(TEXT, Texts.of(["a", "b"]), Needs())
    assert prepared.transform({"t": Texts.of(["x", None])}).tolist() == [[0, 0], [0, 0]]


def test_texts_ranked_by_the_target() -> None:
    column = Texts.of(["low"] * 50 + ["high"] * 50 + ["middle"] * 50)
    order = np.repeat([0.0, 10.0, 5.0], 50)
    prepared = fit((TEXT,), {"t": column}, Needs(text="rank"), order)
    low, middle, high = prepared.transform({"t": Texts.of(["low", "middle", "high"])})[:, 0]
    assert low < middle < high


def test_identifiers_are_not_categories() -> None:
    assert one(TEXT, Texts.of([f"id {row}" for row in range(200)]), Needs()).width == 0


def test_constant_and_empty_columns_are_left_out() -> None:
    columns: Columns = {"a": np.full(5, 7.0), "b": np.full(5, np.nan), "n": np.arange(5.0)}
    features = (Feature("a", "integer", "number"), Feature("b", "real", "number"), NUMBER)
    prepared = fit(features, columns, Needs(scale=True), np.arange(5.0))
    assert prepared.names == ("n",)
    # they are still inputs of the graph
    assert run(prepared, columns).shape == (5, 1)


def test_numbers_beyond_float32_are_limited() -> None:
    prepared = one(NUMBER, np.array([1.0, 2.0]), Needs())
    assert prepared.transform({"n": np.array([np.inf, -1e300])}).tolist() == [[LIMIT], [-LIMIT]]


def test_scaling() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    matrix = one(NUMBER, values, Needs(scale=True)).transform({"n": values})
    assert matrix.mean() == pytest.approx(0.0)
    assert matrix.std() == pytest.approx(1.0)
