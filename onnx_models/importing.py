"""Models of other origin: what their graph says of itself, completed by what the user says.

A graph tells its inputs' and outputs' names, types and shapes; classifiers often their class labels. It never
tells what PostgreSQL calls the types, and one matrix of columns has no column names, unless the file's
metadata have them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import onnxruntime as ort

from . import artifact as artifacts
from .errors import InvalidArtifact, InvalidParameter, ModelError, ScoringFailed
from .labels import canonical
from .reserved import RESERVED
from .scoring import Column, Model, Scores
from .signature import KINDS, METADATA_KEY, NULL_TEXT, Binding, Feature, Signature, Target, Task

#: what people write, beside PostgreSQL's own names
ALIASES = {
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float": "double precision",
    "float8": "double precision",
    "double": "double precision",
    "decimal": "numeric",
    "bool": "boolean",
    "varchar": "character varying",
    "char": "character",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
}
#: ONNX element type -> PostgreSQL type; 1 float, 11 double, 10 float16, 6 int32, 7 int64, ...
_SQL_TYPES = {
    1: "double precision", 10: "double precision", 11: "double precision", 2: "smallint", 3: "smallint",
    5: "smallint", 6: "integer", 7: "bigint", 8: "text", 9: "boolean",
}  # fmt: skip
_FLOATS, _TEXT, _WHOLE = (1, 10, 11), 8, (3, 5, 6, 7)
_LABEL_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_WORD_ATTRIBUTES = ("cats_strings", "keys_strings")
_NAME_KEYS = ("feature_names", "feature_names_in_", "features")
#: scores of a matrix of five rows and of each row alone may differ by this, relatively
_TOLERANCE = 1e-4
#: seconds that a graph may take for its sample rows; one that loops for ever is stopped
_PATIENCE = 30.0


@dataclasses.dataclass(frozen=True)
class Given:
    """What the user says of a model.

    :ivar features: (name, type or None) in the order of the graph's columns
    :ivar classes: labels in the order of the probabilities
    :ivar target: (name, type or None)
    :ivar output: the output that holds the value or the probabilities
    :ivar on_missing: what NULL does; None: found out by trying
    """

    features: tuple[tuple[str, str | None], ...] = ()
    classes: tuple[str, ...] = ()
    task: Literal["classification", "regression"] | None = None
    target: tuple[str, str | None] | None = None
    output: str | None = None
    on_missing: Literal["impute", "error"] | None = None


@dataclasses.dataclass(frozen=True)
class _Port:
    """An input or output: element type 0 for anything but a tensor, and its width, None when unknown."""

    name: str
    element: int
    rank: int
    width: int | None


def import_model(content: bytes, given: Given | None = None) -> tuple[Signature, bytes, int]:
    """Make an ONNX file a model of ours.

    :param content: the file
    :returns: signature, artifact, and the number of sample rows that it was tried on
    :raises InvalidArtifact: if the graph cannot be served
    :raises InvalidParameter: if something is missing that only the user can say, or does not fit the graph
    """
    given = given or Given()
    artifacts.check(content)
    proto = artifacts.parse(content)
    if given == Given() and any(entry.key == METADATA_KEY for entry in proto.metadata_props):
        # one of ours, exported: it knows everything about itself
        model = Model.load(content)
        return model.signature, content, _try(model, model.signature, tuple(_words(proto)))
    features, layout, inputs = _features(proto, given)
    task, binding, classes, target = _outputs(proto, given, layout, inputs)
    signature = Signature(task, target, features, binding, classes, given.on_missing or "error")
    words = tuple(_words(proto))
    rows = _try(Model.load(content, signature=signature), signature, words)
    if given.on_missing is None and _takes_null(content, signature, words):
        signature = dataclasses.replace(signature, on_missing="impute")
    return signature, artifacts.with_signature(content, signature), rows


def sql_type(name: str) -> str:
    """Return PostgreSQL's full name of a type.

    :raises InvalidParameter: for a type that no feature can have
    """
    full = ALIASES.get(name.strip().lower(), name.strip().lower())
    if full not in KINDS:
        raise InvalidParameter(f"type {name!r} cannot be used", hint=f"choose {', '.join(KINDS)}")
    return full


def _features(
    proto: Any, given: Given
) -> tuple[tuple[Feature, ...], Literal["columns", "matrix"], tuple[str, ...]]:
    stored = {item.name for item in proto.graph.initializer}
    ports = [_port(item) for item in proto.graph.input if item.name not in stored]
    if not ports:
        raise InvalidArtifact("the graph has no input")
    for port in ports:
        if port.element not in _SQL_TYPES:
            raise InvalidArtifact(f"the graph's input {port.name!r} is of a type that no column can be")
    if len(ports) == 1 and ports[0].width != 1 and ports[0].rank >= 2:
        return _matrix_features(proto, ports[0], given)
    wide = next((port for port in ports if port.width not in (1, None)), None)
    if wide is not None:
        raise InvalidArtifact(
            f"the graph's input {wide.name!r} takes {wide.width} columns beside other inputs",
            hint="export the model with one input a column, or with one matrix",
        )
    return _column_features(ports, given)


def _matrix_features(
    proto: Any, port: _Port, given: Given
) -> tuple[tuple[Feature, ...], Literal["matrix"], tuple[str, ...]]:
    if port.rank != 2:
        raise InvalidArtifact(f"the graph's input {port.name!r} has {port.rank} axes: it is no tabular model")
    if port.element == _TEXT:
        raise InvalidArtifact(
            f"the graph's matrix {port.name!r} is of texts", hint="export it with one input a column"
        )
    named = given.features or tuple((name, None) for name in _names_in_metadata(proto))
    width = "some" if port.width is None else str(port.width)
    if not named:
        raise InvalidParameter(
            f"the graph takes a matrix of {width} columns, and the file does not name them",
            hint="name them in their order: --feature age:integer --feature income:numeric ...",
        )
    if port.width is not None and len(named) != port.width:
        raise InvalidParameter(
            f"{len(named)} features for a matrix of {port.width} columns",
            hint="give --feature once for each column, in their order",
        )
    features = tuple(_feature(name, kind or _SQL_TYPES[port.element]) for name, kind in named)
    text = next((feature for feature in features if feature.kind == "text"), None)
    if text is not None:
        raise InvalidParameter(f"feature {text.name!r} is {text.type}, the graph's matrix takes numbers")
    return features, "matrix", (port.name,)


def _column_features(
    ports: Sequence[_Port], given: Given
) -> tuple[tuple[Feature, ...], Literal["columns"], tuple[str, ...]]:
    names = [port.name for port in ports]
    chosen = dict(given.features)
    if given.features and not set(chosen) <= set(names):
        if len(given.features) != len(ports):
            strange = next(name for name in chosen if name not in names)
            raise InvalidParameter(
                f"the graph has no input {strange!r}",
                hint=f"its inputs are {', '.join(names)}; give all in this order to name them otherwise",
            )
        pairs = list(given.features)
    else:
        pairs = [(name, chosen.get(name)) for name in names]
    features = []
    for port, (name, kind) in zip(ports, pairs, strict=True):
        feature = _feature(name, kind or _SQL_TYPES[port.element])
        if (feature.kind == "text") != (port.element == _TEXT):
            raise InvalidParameter(
                f"feature {name!r} is {feature.type}, the graph's input {port.name!r} is "
                f"{'text' if port.element == _TEXT else 'a number'}"
            )
        features.append(feature)
    return tuple(features), "columns", tuple(names)


def _feature(name: str, type_name: str) -> Feature:
    if name in RESERVED:
        raise InvalidParameter(
            f"feature {name!r} is named like a column of every model table",
            hint="give all features other names, in their order, with --feature",
        )
    full = sql_type(type_name)
    return Feature(name, full, KINDS[full])


def _outputs(
    proto: Any, given: Given, layout: Literal["columns", "matrix"], inputs: tuple[str, ...]
) -> tuple[Task, Binding, tuple[str, ...], Target]:
    ports = [_port(item) for item in proto.graph.output]
    by_name = {port.name: port for port in ports}
    if given.output is not None and given.output not in by_name:
        raise InvalidParameter(
            f"the graph has no output {given.output!r}", hint=f"its outputs are {', '.join(by_name)}"
        )
    # a sequence or map is what ZipMap gives: probabilities by label
    scores = [port for port in ports if port.element in _FLOATS or port.element == 0]
    labels = [port for port in ports if port.element in _WHOLE or port.element == _TEXT]
    found = tuple(_labels(proto))
    is_classifier = given.task == "classification" or (
        given.task is None and bool(given.classes or found or (labels and scores))
    )
    if not is_classifier:
        return _regression(given, scores, layout, inputs)
    probabilities = given.output or (scores[0].name if scores else None)
    if probabilities is None:
        raise InvalidArtifact(
            "the graph has no output of probabilities", hint="export the classifier with its probabilities"
        )
    label = next((port.name for port in labels if port.name != probabilities), None)
    if not found and not given.classes:
        width = by_name[probabilities].width
        raise InvalidParameter(
            "the file does not name the classes",
            hint="name them in the order of the probabilities: --class no --class yes"
            + (f" ({width} of them)" if width and width > 1 else ""),
        )
    if found and given.classes and len(found) != len(given.classes):
        raise InvalidParameter(
            f"{len(given.classes)} classes, the graph has {len(found)}: {', '.join(map(str, found))}"
        )
    classes = given.classes or tuple(str(value) for value in found)
    graph_labels: tuple[int | str, ...] = found or tuple(range(len(classes)))
    if not found and label is not None and by_name[label].element == _TEXT:
        graph_labels = classes
    whole = all(isinstance(value, int) for value in graph_labels) and not given.classes
    target = _target(given, "bigint" if whole else "text")
    classes = tuple(_class_label(label, target) for label in classes)
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InvalidParameter(f"classes {', '.join(classes)}: at least two different ones are needed")
    binding = Binding(layout, inputs, label, probabilities, graph_labels)
    return "binary" if len(classes) == 2 else "multiclass", binding, classes, target


def _class_label(label: str, target: Target) -> str:
    """Return a label as the target's type writes it: 1 of a boolean target is ``true``."""
    try:
        return canonical(label, target.type)
    except ValueError as error:
        raise InvalidParameter(
            f"class {label!r} is no label of a target of type {target.type}",
            hint=f"name the classes with --class, or take --target {target.name}:text",
        ) from error


