"""Operations that grant and drop models, and the one that makes the extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.postgres.operations import CreateExtension

from pgpredict.django import output

from .base import ALTERATION, REMOVAL, ModelOperation, allowed, exists, quoted
from .making import Making

# Models of others, and what else there is of the extension's, are none of a migration's business; nor is an
# extension that somebody else has made.
_DROP_EXTENSION = """DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_extension
               WHERE extname = 'pgpredict' AND pg_catalog.pg_has_role(extowner, 'USAGE')) THEN
        IF NOT EXISTS (SELECT FROM ml.model) THEN
            DROP EXTENSION pgpredict;
        END IF;
    END IF;
EXCEPTION WHEN dependent_objects_still_exist THEN
    RAISE NOTICE 'extension pgpredict stays: something depends on it';
END
$$"""


class PgpredictExtension(CreateExtension):
    """``CREATE EXTENSION pgpredict CASCADE``, as a superuser; reversed, it is dropped if no model is left.

    It stays, too, where it is somebody else's, or something depends on it.
    """

    def __init__(self, hints: dict[str, Any] | None = None) -> None:
        # CreateExtension takes hints from Django 5.2 on
        super().__init__("pgpredict", *([hints] if hints else []))

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what a migration is written with."""
        return type(self).__name__, [], {}

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Create it, with what it needs."""
        if allowed(app_label, schema_editor, getattr(self, "hints", {})):
            schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pgpredict CASCADE")
            output.forget()

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop it, unless it is in use."""
        if allowed(app_label, schema_editor, getattr(self, "hints", {})):
            schema_editor.execute(_DROP_EXTENSION, None)
            output.forget()


class GrantModel(ModelOperation):
    """Let roles use a model; reversed, they may not.

    :param roles: a name or several; ``PUBLIC`` and ``CURRENT_USER`` are no names
    :param elidable: whether it may go when migrations are squashed
    :param hints: for routers
    """

    category = ALTERATION

    def __init__(
        self,
        name: str,
        roles: str | Sequence[str],
        elidable: bool = False,
        hints: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name=name, roles=roles, elidable=elidable, hints=hints)
        self.roles = [roles] if isinstance(roles, str) else list(roles)

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Grant."""
        self._execute(app_label, schema_editor, "GRANT SELECT ON {} TO {}")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Revoke, if the model is still there."""
        if self._may_run(app_label, schema_editor) and exists(schema_editor, self.name):
            self._execute(app_label, schema_editor, "REVOKE SELECT ON {} FROM {}")

    def _execute(self, app_label: str, schema_editor: Any, statement: str) -> None:
        if self._may_run(app_label, schema_editor):
            words = ("PUBLIC", "CURRENT_USER", "SESSION_USER")
            roles = [role if role in words else quoted(role) for role in self.roles]
            # without parameters, so that a sign of percent in a name is one
            schema_editor.execute(statement.format(f"models.{quoted(self.name)}", ", ".join(roles)), None)

    def describe(self) -> str:
        """Say what it does."""
        return f"Grant model {self.name} to {', '.join(self.roles)}"


class DropModel(ModelOperation):
    """Drop a model with all its versions; reversed, another operation makes it again.

    :param again: a :class:`TrainModel` or :class:`ImportModel`; without it this cannot be reversed
    :param elidable: whether it may go when migrations are squashed
    :param hints: for routers
    """

    category = REMOVAL

    def __init__(
        self,
        name: str,
        again: Making | None = None,
        elidable: bool = False,
        hints: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name=name, again=again, elidable=elidable, hints=hints)
        self.again = again
        self.reversible = again is not None

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
