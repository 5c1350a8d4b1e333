"""The rewriter's questions to an asynchronous connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from pgpredict.catalog.awaited import AwaitedCatalog
from pgpredict.catalog.deployments import Deployments
from pgpredict.catalog.questions import Answer, Question

from .asking import asked


class AsyncConnectionCatalog(AwaitedCatalog):
    """One that asks a psycopg connection; the transaction stays as it was.

    :param connection: in any transaction state but a failed one
    :param deployments: heard of, for :class:`rewriter.CachedRewriter`
    """

    def __init__(
        self, connection: psycopg.AsyncConnection[Any], deployments: Deployments | None = None
    ) -> None:
        async def ask(questions: Sequence[Question]) -> Sequence[Answer]:
            async with connection.lock:
                return await connection.wait(asked(connection, questions))

        super().__init__(ask, deployments)
