"""Artifacts, read from the databases of the callers."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .errors import ArtifactCorrupt, ArtifactNotFound, DatabaseGone, DatabaseUnreachable

_SELECT_DATABASE = "SELECT datname FROM pg_catalog.pg_database WHERE oid = %s"
_SELECT_OID = "SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
_SELECT_ARTIFACT = "SELECT onnx FROM ml.artifact WHERE sha256 = %s"
_CONNECT_SECONDS = 5
#: a session that only ever reads artifacts; a table that somebody locks must not hold it for ever
_OPTIONS = "-c default_transaction_read_only=on -c search_path=pg_catalog -c statement_timeout=60s"


class Databases:
    """Connections to the databases of one server, by oid.

    :param dsn: connection string; its database, by default ``postgres``, is used to look up the others'
        names
    :param role: role to become; None: stay who the dsn says
    :ivar has_home: whether the dsn names a database
    """

    def __init__(self, dsn: str, role: str | None = None) -> None:
        # every server has this one, while libpq's default is a database named as the user
        named = conninfo_to_dict(dsn).get("dbname") or os.environ.get("PGDATABASE")
        self.has_home = bool(named)
        self._dsn = make_conninfo(dsn, dbname=named or "postgres")
        self._role = role
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()

    def connect(self, database: int | None) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a new connection in autocommit mode.

        :param database: oid; None: the dsn's own database
        :raises DatabaseUnreachable: if there is none
        """
        if database is None:
            return self._open(None)
        known = self._names.get(database)
        if known is not None:
            try:
                connection = self._open(known)
            except DatabaseUnreachable:
                pass  # it may have been renamed
            else:
                # and another one may have got its name
                if connection.execute(_SELECT_OID).fetchall() == [(database,)]:
                    return connection
                connection.close()
            self._names.pop(database, None)
        return self._open(self._look_up(database))

    def _look_up(self, database: int) -> str:
        with self._open(None) as connection:
            row = connection.execute(_SELECT_DATABASE, [database]).fetchone()
        if row is None:
            raise DatabaseGone(
                f"no database has the oid {database}",
                hint="the runtime's --dsn must point to the server that asks it",
            )
        with self._lock:
            self._names[database] = row[0]
        return str(row[0])

    def _open(self, name: str | None) -> psycopg.Connection[tuple[Any, ...]]:
        try:
            connection = psycopg.connect(
                make_conninfo(self._dsn, dbname=name),
                autocommit=True,
                options=_OPTIONS,
                connect_timeout=_CONNECT_SECONDS,
                application_name="pgpredict runtime",
            )
            if self._role is not None:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._role)))
        except psycopg.Error as error:
            where = "the server" if name is None else f"database {name!r}"
            raise DatabaseUnreachable(
                f"the runtime cannot connect to {where}: {' '.join(str(error).split())}",
                hint="check the runtime's --dsn, its role and pg_hba.conf",
            ) from error
        return connection


def fetch_artifact(databases: Databases, database: int | None, artifact: str) -> bytes:
    """Return an artifact's bytes, checked against their name.

    :param databases: where to connect
    :param database: oid of the caller's database; None: the dsn's own
    :param artifact: sha256 in hex
    :raises ArtifactNotFound: if the database has none by that name
    :raises ArtifactCorrupt: if the bytes have another sha256
    :raises DatabaseUnreachable: if it cannot be asked
    """
    try:
        with databases.connect(database) as connection:
            row = connection.execute(_SELECT_ARTIFACT, [artifact], binary=True).fetchone()
    except psycopg.errors.UndefinedTable as error:
        raise ArtifactNotFound(
            "the database has no table ml.artifact", hint="CREATE EXTENSION pgpredict CASCADE"
        ) from error
    except psycopg.Error as error:
        raise DatabaseUnreachable(
            f"the runtime cannot read artifact {artifact[:12]!r}: {' '.join(str(error).split())}",
            hint="its role needs SELECT on ml.artifact, as pgpredict_runtime has it",
        ) from error
    if row is None:
        raise ArtifactNotFound(
            f"artifact {artifact!r} is not in the database",
            hint="deploy a version that is; a version must be committed before it is deployed",
        )
    content = bytes(row[0])
    found = hashlib.sha256(content).hexdigest()
    if found != artifact:
        raise ArtifactCorrupt(
            f"artifact {artifact!r} is damaged: its bytes have the sha256 {found!r}",
            hint="restore the row of ml.artifact from a backup, or train and deploy the model again",
        )
    return content
