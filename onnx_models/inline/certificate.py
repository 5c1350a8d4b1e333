"""The certificate: a form's SQL, run by PostgreSQL, gives what ONNX Runtime gives on the same rows.

Without it no statement is ever answered by the form. It is made in the database that the model is stored in,
by the server that will run the SQL, on held-out rows and on such that lie at every border of the form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from onnx_models.scoring import Model, Scores
from onnx_models.table import Columns, Texts, for_scoring, row_count, take

from .form import InlineForm, Wanted
from .raw import NoForm
from .rows import certificate_rows
from .size import check_size

#: largest difference of a number: absolute for probabilities, for values relative to what is usual of them
TOLERANCE = 1e-9
_CHUNK = 2_000
#: milliseconds that PostgreSQL may take for a chunk
_PATIENCE = 30_000
_WHOLE = ("smallint", "integer", "bigint")


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What was compared.

    :ivar rows: on which both gave the same
    :ivar worst: the largest difference
    """

    rows: int
    worst: float

    def __str__(self) -> str:
        return f"certified on {self.rows:,} rows"


def certify(
    connection: psycopg.Connection, form: InlineForm, model: Model, ordinary: Columns, seed: int = 0
) -> Certificate:
    """Compare a form's SQL with a model's graph.

    :param connection: to the database that will run the SQL; outside a transaction, nothing is written
    :param ordinary: rows of all features, one at least
    :raises NoForm: if they differ, or PostgreSQL cannot run the SQL
    """
    check_size(form)
    if form.classes != model.signature.classes:
        raise NoForm("its classes are others")
    encoding = connection.info.parameter_status("server_encoding")
    rows = certificate_rows(form, model.signature, ordinary, seed, only_ascii=encoding != "UTF8")
    expected = model.predict(for_scoring(rows), row_count(rows))
    wanted = [Wanted("value")]
    if form.classes:
        wanted = [Wanted("label"), Wanted("probability"), *(Wanted("probability", c) for c in form.classes)]
    # each output by itself, too: what is shared between them is written in another way
    worst = 0.0
    groups: list[list[Wanted]] = [wanted, *([item] for item in wanted[: 3 if len(wanted) > 1 else 0])]
    whole = model.signature.target.type in _WHOLE
    try:
        for group in groups:
            found = _run(connection, form, rows, group)
            worst = max(worst, _compare(form, group, found, expected, whole=whole))
    except psycopg.Error as error:
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise NoForm(f"PostgreSQL cannot run it: {text}") from error
    return Certificate(row_count(rows), worst)


def _run(
    connection: psycopg.Connection, form: InlineForm, rows: Columns, wanted: Sequence[Wanted]
) -> list[tuple[Any, ...]]:
    names = {name: f"v.f{number}" for number, name in enumerate(form.features)}
    rendered = form.render(names, wanted, "s")
    stages = "".join(f" CROSS JOIN LATERAL {stage.sql}" for stage in rendered.stages)
    columns = ", ".join(name.partition(".")[2] for name in names.values()) or "nothing"
    types = ["pg_catalog.text[]" if item.text else "double precision[]" for item in form.inputs]
    # without features, as many rows as there are
    arrays = ", ".join(f"pg_catalog.unnest(%s::{type_})" for type_ in types or ["double precision[]"])
    # the form's own text holds percent signs where a category does
    outputs, stages = (text.replace("%", "%%") for text in (", ".join(rendered.outputs), stages))
    query = (
        f"SELECT {outputs} FROM ROWS FROM ({arrays}) WITH ORDINALITY AS v({columns}, row)"  # noqa: S608
        f"{stages} ORDER BY v.row"
    )
    found: list[tuple[Any, ...]] = []
    with connection.transaction():
        # this transaction writes nothing, whatever a form may call
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(f"SET LOCAL statement_timeout = {_PATIENCE}")
        connection.execute("SET LOCAL client_encoding = 'UTF8'")
        with connection.cursor(binary=True) as cursor:
            for parameters in _parameters(form, rows):
                found += cursor.execute(sql.SQL(query), parameters).fetchall()
    return found


def _parameters(form: InlineForm, rows: Columns) -> Iterator[list[Any]]:
    """Return arrays of the features' values, a chunk at a time; what is missing is NULL or NaN by turns."""
    for start in range(0, row_count(rows), _CHUNK):
        at = np.arange(start, min(start + _CHUNK, row_count(rows)))
        chunk = take(rows, at)
        arrays: list[Any] = []
        for item in form.inputs:
            column = chunk[item.name]
            if isinstance(column, Texts):
                arrays.append(column.values().tolist())
                continue
            values = column.tolist()
            arrays.append(
                [
                    None if math.isnan(value) and not (item.nan and row % 2) else value
                    for row, value in enumerate(values)
                ]
            )
        yield arrays or [[0.0] * len(at)]


def _compare(
    form: InlineForm,
    wanted: Sequence[Wanted],
    found: Sequence[tuple[Any, ...]],
    expected: Scores,
    *,
    whole: bool,
) -> float:
    """Return the largest difference.

    :raises NoForm: if it is too large, or a label differs
    """
    if len(found) != len(expected.value):
        raise NoForm(f"it gives {len(found)} rows for {len(expected.value)}")
    worst = 0.0
    index = expected.value.astype(np.int64)
    for position, item in enumerate(wanted):
        column = [row[position] for row in found]
        if item.kind == "label":
            labels = [form.classes[k] for k in index.tolist()]
            wrong = sum(one != other for one, other in zip(column, labels, strict=True))
            if wrong:
                raise NoForm(f"{wrong:,} of {len(labels):,} labels differ from ONNX Runtime's")
            continue
        values = np.array([math.nan if value is None else value for value in column], np.float64)
        worst = max(worst, _difference(values, _expected(form, item, expected, index), item, whole=whole))
    # not <=: NaN must not pass
    if not worst <= TOLERANCE:
        raise NoForm(f"it differs from ONNX Runtime by {worst:.3g}")
    return worst


def _expected(
    form: InlineForm, wanted: Wanted, scores: Scores, index: NDArray[np.int64]
) -> NDArray[np.float64]:
    if wanted.kind == "value":
        return scores.value
    if scores.probabilities is None:
        raise NoForm("its graph gives no probabilities")
    if wanted.label is None:
        return np.asarray(scores.probabilities[np.arange(len(index)), index])
    return np.asarray(scores.probabilities[:, form.classes.index(wanted.label)])


def _difference(
    found: NDArray[np.float64], expected: NDArray[np.float64], wanted: Wanted, *, whole: bool
) -> float:
    with np.errstate(all="ignore"):
        if wanted.kind != "value":
            return float(np.max(np.abs(found - expected), initial=0.0))
        if whole and (np.rint(found) != np.rint(expected)).any():
            raise NoForm("some whole numbers differ from ONNX Runtime's")
        usual = float(np.median(np.abs(expected))) if len(expected) else 0.0
        gap = np.abs(found - expected) / np.maximum(np.abs(expected), usual)
        return float(np.max(np.where(found == expected, 0.0, gap), initial=0.0))