def _regression(
    given: Given, scores: Sequence[_Port], layout: Literal["columns", "matrix"], inputs: tuple[str, ...]
) -> tuple[Task, Binding, tuple[str, ...], Target]:
    if given.classes:
        raise InvalidParameter("a regression has no classes", hint="leave --class or --task out")
    tensors = [port for port in scores if port.element]
    name = given.output or (tensors[0].name if tensors else None)
    if name is None:
        raise InvalidArtifact("the graph has no output of numbers")
    width = next((port.width for port in tensors if port.name == name), None)
    if width is not None and width > 1:
        raise InvalidParameter(
            f"the output {name!r} has {width} columns, a regression has one",
            hint="for probabilities of classes give --task classification and --class for each",
        )
    return "regression", Binding(layout, inputs, name), (), _target(given, "double precision")


def _target(given: Given, default: str) -> Target:
    name, kind = given.target or ("target", None)
    return Target(name, sql_type(kind) if kind else default)


def _port(item: Any) -> _Port:
    if not item.type.HasField("tensor_type"):
        return _Port(item.name, 0, 0, None)
    tensor = item.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim]
    width = 1 if len(dims) < 2 else dims[1]
    return _Port(item.name, tensor.elem_type, len(dims), width)


def _labels(proto: Any) -> Iterator[int | str]:
    """Yield the class labels that a classifier's node names."""
    for node in reversed(proto.graph.node):
        for attribute in node.attribute:
            if attribute.name in _LABEL_ATTRIBUTES and (attribute.strings or attribute.ints):
                try:
                    yield from [text.decode() for text in attribute.strings]
                except UnicodeDecodeError as error:
                    raise InvalidArtifact("the graph has class labels that are not UTF-8") from error
                yield from attribute.ints
                return


