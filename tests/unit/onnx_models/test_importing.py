"""Importing models of other origin: what the graph says, what the user must say, what is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models.errors import InvalidArtifact, InvalidParameter
from onnx_models.importing import Given, import_model, sql_type
from onnx_models.scoring import Model
from tests import graphs

X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
LABELS = np.where(X[:, 0] > 0.0, "yes", "no")


def skl2onnx_export(estimator: Any, y: Any, **options: Any) -> bytes:
    from skl2onnx import to_onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_onnx(estimator.fit(X, y), X[:1], options=options or None, target_opset=21)
    return bytes(model.SerializeToString())


def torch_like(
    outputs: int = 1, last: str | None = None, rows: Any = "batch", inputs: tuple[str, ...] = ("x",)
) -> bytes:
    """A small network as PyTorch's exporter writes it: floats in, floats out, no names."""
    width = 3
    nodes = []
    matrix = inputs[0]
    if len(inputs) > 1:
        nodes.append(helper.make_node("Concat", list(inputs), ["joined"], axis=1))
        matrix, width = "joined", len(inputs)
    weights = np.random.default_rng(1).normal(size=(width, outputs)).astype(np.float32)
    nodes.append(helper.make_node("MatMul", [matrix, "w"], ["raw" if last else "out"]))
    if last:
        nodes.append(helper.make_node(last, ["raw"], ["out"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 1 if len(inputs) > 1 else width])
            for name in inputs
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [rows, outputs])],
        [numpy_helper.from_array(weights, "w")],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())


FEATURES = (("a", None), ("b", "numeric"), ("c", "int"))


