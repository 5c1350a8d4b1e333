"""SQLAlchemy's adapter of an asyncpg connection, which prepares every statement and keeps it by its text.

A kept one must be that of the text that is due now: a deployment may have made another one of what the user
wrote. So the adapter is given the rewritten text, and keeps prepared statements by that.
"""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection

from pgpredict.asyncpg import rewritten


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
            if error.position is not None:
                found = prepared.origin(int(error.position), prepared.text)
                error.position = None if found is None else str(found)
                error.query = operation
            raise


def make_predicting(adapter: AsyncAdapt_asyncpg_connection) -> None:
    """Make a connection's adapter one with PREDICT.

    Another class than SQLAlchemy's own is left alone: whoever made it has to call ours.
    """
    if type(adapter) is AsyncAdapt_asyncpg_connection:
        adapter.__class__ = PredictingAdapter
