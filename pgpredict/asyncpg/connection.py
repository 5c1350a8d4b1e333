"""A connection of asyncpg that rewrites what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from typing import Any

import asyncpg
from asyncpg import exceptions

from pgpredict.catalog.awaited import AwaitedCatalog
from pgpredict.catalog.deployments import Deployments
from pgpredict.catalog.errors import StatementRefused
from pgpredict.catalog.questions import Answer, Question
from pgpredict.client import Known, Prepared, Template, known, prepare_async
from rewriter import RewriteError

from .asking import ask
from .errors import as_asyncpg, place


def _known(connection: Any) -> Known:
    # what a pool gives out stands in for it
    return known(getattr(connection, "_con", connection))


def listen_with(connection: Any, deployments: Deployments) -> None:
    """Have a connection take answers for granted for longer, since deployments are heard of."""
    _known(connection).deployments = deployments


class Catalog(AwaitedCatalog):
    """A :class:`rewriter.AsyncCatalog` that asks an asyncpg connection; the transaction stays as it was."""

    def __init__(self, connection: Any, deployments: Deployments | None = None) -> None:
        super().__init__(lambda questions: ask(connection, questions), deployments)


class _Session:
    """A connection that is asked about a statement."""

    may_fail = True

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def ask(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """Ask the connection."""
        return await ask(self._connection, questions)

    def types(self) -> Sequence[int]:
        """Return nothing: asyncpg leaves it to the server to find out."""
        return ()


def _look(connection: Any, query: str) -> bool:
    """Take note of a statement; return whether it may hold our syntax."""
    return _known(connection).look(query, idle=not connection.is_in_transaction(), alone=True)


async def rewritten(
    connection: Any, query: str, *, kept: bool = False, timeout: float | None = None
) -> Prepared | None:
    """Return what to send for a statement; None if it stays as it is.

    :param connection: any asyncpg connection
    :param kept: whether the server keeps it for later, so that what is deployed meanwhile must be seen
    :param timeout: seconds that questions may take; by default the connection's ``command_timeout``
    :raises asyncpg.PostgresError: for a form that is wrong or cannot be answered
    :raises TimeoutError: if the questions take longer
    """
    if not _look(connection, query):
        return None
    limit = connection._config.command_timeout if timeout is None else timeout
    try:
        async with asyncio.timeout(limit or None):
            return await prepare_async(
                Template.plain(query), _known(connection), _Session(connection), kept=kept
            )
    except (RewriteError, StatementRefused) as error:
        raise as_asyncpg(error, query) from None


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """asyncpg.Connection with PREDICT."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        """Execute a statement or several."""
        plain = super().execute
        return await _send(self, query, lambda text: plain(text, *args, timeout=timeout), timeout)

    async def executemany(self, command: str, args: Any, *, timeout: float | None = None) -> Any:
        """Execute a statement for many sets of parameters."""
        plain = super().executemany
        return await _send(self, command, lambda text: plain(text, args, timeout=timeout), timeout)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Return all rows."""
        plain = super().fetch
        return await _send(self, query, lambda text: plain(text, *args, **options), options.get("timeout"))

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """Return a value of the first row."""
        plain = super().fetchval
        return await _send(self, query, lambda text: plain(text, *args, **options), options.get("timeout"))

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """Return the first row."""
        plain = super().fetchrow
        return await _send(self, query, lambda text: plain(text, *args, **options), options.get("timeout"))

    async def fetchmany(self, query: str, args: Any, **options: Any) -> Any:
        """Return the rows for many sets of parameters."""
        plain = super().fetchmany
        return await _send(self, query, lambda text: plain(text, args, **options), options.get("timeout"))

    async def prepare(self, query: str, **options: Any) -> Any:
        """Prepare a statement, which sees what is deployed when it runs."""
        plain = super().prepare
        return await _send(
            self, query, lambda text: plain(text, **options), options.get("timeout"), kept=True
        )

    async def copy_from_query(self, query: str, *args: Any, **options: Any) -> Any:
        """Copy the rows of a query."""
        plain = super().copy_from_query
        return await _send(self, query, lambda text: plain(text, *args, **options), options.get("timeout"))

    def cursor(self, query: str, *args: Any, **options: Any) -> Any:
        """Return a cursor, to be awaited or iterated over."""
        if self.is_closed() or not _look(self, query):
            return super().cursor(query, *args, **options)
        return _Cursor(self, query, args, options)


class _Cursor:
    """What asyncpg's cursor() returns."""

    def __init__(self, connection: Connection, query: str, args: Any, options: Any) -> None:
        self._connection, self._query, self._args, self._options = connection, query, args, options

    def _plain(self, text: str) -> Any:
        return asyncpg.Connection.cursor(self._connection, text, *self._args, **self._options)

    async def __aiter__(self) -> AsyncIterator[Any]:
        prepared = await rewritten(self._connection, self._query, timeout=self._options.get("timeout"))
        try:
            async for row in self._plain(self._query if prepared is None else prepared.text):
                yield row
        except asyncpg.PostgresError as error:
            place(error, self._query, prepared)
            raise

    def __await__(self) -> Generator[Any, None, Any]:
        async def opened(text: str) -> Any:
            return await self._plain(text)

        return _send(self._connection, self._query, opened, self._options.get("timeout")).__await__()


async def _send(
    connection: Connection,
    query: str,
    call: Callable[[str], Awaitable[Any]],
    timeout: float | None,
    *,
    kept: bool = False,
) -> Any:
    """Have a statement sent; errors point into the user's text."""
    prepared = await rewritten(connection, query, kept=kept, timeout=timeout)
    if prepared is None:
        return await call(query)
    try:
        return await call(prepared.text)
    except asyncpg.PostgresError as error:
        if not is_stale(connection, error):
            place(error, query, prepared)
            raise
    return await _send(connection, query, call, timeout, kept=kept)


def is_stale(connection: Any, error: exceptions.PostgresError) -> bool:
    """Tell whether it may have failed for what others changed in the last moment; ask from now on."""
    return _known(connection).is_stale(error.sqlstate, alone=not connection.is_in_transaction())