def _words(proto: Any) -> Iterator[str]:
    """Yield texts that the graph knows, fit for sample rows."""
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name in _WORD_ATTRIBUTES:
                texts = (text.decode(errors="replace") for text in attribute.strings[:5])
                yield from (text for text in texts if text != NULL_TEXT)


def _names_in_metadata(proto: Any) -> list[str]:
    for entry in proto.metadata_props:
        if entry.key in _NAME_KEYS:
            try:
                names = json.loads(entry.value)
            except ValueError:
                names = [name.strip() for name in entry.value.split(",")]
            if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
                return names
    return []


def _sample(signature: Signature, words: Sequence[str], rows: int) -> dict[str, Column]:
    """Return ordinary rows: small numbers, flags, moments of this century, texts that the graph knows."""
    generator = np.random.default_rng(0)
    columns: dict[str, Column] = {}
    for feature in signature.features:
        if feature.kind == "text":
            columns[feature.name] = [words[int(k) % len(words)] if words else "" for k in range(rows)]
        elif feature.kind == "boolean":
            columns[feature.name] = generator.integers(0, 2, rows).astype(np.float64)
        elif feature.kind == "number":
            columns[feature.name] = generator.integers(0, 10, rows).astype(np.float64)
        else:
            days = generator.integers(0, 19_000, rows).astype(np.float64)
            columns[feature.name] = days * 86_400.0
    return columns


