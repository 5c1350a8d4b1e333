"""The text of a training query: what is wrong with it, said about the user's own words."""

from __future__ import annotations

import contextlib
import re

import psycopg
from psycopg import sql

from .errors import InvalidTrainingData

#: a semicolon at the end, perhaps with comments behind it; a quote there could end a string that has both
_END = re.compile(r";\s*(?:--[^\n'\"$]*(?:\n\s*|\Z))*\Z")
_SHOWN = 100


class InvalidQuery(InvalidTrainingData):
    """A training query that PostgreSQL does not read, or that is no SELECT."""

    sqlstate = "42601"


def bare(query: str) -> str:
    """Return a query without a semicolon at its end, and without comments behind that."""
    text = query.strip()
    while (shorter := _END.sub("", text).rstrip()) != text:
        text = shorter
    return text


def inner(query: str) -> sql.SQL:
    """Return a user's query fit for a subselect: no semicolon, and a comment at its end stays one."""
    return sql.SQL(bare(query) + "\n")


def check(connection: psycopg.Connection, query: str) -> None:
    """Let PostgreSQL read the query by itself: inside of ours, its errors would be about other words.

    :raises InvalidQuery: if it is no statement, more than one, or has a syntax error
    """
    with contextlib.suppress(psycopg.Rollback), connection.transaction():
        result = connection.pgconn.prepare(b"", query.encode(connection.info.encoding))
        good = result.status == psycopg.pq.ExecStatus.COMMAND_OK
        columns = connection.pgconn.describe_prepared(b"").nfields if good else 0
        if not good:
            raise psycopg.Rollback
    if good:
        if columns:
            return
        raise InvalidQuery(
            "the training query returns no columns", hint="give a SELECT of the features and the target"
        )
    field = psycopg.pq.DiagnosticField
    if result.error_field(field.SQLSTATE) != b"42601":
        return  # a name or a type: the error is the same one inside of ours
    message = (result.error_field(field.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    position = result.error_field(field.STATEMENT_POSITION)
    if position is None:
        # "cannot insert multiple commands into a prepared statement" has no position
        raise InvalidQuery("the training query is more than one statement", hint="give one SELECT")
    rest = query[int(position) - 1 :].split("\n", 1)[0]
    shown = rest if len(rest) <= _SHOWN else rest[:_SHOWN] + "…"
    raise InvalidQuery(
        f"the training query cannot be read: {message}",
        hint=f"from here on: {shown}" if shown else "it ends too early",
    )


def no_select(error: psycopg.Error) -> InvalidQuery:
    """Return the error for a statement that is fine by itself, but not as a subselect."""
    return InvalidQuery(
        f"the training query is no SELECT: {error.diag.message_primary}",
        hint="give a SELECT, a VALUES or a TABLE; WITH may stand before it",
    )


def out_of_range(error: psycopg.Error, numbers: list[str]) -> Exception:
    """Return the error for a number that is beyond double precision, or the same one for the query's own.

    :param numbers: names of the columns that become double precision
    """
    message = str(error.diag.message_primary)
    if "double precision" not in message:
        return error
    shown = message if len(message) <= _SHOWN else message[:30] + "…" + message[-60:]
    return InvalidTrainingData(
        f"a number is out of range: {shown}",
        hint=f"numbers become double precision, below 1.8e308; look at {', '.join(numbers)}",
    )
