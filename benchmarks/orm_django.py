"""Django: what the engine adds to a query, and predictions of many rows against objects and scikit-learn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import django
import numpy as np
import psycopg
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from .batch import CASES, LINEAR, Case
from .hooks import BARE, FOREIGN, PREDICT, REWRITTEN
from .report import Finding
from .workspace import TRAINING_ROWS

#: rows that are predicted at once
MANY = 100_000
#: how many times as fast as objects and scikit-learn PREDICT is to be
GOAL = 5.0
QUERIES, _TURN, RUNS = 3_000, 100, 5
#: a key that stands out in a statement
_MARK = 987_654_321
OURS, PLAIN = "default", "plain"
BOOSTING = CASES[1]
_LEARNERS = {LINEAR.model: LinearRegression, BOOSTING.model: GradientBoostingRegressor}
#: Django's model of bench.numbers; a process has it once
_numbers: Any = None


def measure(dsn: str, rows: int) -> list[Finding]:
    """Compare the engine with Django's own, and the ORM's ways to predictions.

    :param rows: rows of the table
    """
    numbers = _set_up(dsn)
    found = _overhead(rows)
    for case in (LINEAR, BOOSTING):
        found += _many(numbers, case, min(rows, MANY))
    django.db.connections.close_all()
    return found


def _set_up(dsn: str) -> Any:
    """Point Django to the database, and return the class of the table."""
    global _numbers
    known = conninfo_to_dict(psycopg.conninfo.make_conninfo(dsn))
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    place = {key: str(known.get(name) or "") for key, name in names.items()}
    engines = {OURS: "pgpredict.django", PLAIN: "django.db.backends.postgresql"}
    databases = {alias: {"ENGINE": engine, **place} for alias, engine in engines.items()}
    if not settings.configured:
        settings.configure(
            DATABASES=databases, INSTALLED_APPS=[], DEFAULT_AUTO_FIELD="django.db.models.AutoField"
        )
        django.setup()
    for alias, database in databases.items():
        django.db.connections[alias].settings_dict.update(database)
    if _numbers is None:
        from django.db import models

        columns = {name: models.FloatField() for name in (*LINEAR.numbers, "y")}
        meta = type("Meta", (), {"app_label": "bench", "managed": False, "db_table": '"bench"."numbers"'})
        key = models.BigIntegerField(primary_key=True)
        _numbers = type(
            "Numbers", (models.Model,), {"__module__": __name__, "Meta": meta, "id": key, **columns}
        )
    return _numbers


def _sent(statement: str) -> str:
    """Return what goes to the server in place of a statement, its parameter a placeholder again."""
    with django.db.connections[OURS].cursor() as cursor:
        cursor.execute(statement, [_MARK])
        sent: str = cursor.cursor._query.query.decode()
    return sent.replace("%", "%%").replace(str(_MARK), "%s")


def _overhead(rows: int) -> list[Finding]:
    def run(alias: str, sql: str) -> Callable[[int], object]:
        cursor = django.db.connections[alias].cursor()

        def fetch(key: int) -> object:
            cursor.execute(sql, [key])
            return cursor.fetchall()

        return fetch

    bare, predict = BARE.format("%s"), PREDICT.format("%s")
    sent = _sent(predict)
    ways = [run(PLAIN, bare), run(OURS, bare), run(PLAIN, sent), run(OURS, predict)]
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(QUERIES // _TURN + 1):
        for way, measured in zip(ways, seconds, strict=True):
            for key in range(_TURN):
                start = time.perf_counter()
                way(key * 7919 % rows)
                measured.append(time.perf_counter() - start)
                if not turn:
                    measured.clear()
    plain, ours, by_hand, predicted = (statistics.median(measured) * 1e6 for measured in seconds)
    return [
        _added("engine, without our words", ours, plain, FOREIGN, "Django's own engine"),
        _added("engine, PREDICT as before", predicted, by_hand, REWRITTEN, "the rewritten text sent"),
    ]


def _added(subject: str, ours: float, theirs: float, most: float, what: str) -> Finding:
    return Finding(
        subject,
        f"{ours:.0f} µs",
        f"{theirs:.0f} µs ({what})",
        ours / theirs,
        f"times as long, {ours - theirs:+.1f} µs",
        f"≤ {most} µs more",
        ours - theirs <= most,
    )


def _many(numbers: Any, case: Case, rows: int) -> list[Finding]:
    """Compare predictions of many rows; both ways give the same."""
    from pgpredict.django import Predict

    learnt = numbers.objects.using(PLAIN).filter(id__lte=TRAINING_ROWS)
    table = np.array(list(learnt.values_list(*case.numbers, "y")))
    pipeline = _LEARNERS[case.model](**case.parameters).fit(table[:, :-1], table[:, -1])

    def ours() -> Any:
        wanted = numbers.objects.using(OURS).filter(id__lte=rows)
        return dict(wanted.values_list("id", Predict(case.model, *case.numbers)))

    def theirs() -> Any:
        objects = list(numbers.objects.using(PLAIN).filter(id__lte=rows))
        features = np.array([[getattr(each, name) for name in case.numbers] for each in objects])
        return dict(zip((each.id for each in objects), pipeline.predict(features).tolist(), strict=True))

    def seconds(way: Callable[[], Any]) -> float:
        start = time.perf_counter()
        way()
        return time.perf_counter() - start

    left, right = ours(), theirs()
    if left.keys() != right.keys() or len(left) != rows:
        raise AssertionError(f"{len(left)} and {len(right)} rows of {rows}")
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(RUNS)]
    fast, slow = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    return [
        Finding(
            f"{rows:,} rows, {case.title}: values_list with Predict",
            f"{fast:.2f} s",
            f"{slow:.2f} s (objects, then scikit-learn)",
            ratio,
            "times as fast",
            f"≥ {GOAL:.0f}",
            ratio >= GOAL,
        )
    ]
