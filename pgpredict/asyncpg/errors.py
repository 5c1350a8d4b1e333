"""Errors as asyncpg's own: the class of the SQLSTATE, with position, hint and the user's query."""

from __future__ import annotations

from asyncpg import exceptions

from pgpredict.catalog.errors import StatementRefused
from pgpredict.catalog.vanished import vanished
from pgpredict.client import Prepared
from rewriter import RewriteError


def place(error: exceptions.PostgresError, query: str, prepared: Prepared | None) -> None:
    """Have an error point into the user's text.

    :raises asyncpg.PostgresError: in its place, if it is about a model that is gone
    """
    gone = None if prepared is None else vanished(error.sqlstate, error.message)
    if gone is not None:
        raise as_asyncpg(gone, query) from error
    if prepared is not None and error.position is not None:
        found = prepared.origin(int(error.position), prepared.text)
        error.position = None if found is None else str(found)
        error.query = query


def as_asyncpg(error: RewriteError | StatementRefused, query: str) -> exceptions.PostgresError:
    """Return an error of ours as one of asyncpg's.

    :param query: the user's text
    """
    position = error.position if isinstance(error, RewriteError) else None
    fields = {"S": "ERROR", "V": "ERROR", "C": error.sqlstate, "M": error.message}
    if error.hint is not None:
        fields["H"] = error.hint
    if position is not None:
        fields["P"] = str(position)
    return exceptions.PostgresError.new(fields, query)
