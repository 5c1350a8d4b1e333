"""Small models for tests, in ONNX's own text form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from onnx import parser

from onnx_models.signature import METADATA_KEY, Binding, Feature, Kind, Signature, Target

OPSETS = 'ir_version: 10, opset_import: ["": 21, "ai.onnx.ml": 3]'
_TYPES: dict[Kind, str] = {"number": "double precision", "text": "text", "boolean": "boolean"}


def build(graph: str, signature: Signature | None = None, opsets: str = OPSETS) -> bytes:
    """An artifact of a graph in text form."""
    model = parser.parse_model(f"<{opsets}>\n{graph}")
    if signature is not None:
        model.metadata_props.add(key=METADATA_KEY, value=json.dumps(signature.to_json()))
    content: bytes = model.SerializeToString()
    return content


def features(names: Sequence[str], kind: Kind = "number") -> tuple[Feature, ...]:
    """Features of one kind."""
    return tuple(Feature(name, _TYPES[kind], kind) for name in names)


def regression(names: Sequence[str] = ("a", "b"), **changes: Any) -> Signature:
    """Signature of a regression over one matrix ``X`` with the output ``y``."""
    parts: dict[str, Any] = {
        "task": "regression",
        "target": Target("y", "double precision"),
        "features": features(names),
        "binding": Binding("matrix", ("X",), "y"),
        **changes,
    }
    return Signature(**parts)


def linear(weights: Sequence[float] = (1.0, 10.0), **changes: Any) -> bytes:
    """A weighted sum of as many features, named a, b, c, ..."""
    count = len(weights)
    names = [chr(ord("a") + index) for index in range(count)]
    values = ", ".join(map(repr, map(float, weights)))
    graph = f"""g (double[N, {count}] X) => (double[N, 1] y) {{
        w = Constant<value = double[{count}, 1] {{{values}}}>()
        y = MatMul(X, w)
    }}"""
    return build(graph, regression(names, **changes))


def classifier(
    classes: tuple[str, ...] = ("no", "yes"),
    labels: tuple[int | str, ...] | None = None,
    target: str = "text",
) -> bytes:
    """Two classes by one number ``x``, which is the second one's probability; label output ``label``."""
    graph = """g (double[N, 1] x) => (int64[N, 1] label, double[N, 1] p) {
        half = Constant<value = double {0.5}>()
        above = Greater(x, half)
        label = Cast<to = 7>(above)
        p = Identity(x)
    }"""
    signature = Signature(
        "binary",
        Target("y", target),
        features(["x"]),
        Binding("columns", ("x",), "label", "p", labels),
        classes,
    )
    return build(graph, signature)


def echo_text() -> bytes:
    """A classifier of a and b whose label is the text feature ``t`` itself; no probabilities."""
    signature = Signature(
        "binary",
        Target("y", "text"),
        features(["t"], "text"),
        Binding("columns", ("t",), "label", labels=("a", "b")),
        ("a", "b"),
    )
    return build("g (string[N, 1] t) => (string[N, 1] label) { label = Identity(t) }", signature)


def failing() -> bytes:
    """A graph that fails whenever it runs: it gathers beyond the end."""
    graph = """g (double[N, 1] x) => (double[N, 1] y) {
        index = Cast<to = 7>(x)
        far = Constant<value = int64 {1000000}>()
        beyond = Add(index, far)
        flat = Constant<value = int64[1] {-1}>()
        list = Reshape(beyond, flat)
        y = Gather<axis = 0>(x, list)
    }"""
    binding = Binding("columns", ("x",), "y")
    return build(graph, regression(["x"], binding=binding))


def endless() -> bytes:
    """A graph that loops for hours, and can be ended between its nodes."""
    graph = """g (double[N, 1] x) => (double[N, 1] y) {
        count = Constant<value = int64 {1000000000000}>()
        go = Constant<value = bool {1}>()
        y = Loop(count, go, x) <body = b (int64 i, bool c, double[M, 1] v) => (bool d, double[M, 1] w) {
            d = Identity(c)
            w = Cos(v)
        }>
    }"""
    binding = Binding("columns", ("x",), "y")
    return build(graph, regression(["x"], binding=binding))


def greedy() -> bytes:
    """A graph that asks for ``x`` GB of memory."""
    graph = """g (double[N, 1] x) => (double[N, 1] y) {
        flat = Constant<value = int64[1] {-1}>()
        n = Cast<to = 7>(x)
        list = Reshape(n, flat)
        eighth = Constant<value = int64 {134217728}>()
        size = Mul(list, eighth)
        huge = ConstantOfShape<value = double[1] {1.0}>(size)
        total = ReduceSum<keepdims = 1>(huge)
        y = Add(x, total)
    }"""
    binding = Binding("columns", ("x",), "y")
    return build(graph, regression(["x"], binding=binding))
