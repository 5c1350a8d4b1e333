"""Answers the rewriter's questions from a psycopg connection."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import pq

from onnx_models.signature import Signature
from rewriter import Column, DescribeError, ModelInfo, UndeployedModel

# The target's type is that of the model table, which the extension has looked up and found harmless. The
# signature's is a text of the model's owner: another search_path may give it another meaning, or none.
_MODEL = """
SELECT m.name, m.version, m.signature, (
    SELECT pg_catalog.format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid OPERATOR(pg_catalog.=)
            pg_catalog.to_regclass(pg_catalog.format('models.%%I', m.name))::pg_catalog.oid
        AND a.attname OPERATOR(pg_catalog.=) 'prediction'
)
FROM ml.models AS m WHERE m.name OPERATOR(pg_catalog.=) %s
"""
_FUNCTION = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc
WHERE proname OPERATOR(pg_catalog.=) %s AND pg_catalog.pg_function_is_visible(oid)
"""
# a domain over an array counts as one; int2vector and its like are arrays that array_agg cannot join
_TYPES = """
WITH RECURSIVE base AS (
    SELECT w.type, t.oid, t.typtype, t.typbasetype, t.typelem, t.typlen
    FROM pg_catalog.unnest(%s::pg_catalog.oid[]) AS w(type)
    JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) w.type
    UNION ALL
    SELECT b.type, t.oid, t.typtype, t.typbasetype, t.typelem, t.typlen
    FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) b.typbasetype
    WHERE b.typtype OPERATOR(pg_catalog.=) 'd'
)
SELECT type, typelem OPERATOR(pg_catalog.<>) 0 AND typlen OPERATOR(pg_catalog.=) -1,
    typtype OPERATOR(pg_catalog.=) 'p', typtype OPERATOR(pg_catalog.=) 'c'
FROM base WHERE typtype OPERATOR(pg_catalog.<>) 'd'
"""
# rows of inherited tables are none of the key's business; partitions are
_KEY = """
SELECT a.attname FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_index AS i ON i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisprimary
CROSS JOIN pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k(number, place)
JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.=) k.number
WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)::pg_catalog.oid
    AND (c.relkind OPERATOR(pg_catalog.=) 'p'
        OR c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT c.relhassubclass)
ORDER BY k.place
"""
_NAMES = """
SELECT pg_catalog.format_type(t.oid, t.modifier)
FROM ROWS FROM (
    pg_catalog.unnest(%s::pg_catalog.oid[]), pg_catalog.unnest(%s::pg_catalog.int4[])
)
    WITH ORDINALITY AS t(oid, modifier, position)
ORDER BY t.position
"""


class ConnectionCatalog:
    """A :class:`rewriter.Catalog` that asks the connection which will run the statement.

    Its questions leave the transaction as it was: outside of one they make none that stays, inside of one
    they stand behind a savepoint, so that a refused question does not abort the user's work.

    :param connection: in any transaction state but a failed one
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        #: type oid -> (is an array, is a pseudo-type, is composite); types do not change these
        self._types: dict[int, tuple[bool, bool, bool]] = {}

    def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        """Return the deployed version of a model that the caller may use.

        :raises UndeployedModel: if it has none
        """
        rows = self._rows(_MODEL, (name,))
        if not rows:
            return None
        if rows[0][1] is None:
            raise UndeployedModel(
                f"model {name!r} has no deployed version", hint=f"pgpredict deploy {shlex.quote(name)}"
            )
        model, version, value, target_type = rows[0]
        signature = Signature.from_json(value)
        if target_type is not None:
            target = dataclasses.replace(signature.target, type=target_type)
            signature = dataclasses.replace(signature, target=target)
        return ModelInfo(model, version, signature)

    def model_names(self) -> Sequence[str]:
        """Return the names of all models that the caller may use."""
        return [row[0] for row in self._rows("SELECT name FROM ml.models ORDER BY name", ())]

    def has_function(self, name: str) -> bool:
        """Tell whether a function of this name is in the search path."""
        return bool(self._rows(_FUNCTION, (name,))[0][0])

    def primary_key(self, table: str) -> Sequence[str]:
        """Return the columns of a table's primary key."""
        return [row[0] for row in self._rows(_KEY, (table,))]

    def estimate(self, sql: str) -> float | None:
        """Return PostgreSQL's estimate of a query's rows."""
        return None

    def describe(self, sql: str) -> Sequence[Column]:
        """Return a query's columns; it is prepared, never run.

        :raises DescribeError: with PostgreSQL's complaint
        """
        with self._connection.transaction():
            fields = self._prepare(sql)
        self._learn([oid for _, oid, _ in fields])
        names = self._rows(_NAMES, ([oid for _, oid, _ in fields], [modifier for *_, modifier in fields]))
        return [
            Column(name, type_name, oid, *self._types[oid])
            for (name, oid, _), (type_name,) in zip(fields, names, strict=True)
        ]

    def _prepare(self, sql: str) -> list[tuple[str, int, int]]:
        pgconn, encoding = self._connection.pgconn, self._connection.info.encoding
        result = pgconn.prepare(b"", sql.encode(encoding))
        if result.status == pq.ExecStatus.COMMAND_OK:
            result = pgconn.describe_prepared(b"")
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise _error(result, encoding)
        return [
            ((result.fname(i) or b"").decode(encoding), result.ftype(i), result.fmod(i))
            for i in range(result.nfields)
        ]

    def _learn(self, oids: Sequence[int]) -> None:
        unknown = sorted(set(oids) - self._types.keys())
        if unknown:
            for oid, *facts in self._rows(_TYPES, (unknown,)):
                self._types[oid] = (facts[0], facts[1], facts[2])

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        with self._connection.transaction(), psycopg.Cursor(self._connection) as cursor:
            return cursor.execute(sql.encode(), parameters).fetchall()


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
