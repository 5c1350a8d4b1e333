"""The soak's model: it multiplies by a number, so that right answers are known."""

from __future__ import annotations

import json

from onnx import TensorProto, helper

from onnx_models.signature import METADATA_KEY, Binding, Feature, Signature, Target

SIGNATURE = Signature(
    task="regression",
    target=Target("y", "double precision"),
    features=(Feature("a", "double precision", "number"),),
    binding=Binding("matrix", ("X",), "y"),
)


def linear(weight: float) -> bytes:
    """Return the artifact of ``y = weight * a``."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("X", TensorProto.DOUBLE, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["N", 1])],
        [helper.make_tensor("w", TensorProto.DOUBLE, [1, 1], [weight])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(SIGNATURE.to_json()))
    content: bytes = model.SerializeToString()
    return content
