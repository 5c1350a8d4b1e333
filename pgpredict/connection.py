"""Where to connect when the user does not say, and how."""

from __future__ import annotations

import os
from typing import Any

import psycopg

from pgpredict.errors import InvalidInput, ServerError
from pgpredict.server.local import local_dsn

#: libpq reads these itself; any of them means that the user has a server of their own in mind
LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE")


def resolve_dsn(dsn: str | None = None) -> str:
    """Return the connection string that applies.

    The first of: the one given, ``$PGPREDICT_DSN``, libpq's own variables (an empty string), the local
    server.

    :param dsn: what the user gave on the command line
    :raises ServerError: if none is given and there is no local server
    """
    if dsn:
        return dsn
    from_environment = os.environ.get("PGPREDICT_DSN")
    if from_environment:
        return from_environment
    if any(os.environ.get(name) for name in LIBPQ_VARIABLES):
        return ""
    return local_dsn()


def connect(dsn: str | None = None, **kwargs: Any) -> psycopg.Connection:
    """Open a connection to the server that applies (see :func:`resolve_dsn`).

    :param dsn: connection string
    :param kwargs: further parameters of ``psycopg.connect``, such as ``autocommit``
    :raises ServerError: if the server cannot be reached
    :raises InvalidInput: if the connection string is none
    """
    chosen = resolve_dsn(dsn)
    hint = None if dsn else _hint(chosen)
    try:
        connection: psycopg.Connection = psycopg.connect(chosen, **kwargs)
    except psycopg.OperationalError as error:
        raise ServerError(f"cannot connect: {str(error).strip()}", hint=hint) from error
    except psycopg.ProgrammingError as error:
        raise InvalidInput(f"the connection string is invalid: {str(error).strip()}", hint=hint) from error
    return connection


def _hint(chosen: str) -> str | None:
    """Say where a connection string came from that nobody has given on the command line."""
    if not chosen:
        return "PGHOST or PGSERVICE is set: is that the server you mean?"
    if chosen == os.environ.get("PGPREDICT_DSN"):
        return "PGPREDICT_DSN is set: is that the server you mean?"
    return "see 'pgpredict status' and 'pgpredict doctor'"
