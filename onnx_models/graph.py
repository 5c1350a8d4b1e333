"""Building ONNX graphs: tensors with Python's operators, everything in float64.

:class:`Tensor` and :class:`Graph` offer the few names of NumPy that the preprocessing uses (``floor``,
``where``, ``isnan``), so one formula in Python runs on arrays while a model is trained and is written
down as a graph when it is exported. Both engines follow IEEE 754 in float64, so both give the same bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ONNX_OPSET = 21
#: 5 brought TreeEnsemble with float64 thresholds and leaves; the operators before it answer in float32
ML_OPSET = 5
ML_DOMAIN = "ai.onnx.ml"
IR_VERSION = 10


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A value in a graph under construction.

    :ivar graph: the graph that it belongs to
    :ivar name: its name there
    """

    graph: Graph
    name: str

    def __add__(self, other: Operand) -> Tensor:
        return self.graph.op("Add", self, other)

    def __sub__(self, other: Operand) -> Tensor:
        return self.graph.op("Sub", self, other)

    def __mul__(self, other: Operand) -> Tensor:
        return self.graph.op("Mul", self, other)

    def __truediv__(self, other: Operand) -> Tensor:
        return self.graph.op("Div", self, other)

    def __matmul__(self, other: Operand) -> Tensor:
        return self.graph.op("MatMul", self, other)

    def __gt__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self.graph.op("Greater", self, other)

    # mypy takes reflected comparisons into account; arrays never stand on the left of a tensor
    def __lt__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self.graph.op("Less", self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return self.graph.op("GreaterOrEqual", self, other)


Operand = Tensor | NDArray[Any] | float


class Graph:
    """A graph under construction; methods add nodes and return their outputs."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, *, text: bool = False, shape: Sequence[int | None] = (None, 1)) -> Tensor:
        """Declare an input of float64 or text.

        :param name: unique in the graph
        :param shape: ``None`` for the rows
        """
        kind = TensorProto.STRING if text else TensorProto.DOUBLE
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return Tensor(self, name)

    def output(
        self, tensor: Tensor, name: str, shape: Sequence[int | None], *, integer: bool = False
    ) -> None:
        """Declare an output, of float64 or int64."""
        self._nodes.append(helper.make_node("Identity", [tensor.name], [name]))
        kind = TensorProto.INT64 if integer else TensorProto.DOUBLE
        self._outputs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def constant(self, value: NDArray[Any] | float) -> Tensor:
        """Add an initializer; Python's floats become float64."""
        name = self._name("constant")
        array = np.asarray(value)
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        self._initializers.append(numpy_helper.from_array(array, name))
        return Tensor(self, name)

    def op(self, kind: str, *inputs: Operand, domain: str = "", **attributes: Any) -> Tensor:
        """Add a node of one output."""
        return self.ops(kind, *inputs, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: Operand, count: int = 1, domain: str = "", **attributes: Any
    ) -> list[Tensor]:
        """Add a node of several outputs."""
        outputs = [self._name(kind.lower()) for _ in range(count)]
        names = [self._operand(item).name for item in inputs]
        self._nodes.append(helper.make_node(kind, names, outputs, domain=domain, **attributes))
        return [Tensor(self, name) for name in outputs]

    def floor(self, x: Tensor) -> Tensor:
        """Round down, as ``numpy.floor``."""
        return self.op("Floor", x)

    def isnan(self, x: Tensor) -> Tensor:
        """Tell where NaN is, as ``numpy.isnan``."""
        return self.op("IsNaN", x)

    def where(self, condition: Tensor, x: Operand, y: Operand) -> Tensor:
        """Choose by element, as ``numpy.where``."""
        return self.op("Where", condition, x, y)

    def clip(self, x: Tensor, low: float, high: float) -> Tensor:
        """Limit values without NaN, as ``numpy.clip``."""
        return self.op("Clip", x, low, high)

    def concat(self, tensors: Sequence[Tensor]) -> Tensor:
        """Put matrices side by side."""
        return tensors[0] if len(tensors) == 1 else self.op("Concat", *tensors, axis=1)

    def take(self, x: Tensor, columns: Sequence[int]) -> Tensor:
        """Return some columns of a matrix."""
        return self.op("Gather", x, np.asarray(columns, np.int64), axis=1)

    def double(self, x: Tensor) -> Tensor:
        """Cast to float64."""
        return self.op("Cast", x, to=TensorProto.DOUBLE)

    def float32_rounded(self, x: Tensor) -> Tensor:
        """Round to float32's precision and stay in float64."""
        return self.double(self.op("Cast", x, to=TensorProto.FLOAT))

    def integer(self, x: Tensor) -> Tensor:
        """Cast to int64."""
        return self.op("Cast", x, to=TensorProto.INT64)

    def argmax(self, x: Tensor) -> Tensor:
        """Return each row's first largest column, of shape (rows,)."""
        return self.op("ArgMax", x, axis=1, keepdims=0)

    def row_sum(self, x: Tensor, axis: int = 1) -> Tensor:
        """Return sums along an axis, which stays with length 1."""
        return self.op("ReduceSum", x, np.array([axis], np.int64), keepdims=1)

    def proto(self, name: str) -> onnx.GraphProto:
        """Return the graph."""
        return helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._initializers)

    def to_model(self, name: str, metadata: dict[str, str] | None = None) -> onnx.ModelProto:
        """Return the checked model.

        :param metadata: the model's metadata properties
        """
        model = helper.make_model(
            self.proto(name),
            opset_imports=[helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)],
            ir_version=IR_VERSION,
            producer_name="pgpredict",
        )
        if metadata:
            helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return model

    def _operand(self, item: Operand) -> Tensor:
        return item if isinstance(item, Tensor) else self.constant(item)

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


def in_blocks(graph: Graph, x: Tensor, width: int, rows: int, body: Graph) -> Tensor:
    """Apply a sub-graph to blocks of rows, so that what it needs in between stays small.

    A distance to every training row is a matrix of rows by training rows; a batch of 20,000 rows
    would need gigabytes at once.

    :param x: matrix of shape (n, width), float64
    :param rows: rows in a block
    :param body: graph with one input (rows, width) and one output (rows, anything)
    :returns: the outputs below each other, n rows
    """
    # Scan wants blocks of equal size: pad below with zeros, cut off at the end
    shape = graph.op("Shape", x)
    count = graph.op("Gather", shape, np.array([0], np.int64), axis=0)
    block = np.array([rows], np.int64)
    blocks = graph.op("Div", graph.op("Add", count, block - 1), block)
    padding = graph.op("Sub", graph.op("Mul", blocks, block), count)
    below = graph.op("Concat", np.zeros(3, np.int64)[:2], padding, np.zeros(1, np.int64), axis=0)
    padded = graph.op("Pad", x, below)
    stacked = graph.op("Reshape", padded, np.array([-1, rows, width], np.int64))
    scanned = graph.op("Scan", stacked, body=body.proto("block"), num_scan_inputs=1)
    last = graph.op("Shape", scanned, start=2)
    flat = graph.op("Reshape", scanned, graph.op("Concat", np.array([-1], np.int64), last, axis=0))
    return graph.op("Slice", flat, np.array([0], np.int64), count, np.array([0], np.int64))
