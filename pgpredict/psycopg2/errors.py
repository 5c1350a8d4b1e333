"""Errors as psycopg2's own: the class of the SQLSTATE, with ``pgcode``, ``pgerror`` and ``diag``."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.errors

from pgpredict.catalog.errors import StatementRefused
from pgpredict.pointing import pointer
from rewriter import RewriteError

_FIELDS = (
    *("severity", "severity_nonlocalized", "sqlstate", "message_primary", "message_detail", "message_hint"),
    *("statement_position", "internal_position", "internal_query", "context", "schema_name", "table_name"),
    *("column_name", "datatype_name", "constraint_name", "source_file", "source_line", "source_function"),
)


def as_psycopg2(error: RewriteError | StatementRefused, sql: str) -> Any:
    """Return an error of ours as one of psycopg2's.

    :param sql: the user's text
    """
    position = error.position if isinstance(error, RewriteError) else None
    fields = dict.fromkeys(_FIELDS)
    fields |= {"severity": "ERROR", "severity_nonlocalized": "ERROR", "sqlstate": error.sqlstate}
    fields |= {"message_primary": error.message, "message_hint": error.hint}
    return _made(fields, sql, position)


def placed(error: Any, sql: str, origin: Callable[[int], int | None]) -> Any:
    """Return an error of the server's that points into the user's text; itself if it points nowhere.

    :param origin: of a position in what was sent
    """
    if error.pgcode is None or error.diag.statement_position is None:
        return error
    fields = {field: getattr(error.diag, field) for field in _FIELDS}
    return _made(fields, sql, origin(int(error.diag.statement_position)))


def _made(fields: dict[str, Any], sql: str, position: int | None) -> Any:
    message = fields["message_primary"] + pointer(sql, position)
    for label, field in (("DETAIL", "message_detail"), ("HINT", "message_hint"), ("CONTEXT", "context")):
        if fields[field]:
            message += f"\n{label}:  {fields[field]}"
    try:
        cls = psycopg2.errors.lookup(fields["sqlstate"])
    except KeyError:
        cls = psycopg2.DatabaseError
    fields["statement_position"] = None if position is None else str(position)
    return _restored(cls, (message + "\n",), fields["sqlstate"], f"ERROR:  {message}\n", fields)


def _restored(cls: type, arguments: tuple[Any, ...], code: str, text: str, fields: dict[str, Any]) -> Any:
    made = _with_diagnostics(cls)(*arguments)
    # psycopg2 sets these two where it unpickles an error, and nowhere else from Python
    made.__setstate__({"pgcode": code, "pgerror": text})
    made.__dict__["_diag"] = SimpleNamespace(**fields)
    return made


_classes: dict[type, type] = {}


def _with_diagnostics(cls: type) -> type:
    """Return an error class whose ``diag`` can be given; the C one reads a result of libpq's."""
    made = _classes.get(cls)
    if made is None:
        namespace = {
            "__module__": cls.__module__,
            "diag": property(lambda self: self.__dict__["_diag"]),
            "__reduce__": lambda self: (
                _restored,
                (cls, self.args, self.pgcode, self.pgerror, vars(self.diag)),
            ),
        }
        made = _classes[cls] = type(cls.__name__, (cls,), namespace)
    return made