@pytest.mark.parametrize("zipmap", [True, False])
def test_classes_come_from_the_graph(zipmap: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    estimator = LogisticRegression()
    content = skl2onnx_export(estimator, LABELS, zipmap=zipmap)
    signature, artifact, rows = import_model(content, Given(features=FEATURES, target=("late", "text")))
    assert rows == 5
    assert signature.classes == ("no", "yes")
    assert signature.task == "binary"
    assert (signature.target.name, signature.target.type) == ("late", "text")
    types = [(feature.name, feature.type) for feature in signature.features]
    assert types == [("a", "double precision"), ("b", "numeric"), ("c", "integer")]
    scores = Model.load(artifact).predict(
        {name: X[:, i].astype(np.float64) for i, name in enumerate("abc")}, 200
    )
    assert [signature.classes[int(index)] for index in scores.value] == list(estimator.predict(X))
    assert scores.probabilities == pytest.approx(estimator.predict_proba(X), abs=1e-5)


def test_whole_number_labels_are_a_bigint_unless_named() -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    y = np.digitize(X[:, 1], [-0.5, 0.5]) + 5
    content = skl2onnx_export(GradientBoostingClassifier(n_estimators=3), y)
    signature, _, _ = import_model(content, Given(features=FEATURES))
    assert (signature.task, signature.classes, signature.target.type) == (
        "multiclass",
        ("5", "6", "7"),
        "bigint",
    )
    assert signature.binding.labels == (5, 6, 7)
    named, artifact, _ = import_model(content, Given(features=FEATURES, classes=("low", "mid", "high")))
    assert (named.classes, named.target.type) == (("low", "mid", "high"), "text")
    scores = Model.load(artifact).predict({name: np.zeros(1) for name in "abc"}, 1)
    assert scores.value[0] in (0.0, 1.0, 2.0)


def test_regression() -> None:
    from sklearn.ensemble import RandomForestRegressor

    content = skl2onnx_export(RandomForestRegressor(n_estimators=3), X[:, 0])
    signature, _, _ = import_model(content, Given(features=FEATURES))
    assert (signature.task, signature.classes, signature.target.type) == (
        "regression",
        (),
        "double precision",
    )


def test_a_network_with_softmax_or_sigmoid() -> None:
    signature, artifact, _ = import_model(
        torch_like(2, "Softmax"), Given(features=FEATURES, classes=("no", "yes"))
    )
    assert signature.binding.label is None
    scores = Model.load(artifact).predict({name: np.zeros(2) for name in "abc"}, 2)
    assert scores.probabilities is not None
    single, _, _ = import_model(torch_like(1, "Sigmoid"), Given(features=FEATURES, classes=("no", "yes")))
    assert single.classes == ("no", "yes")


def test_one_input_a_column_has_names() -> None:
    content = torch_like(inputs=("age", "income"))
    signature, _, _ = import_model(content)
    assert [feature.name for feature in signature.features] == ["age", "income"]
    typed, _, _ = import_model(content, Given(features=(("income", "numeric"),)))
    assert [feature.type for feature in typed.features] == ["double precision", "numeric"]
    renamed, _, _ = import_model(content, Given(features=(("years", "integer"), ("money", None))))
    assert [feature.name for feature in renamed.features] == ["years", "money"]
    assert renamed.binding.inputs == ("age", "income")


def test_names_from_the_metadata() -> None:
    model = onnx.ModelProto.FromString(torch_like())
    helper.set_model_props(model, {"feature_names": '["p", "q", "r"]'})
    signature, _, _ = import_model(model.SerializeToString())
    assert [feature.name for feature in signature.features] == ["p", "q", "r"]


def test_null_is_tried() -> None:
    assert import_model(torch_like(), Given(features=FEATURES))[0].on_missing == "error"
    from sklearn.tree import DecisionTreeRegressor

    tree = skl2onnx_export(DecisionTreeRegressor(max_depth=2), X[:, 0])
    assert import_model(tree, Given(features=FEATURES))[0].on_missing == "impute"
    assert import_model(tree, Given(features=FEATURES, on_missing="error"))[0].on_missing == "error"


def test_text_inputs() -> None:
    nodes = [
        helper.make_node(
            "LabelEncoder", ["colour"], ["code"], domain="ai.onnx.ml",
            keys_strings=["red", "green"], values_floats=[1.0, 2.0], default_float=0.0,
        ),
        helper.make_node("Add", ["code", "size"], ["price"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "texts",
        [
            helper.make_tensor_value_info("colour", TensorProto.STRING, [None, 1]),
            helper.make_tensor_value_info("size", TensorProto.FLOAT, [None, 1]),
        ],
        [helper.make_tensor_value_info("price", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    content = helper.make_model(graph, opset_imports=opsets).SerializeToString()
    signature, artifact, _ = import_model(content)
    assert [(f.name, f.type) for f in signature.features] == [
        ("colour", "text"),
        ("size", "double precision"),
    ]
    scores = Model.load(artifact).predict({"colour": ["green", "blue"], "size": np.array([1.0, 1.0])}, 2)
    assert scores.value.tolist() == [3.0, 1.0]
    with pytest.raises(
        InvalidParameter, match="feature 'size' is text, the graph's input 'size' is a number"
    ):
        import_model(content, Given(features=(("size", "text"),)))


@pytest.mark.parametrize(
    ("content", "given", "error", "message"),
    [
        (torch_like(), Given(), InvalidParameter, "matrix of 3 columns, and the file does not name them"),
        (torch_like(), Given(features=FEATURES[:2]), InvalidParameter, "2 features for a matrix of 3"),
        (torch_like(), Given(features=(("a", "text"), *FEATURES[1:])), InvalidParameter, "takes numbers"),
        (torch_like(), Given(features=(("a", "json"), *FEATURES[1:])), InvalidParameter, "type 'json'"),
        (torch_like(2), Given(features=FEATURES), InvalidParameter, "has 2 columns, a regression has one"),
        (torch_like(2), Given(FEATURES, (), "classification"), InvalidParameter, "not name the classes"),
        (torch_like(2), Given(features=FEATURES, classes=("a", "b")), InvalidArtifact, "no probabilities"),
        (torch_like(2), Given(features=FEATURES, classes=("a", "a")), InvalidParameter, "two different ones"),
        (torch_like(), Given(features=FEATURES, output="y"), InvalidParameter, "has no output 'y'"),
        (torch_like(rows=1), Given(features=FEATURES), InvalidArtifact, "batches of exactly 1 rows"),
        (torch_like(inputs=("p", "q")), Given(features=(("z", None),)), InvalidParameter, "has no input 'z'"),
        (torch_like(), Given(features=(*FEATURES[:2], ("features", None))), InvalidParameter, "named like"),
        (b"not a model", Given(), InvalidArtifact, "not an ONNX model"),
        (torch_like(2, "Softmax"), Given(features=FEATURES, task="regression"), InvalidParameter, "2 col"),
    ],
)  # fmt: skip
def test_what_is_refused(content: bytes, given: Given, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        import_model(content, given)


@pytest.mark.parametrize(
    ("type_", "given", "classes"),
    [
        ("boolean", (), ("false", "true")),
        ("boolean", ("no", "T"), ("false", "true")),
        ("numeric", (), ("0", "1")),
        ("smallint", ("07", "-1"), ("7", "-1")),
        ("character", ("a ", "b"), ("a", "b")),
    ],
)
def test_classes_are_written_as_the_targets_type_writes_them(
    type_: str, given: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    from sklearn.linear_model import LogisticRegression

    content = skl2onnx_export(LogisticRegression(), (X[:, 0] > 0.0).astype(np.int64), zipmap=False)
    told = Given(features=FEATURES, target=("y", type_), classes=given)
    signature, artifact, _ = import_model(content, told)
    assert signature.classes == classes
    assert Model.load(artifact).signature.classes == classes


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        ("boolean", ("maybe", "no")),
        ("boolean", ("yes", "true")),
        ("smallint", ("70000", "2")),
        ("numeric", ("1.50", "2")),
        ("numeric", ("nan", "2")),
        ("date", ("2020-01-01", "2020-01-02")),
        ("uuid", ("a", "b")),
    ],
)
def test_classes_that_the_targets_type_does_not_have(type_: str, given: tuple[str, ...]) -> None:
    from sklearn.linear_model import LogisticRegression

    content = skl2onnx_export(LogisticRegression(), (X[:, 0] > 0.0).astype(np.int64), zipmap=False)
    with pytest.raises(InvalidParameter, match=f"of type {type_}|different ones"):
        import_model(content, Given(features=FEATURES, target=("y", type_), classes=given))


def test_labels_that_are_no_text_are_refused() -> None:
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        coefficients=[1.0, -1.0],
        intercepts=[0.0, 0.0],
        classlabels_strings=[b"\xff\xfe", b"no"],
        post_transform="SOFTMAX",
    )
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2]),
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    content = helper.make_model(graph, opset_imports=opsets).SerializeToString()
    with pytest.raises(InvalidArtifact, match="not UTF-8"):
        import_model(content)


def test_graphs_that_mix_rows_are_refused() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        "mixing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    with pytest.raises(InvalidArtifact, match="of a batch scores"):
        import_model(content)


@pytest.mark.parametrize("given", [Given(), Given(on_missing="error")])
def test_graphs_that_loop_for_ever_are_refused(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_models.importing._PATIENCE", 0.3)
    with pytest.raises(InvalidArtifact, match="did not come to an end"):
        import_model(graphs.endless(), given)


def test_types() -> None:
    assert sql_type("INT4") == "integer"
    assert sql_type("timestamptz") == "timestamp with time zone"
    with pytest.raises(InvalidParameter, match="type 'bytea' cannot be used"):
        sql_type("bytea")
