"""Pipelines that were fitted elsewhere: a scikit-learn estimator in a notebook becomes a model by skl2onnx.

What ``pgpredict train`` fits has graphs of its own (``docs/decisions/0010-graphs-in-float64.md``). All other
estimators are for skl2onnx; the rows handed over with the estimator show whether it was exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from . import storing
from .errors import InvalidArtifact, InvalidParameter, InvalidTrainingData, ParityError
from .importing import Given, import_model
from .scoring import Column, Model, Scores
from .signature import Signature

#: labels have to be equal, numbers to differ by no more than this, absolutely or relatively
BOUND = 1e-5
_OPSETS = {"": 21, "ai.onnx.ml": 3}


def store(
    connection: psycopg.Connection,
    name: str,
    estimator: Any,
    sample: Any,
    *,
    target: str = "target",
    target_type: str | None = None,
    deploy: bool = True,
) -> int:
    """Store a fitted estimator as a new version of a model.

    :param connection: outside a transaction
    :param estimator: a scikit-learn estimator or pipeline, fitted
    :param sample: rows as the estimator takes them, a DataFrame or columns by name: they tell the features'
        names and types, and both engines have to agree on them
    :param target: name of the target
    :param target_type: PostgreSQL's name of its type; found from the estimator's classes by default
    :returns: the version's number
    :raises InvalidArtifact: if skl2onnx cannot convert the estimator
    :raises ParityError: if ONNX Runtime and the estimator do not agree on the sample
    """
    storing.check_can_store(connection, name)
    signature, artifact, parity = convert(estimator, sample, target=target, target_type=target_type)
    info = {
        "algorithm": type(final_step(estimator)).__name__,
        "parity": parity,
        "training": {"fitted": "elsewhere"},
    }
    version = storing.register(connection, name, signature, artifact, info)
    if deploy:
        storing.deploy(connection, name, version)
    return version


def convert(
    estimator: Any, sample: Any, *, target: str = "target", target_type: str | None = None
) -> tuple[Signature, bytes, dict[str, Any]]:
    """Convert a fitted estimator with skl2onnx and compare both on the sample.

    Numbers reach the graph as float32 first, which most of skl2onnx's converters are made for, and as
    float64 where that does not agree.

    :returns: signature, artifact, and what was compared
    :raises InvalidArtifact: if skl2onnx cannot convert the estimator
    :raises ParityError: if both do not agree on the sample
    """
    columns = {str(name): np.asarray(sample[name]) for name in sample}
    if not columns or len(next(iter(columns.values()))) == 0:
        raise InvalidTrainingData(
            "the sample has no rows", hint="hand over some rows as the estimator takes them"
        )
    by_column = takes_columns(estimator, columns)
    given = given_of(estimator, columns, (target, target_type))
    failures: list[Exception] = []
    for double in (False, True):
        try:
            content = to_onnx(estimator, columns, by_column=by_column, double=double)
            signature, artifact, _ = import_model(content, given)
            worst = compare(Model.load(artifact), estimator, sample, columns)
        except (ParityError, InvalidArtifact) as error:
            failures.append(error)
            continue
        parity = {"rows": len(next(iter(columns.values()))), "max_difference": worst, "bound": BOUND}
        return signature, artifact, parity
    raise failures[0]


def to_onnx(estimator: Any, columns: Mapping[str, NDArray[Any]], *, by_column: bool, double: bool) -> bytes:
    """Convert with skl2onnx, with one input a column or one matrix.

    :raises InvalidArtifact: if skl2onnx cannot
    """
    import skl2onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    number = DoubleTensorType if double else FloatTensorType
    if by_column:
        inputs = [
            (name, StringTensorType([None, 1]) if is_text(column) else number([None, 1]))
            for name, column in columns.items()
        ]
    else:
        inputs = [("features", number([None, len(columns)]))]
    options = {id(final_step(estimator)): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    try:
        converted = skl2onnx.to_onnx(estimator, initial_types=inputs, options=options, target_opset=_OPSETS)
    # its converters raise whatever they meet
    except Exception as error:
        raise InvalidArtifact(
            f"skl2onnx cannot convert {type(final_step(estimator)).__name__}: {first_line(error)}",
            hint="use another estimator, or `pgpredict train`, which has graphs of its own",
        ) from error
    return bytes(converted.SerializeToString())


def given_of(estimator: Any, columns: Mapping[str, NDArray[Any]], target: tuple[str, str | None]) -> Given:
    """Return what the graph cannot say of itself."""
    features = tuple((name, sql_type_of(name, column)) for name, column in columns.items())
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return Given(features, task="regression", target=(target[0], target[1] or "double precision"))
    labels = np.asarray(classes)
    kind = {"b": "boolean", "i": "bigint", "u": "bigint"}.get(labels.dtype.kind, "text")
    texts = tuple(str(label).lower() if labels.dtype.kind == "b" else str(label) for label in labels.tolist())
    return Given(features, texts, "classification", (target[0], target[1] or kind))


def compare(model: Model, estimator: Any, sample: Any, columns: Mapping[str, NDArray[Any]]) -> float:
    """Score the sample in both engines and return the largest difference.

    :raises ParityError: if a label differs, or a number by more than the bound
    """
    rows = len(next(iter(columns.values())))
    feeds: dict[str, Column] = {
        name: [None if value is None or value != value else str(value) for value in column.tolist()]
        if is_text(column)
        else column.astype(np.float64)
        for name, column in columns.items()
    }
    scores: Scores = model.predict(feeds, rows)
    frame = sample if hasattr(sample, "iloc") else np.column_stack(list(columns.values()))
    if scores.probabilities is None:
        expected = np.asarray(estimator.predict(frame), np.float64).reshape(-1)
        found = scores.value
    else:
        labels = np.asarray(estimator.classes_)[scores.value.astype(np.int64)]
        wrong = np.flatnonzero(labels != np.asarray(estimator.predict(frame)))
        if len(wrong):
            raise ParityError(
                f"{len(wrong)} labels of {rows} rows differ between ONNX Runtime and scikit-learn, "
                f"first row {wrong[0] + 1}",
                hint="nothing was stored",
            )
        expected, found = np.asarray(estimator.predict_proba(frame), np.float64), scores.probabilities
    difference = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    worst = float(difference.max())
    if not worst <= BOUND:
        raise ParityError(
            f"ONNX Runtime and scikit-learn differ by {worst:.3g}, allowed is {BOUND:g}",
            hint="nothing was stored",
        )
    return worst


def takes_columns(estimator: Any, columns: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether a pipeline picks its columns by name, so that each needs an input of its own."""
    from sklearn.compose import ColumnTransformer

    steps = [step for _, step in getattr(estimator, "steps", [])] or [estimator]
    return any(isinstance(step, ColumnTransformer) for step in steps) or any(map(is_text, columns.values()))


def final_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its class where there is none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_text(column: NDArray[Any]) -> bool:
    """Tell whether a column holds texts."""
    return column.dtype.kind in "OUST"


def sql_type_of(name: str, column: NDArray[Any]) -> str:
    """Return PostgreSQL's name of a column's type.

    :raises InvalidParameter: for dates and other types that scikit-learn does not take either
    """
    if is_text(column):
        return "text"
    kinds = {"b": "boolean", "i": "bigint", "u": "bigint", "f": "double precision"}
    if column.dtype.kind not in kinds:
        raise InvalidParameter(
            f"column {name!r} is of type {column.dtype}", hint="hand over numbers, booleans or texts"
        )
    return kinds[column.dtype.kind]
