"""The steps of the demo. Each finds what is already done and carries on from there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgpredict.catalog import ConnectionCatalog
from rewriter import rewrite

from . import data

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class ModelPlan:
    """A model of the demo.

    :ivar query: name of the SQL file with the training query
    """

    name: str
    target: str
    algorithm: str = "hist_gradient_boosting"

    @property
    def query(self) -> str:
        """The training query."""
        return data.statement(self.name)


MODELS = (ModelPlan("late_arrival", "late"), ModelPlan("arrival_delay", "delay"))


def load(connection: psycopg.Connection[Any], report: Report) -> dict[str, int] | None:
    """Load the tables unless they are there; return rows per table, or None if nothing was to do."""
    if data.is_loaded(connection):
        return None
    report("loading flights, weather, planes, airports, airlines")
    return data.load(connection)


def train(connection: psycopg.Connection[Any], plan: ModelPlan, report: Report) -> bool:
    """Train and deploy a model unless it is deployed; return whether it was trained now."""
    versions = connection.execute(
        "SELECT bool_or(deployed) FROM ml.versions WHERE model = %s", [plan.name]
    ).fetchone()
    if versions and versions[0]:
        return False
    if versions and versions[0] is False:
        # stored by a run that was interrupted before it deployed
        connection.execute("SELECT ml.deploy(%s)", [plan.name])
        return False
    # scikit-learn takes a second to import, and a second run of the demo does not need it
    from onnx_models.reading import Source
    from onnx_models.train import train as train_model
    from onnx_models.training import Options

    train_model(
        connection,
        plan.name,
        Source(plan.query, plan.target, exclude=("day",), time="day"),
        Options(algorithm=plan.algorithm, test_size=0.1),
        report=lambda progress: report(f"{plan.name}: {progress.step} {progress.text}"),
    )
    return True


def depart(connection: psycopg.Connection[Any], report: Report) -> int:
    """Let the future's flights depart, without outcomes; return how many they are."""
    report("flights of the future depart")
    return data.depart(connection)


def board(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Return the flights that left nearly on time and are most likely to arrive late."""
    return predicting(connection, data.statement("board"))


def forecast(connection: psycopg.Connection[Any], report: Report) -> tuple[int, float]:
    """Predict every flight that has departed and keep the predictions; return rows and seconds."""
    report("predicting every departed flight")
    rewritten = rewrite(data.statement("forecast"), ConnectionCatalog(connection)).sql
    with connection.transaction():
        data.run_script(connection, "forecasts")
        start = time.perf_counter()
        rows = connection.execute(rewritten.encode()).rowcount
        seconds = time.perf_counter() - start
    return rows, seconds


def arrive(connection: psycopg.Connection[Any], report: Report) -> int:
    """Let the outcomes arrive; return how many did."""
    report("outcomes arrive")
    return data.arrive(connection)


def score(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Return how good the forecasts were."""
    return rows_of(connection, data.statement("score"))[0]


def calibration(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Return what was predicted and what happened, by range of probability."""
    return rows_of(connection, data.statement("calibration"))


def metrics(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Return the deployed versions of the demo's models, with their held-out metrics and parity."""
    names = [plan.name for plan in MODELS]
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT name, version, algorithm, metrics, parity, training FROM ml.models "
            "WHERE name = ANY (%s) ORDER BY name DESC",
            [names],
        )
        return cursor.fetchall()


def predicting(connection: psycopg.Connection[Any], statement: str) -> list[dict[str, Any]]:
    """Run a statement with PREDICT."""
    return rows_of(connection, rewrite(statement, ConnectionCatalog(connection)).sql)


def rows_of(connection: psycopg.Connection[Any], statement: str) -> list[dict[str, Any]]:
    """Run a statement and return its rows as dictionaries."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode()).fetchall()
