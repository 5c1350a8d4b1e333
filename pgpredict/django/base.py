"""The database engine ``pgpredict.django``: Django's for PostgreSQL, with PREDICT."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base, operations

from .hook import Predicting, as_written
from .introspection import DatabaseIntrospection
from .validation import DatabaseValidation, register

register()


class DatabaseOperations(operations.DatabaseOperations):
    """Django's; what it shows of statements is what the ORM has written."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        """Return a statement with its values."""
        return as_written(self, cursor, sql, params, super().last_executed_query)


class DatabaseWrapper(Predicting, base.DatabaseWrapper):
    """Django's wrapper; the cursors of its connections know PREDICT."""

    ops_class = DatabaseOperations
    introspection_class = DatabaseIntrospection
    validation_class = DatabaseValidation
