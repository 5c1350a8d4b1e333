"""Installing into a database of the user's: what we can do ourselves, and what to do where we cannot."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from pgpredict.errors import ServerError

from .account import run
from .database import RUNTIME_ROLE, allow_runtime, available_version, extension_version, make_extension
from .home import write_atomically
from .install import ServerInstall
from .library import source_directory
from .queries import query
from .shadow import extension_files

DEFAULT_SOCKET = "/run/pgpredict/runtime.sock"


@dataclass
class Installed:
    """What was done.

    :param version: the extension's version
    :param done: steps that were done
    :param owner: account that the server runs under; empty if unknown
    :param hba_file: where the server keeps who may log in
    :param ident_file: where it keeps which accounts are which roles
    """

    version: str
    done: list[str] = field(default_factory=list)
    owner: str = ""
    hba_file: str = ""
    ident_file: str = ""


def install_into(connection: psycopg.Connection, socket: str = DEFAULT_SOCKET) -> Installed:
    """Make predictions possible in a database: files, packages, extension, role, socket.

    :param connection: a superuser's, to the database
    :param socket: where the runtime will listen on the server's machine
    :raises ServerError: if the user is no superuser, Multicorn is missing, or a step has to be done by hand;
        the hint says which commands do it
    """
    connection.autocommit = True
    check_superuser(connection)
    check_multicorn(connection)
    server = local_install(connection)
    result = Installed("")
    standby = connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    if offered_version(connection) != available_version() or not extension_is_current(server):
        result.done += copy_extension(connection, server)
    if not (wrapper_is_current(server, required=standby) and (standby or wrapper_is_importable(connection))):
        result.done += copy_wrapper(connection, server)
    if standby:
        result.version = extension_version(connection) or ""
        result.done.append("a standby: what is in the database comes from its primary")
    else:
        result.done += set_up(connection, socket, result)
    result.hba_file, result.ident_file = setting(connection, "hba_file"), setting(connection, "ident_file")
    if server is not None:
        directory = setting(connection, "data_directory")
        result.owner = Path(directory).owner() if os.path.lexists(directory) else ""
    return result


def set_up(connection: psycopg.Connection, socket: str, result: Installed) -> list[str]:
    """Make or update the extension, and what belongs to it; return what was done."""
    result.version = make_extension(connection)
    allow_runtime(connection)
    set_socket(connection, socket)
    return [
        f"extension pgpredict {result.version}",
        f"role {RUNTIME_ROLE} may log in",
        f"the server looks for the runtime on {socket}",
    ]


def check_superuser(connection: psycopg.Connection) -> None:
    """Refuse anybody but a superuser.

    :raises ServerError: if the user is none
    """
    row = connection.execute(
        "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    if row is None or not row[1]:
        raise ServerError(
            f"the role {row and row[0]!r} is not a superuser",
            hint="a foreign data wrapper runs code in the server: connect as a superuser to install it",
        )


def check_multicorn(connection: psycopg.Connection) -> None:
    """Refuse a server without Multicorn.

    :raises ServerError: if it has none
    """
    if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'multicorn'").fetchone():
        raise ServerError(
            "the server has no Multicorn",
            hint="install Multicorn2 for its PostgreSQL version on the server's machine",
        )


def offered_version(connection: psycopg.Connection) -> str | None:
    """Return the version of our extension whose files the server finds."""
    row = connection.execute(
        "SELECT default_version FROM pg_available_extensions WHERE name = 'pgpredict'"
    ).fetchone()
    return row[0] if row else None


def setting(connection: psycopg.Connection, name: str) -> str:
    """Return a setting of the server."""
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def local_install(connection: psycopg.Connection) -> ServerInstall | None:
    """Return the server's installation if its files are on this machine, else None."""
    parts: dict[str, str] = dict(connection.execute("SELECT name, setting FROM pg_config").fetchall())
    control = Path(parts["SHAREDIR"]) / "extension/multicorn.control"
    try:
        status = control.stat()
    except OSError:
        return None
    # a forwarded port or a container may show the same path with another file system behind it
    row = connection.execute(query("file_status"), (str(control),)).fetchone()
    if row is None or row[0] != status.st_size or abs(float(row[1]) - int(status.st_mtime)) > 1:
        return None
    version = parts["VERSION"].split()[1]
    return ServerInstall(version, Path(parts["BINDIR"]), Path(parts["SHAREDIR"]), Path(parts["PKGLIBDIR"]))


