"""What is known of the types of predictions before a statement is run.

Operators ask for an expression's type when they are written, long before a database is asked. So each engine
of the plugin's tells what its models predict when it connects. What engines tell differently is not known.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.types import TypeEngine

from .types import type_named

#: the model table's column has the type that the extension found; qualified, the search_path is the user's
QUERY = """
SELECT m.name, pg_catalog.format_type(a.atttypid, NULL)
FROM ml.models AS m
JOIN pg_catalog.pg_attribute AS a ON a.attname OPERATOR(pg_catalog.=) 'prediction'
    AND a.attrelid OPERATOR(pg_catalog.=)
        pg_catalog.to_regclass(pg_catalog.format('models.%I', m.name))::pg_catalog.oid
"""
INSTALLED = """
SELECT pg_catalog.to_regclass('ml.models') IS NOT NULL AND pg_catalog.has_schema_privilege('ml', 'USAGE')
"""


class Registry:
    """Types by model, of all engines that told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: weakref.WeakKeyDictionary[Any, Mapping[str, str]] = weakref.WeakKeyDictionary()
        self._types: dict[str, TypeEngine[Any] | None] = {}

    def learn(self, engine: Any, types: Mapping[str, str]) -> None:
        """Take what an engine's database says, in the place of what it said before.

        :param types: PostgreSQL's names of the types of predictions, by model
        """
        with self._lock:
            self._told[engine] = dict(types)
            names: dict[str, set[str]] = {}
            for told in self._told.values():
                for model, name in told.items():
                    names.setdefault(model, set()).add(name)
            self._types = {
                model: type_named(next(iter(found))) if len(found) == 1 else None
                for model, found in names.items()
            }

    def type_of(self, model: str) -> TypeEngine[Any] | None:
        """Return the type of a model's predictions; None where it is not known."""
        return self._types.get(model)


registry = Registry()


def refresh(bind: Engine | Connection) -> None:
    """Ask a database what its models predict, so that expressions written from here on have the right type.

    The plugin does so when an engine connects. By hand it is for engines without the plugin, whose server is
    the proxy, and for models that have been deployed since. Without the extension nothing is known.

    :param bind: for an async engine or connection, ``await connection.run_sync(refresh)``
    """
    if isinstance(bind, Engine):
        with bind.connect() as connection:
            refresh(connection)
        return
    found: dict[str, str] = {}
    if bind.scalar(text(INSTALLED)):
        found = {row[0]: row[1] for row in bind.execute(text(QUERY))}
    registry.learn(bind.engine, found)
