"""Scoring: a model loaded into ONNX Runtime, features in by name, predictions out.

The runtime and the parity gate both score through this module, so what was verified is what is
served. NumPy, ONNX Runtime and the standard library are all it needs.

Numbers arrive as float64 with NaN for NULL and are cast to what the graph's input takes; texts arrive
as strings with None for NULL, which becomes :data:`~onnx_models.signature.NULL_TEXT`. A NaN that a caller has
as a number is NULL, too: the graph cannot tell them apart.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .errors import InvalidArtifact, InvalidFeatures, InvalidSignature, OutOfMemory, ScoringFailed
from .outputs import class_indexes, probability_matrix, regression_values
from .signature import METADATA_KEY, NULL_TEXT, Feature, Signature

#: rows that go through the graph at a time: what its nodes hand to each other stays in the processor's cache
#: (measured, 20,000 rows: one-hot with a linear model 10.7 -> 7.7 ms, 10 numbers 2.4 -> 2.0 ms)
SLICE_ROWS = 2_048
#: one feature's values, a row each
Column = NDArray[np.float64] | Sequence[str | None]

_NUMBER_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_TEXT_TYPE = "tensor(string)"
#: what ONNX Runtime puts before each message
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


@dataclasses.dataclass
class Scores:
    """What a model says of some rows.

    :ivar value: regression: the value; classification: 0-based index into ``signature.classes``.
        An integer target's values come as the graph gave them; rounding is the caller's.
    :ivar probabilities: shape (rows, classes); None for regression, and for classifiers without
    """

    value: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None


@dataclasses.dataclass(frozen=True)
class _Input:
    """One input of the graph: its name, element type (None: text) and whether it has one axis only."""

    name: str
    dtype: type[np.generic] | None
    flat: bool


class Model:
    """A loaded model; many threads may predict with it at once.

    :param session: a session over the graph
    :param signature: what the graph's inputs and outputs mean
    :raises InvalidArtifact: if graph and signature contradict each other
    """

    def __init__(self, session: ort.InferenceSession, signature: Signature) -> None:
        self.signature = signature
        self._session = session
        self._inputs = _bind_inputs(session, signature)
        self._fetch = _bind_outputs(session, signature)
        self._texts = {feature.name for feature in signature.features if feature.kind == "text"}
        binding = signature.binding
        labels = binding.labels if binding.labels is not None else tuple(range(len(signature.classes)))
        self._index_of = {label: index for index, label in enumerate(labels)}

    @classmethod
    def load(cls, artifact: bytes, *, threads: int = 1, signature: Signature | None = None) -> Model:
        """Load an artifact from its bytes.

        Bytes that nobody has checked yet go through :func:`onnx_models.artifact.check` first.

        :param artifact: an ONNX file
        :param threads: threads that one prediction may use
        :param signature: instead of the one inside the artifact
        :raises InvalidArtifact: if ONNX Runtime refuses the bytes or they have no signature
        :raises InvalidSignature: if the signature cannot be read
        """
        try:
            session = ort.InferenceSession(
                artifact, session_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # ONNX Runtime has a dozen unrelated classes and std::exception becomes RuntimeError
            _raise_if_out_of_memory(error)
            raise InvalidArtifact(f"ONNX Runtime cannot load the model: {_clause(error)}") from error
        return cls(session, signature or read_signature(session))

    def predict(
        self,
        columns: Mapping[str, Column],
        rows: int,
        *,
        run_options: ort.RunOptions | None = None,
    ) -> Scores:
        """Score some rows.

        :param columns: values by feature name, ``rows`` each; other names are ignored
        :param rows: number of rows, from 0
        :param run_options: to terminate the run from another thread
        :raises InvalidFeatures: if a feature is missing, NULL where NULL cannot be, or of the wrong kind
        :raises ScoringFailed: if the graph fails; :class:`OutOfMemory` if for want of memory
        """
        self._check_names(columns)
        if rows == 0:
            return self._no_rows()
        if self.signature.on_missing == "error":
            self._refuse_missing(columns)
        feed = (
            self._matrix_feed(columns, rows)
            if self.signature.binding.layout == "matrix"
            else self._column_feeds(columns, rows)
        )
        parts = []
        for start in range(0, rows, SLICE_ROWS):
            stop = min(start + SLICE_ROWS, rows)
            piece = (
                feed if rows <= SLICE_ROWS else {name: values[start:stop] for name, values in feed.items()}
            )
            try:
                outputs = self._session.run(self._fetch, piece, run_options)
            except Exception as error:
                _raise_if_out_of_memory(error)
                raise ScoringFailed(f"the model's graph failed: {_clause(error)}") from error
            parts.append(self._scores(dict(zip(self._fetch, outputs, strict=True)), stop - start))
        return _joined(parts)

    def _check_names(self, columns: Mapping[str, Column]) -> None:
        missing = [feature.name for feature in self.signature.features if feature.name not in columns]
        if missing:
            names = ", ".join(map(repr, missing))
            raise InvalidFeatures(
                f"missing feature{'s' if len(missing) > 1 else ''} {names}",
                hint="give every feature a value; NULL counts as one",
            )

    def _refuse_missing(self, columns: Mapping[str, Column]) -> None:
        for feature in self.signature.features:
            row = _first_missing(feature, columns[feature.name])
            if row is not None:
                raise InvalidFeatures(
                    f"feature {feature.name!r} is NULL in row {row + 1}",
                    hint="this model was trained without NULL and has no rule for it",
                )

    def _matrix_feed(self, columns: Mapping[str, Column], rows: int) -> dict[str, NDArray[Any]]:
        bound = self._inputs[0]
        dtype = bound.dtype or np.float64
        matrix = np.empty((rows, len(self.signature.features)), dtype)
        for position, feature in enumerate(self.signature.features):
            matrix[:, position] = _cast(feature, _numbers(feature, columns[feature.name], rows), dtype)
        return {bound.name: matrix}

    def _column_feeds(self, columns: Mapping[str, Column], rows: int) -> dict[str, NDArray[Any]]:
        feeds = {}
        for bound, feature in zip(self._inputs, self.signature.features, strict=True):
            column = columns[feature.name]
            if bound.dtype is None:
                values = _texts(feature, column, rows)
            else:
                values = _cast(feature, _numbers(feature, column, rows), bound.dtype)
            feeds[bound.name] = values if bound.flat else values.reshape(rows, 1)
        return feeds

    def _scores(self, outputs: Mapping[str | None, Any], rows: int) -> Scores:
        binding, classes = self.signature.binding, self.signature.classes
        if not classes:
            return Scores(regression_values(outputs[self._fetch[0]], rows), None)
        probabilities = None
        if binding.probabilities is not None:
            probabilities = probability_matrix(
                outputs[binding.probabilities], tuple(self._index_of), len(classes), rows
            )
        if binding.label is None and probabilities is not None:
            return Scores(np.argmax(probabilities, axis=1).astype(np.float64), probabilities)
        return Scores(class_indexes(outputs[binding.label], self._index_of, rows), probabilities)

    def _no_rows(self) -> Scores:
        classes = len(self.signature.classes)
        has_probabilities = self.signature.binding.probabilities is not None and classes
        return Scores(np.empty(0), np.empty((0, classes)) if has_probabilities else None)


def _joined(parts: Sequence[Scores]) -> Scores:
    if len(parts) == 1:
        return parts[0]
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return Scores(
        np.concatenate([part.value for part in parts]),
        np.concatenate(probabilities) if probabilities else None,
    )


def session_options(threads: int) -> ort.SessionOptions:
    """Return the options of every session of ours.

    :param threads: threads that one run may use
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # the arena never gives memory back to the system, the pattern keeps the largest batch's
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return options


