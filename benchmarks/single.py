"""One row: point predictions by primary key, and the first prediction of a new connection."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from pgpredict.catalog import ConnectionCatalog
from rewriter import Setting, rewrite

from .batch import LINEAR
from .report import Finding, interleaved

POINTS = 2_000
NEW_CONNECTIONS = 15
#: keys that each way is given before it is another's turn
_TURN = 100

BARE = f"SELECT {', '.join(LINEAR.features)} FROM bench.numbers WHERE id = $1"
#: the row form, fenced with OFFSET 0 as the documentation says
ROW_FORM = f"SELECT m.prediction FROM ({BARE} OFFSET 0) t JOIN models.bench_linear m ON " + " AND ".join(
    f"m.{name} = t.{name}" for name in LINEAR.features
)
#: what a user writes; rewritten once, as a prepared statement is
POINT = "SELECT PREDICT(bench_linear) FROM bench.numbers WHERE id = $1"


def rewritten_points(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Return :data:`POINT` after the rewriter: as for a model that has only its ONNX form, and as chosen."""
    catalog = ConnectionCatalog(connection)
    found = {"PREDICT rewritten": rewrite(POINT, catalog, setting=Setting(way="batch")).sql}
    chosen = rewrite(POINT, catalog)
    if any(run.way == "inline" for run in chosen.runs):
        found["PREDICT written out as SQL"] = chosen.sql
    return found


def point(dsn: str, rows: int, rewritten: Mapping[str, str], points: int = POINTS) -> list[Finding]:
    """Compare point predictions by primary key with the bare SELECT, prepared statements all.

    :param rows: rows of the table
    :param rewritten: what :func:`rewritten_points` returns
    :param points: predictions that are timed, of each form
    """
    statements = {"bare": BARE, "model table joined": ROW_FORM, **rewritten}
    keys = [random.randint(1, rows) for _ in range(points)]
    with psycopg.connect(dsn, autocommit=True) as connection:
        medians = p50(connection, statements, keys)
    bare = medians.pop("bare")
    return [
        Finding(
            f"point prediction, {form}",
            f"{ours * 1e3:.2f} ms",
            f"{bare * 1e3:.2f} ms (bare SELECT)",
            ours / bare,
            "times the bare SELECT's p50",
            "≤ 3",
            ours <= 3 * bare,
        )
        for form, ours in medians.items()
    ]


def p50(
    connection: psycopg.Connection[Any], statements: Mapping[str, str], keys: list[int]
) -> dict[str, float]:
    """Return the median seconds of prepared statements, which take turns."""
    cursor = psycopg.RawCursor(connection)
    seconds: dict[str, list[float]] = {name: [] for name in statements}
    # PostgreSQL makes a generic plan at the sixth execution
    for turn in [keys[:_TURN], *(keys[start : start + _TURN] for start in range(0, len(keys), _TURN))]:
        for name, statement in statements.items():
            for key in turn:
                start = time.perf_counter()
                cursor.execute(statement.encode(), [key], prepare=True).fetchall()
                seconds[name].append(time.perf_counter() - start)
    warm = len(keys[:_TURN])
    return {name: statistics.median(measured[warm:]) for name, measured in seconds.items()}


def first_prediction(dsn: str, rewritten: Mapping[str, str], runs: int = NEW_CONNECTIONS) -> list[Finding]:
    """Compare the first prediction on a new connection with a bare new connection's first SELECT.

    :param rewritten: what :func:`rewritten_points` returns
    """
    forms = {"model table joined": ROW_FORM, **rewritten}

    def connect_and(statement: str) -> Callable[[], None]:
        def run() -> None:
            with psycopg.connect(dsn) as connection:
                psycopg.RawCursor(connection).execute(statement.encode(), [1]).fetchall()

        return run

    *medians, bare = interleaved([connect_and(statement) for statement in (*forms.values(), BARE)], runs)
    return [
        Finding(
            f"first prediction on a new connection, {form}",
            f"{ours * 1e3:.1f} ms",
            f"{bare * 1e3:.1f} ms (bare SELECT)",
            ours / bare,
            "times the bare connection",
            "≤ 20",
            ours <= 20 * bare,
        )
        for form, ours in zip(forms, medians, strict=True)
    ]
