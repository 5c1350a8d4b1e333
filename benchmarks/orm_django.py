"""Django: the engine beside Django's own, and objects predicted in SQL and in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import django
import pandas as pd
from django.conf import settings
from django.db.backends.postgresql.features import DatabaseFeatures
from psycopg.conninfo import conninfo_to_dict

from .library import (
    BACKEND,
    BARE,
    PREDICT,
    Contender,
    apart,
    batch_findings,
    hook_findings,
    in_turn,
    predicted,
)
from .report import Finding

NAME = "Django"
#: the first server version that it works with
OLDEST = 10_000 * DatabaseFeatures.minimum_database_version[0]
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
    case = contender.case
    names = ["id", *case.features]
    wanted = _class(case.table, case.numbers, case.texts).objects.filter(id__lte=rows)

    def ours() -> list[tuple[int, Any]]:
        return sorted(wanted.values_list("id", Predict(contender.model, *case.features)))

    def objects() -> list[tuple[int, Any]]:
        # a queryset of its own each time: one that has been read keeps its objects
        frame = pd.DataFrame([{name: getattr(row, name) for name in names} for row in wanted.all()])
        return predicted(contender, frame)

    def fetched() -> list[tuple[int, Any]]:
        return predicted(contender, pd.DataFrame(wanted.values_list(*names), columns=names))

    others = [
        ("objects, a DataFrame, scikit-learn", objects),
        ("rows of the columns, a DataFrame, scikit-learn", fetched),
    ]
    findings = batch_findings(
        f"{NAME}: {contender.title}, {rows:,} rows", ours, others, runs, contender.agreeing
    )
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
def _class(table: str, numbers: Sequence[str], texts: Sequence[str]) -> Any:
    """Return the class of a case's table; a process has it once."""
    from django.db import models

    columns = {name: models.FloatField() for name in (*numbers, "y")}
    columns |= {name: models.TextField() for name in texts}
    meta = {"app_label": "bench", "managed": False, "db_table": f'"bench"."{table}"'}
    key = models.BigIntegerField(primary_key=True)
    return type(
        table.title(),
        (models.Model,),
        {"__module__": __name__, "Meta": type("Meta", (), meta), "id": key, **columns},
    )
