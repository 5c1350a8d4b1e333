"""Django: the engine beside Django's own, and objects predicted in SQL and in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import django
import pandas as pd
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

from .batch import MIXED
from .library import BACKEND, BARE, PREDICT, Contender, apart, batch_findings, hook_findings, in_turn
from .report import Finding

NAME = "Django"
#: aliases of the connection with our engine, and with Django's
OURS, PLAIN = "default", "plain"
_ENGINES = {OURS: "pgpredict.django", PLAIN: "django.db.backends.postgresql"}


def hooks(dsn: str, rewritten: str, rows: int, queries: int) -> list[Finding]:
    """Measure what the engine adds to a query.

    :param rewritten: what :data:`~benchmarks.library.PREDICT` is rewritten to, with ``$1``
    """
    _set_up(dsn)
    bare, predicting = BARE.format("%s"), PREDICT.format("%s")
    sent = rewritten.replace("%", "%%").replace("$1", "%s")

    def run(alias: str, statement: str) -> Callable[[int | None], Any]:
        cursor = django.db.connections[alias].cursor()

        def fetch(key: int | None) -> Any:
            cursor.execute(statement, None if key is None else [key])
            return cursor.fetchall()

        return fetch

    ways = [run(PLAIN, bare), run(OURS, bare), run(PLAIN, sent), run(OURS, predicting)]
    with apart(*(run(alias, BACKEND)(None)[0][0] for alias in _ENGINES)):
        seconds = in_turn(ways, rows, queries)
    django.db.connections.close_all()
    return hook_findings(NAME, seconds)


def batch(dsn: str, contender: Contender, rows: int, runs: int) -> list[Finding]:
    """Compare ``values_list("id", Predict(...))`` with objects, and with rows, that scikit-learn predicts."""
    from pgpredict.django import Predict

    _set_up(dsn)
    names = ("id", *MIXED.features)
    wanted = _mixed().objects.filter(id__lte=rows)

    def ours() -> list[tuple[int, str]]:
        return sorted(wanted.values_list("id", Predict(contender.model, *MIXED.features)))

    def labelled(frame: pd.DataFrame) -> list[tuple[int, str]]:
        labels = contender.pipeline.predict(frame[list(MIXED.features)])
        return sorted(zip(frame["id"].tolist(), labels.tolist(), strict=True))

    def objects() -> list[tuple[int, str]]:
        # a queryset of its own each time: one that has been read keeps its objects
        return labelled(pd.DataFrame([{name: getattr(row, name) for name in names} for row in wanted.all()]))

    def fetched() -> list[tuple[int, str]]:
        return labelled(pd.DataFrame(wanted.values_list(*names), columns=list(names)))

    others = [
        ("objects, a DataFrame, scikit-learn", objects),
        ("rows of the columns, a DataFrame, scikit-learn", fetched),
    ]
    findings = batch_findings(f"{NAME}: {contender.title}, {rows:,} rows", ours, others, runs)
    django.db.connections.close_all()
    return findings


def _set_up(dsn: str) -> None:
    known = conninfo_to_dict(dsn)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    place = {key: str(known.get(name) or "") for key, name in names.items()}
    databases = {alias: {"ENGINE": engine, **place} for alias, engine in _ENGINES.items()}
    if not settings.configured:
        settings.configure(DATABASES=databases, INSTALLED_APPS=[])
        django.setup()
    for alias, database in databases.items():
        django.db.connections[alias].settings_dict.update(database)


@functools.cache
def _mixed() -> Any:
    """Return the class of ``bench.mixed``; a process has it once."""
    from django.db import models

    columns = {name: models.FloatField() for name in (*MIXED.numbers, "y")}
    columns |= {name: models.TextField() for name in MIXED.texts}
    meta = type("Meta", (), {"app_label": "bench", "managed": False, "db_table": '"bench"."mixed"'})
    key = models.BigIntegerField(primary_key=True)
    return type("Mixed", (models.Model,), {"__module__": __name__, "Meta": meta, "id": key, **columns})
