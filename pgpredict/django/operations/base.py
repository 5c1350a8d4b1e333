"""What the operations about models have in common."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.db.migrations.operations import base

_CATEGORY = getattr(base, "OperationCategory", None)
#: what makemigrations shows before an operation, from Django 5.1 on
ADDITION = _CATEGORY and _CATEGORY.ADDITION
ALTERATION = _CATEGORY and _CATEGORY.ALTERATION
REMOVAL = _CATEGORY and _CATEGORY.REMOVAL


class ModelOperation(base.Operation):
    """About one model; Django's own state has nothing of it.

    What is given is kept as it was given, because a squashed migration is written with it. Parameters can be
    given by position, too: Django writes no others.
    """

    name: str

    def __init__(self, **given: Any) -> None:
        self.elidable = bool(given.get("elidable"))
        self._given = {key: value for key, value in given.items() if value not in (None, False)}
        self.name = given["name"]

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what a migration is written with."""
        return type(self).__name__, [], dict(self._given)

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing."""

    def _may_run(self, app_label: str, schema_editor: Any) -> bool:
        return allowed(app_label, schema_editor, self._given.get("hints", {}))

    @property
    def migration_name_fragment(self) -> str:
        """Part of the name that a migration gets."""
        return f"{type(self).__name__.lower()}_{self.name.lower()}"


def allowed(app_label: str, schema_editor: Any, hints: dict[str, Any]) -> bool:
    """Tell whether an operation is meant for a database: PostgreSQL, and no router is against it."""
    connection = schema_editor.connection
    return connection.vendor == "postgresql" and bool(
        router.allow_migrate(connection.alias, app_label, **hints)
    )


def exists(schema_editor: Any, name: str) -> bool:
    """Tell whether a model is there, or should be taken to be, because SQL is only written."""
    if schema_editor.collect_sql:
        return True
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.to_regclass('ml.models') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT EXISTS (SELECT FROM ml.models WHERE name = %s)", [name])
        return bool(cursor.fetchone()[0])


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
