from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from onnx_models import artifact
from onnx_models.errors import InvalidArtifact
from onnx_models.scoring import Model
from tests import graphs


def external() -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def in_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(external())


def in_sparse_initializer(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(external())


def in_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=external()))


def in_attribute_list(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("ts", [external()]))


def in_sparse_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.add(name="s").sparse_tensor.indices.CopyFrom(external())


def in_subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], initializer=[external()])
    model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner))


def in_training_info(model: onnx.ModelProto) -> None:
    model.training_info.add().initialization.initializer.append(external())


def without_location(model: onnx.ModelProto) -> None:
    tensor = external()
    tensor.ClearField("data_location")
    model.graph.initializer.append(tensor)


@pytest.mark.parametrize(
    "hide",
    [
        in_initializer,
        in_sparse_initializer,
        in_attribute,
        in_attribute_list,
        in_sparse_attribute,
        in_subgraph,
        in_training_info,
        without_location,
    ],
)
def test_external_data_is_found_wherever_it_hides(hide: object) -> None:
    model = artifact.parse(graphs.linear())
    assert callable(hide)
    hide(model)
    with pytest.raises(InvalidArtifact, match="in another file"):
        artifact.check(model.SerializeToString())


@pytest.mark.parametrize(
    "content", [graphs.linear(), graphs.classifier(), graphs.echo_text(), graphs.endless()]
)
def test_good_models_pass(content: bytes) -> None:
    artifact.check(content)


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08", b"\xff" * 100])
def test_other_bytes_do_not(content: bytes) -> None:
    with pytest.raises(InvalidArtifact, match="not an ONNX model"):
        artifact.check(content)


def test_other_domains_are_refused() -> None:
    opsets = 'ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]'
    content = graphs.build(
        "g (double[N, 2] X) => (double[N, 2] y) { y = com.microsoft.Gelu(X) }", None, opsets
    )
    with pytest.raises(InvalidArtifact, match=r"'com\.microsoft'"):
        artifact.check(content)


def test_a_domain_that_only_a_node_of_a_subgraph_names() -> None:
    model = artifact.parse(graphs.linear())
    node = helper.make_node("Evil", [], ["x"], domain="evil")
    inner = helper.make_graph([node], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner))
    with pytest.raises(InvalidArtifact, match="'evil'"):
        artifact.check(model.SerializeToString())


def test_functions_are_refused() -> None:
    model = artifact.parse(graphs.linear())
    model.functions.add(name="f", domain="local")
    with pytest.raises(InvalidArtifact, match="'f'"):
        artifact.check(model.SerializeToString())


@pytest.mark.parametrize(
    ("limit", "value", "clause"),
    [("MAX_BYTES", 10, "larger"), ("MAX_NODES", 1, "more than 1 nodes"), ("MAX_OUTPUTS", 0, "outputs")],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, clause: str) -> None:
    monkeypatch.setattr(artifact, limit, value)
    with pytest.raises(InvalidArtifact, match=clause):
        artifact.check(graphs.linear())


def test_an_output_of_many_elements_a_row() -> None:
    content = graphs.build("g (double[N, 20000] X) => (double[N, 20000] y) { y = Identity(X) }")
    with pytest.raises(InvalidArtifact, match="20000 elements a row"):
        artifact.check(content)


def test_the_signature_replaces_the_one_before_it() -> None:
    first = artifact.with_signature(graphs.linear(), graphs.regression(["c", "d"]))
    second = artifact.with_signature(first, graphs.regression(["e", "f"]))
    assert Model.load(second).signature == graphs.regression(["e", "f"])
    assert artifact.with_signature(graphs.linear(), graphs.regression(["e", "f"])) == second
    assert len(artifact.sha256(second)) == 64
