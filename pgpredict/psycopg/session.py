"""A statement that a psycopg cursor is about to send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import psycopg
from psycopg import pq, sql
from psycopg.abc import Query
from psycopg.adapt import Transformer
from psycopg.raw_cursor import RawCursorMixin

from pgpredict.catalog.errors import StatementRefused
from pgpredict.catalog.questions import Answer, Question
from pgpredict.catalog.vanished import vanished
from pgpredict.client import Prepared, Template, known, literal_types
from rewriter import RewriteError

from .asking import asked
from .errors import as_psycopg, placed

Connection: TypeAlias = "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]"


class Sending:
    """A statement that may hold our syntax, and its way to the server.

    As a context manager it makes the server's errors point into the user's text.

    :param cursor: that will send it
    :param values: of its placeholders; None if it has none, empty if they are not known yet
    """

    def __init__(
        self, cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any], text: str, values: Any
    ) -> None:
        self.cursor, self._text, self._values = cursor, text, values
        self.lately = known(cursor.connection)
        self.prepared: Prepared | None = None

    def __enter__(self) -> Prepared:
        assert self.prepared is not None  # noqa: S101 (for the type)
        return self.prepared

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, psycopg.Error):
            told = self._placed(error)
            if told is not error:
                raise told from error.__cause__

    @property
    def template(self) -> Template | None:
        """The statement with PostgreSQL's parameters; None if its placeholders are malformed."""
        if self._values is None or isinstance(self.cursor, RawCursorMixin):
            return Template.plain(self._text)
        return Template.read(self._text)

    @property
    def may_fail(self) -> bool:
        """Whether a question that fails leaves the transaction as it was."""
        return self.cursor.connection._pipeline is None

    def types(self) -> Sequence[int]:
        """Return oids of the types of the parameters, as psycopg would declare them."""
        if not self._values:
            return ()
        if isinstance(self.cursor, psycopg.ClientCursor | psycopg.AsyncClientCursor):
            template = self.template
            return () if template is None else literal_types(template.arranged(self._values))
        query = self.cursor._query_cls(Transformer(self.cursor))
        try:
            query.convert(self._text, self._values)
        except Exception:  # noqa: BLE001 (psycopg will say so when it sends the statement)
            return ()
        return query.types

    def told(self, error: RewriteError | StatementRefused) -> psycopg.Error:
        """Return an error of ours as one of psycopg's."""
        return as_psycopg(error, self._text)

    def _placed(self, error: psycopg.Error) -> psycopg.Error:
        query = self.cursor._query
        if self.prepared is None or query is None:
            return error
        gone = vanished(error.sqlstate, error.diag.message_primary)
        if gone is not None:
            return self.told(gone)
        sent, origin = query.query.decode(self.cursor.connection.info.encoding), self.prepared.origin
        return placed(error, self._text, lambda position: origin(position, sent))

    def is_stale(self, error: psycopg.Error) -> bool:
        """Tell whether it may have failed for what others have changed in the last moment; ask from now on.

        Nothing is lost then: nothing has run, and no transaction has failed.
        """
        connection = self.cursor.connection
        idle = connection.pgconn.transaction_status == pq.TransactionStatus.IDLE
        return self.lately.is_stale(error.sqlstate, alone=idle and connection.autocommit)


class SyncSending(Sending):
    """One of a psycopg.Cursor."""

    cursor: psycopg.Cursor[Any]

    def ask(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """Ask the connection."""
        connection = self.cursor.connection
        with connection.lock:
            return connection.wait(asked(connection, questions))


class AsyncSending(Sending):
    """One of a psycopg.AsyncCursor."""

    cursor: psycopg.AsyncCursor[Any]

    async def ask(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """Ask the connection."""
        connection = self.cursor.connection
        async with connection.lock:
            return await connection.wait(asked(connection, questions))


def text_of(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any], query: Query) -> str | None:
    """Return the text of a query that may hold our syntax, None for one that cannot."""
    connection = cursor.connection
    if isinstance(query, str):
        text = query
    elif isinstance(query, bytes):
        if not look(connection, query):
            return None
        text = query.decode(connection.info.encoding, "replace")
        return None if "\ufffd" in text else text  # what is malformed is for the server to say
    elif isinstance(query, sql.Composable):
        text = query.as_string(connection)
    else:
        # a template of Python 3.14, whose text is made together with its parameters: it may be anything
        look(connection, "?")
        return None
    return text if look(connection, text) else None


def look(connection: Connection, text: str | bytes) -> bool:
    """Take note of a statement; return whether it may hold our syntax."""
    idle = connection.pgconn.transaction_status == pq.TransactionStatus.IDLE
    return known(connection).look(text, idle=idle, alone=connection.autocommit)
