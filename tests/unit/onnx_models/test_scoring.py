from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from onnx_models.errors import InvalidArtifact, InvalidFeatures, InvalidSignature, ModelError, ScoringFailed
from onnx_models.scoring import SLICE_ROWS, Model
from onnx_models.signature import NULL_TEXT, Binding, Signature, Target
from tests import graphs


def column_of(onnx_type: str) -> Model:
    graph = f"g ({onnx_type}[N, 1] x) => (double[N, 1] y) {{ y = Cast<to = 11>(x) }}"
    signature = graphs.regression(["x"], binding=Binding("columns", ("x",), "y"))
    return Model.load(graphs.build(graph, signature))


def numbers(*values: float) -> dict[str, Any]:
    return {"x": np.array(values, np.float64)}


@pytest.mark.parametrize("rows", [0, 1, 3, SLICE_ROWS, SLICE_ROWS + 1, 3 * SLICE_ROWS])
def test_a_matrix_is_built_by_name(rows: int) -> None:
    model = Model.load(graphs.linear((1, 10)))
    values = np.arange(rows, dtype=np.float64)
    columns = {"ignored": values, "b": values, "a": values + 1}
    scores = model.predict(columns, rows)
    np.testing.assert_array_equal(scores.value, values * 11 + 1)
    assert scores.value.dtype == np.float64
    assert scores.probabilities is None


@pytest.mark.parametrize("onnx_type", ["float", "double", "int64", "int32", "bool"])
def test_numbers_become_what_the_graph_takes(onnx_type: str) -> None:
    scores = column_of(onnx_type).predict(numbers(0, 1), 2)
    np.testing.assert_array_equal(scores.value, [0, 1])


@pytest.mark.parametrize("onnx_type", ["int64", "int32", "bool"])
@pytest.mark.parametrize("value", [np.nan, 1.5, np.inf, 1e300])
def test_what_an_integer_cannot_hold_is_an_error(onnx_type: str, value: float) -> None:
    with pytest.raises(InvalidFeatures, match=r"'x' is .* in row 2"):
        column_of(onnx_type).predict(numbers(1, value), 2)


def test_what_is_not_finite_passes() -> None:
    scores = column_of("float").predict(numbers(np.nan, np.inf, 1e300), 3)
    np.testing.assert_array_equal(scores.value, [np.nan, np.inf, np.inf])


def test_missing_features_are_named_all() -> None:
    model = Model.load(graphs.linear((1, 2, 3)))
    with pytest.raises(InvalidFeatures, match="missing features 'a', 'c'"):
        model.predict({"b": np.ones(1)}, 1)


def test_null_is_an_error_where_the_model_has_no_rule() -> None:
    model = Model.load(graphs.linear((1, 2), on_missing="error"))
    with pytest.raises(InvalidFeatures, match="'b' is NULL in row 3"):
        model.predict({"a": np.ones(3), "b": np.array([1, 2, np.nan])}, 3)


@pytest.mark.parametrize(
    ("artifact", "columns", "clause"),
    [
        (graphs.linear((1,)), {"a": ["x"]}, "text where a number"),
        (graphs.echo_text(), {"t": np.ones(1)}, "number where text"),
        (graphs.linear((1,)), {"a": np.ones(2)}, "shape"),
        (graphs.echo_text(), {"t": ["a", "b"]}, "2 values for 1 rows"),
        (graphs.echo_text(), {"t": [NULL_TEXT]}, "stands for NULL"),
    ],
)
def test_values_of_a_wrong_kind(artifact: bytes, columns: dict[str, Any], clause: str) -> None:
    with pytest.raises(InvalidFeatures, match=clause):
        Model.load(artifact).predict(columns, 1)


def test_null_text_reaches_the_graph_as_its_stand_in() -> None:
    graph = f"""g (string[N, 1] t) => (double[N, 1] y) {{
        missing = Constant<value = string[1] {{"{NULL_TEXT}"}}>()
        same = Equal(t, missing)
        y = Cast<to = 11>(same)
    }}"""
    signature = graphs.regression(
        features=graphs.features(["t"], "text"), binding=Binding("columns", ("t",), "y")
    )
    scores = Model.load(graphs.build(graph, signature)).predict({"t": ["a", None, "é\n"]}, 3)
    np.testing.assert_array_equal(scores.value, [0, 1, 0])


def test_one_probability_is_the_second_class_s() -> None:
    scores = Model.load(graphs.classifier()).predict(numbers(0.25, 0.75), 2)
    np.testing.assert_array_equal(scores.value, [0, 1])
    np.testing.assert_array_equal(scores.probabilities, [[0.75, 0.25], [0.25, 0.75]])


