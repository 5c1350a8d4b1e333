"""Cursors of psycopg 3 that rewrite what they send."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar, cast

import psycopg
from psycopg.abc import Params, Query
from psycopg.copy import AsyncWriter, Writer
from psycopg.rows import Row

from pgpredict.catalog.deployments import Deployments
from pgpredict.catalog.errors import StatementRefused
from pgpredict.client import known, prepare, prepare_async
from rewriter import RewriteError

from .session import AsyncSending, SyncSending, text_of

C = TypeVar("C", bound="psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]")


class Predicting(psycopg.Cursor[Row], Generic[Row]):
    """Stands in front of another cursor class."""

    def execute(self, query: Any, params: Params | None = None, **kwargs: Any) -> Any:
        """Execute a statement, which may hold PREDICT."""
        sending = self._sending(query, params)
        if sending is None:
            return super().execute(query, params, **kwargs)
        with sending as prepared:
            try:
                return super().execute(prepared.text, prepared.values(params), **kwargs)
            except psycopg.Error as error:
                if not sending.is_stale(error):
                    raise
        return Predicting.execute(self, query, params, **kwargs)

    def executemany(self, query: Query, params_seq: Iterable[Params], **kwargs: Any) -> None:
        """Execute a statement for many sets of parameters."""
        sending = self._sending(query, ())
        if sending is None:
            super().executemany(query, params_seq, **kwargs)
            return
        with sending as prepared:
            super().executemany(prepared.text, map(prepared.values, params_seq), **kwargs)

    def stream(self, query: Query, params: Params | None = None, **kwargs: Any) -> Iterator[Row]:
        """Execute a statement and return its rows as they come."""
        sending = self._sending(query, params)
        if sending is None:
            yield from super().stream(query, params, **kwargs)
            return
        with sending as prepared:
            yield from super().stream(prepared.text, prepared.values(params), **kwargs)

    @contextlib.contextmanager
    def copy(
        self, statement: Query, params: Params | None = None, *, writer: Writer | None = None
    ) -> Iterator[psycopg.Copy]:
        """Start a COPY, of a query that may hold PREDICT."""
        sending = self._sending(statement, params or None)
        if sending is None:
            with super().copy(statement, params, writer=writer) as copy:
                yield copy
            return
        with sending as prepared, super().copy(prepared.text, prepared.values(params), writer=writer) as copy:
            yield copy

    def _sending(self, query: Query, values: Any) -> SyncSending | None:
        """Return a statement that has to be sent with another text."""
        text = None if self.closed or self.connection.closed else text_of(self, query)
        if text is None:
            return None
        sending = SyncSending(self, text, values)
        template = sending.template
        if template is None:
            return None
        try:
            sending.prepared = prepare(template, sending.lately, sending)
        except (RewriteError, StatementRefused) as error:
            raise sending.told(error) from None
        return None if sending.prepared is None else sending


class AsyncPredicting(psycopg.AsyncCursor[Row], Generic[Row]):
    """Stands in front of another cursor class, to be awaited."""

    async def execute(self, query: Any, params: Params | None = None, **kwargs: Any) -> Any:
        """Execute a statement, which may hold PREDICT."""
        sending = await self._sending(query, params)
        if sending is None:
            return await super().execute(query, params, **kwargs)
        with sending as prepared:
            try:
                return await super().execute(prepared.text, prepared.values(params), **kwargs)
            except psycopg.Error as error:
                if not sending.is_stale(error):
                    raise
        return await AsyncPredicting.execute(self, query, params, **kwargs)

    async def executemany(self, query: Query, params_seq: Iterable[Params], **kwargs: Any) -> None:
        """Execute a statement for many sets of parameters."""
        sending = await self._sending(query, ())
        if sending is None:
            await super().executemany(query, params_seq, **kwargs)
            return
        with sending as prepared:
            await super().executemany(prepared.text, map(prepared.values, params_seq), **kwargs)

    async def stream(self, query: Query, params: Params | None = None, **kwargs: Any) -> AsyncGenerator[Row]:
        """Execute a statement and return its rows as they come."""
        sending = await self._sending(query, params)
        with contextlib.nullcontext() if sending is None else sending as prepared:
            if prepared is not None:
                query, params = prepared.text, prepared.values(params)
            rows = super().stream(query, params, **kwargs)
            async with contextlib.aclosing(cast("AsyncGenerator[Row]", rows)) as stream:
                async for row in stream:
                    yield row

    @contextlib.asynccontextmanager
    async def copy(
        self, statement: Query, params: Params | None = None, *, writer: AsyncWriter | None = None
    ) -> AsyncIterator[psycopg.AsyncCopy]:
        """Start a COPY, of a query that may hold PREDICT."""
        sending = await self._sending(statement, params or None)
        with contextlib.nullcontext() if sending is None else sending as prepared:
            if prepared is not None:
                statement, params = prepared.text, prepared.values(params)
            async with super().copy(statement, params, writer=writer) as copy:
                yield copy

    async def _sending(self, query: Query, values: Any) -> AsyncSending | None:
        """Return a statement that has to be sent with another text."""
        text = None if self.closed or self.connection.closed else text_of(self, query)
        if text is None:
            return None
        sending = AsyncSending(self, text, values)
        template = sending.template
        if template is None:
            return None
        try:
            sending.prepared = await prepare_async(template, sending.lately, sending)
        except (RewriteError, StatementRefused) as error:
            raise sending.told(error) from None
        return None if sending.prepared is None else sending


class Cursor(Predicting[Row], psycopg.Cursor[Row]):
    """psycopg.Cursor with PREDICT."""


class ClientCursor(Predicting[Row], psycopg.ClientCursor[Row]):
    """psycopg.ClientCursor with PREDICT."""


class RawCursor(Predicting[Row], psycopg.RawCursor[Row]):
    """psycopg.RawCursor with PREDICT."""


class ServerCursor(Predicting[Row], psycopg.ServerCursor[Row]):
    """psycopg.ServerCursor with PREDICT."""


class RawServerCursor(Predicting[Row], psycopg.RawServerCursor[Row]):
    """psycopg.RawServerCursor with PREDICT."""


class AsyncCursor(AsyncPredicting[Row], psycopg.AsyncCursor[Row]):
    """psycopg.AsyncCursor with PREDICT."""


class AsyncClientCursor(AsyncPredicting[Row], psycopg.AsyncClientCursor[Row]):
    """psycopg.AsyncClientCursor with PREDICT."""


class AsyncRawCursor(AsyncPredicting[Row], psycopg.AsyncRawCursor[Row]):
    """psycopg.AsyncRawCursor with PREDICT."""


class AsyncServerCursor(AsyncPredicting[Row], psycopg.AsyncServerCursor[Row]):
    """psycopg.AsyncServerCursor with PREDICT."""


class AsyncRawServerCursor(AsyncPredicting[Row], psycopg.AsyncRawServerCursor[Row]):
    """psycopg.AsyncRawServerCursor with PREDICT."""


@functools.cache
def predicting(cursor: type[C]) -> type[C]:
    """Return a cursor class that does what another one does, and takes PREDICT."""
    if issubclass(cursor, Predicting | AsyncPredicting):
        return cursor
    front = AsyncPredicting if issubclass(cursor, psycopg.AsyncCursor) else Predicting
    made: type[C] = type(cursor.__name__, (front, cursor), {"__module__": cursor.__module__})
    return made


def install(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], deployments: Deployments | None = None
) -> None:
    """Have a connection's cursors take PREDICT, whatever their classes are.

    :param deployments: heard of, so that answers may be taken for granted for longer
    """
    known(connection).deployments = deployments
    for attribute in ("cursor_factory", "server_cursor_factory"):
        setattr(connection, attribute, predicting(getattr(connection, attribute)))


async def install_async(
    connection: psycopg.AsyncConnection[Any], deployments: Deployments | None = None
) -> None:
    """Do what :func:`install` does, for whom that has to be awaited: ``AsyncConnectionPool(configure=…)``."""
    install(connection, deployments)
