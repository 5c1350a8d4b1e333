"""The functions of libpq that psycopg2 has not: to describe a statement, and several messages at once.

psycopg2 gives its ``PGconn`` for this purpose (``connection.pgconn_ptr``); the functions are those of the
very library that psycopg2 itself is linked with.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import psycopg2

TUPLES_OK, FATAL_ERROR, PIPELINE_SYNC = 2, 7, 10
#: version of the first libpq with pipelines
_FIRST = 14_00_00
_BINARY = 1

_Texts = Sequence[bytes | None]


class Libpq:
    """libpq's functions, with types."""

    def __init__(self) -> None:
        library = ctypes.CDLL(psycopg2._psycopg.__file__)
        if library.PQlibVersion() < _FIRST:
            raise psycopg2.NotSupportedError(
                f"PREDICT needs libpq 14 or newer, psycopg2 is linked with {library.PQlibVersion() // 10_000}"
            )
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        for name, result, arguments in (
            ("PQenterPipelineMode", number, [pointer]),
            ("PQexitPipelineMode", number, [pointer]),
            ("PQpipelineSync", number, [pointer]),
            ("PQsendPrepare", number, [pointer, text, text, number, pointer]),
            ("PQsendDescribePrepared", number, [pointer, text]),
            (
                "PQsendQueryParams",
                number,
                [pointer, text, number, pointer, pointer, pointer, pointer, number],
            ),
            ("PQgetResult", pointer, [pointer]),
            ("PQclear", None, [pointer]),
            ("PQresultStatus", number, [pointer]),
            ("PQresultErrorField", text, [pointer, number]),
            ("PQerrorMessage", text, [pointer]),
            ("PQstatus", number, [pointer]),
            ("PQnfields", number, [pointer]),
            ("PQfname", text, [pointer, number]),
            ("PQftype", ctypes.c_uint, [pointer, number]),
            ("PQfmod", number, [pointer, number]),
            ("PQgetvalue", pointer, [pointer, number, number]),
            ("PQgetlength", number, [pointer, number, number]),
            ("PQgetisnull", number, [pointer, number, number]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library: Any = library

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def send_query(self, connection: int, sql: bytes, values: _Texts) -> None:
        """Send a query with parameters in text format; its result will be in binary format."""
        array = (ctypes.c_char_p * len(values))(*values) if values else None
        self._sent(
            connection,
            self.PQsendQueryParams(connection, sql, len(values), None, array, None, None, _BINARY),
        )

    def send_prepare(self, connection: int, sql: bytes, types: Sequence[int]) -> None:
        """Send a query to be prepared, without a name."""
        array = (ctypes.c_uint * len(types))(*types) if types else None
        self._sent(connection, self.PQsendPrepare(connection, b"", sql, len(types), array))

    def send_describe(self, connection: int) -> None:
        """Ask for the columns of what was prepared without a name."""
        self._sent(connection, self.PQsendDescribePrepared(connection, b""))

    def _sent(self, connection: int, sent: int) -> None:
        if not sent:
            raise psycopg2.OperationalError(self.PQerrorMessage(connection).decode("utf-8", "replace"))

    def error_fields(self, result: int, encoding: str) -> dict[str, str]:
        """Return the fields of an error by the letters of the protocol."""
        values = {letter: self.PQresultErrorField(result, ord(letter)) for letter in "SVCMDHP"}
        return {letter: value.decode(encoding, "replace") for letter, value in values.items() if value}

    def value(self, result: int) -> bytes | None:
        """Return the one value of a result."""
        if self.PQgetisnull(result, 0, 0):
            return None
        return ctypes.string_at(self.PQgetvalue(result, 0, 0), self.PQgetlength(result, 0, 0))


libpq = functools.cache(Libpq)
