"""Answers the rewriter's questions from a psycopg connection."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import pq

from onnx_models.storing import not_installed
from rewriter import DescribeError, ModelInfo

from . import queries
from .asking import AskingCatalog, Field
from .deployments import Deployments


class ConnectionCatalog(AskingCatalog):
    """A :class:`rewriter.Catalog` that asks the connection which will run the statement.

    Its questions leave the transaction as it was: outside of one they make none that stays, inside of one
    they stand behind a savepoint, so that a refused question does not abort the user's work.

    :param connection: in any transaction state but a failed one
    :param deployments: heard of, for :class:`rewriter.CachedRewriter`
    """

    def __init__(self, connection: psycopg.Connection[Any], deployments: Deployments | None = None) -> None:
        super().__init__()
        self._connection, self._deployments = connection, deployments

    def generation(self) -> Hashable:
        """Return another value once any answer may be another one; without deployments each time."""
        return object() if self._deployments is None else self._deployments.generation()

    def rows(self, sql: LiteralString, parameters: Sequence[Any] = ()) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        with self._guarded(), psycopg.RawCursor(self._connection) as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        """Return a model that the caller may use.

        :raises NotInstalled: if the database has no pgpredict, or an older one
        :raises UndeployedModel: if no version was ever deployed
        :raises UnknownVersion: if it has no such version
        """
        try:
            return super().model(name, version)
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            older = isinstance(error, psycopg.errors.UndefinedColumn)
            raise not_installed(self._connection.info.dbname, older=older) from error

    def estimated(self, sql: str, parameters: Sequence[int]) -> float | None:
        """Return the answer of ``ml.estimate``; None also where it fails."""
        try:
            estimated: float | None = self.rows(queries.ESTIMATE, [sql, parameters])[0][0]
        except psycopg.Error:
            return None
        return estimated

    def fields(self, sql: str, types: Sequence[int]) -> Sequence[Field]:
        """Return the columns of a query, which is prepared and never run.

        :raises DescribeError: with PostgreSQL's complaint
        """
        with self._guarded():
            return self._prepare(sql, types)

    def _prepare(self, sql: str, types: Sequence[int]) -> list[Field]:
        pgconn, encoding = self._connection.pgconn, self._connection.info.encoding
        result = pgconn.prepare(b"", sql.encode(encoding), types)
        if result.status == pq.ExecStatus.COMMAND_OK:
            result = pgconn.describe_prepared(b"")
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise _error(result, encoding)
        return [
            ((result.fname(i) or b"").decode(encoding), result.ftype(i), result.fmod(i))
            for i in range(result.nfields)
        ]

    def _guarded(self) -> contextlib.AbstractContextManager[Any]:
        # outside of a transaction in autocommit there is nothing to leave as it was: two round trips less
        connection = self._connection
        if connection.autocommit and connection.info.transaction_status == pq.TransactionStatus.IDLE:
            return contextlib.nullcontext()
        return connection.transaction()


def _error(result: pq.abc.PGresult, encoding: str) -> DescribeError:
    def field(code: pq.DiagnosticField) -> str | None:
        value = result.error_field(code)
        return None if value is None else value.decode(encoding, "replace")

    position = field(pq.DiagnosticField.STATEMENT_POSITION)
    return DescribeError(
        field(pq.DiagnosticField.MESSAGE_PRIMARY) or "the query cannot be prepared",
        field(pq.DiagnosticField.SQLSTATE) or "XX000",
        field(pq.DiagnosticField.MESSAGE_HINT),
        None if position is None else int(position),
    )
