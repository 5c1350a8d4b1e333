"""What type a prediction has in Python, found out from the database and remembered for a while.

PostgreSQL's driver gives every value in its own type whatever is said here. The type decides which lookups
there are, what they make of a value to compare with, and what expressions make of a prediction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import expressions, fields
from django.db.utils import Error

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


class PredictionField(fields.Field):
    """A prediction whose type is not known: values come and go as the driver has them.

    It has the lookups that every type has, and arithmetic with numbers.
    """

    description = "a prediction"

    def get_internal_type(self) -> str:
        """Return a name that is no column type's: this is no column."""
        return "PredictionField"


def _allow_arithmetic() -> None:
    numbers = (fields.IntegerField, fields.FloatField, fields.DecimalField, PredictionField)
    combinable = expressions.Combinable
    for connector in (
        combinable.ADD, combinable.SUB, combinable.MUL, combinable.DIV, combinable.MOD, combinable.POW,
    ):  # fmt: skip
        for number in numbers:
            expressions.register_combinable_fields(PredictionField, connector, number, PredictionField)
            if number is not PredictionField:
                expressions.register_combinable_fields(number, connector, PredictionField, PredictionField)


_allow_arithmetic()
_UNKNOWN = PredictionField()
_known: dict[tuple[str, Any, str, int | None], tuple[float, fields.Field]] = {}


def field_of(alias: str | None, model: str, version: int | None) -> fields.Field:
    """Return the field for a model's predictions, :class:`PredictionField` where it cannot be told.

    Asks the database, in no log of queries, unless the answer is known. Code in an event loop may not wait
    for a database, so there only what is known counts.

    :param alias: of the database
    :param version: None is the deployed one
    """
    alias = alias or DEFAULT_DB_ALIAS
    if alias not in connections.settings:
        return _UNKNOWN
    key = (alias, connections[alias].settings_dict.get("NAME"), model, version)
    found = _known.get(key)
    if found is None or found[0] < time.monotonic():
        field = _ask(alias, model, version)
        if field is None:
            return found[1] if found else _UNKNOWN
        seconds = UNKNOWN_SECONDS if field is _UNKNOWN else KNOWN_SECONDS
        _known[key] = found = (time.monotonic() + seconds, field)
    return found[1]


def forget(**_: Any) -> None:
    """Ask again from now on; a receiver of signals."""
    _known.clear()


def _ask(alias: str, model: str, version: int | None) -> fields.Field | None:
    """Return the field, the unknown one if there is no such model, None if the database cannot be asked."""
    if not apps.ready or _in_event_loop():
        return None
    connection = connections[alias]
    if connection.vendor != "postgresql" or connection.needs_rollback:
        return None
    # whatever is wrong, the statement itself will meet and tell
    with contextlib.suppress(Error, connection.Database.Error):
        connection.ensure_connection()
        with connection.connection.cursor() as cursor:
            cursor.execute(_INSTALLED)
            installed = cursor.fetchone()
            if not installed or not installed[0]:
                return _UNKNOWN
            cursor.execute(_TYPE, [model, version])
            row = cursor.fetchone()
            return _FIELDS.get(row[0], fields.CharField)() if row else _UNKNOWN
    return None


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