def test_labels_are_mapped_to_classes() -> None:
    scores = Model.load(graphs.classifier(("yes", "no"), labels=(1, 0))).predict(numbers(0.25, 0.75), 2)
    np.testing.assert_array_equal(scores.value, [1, 0])


def test_no_rows_have_no_probabilities_either() -> None:
    scores = Model.load(graphs.classifier()).predict(numbers(), 0)
    assert scores.value.shape == (0,)
    assert scores.probabilities is not None
    assert scores.probabilities.shape == (0, 2)


def test_text_labels() -> None:
    model = Model.load(graphs.echo_text())
    np.testing.assert_array_equal(model.predict({"t": ["b", "a"]}, 2).value, [1, 0])
    with pytest.raises(ScoringFailed, match="unknown label 'c'"):
        model.predict({"t": ["c"]}, 1)


@pytest.mark.parametrize("labels", [("no", "yes"), (0, 1)])
def test_zipmap(labels: tuple[int | str, ...]) -> None:
    kind = "classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"
    listed = ", ".join(f'"{label}"' if isinstance(label, str) else str(label) for label in labels)
    key = "string" if isinstance(labels[0], str) else "int64"
    graph = f"""g (float[N, 2] X) => (seq(map({key}, float)) p) {{
        p = ai.onnx.ml.ZipMap<{kind} = [{listed}]>(X)
    }}"""
    signature = Signature(
        "binary",
        Target("y", "text"),
        graphs.features(["a", "b"]),
        Binding("matrix", ("X",), None, "p", labels),
        ("no", "yes"),
    )
    columns = {"a": np.array([0.75, 0.25]), "b": np.array([0.25, 0.75])}
    scores = Model.load(graphs.build(graph, signature)).predict(columns, 2)
    np.testing.assert_array_equal(scores.value, [0, 1])
    np.testing.assert_array_equal(scores.probabilities, [[0.75, 0.25], [0.25, 0.75]])


def test_a_graph_that_fails() -> None:
    with pytest.raises(ScoringFailed, match="the model's graph failed"):
        Model.load(graphs.failing()).predict(numbers(1), 1)


def test_a_run_can_be_ended() -> None:
    model, options = Model.load(graphs.endless()), ort.RunOptions()
    timer = threading.Timer(0.2, lambda: setattr(options, "terminate", True))
    timer.start()
    with pytest.raises(ScoringFailed, match="terminate"):
        model.predict(numbers(1), 1, run_options=options)
    timer.join()


def test_an_output_of_another_shape_is_an_error() -> None:
    graph = "g (double[N, 2] X) => (double[N, 2] y) { y = Identity(X) }"
    model = Model.load(graphs.build(graph, graphs.regression()))
    with pytest.raises(ScoringFailed, match="shape"):
        model.predict({"a": np.ones(3), "b": np.ones(3)}, 3)


@pytest.mark.parametrize(
    ("artifact", "error", "clause"),
    [
        (b"junk", InvalidArtifact, "cannot load"),
        (
            graphs.build("g (double[N, 2] X) => (double[N, 2] y) { y = Identity(X) }"),
            InvalidArtifact,
            "metadata",
        ),
        (graphs.linear(binding=Binding("matrix", ("Z",), "y")), InvalidArtifact, "the signature says"),
        (graphs.linear(binding=Binding("matrix", ("X",), "z")), InvalidArtifact, "no output 'z'"),
        (
            graphs.build("g (double[1, 2] X) => (double[1, 2] y) { y = Identity(X) }", graphs.regression()),
            InvalidArtifact,
            "exactly 1 rows",
        ),
        (
            graphs.build("g (string[N, 2] X) => (string[N, 2] y) { y = Identity(X) }", graphs.regression()),
            InvalidArtifact,
            "of texts",
        ),
    ],
)
def test_artifacts_that_cannot_be_used(artifact: bytes, error: type[ModelError], clause: str) -> None:
    with pytest.raises(error, match=clause):
        Model.load(artifact)


def test_a_signature_that_is_not_json() -> None:
    artifact = graphs.linear().replace(b'{"format": 1', b'["format": 1')
    with pytest.raises(InvalidSignature, match="not JSON"):
        Model.load(artifact)


def test_slices_are_put_together_again() -> None:
    rows = 2 * SLICE_ROWS + 5
    x = (np.arange(rows) % 3 == 0).astype(np.float64)
    scores = Model.load(graphs.classifier()).predict({"x": x}, rows)
    np.testing.assert_array_equal(scores.value, x)
    assert scores.probabilities is not None
    np.testing.assert_array_equal(scores.probabilities, np.stack([1 - x, x], axis=1))
