"""Checks: of databases that cannot predict, and of predictions where there can be none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core import checks
from django.core.signals import setting_changed
from django.db import connections, transaction
from django.db.backends.base.validation import BaseDatabaseValidation
from django.db.models.signals import post_migrate
from django.db.utils import Error

from . import output
from .form import contained

#: milliseconds that the prediction may take which tells whether the runtime answers
PATIENCE = 5_000
_EXTENSION = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pgpredict'"
_MODEL = """
SELECT m.name, (m.signature -> 'features')::text FROM ml.models AS m
WHERE m.version IS NOT NULL
    AND pg_catalog.has_table_privilege(pg_catalog.format('models.%I', m.name), 'SELECT')
ORDER BY m.name LIMIT 1
"""
#: the runtime, or the way to it, is gone
_UNREACHABLE = ("08", "53", "57")
ID = "pgpredict.{}"


def register() -> None:
    """Have models checked, and types of predictions forgotten where they may have changed; once is enough."""
    checks.register(check_models, checks.Tags.models)
    post_migrate.connect(output.forget, dispatch_uid="pgpredict")
    setting_changed.connect(output.forget, dispatch_uid="pgpredict")


class DatabaseValidation(BaseDatabaseValidation):
    """Checks of Django's for the engine."""

    def check(self, **kwargs: Any) -> list[Any]:
        """Check what stands in the way of predictions."""
        return [*super().check(**kwargs), *check_connection(self.connection)]


def check_databases(databases: Sequence[str] | None = None, **_: Any) -> list[Any]:
    """Check the databases of other engines; ours checks its own."""
    found: list[Any] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor == "postgresql" and not isinstance(connection.validation, DatabaseValidation):
            found += check_connection(connection)
    return found


def check_connection(connection: Any) -> list[Any]:
    """Return warnings about a database that cannot predict.

    They are no errors: a migration may be about to make the extension.
    """
    return [
        checks.Warning(f"database {connection.alias!r}: {message}", hint=hint, id=ID.format(number))
        for number, message, hint in _problems(connection)
    ]


def _problems(connection: Any) -> Iterator[tuple[str, str, str]]:
    from pgpredict.server.database import available_version

    try:
        with connection.cursor() as cursor:
            cursor.execute(_EXTENSION)
            installed = cursor.fetchone()
    except Error as error:
        yield "W004", f"it cannot be asked: {_first_line(error)}", "check DATABASES"
        return
    if installed is None:
        yield (
            "W001",
            "it has no extension pgpredict",
            "add pgpredict.django.operations.PgpredictExtension to a migration, or run pgpredict install",
        )
        return
    offered = available_version()
    if offered is not None and _parts(installed[0]) < _parts(offered):
        hint = "ALTER EXTENSION pgpredict UPDATE, as a superuser"
        yield "W002", f"its extension pgpredict is {installed[0]}, the package is {offered}", hint
        return
    yield from _predict(connection)


def _predict(connection: Any) -> Iterator[tuple[str, str, str]]:
    from pgpredict.server.checks import SAMPLES

    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {PATIENCE}")
            cursor.execute(_MODEL)
            model = cursor.fetchone()
            if model is None:
                return
            features = {item["name"]: SAMPLES.get(item["kind"], "") for item in json.loads(model[1])}
            table = f"models.{connection.ops.quote_name(model[0])}"
            query = f"SELECT prediction FROM {table} WHERE features = %s"  # noqa: S608 (quoted)
            cursor.execute(query, [json.dumps(features)])
            cursor.fetchall()
    except Error as error:
        cause = error.__cause__
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
        if state.startswith(_UNREACHABLE):
            yield (
                "W003",
                f"the runtime does not answer: {_first_line(error)}",
                "pgpredict up, or pgpredict runtime",
            )


def check_models(app_configs: Any = None, **_: Any) -> list[Any]:
    """Refuse predictions in indexes, constraints and generated columns: they would be computed once."""
    models = (
        apps.get_models()
        if app_configs is None
        else [model for config in app_configs for model in config.get_models()]
    )
    return [
        checks.Error(
            f"{where} contains a prediction, which changes when another version is deployed",
            hint="store predictions in a column, and update it",
            obj=model,
            id=ID.format("E001"),
        )
        for model in models
        for where, expressions in _expressions(model)
        if contained(expressions)
    ]


def _expressions(model: Any) -> Iterator[tuple[str, list[Any]]]:
    options = model._meta
    for kind, items in (("index", options.indexes), ("constraint", options.constraints)):
        for item in items:
            given = [
                *getattr(item, "expressions", ()),
                item.__dict__.get("condition"),
                item.__dict__.get("check"),
            ]
            # an exclusion constraint has pairs
            given = [each[0] if isinstance(each, tuple | list) else each for each in given]
            yield f"{kind} {item.name!r}", list(_flat(given))
    for field in options.local_fields:
        if getattr(field, "generated", False):
            yield f"generated field {field.name!r}", [field.expression]


def _flat(conditions: Sequence[Any]) -> Iterator[Any]:
    for condition in conditions:
        children = getattr(condition, "children", None)
        if children is None:
            yield condition
        else:
            # of a Q: conditions, and pairs of a lookup and a value
            yield from _flat([child[1] if isinstance(child, tuple) else child for child in children])


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
