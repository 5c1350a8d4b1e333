"""Models on a terminal: metrics beside their baseline, parity, features, and statements to try."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from onnx_models.training_query import bare
from rewriter.names import quote

#: name in the metrics, how people call it, whether more is better
METRICS = (
    ("accuracy", "accuracy", True),
    ("roc_auc", "ROC AUC", True),
    ("average_precision", "average precision", True),
    ("f1", "F1", True),
    ("log_loss", "log loss", False),
    ("r2", "R²", True),
    ("mae", "mean absolute error", False),
    ("rmse", "root mean squared error", False),
)
#: classes of a confusion matrix that fit a terminal
_MOST_CLASSES = 12


def metrics_table(metrics: Mapping[str, Any]) -> Table:
    """Return held-out metrics beside those of a guess."""
    baseline = metrics.get("baseline") or {}
    title = f"measured on {metrics.get('rows', 0):,} held-out rows"
    table = Table(box=box.SIMPLE_HEAD, title=title, min_width=len(title), title_justify="left")
    table.add_column("metric")
    table.add_column("model", justify="right")
    table.add_column("guess", justify="right", style="dim")
    table.add_column("")
    for key, label, more_is_better in METRICS:
        value, guess = metrics.get(key), baseline.get(key)
        if value is None:
            continue
        verdict = ""
        if guess is not None and value != guess:
            verdict = "[green]better[/]" if (value > guess) == more_is_better else "[red]worse[/]"
        table.add_row(label, number(value), "" if guess is None else number(guess), verdict)
    return table


def confusion_table(metrics: Mapping[str, Any], classes: Sequence[str]) -> Table | None:
    """Return the confusion matrix, None where there is none or it is too wide."""
    matrix = metrics.get("confusion_matrix")
    if not matrix or len(classes) > _MOST_CLASSES:
        return None
    title = "rows by true class (down) and prediction (across)"
    table = Table(box=box.SIMPLE_HEAD, title=title, min_width=len(title), title_justify="left")
    table.add_column("")
    for label in classes:
        table.add_column(escape(label), justify="right")
    for position, (label, counts) in enumerate(zip(classes, matrix, strict=True)):
        cells = [f"[green]{n:,}[/]" if column == position else f"{n:,}" for column, n in enumerate(counts)]
        table.add_row(escape(label), *cells)
    return table


def features_table(features: Sequence[Mapping[str, Any]], on_missing: str) -> Table:
    """Return features with their types and what NULL does."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("feature", "type", "NULL in training", "known texts"):
        table.add_column(heading)
    for feature in features:
        null = "yes" if feature.get("nullable") else ""
        categories = feature.get("categories") or ()
        shown = ", ".join(categories[:4]) + (f", … ({len(categories)})" if len(categories) > 4 else "")
        table.add_row(
            escape(feature["name"]),
            escape(feature["type"]),
            "is an error" if on_missing == "error" else null,
            escape(shown),
        )
    return table


def parity_line(parity: Mapping[str, Any]) -> str:
    """Say what the parity gate found."""
    if "max_difference" not in parity:
        return f"tried on {parity.get('sample_rows', 0)} sample rows" if parity else "not compared"
    labels = "all labels equal, " if parity.get("labels_equal") else ""
    return (
        f"ONNX Runtime and scikit-learn agree on {parity['rows']:,} held-out and "
        f"{parity['edge_rows']:,} edge rows: "
        f"{labels}largest difference {parity['max_difference']:.1e}, allowed {parity['bound']:.0e}"
    )


def behaviour_lines(version: Mapping[str, Any]) -> list[str]:
    """Say what a version does with NULL, whether it can run as SQL, and what it does not look at."""
    missing = (
        "an error, the model has no rule for them; override with ON MISSING NULL"
        if version["signature"]["on_missing"] == "error"
        else "imputed by the model; override with ON MISSING ERROR or ON MISSING NULL"
    )
    inline = (
        "certified equal to the ONNX model, PREDICT may run as plain SQL"
        if version["inline"]
        else "none, PREDICT runs in the runtime"
    )
    lines = [f"missing features: {missing}", f"SQL form: {inline}"]
    if version["unused"]:
        lines.append(f"no influence: {', '.join(version['unused'])}; PREDICT does not read them")
    return lines


def number(value: float) -> str:
    """Return a number with four significant digits."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def try_it(name: str, training: Mapping[str, Any]) -> str | None:
    """Return a command that predicts the training query's rows, None where there is no query."""
    query = training.get("query")
    if not query:
        return None
    flat = bare(str(query))
    source = flat[6:] if re.fullmatch(r'TABLE [\w."]+', flat) else f"({flat}) AS t"
    if "\n" in source or "--" in source:
        return None
    # text to be shown, not run
    statement = f"SELECT *, PREDICT({quote(name)}) FROM {source} LIMIT 5"  # noqa: S608
    return f"pgpredict query {shlex.quote(statement)}"


def select_it(name: str, signature: Mapping[str, Any]) -> str:
    """Return a SELECT from the model table, with a place for every value."""
    conditions = " AND ".join(f"{quote(feature['name'])} = …" for feature in signature["features"])
    columns = "prediction" if signature["task"] == "regression" else "prediction, probability"
    return f"SELECT {columns} FROM models.{quote(name)} WHERE {conditions}"  # noqa: S608
