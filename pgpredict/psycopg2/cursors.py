"""Cursors of psycopg2 that rewrite what they send."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.sql
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from pgpredict.catalog.deployments import Deployments
from pgpredict.catalog.errors import StatementRefused
from pgpredict.catalog.questions import Answer, Question
from pgpredict.catalog.vanished import vanished
from pgpredict.client import Known, Prepared, Template, known, literal_types, prepare
from rewriter import RewriteError

from .asking import ask
from .errors import as_psycopg2, placed


def _look(connection: Any, text: str) -> bool:
    """Take note of a statement; return whether it may hold our syntax."""
    if connection.closed:
        return False
    idle = connection.info.transaction_status == TRANSACTION_STATUS_IDLE
    return known(connection).look(text, idle=idle, alone=connection.autocommit)


class _Sending:
    """A statement that may hold our syntax, and its way to the server."""

    may_fail = True

    def __init__(self, cursor: Any, text: str, values: Any, lately: Known) -> None:
        self.cursor, self.text, self.values, self.lately = cursor, text, values, lately
        self.template = template = Template.plain(text) if values is None else Template.read(text)
        self.prepared: Prepared | None = None
        if template is None:
            return
        try:
            self.prepared = prepare(template, lately, self)
        except (RewriteError, StatementRefused) as error:
            raise as_psycopg2(error, text) from None

    def __enter__(self) -> Prepared:
        assert self.prepared is not None  # noqa: S101 (for the type)
        return self.prepared

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, psycopg2.Error) and self.prepared is not None and self.cursor.query is not None:
            gone = vanished(error.pgcode, error.diag.message_primary)
            if gone is not None:
                raise as_psycopg2(gone, self.text) from error
            encoding = psycopg2.extensions.encodings[self.cursor.connection.encoding]
            sent, origin = self.cursor.query.decode(encoding), self.prepared.origin
            told = placed(error, self.text, lambda position: origin(position, sent))
            if told is not error:
                raise told from error

    def ask(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """Ask the connection."""
        return ask(self.cursor.connection, questions)

    def types(self) -> Sequence[int]:
        """Return oids of the types that the parameters have as literals."""
        return () if self.template is None else literal_types(self.template.arranged(self.values))

    def is_stale(self, error: Any) -> bool:
        """Tell whether it may have failed for what others changed in the last moment; ask from now on."""
        connection = self.cursor.connection
        idle = connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        # a portal can be opened once
        alone = bool(idle and connection.autocommit and not self.cursor.name)
        return self.lately.is_stale(error.pgcode, alone=alone)


class Predicting(psycopg2.extensions.cursor):  # type: ignore[misc]
    """Stands in front of another cursor class."""

    def execute(self, query: Any, vars: Any = None) -> None:
        """Execute a statement, which may hold PREDICT."""
        with known(self.connection).lock:
            sending = self._sending(query, vars)
            if sending is None:
                super().execute(query, vars)
                return
            with sending as prepared:
                try:
                    super().execute(prepared.text, prepared.values(vars))
                    return
                except psycopg2.Error as error:
                    if not sending.is_stale(error):
                        raise
            Predicting.execute(self, query, vars)

    def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
        """Execute a statement for many sets of parameters."""
        with known(self.connection).lock:
            sending = self._sending(query, ())
            if sending is None:
                super().executemany(query, vars_list)
                return
            with sending as prepared:
                super().executemany(prepared.text, [prepared.values(values) for values in vars_list])

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """Run a COPY, of a query that may hold PREDICT."""
        with known(self.connection).lock:
            sending = self._sending(sql, None)
            if sending is None:
                super().copy_expert(sql, file, size)
                return
            with sending as prepared:
                super().copy_expert(prepared.text, file, size)

    def callproc(self, procname: Any, *parameters: Any) -> Any:
        """Call a function, which may do anything."""
        with known(self.connection).lock:
            _look(self.connection, "CALL")
            return super().callproc(procname, *parameters)

    def _sending(self, query: Any, values: Any) -> _Sending | None:
        """Return a statement that has to be sent with another text."""
        connection = self.connection
        if self.closed or connection.closed:
            return None
        if isinstance(query, bytes):
            text = query.decode(psycopg2.extensions.encodings[connection.encoding], "replace")
        elif isinstance(query, psycopg2.sql.Composable):
            text = query.as_string(connection)
        elif isinstance(query, str):
            text = query
        else:
            return None  # which is for psycopg2 to say
        if not _look(connection, text) or (isinstance(query, bytes) and "\ufffd" in text):
            return None  # what is malformed is for the server to say
        lately = known(connection)
        if connection.async_:
            raise psycopg2.NotSupportedError("PREDICT does not work on asynchronous connections of psycopg2")
        sending = _Sending(self, text, values, lately)
        return None if sending.prepared is None else sending


class Cursor(Predicting):
    """psycopg2's cursor with PREDICT."""


@functools.cache
def predicting(cursor: type[Any]) -> type[Any]:
    """Return a cursor class that does what another one does, and takes PREDICT."""
    if issubclass(cursor, Predicting):
        return cursor
    return type(cursor.__name__, (Predicting, cursor), {"__module__": cursor.__module__})


def install(connection: Any, deployments: Deployments | None = None) -> None:
    """Have a psycopg2 connection's cursors take PREDICT, whatever its own class for them is.

    A class that is named at ``connection.cursor(cursor_factory=…)`` has to be :func:`predicting` of it.

    :param deployments: heard of, so that answers may be taken for granted for longer
    """
    known(connection).deployments = deployments
    factory = connection.cursor_factory
    if factory is None:
        # its class may have an opinion of its own
        with connection.cursor() as made:
            factory = type(made)
    connection.cursor_factory = predicting(factory)
