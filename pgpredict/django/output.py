"""What type a prediction has in Python, found out from the database and remembered for a while.

PostgreSQL's driver gives every value in its own type whatever is said here. The type decides which lookups
there are, what they make of a value to compare with, and what expressions make of a prediction.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import weakref
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import fields
from django.db.models.sql.compiler import SQLCompiler
from django.db.utils import Error

from .unknown import PredictionField

#: seconds that an answer is good for; a model keeps its type until it gets another target
KNOWN_SECONDS = 60.0
#: what is not there may be there soon
UNKNOWN_SECONDS = 1.0

# a text is what Value("text") is, so that both can be in one Case
_FIELDS: dict[str, type[fields.Field]] = {
    "smallint": fields.SmallIntegerField,
    "integer": fields.IntegerField,
    "bigint": fields.BigIntegerField,
    "real": fields.FloatField,
    "double precision": fields.FloatField,
    "numeric": fields.DecimalField,
    "boolean": fields.BooleanField,
    "uuid": fields.UUIDField,
    "date": fields.DateField,
    "timestamp without time zone": fields.DateTimeField,
    "timestamp with time zone": fields.DateTimeField,
    "time without time zone": fields.TimeField,
}
# A statement that fails would end the user's transaction, so nothing is named here that may not exist.
_INSTALLED = """
SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND EXISTS (
    SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = n.oid AND c.relname = 'versions' AND a.attname = 'prediction_type')
FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'ml'
"""
_TYPE = """
SELECT v.prediction_type FROM ml.models AS m JOIN ml.versions AS v ON v.model = m.name
WHERE m.name = %s AND v.version = coalesce(%s::integer, m.version)
"""


#: libpq's numbers of the states in which a connection takes statements: idle, in a transaction
_READY = (0, 2)
_UNKNOWN = PredictionField()
_known: dict[tuple[str, Any, str, int | None], tuple[float, fields.Field]] = {}
_inherited: weakref.WeakSet[Any] = weakref.WeakSet()


def field_of(alias: str | None, model: str, version: int | None, executing: bool = False) -> fields.Field:
    """Return the field for a model's predictions, :class:`PredictionField` where it cannot be told.

    Asks the database, in no log of queries, unless the answer is known, but opens no connection for it: who
    makes a queryset has not asked for one.

    :param alias: of the database
    :param version: None is the deployed one
    :param executing: a statement is about to be sent, so a connection is opened
    :raises django.db.utils.Error: if that fails
    """
    alias = alias or DEFAULT_DB_ALIAS
    if alias not in connections.settings:
        return _UNKNOWN
    connection = connections[alias]
    key = (alias, connection.settings_dict.get("NAME"), model, version)
    found = _known.get(key)
    if found is not None and found[0] >= time.monotonic():
        return found[1]
    before = found[1] if found else _UNKNOWN
    if not _may_ask(connection, executing):
        return before
    try:
        field = _ask(connection, model, version)
    except (Error, connection.Database.Error):
        # whatever is wrong, the statement itself will meet and tell
        field = before
    seconds = UNKNOWN_SECONDS if field in (_UNKNOWN, before) else KNOWN_SECONDS
    _known[key] = (time.monotonic() + seconds, field)
    return field


def forget(**_: Any) -> None:
    """Ask again from now on; a receiver of signals."""
    _known.clear()


def _may_ask(connection: Any, executing: bool) -> bool:
    """Tell whether a connection can be asked now, after it was opened if need be."""
    if not apps.ready or _async_unsafe() or connection.vendor != "postgresql" or connection.needs_rollback:
        return False
    # a test that may not use the database
    if type(connection.cursor).__module__.startswith("django.test"):
        return False
    if executing:
        connection.ensure_connection()
    elif connection.connection is None:
        return False
    else:
        try:
            # opens nothing; tools for tests forbid it
            connection.ensure_connection()
        except (AssertionError, RuntimeError):
            return False
    if connection.connection in _inherited:
        return False
    return connection.connection.info.transaction_status in _READY


def _ask(connection: Any, model: str, version: int | None) -> fields.Field:
    """Return the field, the unknown one if there is no such model."""
    with connection.connection.cursor() as cursor:
        cursor.execute(_INSTALLED)
        installed = cursor.fetchone()
        if not installed or not installed[0]:
            return _UNKNOWN
        cursor.execute(_TYPE, [model, version])
        row = cursor.fetchone()
    if row is None:
        return _UNKNOWN
    return _FIELDS.get(row[0], fields.CharField)()


def executing() -> bool:
    """Tell whether SQL is made to be sent at once, and not to be looked at.

    Django makes both alike, and opens the connection only after it.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code is SQLCompiler.execute_sql.__code__:
            return True
        frame = frame.f_back
    return False


def _async_unsafe() -> bool:
    """Tell whether this is code of an event loop, which may not wait for a database."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")


def _inherit() -> None:
    """Note the connections that belong to the process that forked this one."""
    if settings.configured:
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None:
                _inherited.add(connection.connection)


os.register_at_fork(after_in_child=_inherit)
