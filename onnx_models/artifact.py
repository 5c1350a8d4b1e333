"""Artifacts: ONNX files as untrusted input, and the signature inside them.

Whoever may create a model may hand the server any bytes, so every process that loads an artifact checks
it first. What a graph could do beyond arithmetic is read other files (external data), call operators
that somebody else brought (other domains), or be too large; all of it is refused here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .errors import InvalidArtifact
from .signature import METADATA_KEY, Signature

if TYPE_CHECKING:
    import onnx

#: bytes of one artifact (512 MiB); PostgreSQL takes values up to 1 GiB
MAX_BYTES = 512 << 20
#: nodes of all graphs together: a tree ensemble of any size is one, a deep network has thousands
MAX_NODES = 50_000
#: inputs of the graph; PostgreSQL tables have up to 1,600 columns
MAX_INPUTS = 1_600
MAX_OUTPUTS = 64
#: elements a row that one output may declare, which is the number of classes
MAX_OUTPUT_WIDTH = 10_000
#: "" is what files call ai.onnx
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def check(artifact: bytes) -> None:
    """Refuse bytes that are no acceptable model.

    :param artifact: an ONNX file
    :raises InvalidArtifact: naming what is not acceptable
    """
    model = parse(artifact)
    if len(model.functions):
        raise InvalidArtifact(
            f"the model has a function of its own, {model.functions[0].name!r}",
            hint="inline the functions with onnx.inliner before importing",
        )
    for opset in model.opset_import:
        _check_domain(opset.domain)
    _check_interface(model.graph)
    _check_parts(model)


def parse(artifact: bytes) -> onnx.ModelProto:
    """Return the parsed model; nothing of it is checked but its size.

    :raises InvalidArtifact: if the bytes are too many or not ONNX
    """
    # costs 40 ms and 10 MB, which clients that only read signatures need not pay
    import onnx
    from google.protobuf.message import DecodeError

    if len(artifact) > MAX_BYTES:
        raise InvalidArtifact(
            f"a model of {len(artifact)} bytes is larger than the limit of {MAX_BYTES}",
            hint="train with fewer or shallower trees",
        )
    try:
        model = onnx.ModelProto.FromString(artifact)
    except DecodeError as error:
        raise InvalidArtifact("the bytes are not an ONNX model") from error
    if not model.ir_version or not len(model.graph.node):
        raise InvalidArtifact("the bytes are not an ONNX model, or its graph is empty")
    return model


def with_signature(artifact: bytes, signature: Signature) -> bytes:
    """Return the artifact with a signature inside, in place of one that it may have.

    The same model and signature give the same bytes, and so the same sha256.

    :raises InvalidArtifact: if the bytes are not ONNX
    """
    model = parse(artifact)
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    text = json.dumps(signature.to_json(), sort_keys=True, separators=(",", ":"))
    for key, value in [*kept, (METADATA_KEY, text)]:
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString(deterministic=True)


def sha256(artifact: bytes | memoryview) -> str:
    """Return the artifact's name in the database, its SHA-256 in hexadecimal."""
    return hashlib.sha256(artifact).hexdigest()


def _check_interface(graph: onnx.GraphProto) -> None:
    for kind, items, limit in (("inputs", graph.input, MAX_INPUTS), ("outputs", graph.output, MAX_OUTPUTS)):
        if not 1 <= len(items) <= limit:
            raise InvalidArtifact(f"the graph has {len(items)} {kind}, from 1 to {limit} are accepted")
    for output in graph.output:
        width = 1
        for dimension in output.type.tensor_type.shape.dim:
            width *= max(dimension.dim_value, 1)
        if width > MAX_OUTPUT_WIDTH:
            raise InvalidArtifact(f"the graph's output {output.name!r} has {width} elements a row")


def _check_parts(model: onnx.ModelProto) -> None:
    nodes = 0
    for part in _messages(model):
        kind = part.DESCRIPTOR.name
        if kind == "NodeProto":
            nodes += 1
            _check_domain(part.domain)
            if nodes > MAX_NODES:
                raise InvalidArtifact(f"the model has more than {MAX_NODES} nodes")
        elif kind == "TensorProto" and (part.data_location == 1 or len(part.external_data)):
            raise InvalidArtifact(
                f"the tensor {part.name!r} keeps its data in another file",
                hint="save the model with its data inside, with onnx.save(model, path)",
            )


def _messages(root: Any) -> Iterator[Any]:
    """Yield every message inside a message: graphs, subgraphs, attributes, sparse tensors and all.

    Walking whatever fields there are forgets no place where a tensor may hide.
    """
    stack = [root]
    while stack:
        message = stack.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                stack.extend([value] if hasattr(value, "ListFields") else value)


def _check_domain(domain: str) -> None:
    if domain not in DOMAINS:
        raise InvalidArtifact(
            f"the model uses operators of the domain {domain!r}",
            hint="only the operators of ai.onnx and ai.onnx.ml are accepted",
        )
