"""The database of a cluster: our extension in it, at its newest version, and the runtime's role."""

from __future__ import annotations

import re
import secrets

import psycopg
from psycopg import sql

from pgpredict.errors import ServerError

from .cluster import DATABASE, SUPERUSER, Cluster
from .home import write_atomically
from .private import SILENT, Progress
from .shadow import extension_files

RUNTIME_ROLE = "pgpredict_runtime"


def available_version() -> str | None:
    """Return the version of our extension that this package brings; None if it brings none."""
    control = extension_files().get("pgpredict.control", "")
    match = re.search(r"default_version\s*=\s*'([^']+)'", control)
    return match[1] if match else None


def make_database(cluster: Cluster, name: str = DATABASE, progress: Progress = SILENT) -> None:
    """Make a database with our extension, or bring the extension in it up to date.

    :param cluster: a running cluster
    :raises ServerError: if the extension cannot be made
    """
    with cluster.connect("postgres", autocommit=True) as connection:
        # two at once: the second waits here and finds the database
        connection.execute("SELECT pg_advisory_lock(hashtext('pgpredict up'))")
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            progress(f"making the database {name}")
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with cluster.connect(name) as inside:
            make_extension(inside, progress)
            allow_runtime(inside)


def renew_password(cluster: Cluster) -> None:
    """Give the superuser a new password if the file of the last one is gone.

    A standby's is its primary's.

    :param cluster: a running cluster
    """
    if cluster.home.password_file.exists():
        return
    password = secrets.token_urlsafe(24)
    with cluster.connect("postgres") as connection:
        if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
            return
        # hashed here: a statement may end up in a log
        secret = connection.pgconn.encrypt_password(password.encode(), SUPERUSER.encode(), b"scram-sha-256")
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(SUPERUSER), secret.decode())
        )
    write_atomically(cluster.home.password_file, password + "\n", 0o600, cluster.account)


def make_extension(connection: psycopg.Connection, progress: Progress = SILENT) -> str:
    """Create our extension or update it to the version that the server's files offer.

    :returns: the version now installed
    :raises ServerError: if the server does not find the extension's files, or they fail
    """
    installed = extension_version(connection)
    offered = connection.execute(
        "SELECT default_version FROM pg_available_extensions WHERE name = 'pgpredict'"
    ).fetchone()
    if offered is None or offered[0] is None:
        raise ServerError(
            "the server does not find the extension 'pgpredict'",
            hint="run 'pgpredict doctor' to see what is missing",
        )
    try:
        if installed is None:
            progress(f"creating the extension pgpredict {offered[0]}")
            connection.execute("CREATE EXTENSION pgpredict CASCADE")
        elif installed != offered[0]:
            progress(f"updating the extension pgpredict from {installed} to {offered[0]}")
            connection.execute("ALTER EXTENSION pgpredict UPDATE")
    except psycopg.Error as error:
        action = "created" if installed is None else "updated"
        raise ServerError(
            f"the extension 'pgpredict' {offered[0]} cannot be {action}: "
            f"{error.diag.message_primary or error}",
            hint=error.diag.message_hint,
        ) from error
    return str(offered[0])


def extension_version(connection: psycopg.Connection) -> str | None:
    """Return the version of our extension in a database; None if it is not there."""
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'pgpredict'").fetchone()
    return str(row[0]) if row else None


def allow_runtime(connection: psycopg.Connection) -> None:
    """Let the runtime's role log in; the extension makes it without that right."""
    row = connection.execute(
        "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (RUNTIME_ROLE,)
    ).fetchone()
    if row is not None and not row[0]:
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(RUNTIME_ROLE)))
