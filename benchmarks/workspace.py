"""The schema ``bench`` and the models that the benchmarks predict with: made, and removed again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql

from onnx_models.reading import Source
from onnx_models.scoring import Model
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.catalog import ConnectionCatalog
from rewriter import Setting, rewrite
from rewriter.plan import Way

from .batch import CASES, Case

#: predictions cost the same however well a model has learnt, training does not
TRAINING_ROWS = 20_000

Report = Callable[[str], None]


@contextlib.contextmanager
def workspace(
    connection: psycopg.Connection[Any], rows: int, report: Report, *, keep: bool = False
) -> Iterator[None]:
    """Make tables and models, and remove them at the end, whatever happens.

    :param connection: in autocommit; its role makes the schema
    :param rows: rows of each table
    :param keep: leave everything where it is
    """
    remove(connection)
    try:
        report(f"filling two tables of {rows:,} rows")
        fill(connection, rows)
        for case in CASES:
            report(f"training {case.model}")
            train_model(connection, case, rows)
        yield
    finally:
        if not keep:
            remove(connection)


def fill(connection: psycopg.Connection[Any], rows: int) -> None:
    """Make the tables."""
    statements = files(__package__).joinpath("tables.sql").read_text()
    psycopg.ClientCursor(connection).execute(statements.encode(), {"rows": rows})
    # hint bits are set by the first reader of a row: VACUUM, so that no measurement pays for them
    for table in dict.fromkeys(case.table for case in CASES):
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier("bench", table)))


def train_model(connection: psycopg.Connection[Any], case: Case, rows: int) -> None:
    """Train and deploy the model of a case on the first rows of its table."""
    query = sql.SQL("SELECT {}, y FROM {} WHERE id <= {}").format(
        sql.SQL(", ").join(map(sql.Identifier, case.features)), case.relation, min(rows, TRAINING_ROWS)
    )
    options = Options(algorithm=case.algorithm, parameters=case.parameters, test_size=0.1)
    train(connection, case.model, Source(query.as_string(connection), "y"), options)


def deployed(connection: psycopg.Connection[Any], name: str) -> Model:
    """Return the model that the database predicts with, loaded into this process."""
    row = connection.execute("SELECT ml.export(%s)", [name]).fetchone()
    assert row is not None
    return Model.load(bytes(row[0]))


def rewritten(connection: psycopg.Connection[Any], statement: str, way: Way | None = None) -> str:
    """Return a statement after the rewriter.

    :param way: the way that is taken; None leaves the choice to the rewriter
    """
    return rewrite(statement, ConnectionCatalog(connection), setting=Setting(way=way)).sql


def remove(connection: psycopg.Connection[Any]) -> None:
    """Remove tables and models, as far as they are there."""
    connection.execute("DROP SCHEMA IF EXISTS bench CASCADE")
    names = [case.model for case in CASES]
    connection.execute("SELECT ml.drop_model(name) FROM ml.models WHERE name = ANY (%s)", [names])
