"""Where to connect when the user does not say, and how."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgpredict.errors import InvalidInput, ServerError
from pgpredict.server.account import Account, acting_as
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


def connect_as_owner(dsn: str, **kwargs: Any) -> psycopg.Connection:
    """Open a connection to a server; as root, over its unix socket, as the account that it runs under.

    Root is nobody to a server that asks for its peer, and may become that account anyway. Where the server
    asks for a password, it is that account's ``~/.pgpass`` that may have it: libpq would look for root's.

    :raises ServerError: if the server cannot be reached
    :raises InvalidInput: if the connection string is none
    """
    owner = server_owner(dsn)
    if owner.switch and not _names_passwords(dsn):
        kwargs["passfile"] = str(Path(pwd.getpwuid(owner.uid).pw_dir) / ".pgpass")
    with acting_as(owner):
        return connect(dsn, **kwargs)


def _names_passwords(dsn: str) -> bool:
    """Tell whether a connection string, or a variable of libpq's, says where passwords are."""
    known = conninfo_to_dict(dsn)
    variables = ("PGPASSFILE", "PGPASSWORD", "PGSERVICE")
    return any(known.get(name) for name in ("passfile", "password", "service")) or any(
        os.environ.get(name) for name in variables
    )


def server_owner(dsn: str) -> Account:
    """Return the account that a connection string's unix socket belongs to, ourselves where there is none."""
    uid = os.geteuid()
    try:
        known = conninfo_to_dict(dsn)
        port = known.get("port") or os.environ.get("PGPORT") or 5432
        directory = Path(str(known.get("host") or os.environ.get("PGHOST") or ""))
        if directory.is_absolute():
            uid = (directory / f".s.PGSQL.{port}").stat().st_uid
        entry = pwd.getpwuid(uid)
    except (psycopg.ProgrammingError, OSError, KeyError):
        # connecting tells better what is wrong
        return Account("", os.geteuid(), os.getegid(), switch=False)
    return Account(entry.pw_name, uid, entry.pw_gid, switch=os.geteuid() == 0 != uid)


def _hint(chosen: str) -> str | None:
    """Say where a connection string came from that nobody has given on the command line."""
    if not chosen:
        return "PGHOST or PGSERVICE is set: is that the server you mean?"
    if chosen == os.environ.get("PGPREDICT_DSN"):
        return "PGPREDICT_DSN is set: is that the server you mean?"
    return "see 'pgpredict status' and 'pgpredict doctor'"
