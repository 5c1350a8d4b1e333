"""Migration operations: the extension, and models that are made, granted and dropped.

A model's version has to be committed before it is deployed, because the runtime reads it from a session of
its own. So operations that make one want ``atomic = False`` in their migration, as those have that build
indexes concurrently.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.contrib.postgres.operations import CreateExtension
from django.db import router
from django.db.migrations.operations import base
from django.db.utils import NotSupportedError

from . import output, training

_CATEGORY = getattr(base, "OperationCategory", None)


class PgpredictExtension(CreateExtension):
    """``CREATE EXTENSION pgpredict CASCADE``, as a superuser; reversed, it is dropped if no model is left."""

    def __init__(self, hints: dict[str, Any] | None = None) -> None:
        # CreateExtension takes hints from Django 5.2 on
        super().__init__("pgpredict", *([hints] if hints else []))

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what a migration is written with."""
        return type(self).__name__, [], {}

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Create it, with what it needs."""
        if _allowed(app_label, schema_editor, getattr(self, "hints", {})):
            schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pgpredict CASCADE")
            output.forget()


class _ModelOperation(base.Operation):
    """About one model; Django's own state has nothing of it.

    :param elidable: whether it may go when migrations are squashed
    :param hints: for routers
    """

    def __init__(self, name: str, *, elidable: bool = False, hints: dict[str, Any] | None = None) -> None:
        self.name, self.elidable, self.hints = name, elidable, hints or {}

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing."""

    def _may_run(self, app_label: str, schema_editor: Any) -> bool:
        return _allowed(app_label, schema_editor, self.hints)

    def _rest(self) -> dict[str, Any]:
        given = {"elidable": self.elidable, "hints": self.hints}
        return {key: value for key, value in given.items() if value}

    @property
    def migration_name_fragment(self) -> str:
        """Part of the name that a migration gets."""
        return f"{type(self).__name__.lower()}_{self.name.lower()}"


class _Making(_ModelOperation):
    """Makes a version of a model."""

    reduces_to_sql = False
    category = _CATEGORY and _CATEGORY.ADDITION
    #: whether an earlier version is there, which answers again when this is reversed
    _another = False

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the model, or have the earlier version answer again."""
        if self._may_run(app_label, schema_editor):
            action = "rollback" if self._another else "drop_model"
            schema_editor.execute(f"SELECT ml.{action}(%s)", [self.name])
            output.forget()

    def _require_no_transaction(self, schema_editor: Any) -> None:
        if schema_editor.connection.in_atomic_block:
            raise NotSupportedError(
                f"{type(self).__name__}({self.name!r}) cannot run inside a transaction "
                "(set atomic = False on the migration)"
            )


class TrainModel(_Making):
    """Train a model and deploy it; reversed, the model is dropped.

    :param query: SQL, or a function of the migration's apps that returns a queryset of ``values()``
    :param target: the column to predict
    :param retrain: the model is there already: this makes its next version, and reversed the one before
        answers again
    :param skip_without_rows: do nothing where the query gives no rows, as in a test database
    :param options: as of :func:`pgpredict.django.training.train`
    """

    def __init__(
        self,
        name: str,
        query: Any,
        target: str,
        *,
        retrain: bool = False,
        skip_without_rows: bool = False,
        elidable: bool = False,
        hints: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, elidable=elidable, hints=hints)
        self.query, self.target, self.options = query, target, options
        self._another, self.skip_without_rows = retrain, skip_without_rows

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what a migration is written with."""
        flags = {"retrain": self._another, "skip_without_rows": self.skip_without_rows}
        given = {key: value for key, value in flags.items() if value}
        arguments = [self.name, self.query, self.target]
        return type(self).__name__, arguments, {**given, **self.options, **self._rest()}

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Train it."""
        if not self._may_run(app_label, schema_editor):
            return
        self._require_no_transaction(schema_editor)
        alias = schema_editor.connection.alias
        query = self.query(from_state.apps) if callable(self.query) else self.query
        if self.skip_without_rows and not training.has_rows(query, alias):
            return
        training.train(self.name, query, self.target, using=alias, **self.options)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the model, or have the earlier version answer again; what was skipped is not there."""
        if self.skip_without_rows and not _exists(schema_editor, self.name):
            return
        super().database_backwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        """Say what it does."""
        return f"Train model {self.name}"


