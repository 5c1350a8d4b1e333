"""From a training table to a verified artifact; nothing here needs a database.

The steps are: encode the target, split, fit the preprocessing and the estimator, export both as one graph,
measure on held-out rows, and pass the parity gate.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .automatic import choose_algorithm
from .edges import edge_rows
from .errors import InvalidParameter, InvalidTrainingData
from .families import ALGORITHMS, AUTO, Algorithm, ParameterValue, choose
from .fitting import Options, Progress, Report, fit
from .graph import Graph
from .inline.building import FORM_KEY, small_form
from .metrics import evaluate
from .parity import Fitted, verify
from .signature import METADATA_KEY, Binding, Feature, Signature, Target
from .table import Columns, Texts, TrainingTable, take
from .task import EncodedTarget, encode_target

__all__ = ["Options", "Progress", "Report", "Trained", "train_table"]

FEWEST_ROWS = 10
#: held-out rows for algorithms that compare every row with every training row
_FEW_HELD_OUT = 5_000
#: held-out rows that are kept with what was trained
_SAMPLE = 5_000


@dataclasses.dataclass(frozen=True)
class Trained:
    """A verified model, ready to be stored.

    :ivar artifact: ONNX with the signature in its metadata
    :ivar parameters: all hyperparameters
    :ivar metrics: of held-out rows
    :ivar parity: what the parity gate compared
    :ivar training: rows, seconds, seed, what ``auto`` tried
    :ivar fitted: the pipeline in Python, for comparisons
    :ivar sample: some of the rows that were held out
    """

    signature: Signature
    artifact: bytes
    algorithm: str
    parameters: Mapping[str, ParameterValue]
    metrics: Mapping[str, Any]
    parity: Mapping[str, Any]
    training: Mapping[str, Any]
    fitted: Fitted
    sample: Columns


def train_table(
    table: TrainingTable, options: Options | None = None, report: Report | None = None
) -> Trained:
    """Train, convert and verify a model.

    :raises InvalidTrainingData: if the rows do not make a model
    :raises InvalidParameter: for an algorithm, task or hyperparameter that is not offered
    :raises ParityError: if the graph does not say what scikit-learn says
    """
    options, tell = options or Options(), report or (lambda progress: None)
    started = time.monotonic()
    check_options(options)
    _check_size(table)
    target = encode_target(table, options.task)
    for text in _look_over(table):
        tell(Progress("warning", text))
    train_rows, test_rows = split(target, table.time, options.test_size, options.seed)
    algorithm, tried = _choose(table, target, train_rows, options, tell)
    parameters = algorithm.read_parameters(options.parameters)
    if algorithm.most_rows:
        train_rows = sample(train_rows, algorithm.most_rows, target, options.seed)
        test_rows = sample(test_rows, _FEW_HELD_OUT, target, options.seed)
    tell(Progress("fitting", f"{algorithm.name} on {len(train_rows):,} rows"))
    fitted, notes = fit(table, target, train_rows, algorithm, parameters, options)
    for text in notes:
        tell(Progress("warning", text))
    seconds = time.monotonic() - started
    tell(Progress("converting", f"{fitted.preprocessing.width} columns after preprocessing"))
    signature, artifact = export(fitted, algorithm, table, target)
    held_out = take(table.columns, test_rows)
    tell(
        Progress(
            "verifying", f"{len(test_rows):,} held-out rows and edge rows, ONNX Runtime against scikit-learn"
        )
    )
    reference = fitted.predict(held_out)
    thresholds = algorithm.thresholds(fitted.estimator) if algorithm.thresholds else []
    edges = edge_rows(fitted.preprocessing, held_out, thresholds, options.seed)
    parity = verify(artifact, fitted, held_out, reference, edges)
    known = target.values[train_rows]
    metrics = evaluate(
        target.values[test_rows], reference.value, reference.probabilities, target.classes, known
    )
    training = {
        "rows": len(train_rows),
        "rows_read": table.rows + table.dropped,
        "target_null": table.dropped,
        "test_rows": len(test_rows),
        "seconds": round(seconds, 3),
        "seed": options.seed,
        "columns": fitted.preprocessing.width,
        "artifact_bytes": len(artifact),
        **({"tried": tried} if tried else {}),
        **({"warnings": notes} if notes else {}),
    }
    some = take(held_out, np.arange(min(len(test_rows), _SAMPLE)))
    return Trained(signature, artifact, algorithm.name, parameters, metrics, parity, training, fitted, some)


def split(
    target: EncodedTarget, order: NDArray[np.float64] | None, test_size: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to train on and the rows held out.

    Each class is split by itself and has rows on both sides. With an order the newest rows are held out.

    :param order: a number a row, NaN-free; larger is newer
    :param test_size: share of rows held out, between 0 and 1
    :returns: row numbers, ascending; neither is empty
    :raises InvalidTrainingData: if a class occurs among the held-out rows only
    """
    rows = len(target.values)
    if order is not None:
        by_age = np.argsort(order, kind="stable").astype(np.int64)
        cut = rows - _held_out(rows, test_size)
        train, test = by_age[:cut], by_age[cut:]
        if target.classes and len(np.unique(target.values[train])) < len(target.classes):
            raise InvalidTrainingData(
                "a class occurs in the newest rows only, which are held out",
                hint="leave --time out, or make --test-size smaller",
            )
        return np.sort(train), np.sort(test)
    generator = np.random.default_rng(seed)
    groups = [np.arange(rows)]
    if target.classes:
        groups = [np.flatnonzero(target.values == c) for c in range(len(target.classes))]
    held = np.concatenate(
        [generator.permutation(group)[: _held_out(len(group), test_size)] for group in groups]
    )
    is_test = np.zeros(rows, np.bool_)
    is_test[held] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _held_out(rows: int, test_size: float) -> int:
    """Return how many of some rows are held out: one at least, and one at least is left."""
    return min(max(1, round(rows * test_size)), rows - 1)