def _try(model: Model, signature: Signature, words: Sequence[str]) -> int:
    """Score sample rows together and one by one; both must be the same sensible numbers."""
    rows = 5
    columns = _sample(signature, words, rows)
    with _patience() as run_options:
        together = model.predict(columns, rows, run_options=run_options)
        each = [
            model.predict(
                {name: column[row : row + 1] for name, column in columns.items()}, 1, run_options=run_options
            )
            for row in range(rows)
        ]
    _check_scores(signature, together)
    for row, alone in enumerate(each):
        numbers, single = _numbers(together)[row], _numbers(alone)[0]
        if not np.allclose(numbers, single, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise InvalidArtifact(
                f"row {row + 1} of a batch scores {numbers.tolist()}, alone it scores {single.tolist()}",
                hint="the graph mixes rows; export it in evaluation mode, with a dynamic batch axis",
            )
    return rows


@contextlib.contextmanager
def _patience() -> Iterator[ort.RunOptions]:
    """Give the options of runs that end when patience does.

    :raises InvalidArtifact: if it did
    """
    options, ended = ort.RunOptions(), threading.Event()

    def end() -> None:
        ended.set()
        options.terminate = True

    timer = threading.Timer(_PATIENCE, end)
    timer.daemon = True
    timer.start()
    try:
        yield options
    except ScoringFailed as error:
        if not ended.is_set():
            raise
        raise InvalidArtifact(
            f"the graph did not come to an end with a few rows within {_PATIENCE:g} seconds",
            hint="look for a loop without a bound in it",
        ) from error
    finally:
        timer.cancel()


def _check_scores(signature: Signature, scores: Scores) -> None:
    if not np.isfinite(_numbers(scores)).all():
        raise InvalidArtifact("the graph gives NaN or infinity on sample rows")
    if scores.probabilities is None:
        return
    low, high = float(scores.probabilities.min()), float(scores.probabilities.max())
    total = scores.probabilities.sum(axis=1)
    if low < -_TOLERANCE or high > 1.0 + _TOLERANCE or np.abs(total - 1.0).max() > 1e-3:
        raise InvalidArtifact(
            f"output {signature.binding.probabilities!r} gives {scores.probabilities[0].tolist()}, "
            "which are no probabilities",
            hint="export the model with softmax or sigmoid at its end, or name the right --output",
        )


def _numbers(scores: Scores) -> Any:
    return scores.value.reshape(-1, 1) if scores.probabilities is None else scores.probabilities


def _takes_null(content: bytes, signature: Signature, words: Sequence[str]) -> bool:
    """Tell whether NULL in each feature, and in all, gives sensible scores."""
    model = Model.load(content, signature=dataclasses.replace(signature, on_missing="impute"))
    count = len(signature.features)
    columns = _sample(signature, words, count + 1)
    for position, feature in enumerate(signature.features):
        column = list(columns[feature.name])
        for row in (position, count):
            column[row] = None if feature.kind == "text" else float("nan")
        columns[feature.name] = column if feature.kind == "text" else np.array(column, np.float64)
    try:
        with _patience() as run_options:
            scores = model.predict(columns, count + 1, run_options=run_options)
    except ModelError:
        return False
    return bool(np.isfinite(_numbers(scores)).all())