class ImportModel(_Making):
    """Store an ONNX file as a model and deploy it; reversed, the model is dropped.

    :param file: its path, best beside the migration: ``Path(__file__).with_name("late.onnx")``
    :param another: the model is there already: this makes its next version, and reversed the one before
        answers again
    :param options: as of :func:`pgpredict.django.training.import_model`
    """

    def __init__(
        self,
        name: str,
        file: str | Path,
        *,
        another: bool = False,
        elidable: bool = False,
        hints: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, elidable=elidable, hints=hints)
        self.file, self.options, self._another = file, options, another

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what a migration is written with."""
        given = {"another": True} if self._another else {}
        return type(self).__name__, [self.name, self.file], {**given, **self.options, **self._rest()}

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Import it."""
        if self._may_run(app_label, schema_editor):
            self._require_no_transaction(schema_editor)
            training.import_model(self.name, self.file, using=schema_editor.connection.alias, **self.options)

    def describe(self) -> str:
        """Say what it does."""
        return f"Import model {self.name}"


class GrantModel(_ModelOperation):
    """Let roles use a model; reversed, they may not.

    :param roles: names, ``PUBLIC`` or ``CURRENT_USER``
    """

    category = _CATEGORY and _CATEGORY.ALTERATION

    def __init__(self, name: str, *roles: str, **options: Any) -> None:
        if not roles:
            raise TypeError("GrantModel needs the roles that may use the model")
        super().__init__(name, **options)
        self.roles = roles

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what a migration is written with."""
        return type(self).__name__, [self.name, *self.roles], self._rest()

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Grant."""
        self._execute(app_label, schema_editor, "GRANT SELECT ON {} TO {}")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Revoke."""
        self._execute(app_label, schema_editor, "REVOKE SELECT ON {} FROM {}")

    def _execute(self, app_label: str, schema_editor: Any, statement: str) -> None:
        if self._may_run(app_label, schema_editor):
            words = ("PUBLIC", "CURRENT_USER", "SESSION_USER")
            roles = [role if role in words else _quoted(role) for role in self.roles]
            # without parameters, so that a sign of percent in a name is one
            schema_editor.execute(statement.format(f"models.{_quoted(self.name)}", ", ".join(roles)), None)

    def describe(self) -> str:
        """Say what it does."""
        return f"Grant model {self.name} to {', '.join(self.roles)}"


class DropModel(_ModelOperation):
    """Drop a model with all its versions; reversed, another operation makes it again.

    :param again: a :class:`TrainModel` or :class:`ImportModel`; without it this cannot be reversed
    """

    category = _CATEGORY and _CATEGORY.REMOVAL

    def __init__(self, name: str, again: _Making | None = None, **options: Any) -> None:
        super().__init__(name, **options)
        self.again = again
        self.reversible = again is not None

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what a migration is written with."""
        return type(self).__name__, [self.name, *([self.again] if self.again else [])], self._rest()

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop it."""
        if self._may_run(app_label, schema_editor):
            schema_editor.execute("SELECT ml.drop_model(%s)", [self.name])
            output.forget()

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Make it again."""
        if self.again is None:
            raise NotImplementedError("DropModel was not told how to make the model again")
        if not schema_editor.collect_sql:
            self.again.database_forwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        """Say what it does."""
        return f"Drop model {self.name}"


def _allowed(app_label: str, schema_editor: Any, hints: dict[str, Any]) -> bool:
    connection = schema_editor.connection
    return connection.vendor == "postgresql" and bool(
        router.allow_migrate(connection.alias, app_label, **hints)
    )


def _exists(schema_editor: Any, name: str) -> bool:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM ml.models WHERE name = %s)", [name])
        return bool(cursor.fetchone()[0])


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


__all__: Sequence[str] = ["DropModel", "GrantModel", "ImportModel", "PgpredictExtension", "TrainModel"]