def export(
    fitted: Fitted, algorithm: Algorithm, table: TrainingTable, target: EncodedTarget
) -> tuple[Signature, bytes]:
    """Write preprocessing and estimator as one ONNX graph, with its signature inside."""
    names = input_names(table.features)
    graph = Graph()
    matrix = fitted.preprocessing.export(graph, names)
    outputs = algorithm.export(graph, matrix, fitted.estimator)
    categories = {text.name: text.categories for text in fitted.preprocessing.texts}
    features = tuple(
        dataclasses.replace(feature, categories=categories.get(feature.name)) for feature in table.features
    )
    target_column = Target(table.target_feature.name, table.target_feature.type)
    if outputs.probabilities is None:
        graph.output(outputs.prediction, "value", (None, 1))
        binding = Binding("columns", names, "value")
    else:
        graph.output(outputs.prediction, "label", (None,), integer=True)
        graph.output(outputs.probabilities, "probabilities", (None, len(target.classes)))
        labels = tuple(range(len(target.classes)))
        binding = Binding("columns", names, "label", "probabilities", labels)
    signature = Signature(target.task, target_column, features, binding, target.classes)
    metadata = {METADATA_KEY: json.dumps(signature.to_json())}
    form = algorithm.raw and small_form(fitted.preprocessing, algorithm.raw(fitted.estimator), signature)
    if form:
        # certified again by each database that imports the file
        metadata[FORM_KEY] = json.dumps(form.to_json())
    model = graph.to_model(algorithm.name, metadata)
    return signature, model.SerializeToString()


def input_names(features: Sequence[Feature]) -> tuple[str, ...]:
    """Return names for the graph's inputs: ASCII, unique, and never those of inner nodes."""
    return tuple(
        f"input_{position}_{re.sub(r'[^A-Za-z0-9_]', '_', feature.name)[:40]}"
        for position, feature in enumerate(features)
    )


def check_options(options: Options) -> None:
    """Refuse what no data can make right, before minutes of reading.

    :raises InvalidParameter: for a share, a number or a hyperparameter that is not allowed
    """
    if not 0.0 < options.test_size < 1.0:
        raise InvalidParameter(
            f"test size {options.test_size!r}", hint="give a share between 0 and 1, such as 0.2"
        )
    if options.max_categories < 1:
        raise InvalidParameter(f"max categories {options.max_categories!r}", hint="give 1 or more")
    if options.algorithm in ALGORITHMS:
        ALGORITHMS[options.algorithm].read_parameters(options.parameters)
    elif options.algorithm == AUTO and options.parameters:
        name = next(iter(options.parameters))
        raise InvalidParameter(
            f"parameter {name!r} without an algorithm",
            hint="parameters belong to one; name it with --algorithm",
        )


def _check_size(table: TrainingTable) -> None:
    if not table.features:
        raise InvalidTrainingData("there is no feature", hint="the training query returns the target only")
    if table.rows < FEWEST_ROWS:
        dropped = f" ({table.dropped} more have no target)" if table.dropped else ""
        raise InvalidTrainingData(
            f"{table.rows} rows with a target{dropped} are too few to train and to measure",
            hint=f"at least {FEWEST_ROWS} are needed",
        )


def _look_over(table: TrainingTable) -> list[str]:
    """Return what a person should know of the columns before believing the metrics."""
    texts = []
    for feature in table.features:
        column = table.columns[feature.name]
        if isinstance(column, Texts):
            known = int((column.codes >= 0).sum())
            if known == 0:
                texts.append(f"feature {feature.name!r} is NULL in every row and is not used")
            elif len(column.words) > max(20, known // 2):
                texts.append(
                    f"feature {feature.name!r} has {len(column.words):,} different texts in {known:,} rows, "
                    f"which looks like an identifier; consider --exclude {feature.name}"
                )
        elif np.isnan(column).all():
            texts.append(f"feature {feature.name!r} is NULL in every row and is not used")
    return texts


def _choose(
    table: TrainingTable, target: EncodedTarget, rows: NDArray[np.int64], options: Options, tell: Report
) -> tuple[Algorithm, dict[str, float]]:
    if options.algorithm != AUTO:
        return choose(options.algorithm, target.task), {}
    return choose_algorithm(table, target, rows, options, tell)


def sample(rows: NDArray[np.int64], most: int, target: EncodedTarget, seed: int) -> NDArray[np.int64]:
    """Return some of the rows, one of every class among them: an estimator numbers the classes it sees."""
    if len(rows) <= most:
        return rows
    mixed = np.random.default_rng(seed).permutation(rows)
    if target.classes:
        _, first = np.unique(target.values[mixed], return_index=True)
        mixed = np.concatenate([mixed[first], np.delete(mixed, first)])
    return np.sort(mixed[:most])
