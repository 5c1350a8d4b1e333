"""SQLAlchemy's adapter of an asyncpg connection, which prepares every statement and keeps it by its text.

A kept one must be that of the text that is due now: a deployment may have made another one of what the user
wrote. So the adapter is given the rewritten text, and keeps prepared statements by that.
"""

from __future__ import annotations

from typing import Any, NoReturn

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection

from pgpredict.asyncpg import rewritten
from pgpredict.asyncpg.connection import is_stale
from pgpredict.asyncpg.errors import as_asyncpg, place
from pgpredict.catalog.vanished import vanished


class PredictingAdapter(AsyncAdapt_asyncpg_connection):
    """An adapter with PREDICT."""

    # an adapter that is there already takes on this class, so it has no room for more
    __slots__ = ()

    async def _prepare(self, operation: str, invalidate_timestamp: float) -> Any:
        connection = self._connection
        # also asked of statements without our words: they may change what others depend on
        prepared = await rewritten(connection, operation)
        plain: Any = super()._prepare
        if prepared is None:
            return await plain(operation, invalidate_timestamp)
        try:
            return await plain(prepared.text, invalidate_timestamp)
        except asyncpg.PostgresError as error:
            if not is_stale(connection, error):
                place(error, operation, prepared)
                raise
        return await self._prepare(operation, invalidate_timestamp)

    def _handle_exception(self, error: Exception) -> NoReturn:
        # one that was prepared before has nothing of ours around it when it runs
        if isinstance(error, asyncpg.PostgresError):
            is_stale(self._connection, error)
            gone = vanished(error.sqlstate, error.message)
            if gone is not None:
                error = as_asyncpg(gone, error.query or "")
        super()._handle_exception(error)


def make_predicting(adapter: AsyncAdapt_asyncpg_connection) -> None:
    """Make a connection's adapter one with PREDICT.

    Another class than SQLAlchemy's own is left alone: whoever made it has to call ours.
    """
    if type(adapter) is AsyncAdapt_asyncpg_connection:
        adapter.__class__ = PredictingAdapter