def read_signature(session: ort.InferenceSession) -> Signature:
    """Return the signature inside a loaded artifact.

    :raises InvalidArtifact: if it has none
    :raises InvalidSignature: if it cannot be read
    """
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise InvalidArtifact(
            f"the model has no metadata property {METADATA_KEY!r}",
            hint="pgpredict import adds it to ONNX files of other origin",
        )
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidSignature("the model's signature is not JSON") from error
    if not isinstance(value, dict):
        raise InvalidSignature("the model's signature is not a JSON object")
    return Signature.from_json(value)


def _bind_inputs(session: ort.InferenceSession, signature: Signature) -> list[_Input]:
    graph = {node.name: node for node in session.get_inputs()}
    wanted = signature.binding.inputs
    if set(graph) != set(wanted):
        raise InvalidArtifact(f"the graph takes {sorted(graph)}, the signature says {sorted(wanted)}")
    bound = []
    for name in wanted:
        node = graph[name]
        if node.type not in _NUMBER_TYPES and node.type != _TEXT_TYPE:
            raise InvalidArtifact(f"the graph's input {name!r} is a {node.type}, which no column can be")
        if node.shape and isinstance(node.shape[0], int):
            raise InvalidArtifact(
                f"the graph's input {name!r} takes batches of exactly {node.shape[0]} rows",
                hint="export the model with a dynamic batch axis",
            )
        bound.append(_Input(name, _NUMBER_TYPES.get(node.type), len(node.shape or ()) == 1))
    _check_kinds(bound, signature)
    return bound


