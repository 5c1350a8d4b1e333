"""Every precondition of the local server's predictions, checked one by one, with what mends each."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pgpredict.errors import PgpredictError

from .account import can_read
from .checks import Check, check_database, check_disk, check_settings, guarded
from .cluster import DATABASE, Cluster
from .daemon import interpreter, log_path
from .database import RUNTIME_ROLE
from .home import Home
from .local import current_cluster, databases
from .private import find_servers, why_not_fetchable
from .proxy import answers, proxy_port, proxy_process
from .queries import query
from .runtime import ask, runtime_exists, runtime_process

OLDEST_PYTHON = (3, 9)
UP = "run 'pgpredict up'"


def examine(home: Home) -> Iterator[Check]:
    """Check everything; what cannot be checked because something before it failed is left out.

    :param home: the local server's home; it is not changed
    """
    yield from guarded("servers", lambda: check_servers(home))
    yield from guarded(
        "disk", lambda: check_disk(home.path, "make room, or move PGPREDICT_HOME to a larger disk")
    )
    try:
        cluster = current_cluster(home)
    except PgpredictError as error:
        yield Check("server", "fail", error.message, error.hint or "")
        return
    if cluster is None:
        yield Check("server", "fail", f"there is no local server in {str(home.path)!r} yet", UP)
        return
    yield from guarded("Python of the server", lambda: check_python(cluster))
    try:
        cluster.pid()
    except PgpredictError as error:
        yield Check("server", "fail", error.message, error.hint or "")
        return
    yield from guarded("permissions", lambda: check_permissions(cluster))
    if cluster.pid() is None:
        yield Check("server", "fail", "the server does not run", UP)
    else:
        yield from guarded("server", lambda: check_server(cluster))
    yield from guarded("runtime", lambda: check_runtime(cluster))
    yield from guarded("proxy", lambda: check_proxy(cluster))
    if cluster.pid() is not None:
        for name in databases(cluster):
            yield from guarded(f"database {name}", lambda name=name: check_one_database(cluster, name))  # type: ignore[misc]


def check_one_database(cluster: Cluster, name: str) -> Iterator[Check]:
    """Look at one database of the local server."""
    with cluster.connect(name, autocommit=True) as connection:
        yield from check_database(
            connection, UP, f"see the server's log; then {UP}", required=name == DATABASE
        )


def check_servers(home: Home) -> Iterator[Check]:
    """Look for servers with Multicorn."""
    for install in find_servers(home):
        kind = "private" if install.private else str(install.bindir)
        if install.fetched:
            yield Check(
                install.name,
                "ok",
                f"PostgreSQL {install.version} with Multicorn {install.multicorn_version} ({kind})",
            )
        else:
            yield Check(install.name, "ok", "the private server can be fetched")
    if not find_servers(home):
        mend = "install PostgreSQL 14 or later with Multicorn2"
        yield Check(
            "servers", "fail", f"no PostgreSQL with Multicorn, and none to fetch: {why_not_fetchable()}", mend
        )


def check_python(cluster: Cluster) -> Iterator[Check]:
    """Look at the Python inside the server and at our packages for it."""
    install = cluster.install
    name = "Python of the server"
    version = install.python_version
    if not version:
        mend = "install Multicorn again; 'ldd multicorn.so' says what it lacks"
        yield Check(name, "fail", f"the Multicorn in {str(install.pkglibdir)!r} is linked to no Python", mend)
        return
    if tuple(int(part) for part in version.split(".")) < OLDEST_PYTHON:
        yield Check(
            name,
            "fail",
            f"Python {version} is too old",
            "3.9 is the oldest that works: build Multicorn with it",
        )
    else:
        yield Check(name, "ok", f"Python {version}; ours is {sys.version.split()[0]}")
    wrapper = cluster.home.lib / "fdw"
    if not can_read(cluster.account, wrapper / "protocol.py"):
        yield Check("packages", "fail", f"the server cannot read our packages in {str(wrapper)!r}", UP)
    else:
        yield Check("packages", "ok", f"{cluster.home.lib.resolve()!s}")


def check_permissions(cluster: Cluster) -> Iterator[Check]:
    """Look at what the server's account can enter and what others cannot."""
    account, home = cluster.account, cluster.home
    for path in (home.path, interpreter()):
        if not can_read(account, path):
            mend = f"let the account {account.name!r} enter the directories above it"
            yield Check(
                "permissions", "fail", f"the account {account.name!r} cannot read {str(path)!r}", mend
            )
            return
    for path in (home.run, cluster.data):
        if not path.exists():
            yield Check("permissions", "fail", f"the directory {str(path)!r} is missing", UP)
            return
        status = path.stat()
        if status.st_uid != account.uid:
            mend = f"chown -R {account.name} {path}"
            yield Check("permissions", "fail", f"{str(path)!r} does not belong to {account.name!r}", mend)
            return
        if status.st_mode & 0o077 and path == home.run:
            yield Check(
                "permissions", "fail", f"other accounts can enter {str(path)!r}", f"chmod 0700 {path}"
            )
            return
    yield Check(
        "permissions", "ok", f"everything runs as {account.name!r}, its sockets and data are closed to others"
    )


def check_server(cluster: Cluster) -> Iterator[Check]:
    """Look at the running server."""
    with cluster.connect("postgres", autocommit=True) as connection:
        row = connection.execute(query("server")).fetchone()
        if row is None:
            return
        version, port, share = row
        yield Check("server", "ok", f"PostgreSQL {version}, process {cluster.pid()}, port {port}")
        if str(version) != cluster.install.version:
            mend = "run 'pgpredict up --restart'"
            yield Check("server", "warn", f"{version} runs, {cluster.install.version} is installed", mend)
        if not str(share).startswith(str(cluster.home.path)):
            mend = "run 'pgpredict down', then 'pgpredict up'"
            yield Check("server", "fail", f"it runs from {share!r}, not from our tree", mend)
        yield from check_settings(connection)
        if connection.execute(query("runtime_role"), (RUNTIME_ROLE,)).fetchone() != (True,):
            yield Check("role", "fail", f"the role {RUNTIME_ROLE!r} is missing or may not log in", UP)


def check_runtime(cluster: Cluster) -> Iterator[Check]:
    """Look at the inference runtime."""
    if not runtime_exists():
        yield Check("runtime", "fail", "this installation has no runtime", "install pgpredict again")
        return
    process = runtime_process(cluster)
    if process is None:
        yield Check("runtime", "fail", "the runtime does not run", UP)
        return
    try:
        ask(cluster)
    except PgpredictError as error:
        mend = "run 'pgpredict up', which replaces a runtime that does not answer"
        yield Check("runtime", "fail", error.message, mend)
        return
    yield Check("runtime", "ok", f"process {process.pid} answers on {str(cluster.home.runtime_socket)!r}")


def check_proxy(cluster: Cluster) -> Iterator[Check]:
    """Look whether the server can be reached through the proxy."""
    process = proxy_process(cluster)
    if process is None:
        yield Check("proxy", "fail", "the proxy does not run", UP)
    elif not answers(cluster):
        yield Check(
            "proxy",
            "fail",
            f"the server does not answer through the proxy, process {process.pid}",
            f"see its log {str(log_path(cluster, 'proxy'))!r}; then {UP}",
        )
    else:
        yield Check("proxy", "ok", f"process {process.pid} answers on port {proxy_port(cluster)}")
