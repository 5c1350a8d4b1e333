"""Errors as psycopg's own: the class of the SQLSTATE, with ``diag``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg
from psycopg.pq import DiagnosticField

from pgpredict.catalog.errors import StatementRefused
from pgpredict.pointing import pointer
from rewriter import RewriteError

#: what libpq adds to a message, in this order
_ADDED = (
    ("DETAIL", DiagnosticField.MESSAGE_DETAIL),
    ("HINT", DiagnosticField.MESSAGE_HINT),
    ("QUERY", DiagnosticField.INTERNAL_QUERY),
    ("CONTEXT", DiagnosticField.CONTEXT),
)


def as_psycopg(error: RewriteError | StatementRefused, sql: str) -> psycopg.Error:
    """Return an error of ours as one of psycopg's.

    :param sql: the user's text
    """
    position = error.position if isinstance(error, RewriteError) else None
    return _made(
        error.sqlstate,
        {
            DiagnosticField.SEVERITY: "ERROR",
            DiagnosticField.SEVERITY_NONLOCALIZED: "ERROR",
            DiagnosticField.SQLSTATE: error.sqlstate,
            DiagnosticField.MESSAGE_PRIMARY: error.message,
            DiagnosticField.MESSAGE_HINT: error.hint,
            DiagnosticField.STATEMENT_POSITION: None if position is None else str(position),
        },
        sql,
    )


def told(fields: Mapping[str, str]) -> psycopg.Error:
    """Return an error of the server's to a question.

    :param fields: by the letters of the protocol
    """
    known = {field: fields.get(chr(field)) for field in DiagnosticField}
    known[DiagnosticField.STATEMENT_POSITION] = None
    return _made(fields.get("C", "XX000"), known, "")


def placed(error: psycopg.Error, sql: str, origin: Callable[[int], int | None]) -> psycopg.Error:
    """Return an error of the server's that points into the user's text; itself if it points nowhere.

    :param origin: of a position in what was sent
    """
    diagnostic, position = error.diag, error.diag.statement_position
    if position is None or error.sqlstate is None:
        return error
    fields = {field: _value(diagnostic, field) for field in DiagnosticField}
    found = origin(int(position))
    fields[DiagnosticField.STATEMENT_POSITION] = None if found is None else str(found)
    return _made(error.sqlstate, fields, sql)


def _value(diagnostic: psycopg.errors.Diagnostic, field: DiagnosticField) -> str | None:
    value: str | None = diagnostic._error_message(field)
    return value


def _made(sqlstate: str, fields: dict[DiagnosticField, str | None], sql: str) -> psycopg.Error:
    position = fields.get(DiagnosticField.STATEMENT_POSITION)
    message = fields.get(DiagnosticField.MESSAGE_PRIMARY) or ""
    message += pointer(sql, None if position is None else int(position))
    for label, field in _ADDED:
        if fields.get(field):
            message += f"\n{label}:  {fields[field]}"
    encoded = {int(field): _encoded(fields.get(field)) for field in DiagnosticField}
    try:
        cls: type[psycopg.Error] = psycopg.errors.lookup(sqlstate)
    except KeyError:
        cls = psycopg.DatabaseError
    made = cls(message, info=encoded, encoding="utf-8")
    made.sqlstate = sqlstate
    return made


def _encoded(value: str | None) -> bytes | None:
    return None if value is None else value.encode()