def _check_kinds(bound: Sequence[_Input], signature: Signature) -> None:
    if signature.binding.layout == "matrix":
        if bound[0].dtype is None:
            raise InvalidArtifact(f"the graph's matrix {bound[0].name!r} is of texts")
        return
    for item, feature in zip(bound, signature.features, strict=True):
        if (item.dtype is None) != (feature.kind == "text"):
            raise InvalidArtifact(
                f"feature {feature.name!r} is of kind {feature.kind!r}, "
                f"the graph's input {item.name!r} is not"
            )


def _bind_outputs(session: ort.InferenceSession, signature: Signature) -> list[str]:
    graph = {node.name: node for node in session.get_outputs()}
    binding = signature.binding
    wanted = [name for name in (binding.label, binding.probabilities) if name is not None]
    if signature.task == "regression":
        floats = [name for name, node in graph.items() if node.type in ("tensor(float)", "tensor(double)")]
        wanted = [binding.label] if binding.label is not None else floats[:1]
    if not wanted:
        raise InvalidArtifact(f"none of the graph's outputs {sorted(graph)} is the prediction")
    for name in wanted:
        if name not in graph:
            raise InvalidArtifact(f"the graph has no output {name!r}, only {sorted(graph)}")
    return wanted


def _first_missing(feature: Feature, column: Column) -> int | None:
    if isinstance(column, np.ndarray) and column.dtype != object:
        missing = np.isnan(column)
        return int(np.argmax(missing)) if missing.any() else None
    return next((row for row, value in enumerate(column) if value is None), None)


def _numbers(feature: Feature, column: Column, rows: int) -> NDArray[np.float64]:
    try:
        values = column if isinstance(column, np.ndarray) else np.asarray(column)
        if values.dtype != np.float64:
            values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidFeatures(f"feature {feature.name!r} is text where a {feature.kind} is due") from error
    if values.shape != (rows,):
        raise InvalidFeatures(f"feature {feature.name!r} has shape {values.shape} for {rows} rows")
    return values


def _cast(feature: Feature, values: NDArray[np.float64], dtype: type[np.generic]) -> NDArray[Any]:
    if dtype is np.float64:
        return values if values.flags.c_contiguous else np.ascontiguousarray(values)
    if issubclass(dtype, np.floating):
        # beyond the type's range is infinity, which is what scikit-learn's cast gives, too
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    with np.errstate(invalid="ignore"):
        cast = values.astype(dtype)
    wrong = cast != values
    if wrong.any():
        row = int(np.argmax(wrong))
        value = "NULL" if np.isnan(values[row]) else repr(float(values[row]))
        raise InvalidFeatures(
            f"feature {feature.name!r} is {value} in row {row + 1}, the model takes {np.dtype(dtype).name}",
        )
    return cast


def _texts(feature: Feature, column: Column, rows: int) -> NDArray[Any]:
    if isinstance(column, np.ndarray) and column.dtype.kind == "f":
        raise InvalidFeatures(f"feature {feature.name!r} is a number where text is due")
    if len(column) != rows:
        raise InvalidFeatures(f"feature {feature.name!r} has {len(column)} values for {rows} rows")
    if NULL_TEXT in column:
        raise InvalidFeatures(f"feature {feature.name!r} contains the text that stands for NULL")
    if None in column:
        column = [NULL_TEXT if value is None else value for value in column]
    return np.array(column, dtype=object)


def _raise_if_out_of_memory(error: Exception) -> None:
    """Tell the one failure that is not the model's fault alone; ONNX Runtime has no class for it."""
    if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "Failed to allocate" in str(error):
        raise OutOfMemory(
            f"the model's graph ran out of memory: {_clause(error)}",
            hint="predict fewer rows at a time, or give the runtime more memory",
        ) from error


def _clause(error: Exception) -> str:
    """Return an error's text as one line of bounded length."""
    text = _PREFIX.sub("", " ".join(str(error).split())) or type(error).__name__
    return text[:500]