def extension_is_current(server: ServerInstall | None) -> bool:
    """Tell whether the extension's files are ours; of a server elsewhere the version has to do."""
    if server is None:
        return True
    directory = server.sharedir / "extension"
    return all(
        (directory / name).exists() and (directory / name).read_text(encoding="utf-8") == text
        for name, text in extension_files().items()
    )


def wrapper_is_current(server: ServerInstall | None, *, required: bool) -> bool:
    """Tell whether the server's local packages have no wrapper of another version.

    :param required: whether one has to be there: a standby cannot try whether it finds one elsewhere
    """
    directory = site_directory(server) if server else None
    installed = directory / "fdw" if directory else None
    if installed is None or not installed.is_dir():
        return not required
    files = {path.name: path.read_bytes() for path in (source_directory() / "fdw").glob("*.py")}
    found = list(installed.glob("*.py"))
    readable = all(path.stat().st_mode & stat.S_IROTH for path in (installed, *found))
    return readable and files == {path.name: path.read_bytes() for path in found}


def copy_extension(connection: psycopg.Connection, server: ServerInstall | None) -> list[str]:
    """Copy the extension's files to where the server looks for them.

    :raises ServerError: if they have to be copied by hand
    """
    row = connection.execute("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'").fetchone()
    directory = Path(str(row[0]) if row else "/usr/share/postgresql") / "extension"
    source = source_directory() / "pgpredict/sql"
    if server is None or not os.access(directory, os.W_OK):
        where = "as root" if server else "on the server's machine, with our files there"
        raise ServerError(
            f"the extension's files have to go into {str(directory)!r}, which cannot be written from here",
            hint=f"{where}, run: cp {source}/pgpredict.control {source}/pgpredict--*.sql {directory}/",
        )
    for name, text in extension_files().items():
        write_atomically(directory / name, text)
    return [f"copied the extension's files to {directory}"]


def wrapper_is_importable(connection: psycopg.Connection) -> bool:
    """Tell whether the server's Python finds our wrapper: it is tried, and nothing of the trial stays."""
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE EXTENSION IF NOT EXISTS multicorn")
        try:
            # Multicorn imports the class when a table of it is made (2.x, 3.x) or first read (1.4)
            for name in ("trial_schema", "trial_server", "trial_table", "trial_select"):
                connection.execute(query(name))
        except psycopg.Error as error:
            said = error.diag.message_primary or ""
            return not any(word in said for word in ("ImportError", "ModuleNotFoundError", "No module named"))
    return True


def copy_wrapper(connection: psycopg.Connection, server: ServerInstall | None) -> list[str]:
    """Copy the wrapper (standard library only) to where the server's Python finds it.

    :raises ServerError: if it has to be copied by hand
    """
    source = source_directory() / "fdw"
    directory = site_directory(server) if server else None
    if directory is None or not os.access(directory, os.W_OK):
        place = str(directory) if directory else "a directory on the sys.path of the server's Python"
        who = "as root" if server else "on the server's machine"
        raise ServerError(
            "the server's Python does not find our version of the package 'fdw'",
            hint=f"{who}, run: cp -r {source} {place} (or add {source.parent} to PYTHONPATH in the server's "
            "environment and restart it)",
        )
    target, new = directory / "fdw", directory / "fdw.new"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(source, new, ignore=shutil.ignore_patterns("__pycache__"))
    let_all_read(new)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
    if server is not None and server.python is not None:
        run([server.python, "-m", "compileall", "-q", target])
        let_all_read(target)
    return [f"copied the wrapper to {target}"]


def let_all_read(tree: Path) -> None:
    """Let the server's account read a directory, whatever our umask is, and was when we were installed."""
    for directory, _, files in os.walk(tree):
        Path(directory).chmod(0o755)
        for name in files:
            (Path(directory) / name).chmod(0o644)


def site_directory(server: ServerInstall) -> Path | None:
    """Return the directory for local packages of the Python inside a server, if it has one here."""
    if server.python is None:
        return None
    script = "import site, sys; print('\\n'.join(p for p in site.getsitepackages() if p in sys.path))"
    for line in run([server.python, "-I", "-c", script]).splitlines():
        if Path(line).is_dir():
            return Path(line)
    return None


def set_socket(connection: psycopg.Connection, socket: str) -> None:
    """Store where the runtime listens in the options of our foreign server."""
    row = connection.execute(query("socket_option")).fetchone()
    action = sql.SQL("SET" if row and row[0] else "ADD")
    statement = sql.SQL("ALTER SERVER pgpredict OPTIONS ({} socket {})")
    connection.execute(statement.format(action, sql.Literal(socket)))
