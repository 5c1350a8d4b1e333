"""The user's one local server: chosen, brought up and down as a whole."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pgpredict.errors import InvalidInput, ServerError

from .cluster import DATABASE, Cluster
from .database import available_version, extension_version, make_database, renew_password
from .home import Home
from .install import ServerInstall
from .private import SILENT, Progress, fetch, find_servers, why_not_fetchable
from .proxy import start_proxy, stop_proxy
from .queries import query
from .runtime import start_runtime, stop_runtime


@dataclass(frozen=True)
class Started:
    """What ``up`` did.

    :param cluster: the running cluster
    :param server_started: whether the server had to be started
    :param runtime_started: whether the runtime had to be started
    :param newer: a better server that was found but is not the one that holds the data
    """

    cluster: Cluster
    server_started: bool
    runtime_started: bool
    newer: ServerInstall | None = None


def current_cluster(home: Home) -> Cluster | None:
    """Return the cluster that was brought up in a home, running or not; None if there was none.

    :raises ServerError: if its server is no longer on this machine
    """
    remembered = home.read_state().get("server")
    if not remembered:
        return None
    install = ServerInstall.from_json(remembered)
    # looking for servers runs a dozen programs; what was remembered is good while it is there
    return Cluster(home, install if install.fetched else same_server(home, install, find_servers(home)))


def same_server(home: Home, wanted: ServerInstall, found: list[ServerInstall]) -> ServerInstall:
    """Return the server that can run the data of a remembered one.

    :raises ServerError: if no server of that major version is there
    """
    same = [install for install in found if install.major == wanted.major]
    same.sort(key=lambda install: install.private != wanted.private)
    if not same:
        raise ServerError(
            f"PostgreSQL {wanted.major} with Multicorn is gone; {str(home.data(wanted.major))!r} needs it",
            hint=f"install PostgreSQL {wanted.major} with Multicorn again, or move that directory away",
        )
    return same[0]


def choose_server(home: Home) -> tuple[ServerInstall, ServerInstall | None]:
    """Return the server to use, and a better one if there is one that does not hold the data.

    ``$PGPREDICT_SERVER`` names one that is wanted, such as ``pg13``.

    :raises InvalidInput: if that is not there, or the home has the data of another
    :raises ServerError: if there is none and none can be fetched
    """
    found = find_servers(home)
    remembered = home.read_state().get("server")
    wanted = os.environ.get("PGPREDICT_SERVER")
    if wanted:
        found = named_server(wanted, found)
        if remembered and found[0].name != (held := ServerInstall.from_json(remembered).name):
            raise InvalidInput(
                f"PGPREDICT_SERVER is {wanted!r}, but {str(home.path)!r} has the data of {held}",
                hint="set PGPREDICT_HOME to another directory, or unset PGPREDICT_SERVER",
            )
    if remembered:
        chosen = same_server(home, ServerInstall.from_json(remembered), found)
        return chosen, next((install for install in found if install.major > chosen.major), None)
    if not found:
        raise ServerError(
            f"no PostgreSQL with Multicorn was found, and none can be fetched: {why_not_fetchable()}",
            hint="install PostgreSQL 14 or later with Multicorn2, then run this again",
        )
    return found[0], None


def named_server(name: str, found: list[ServerInstall]) -> list[ServerInstall]:
    """Return the servers of a name, of which there is at least one.

    :raises InvalidInput: if there is none
    """
    named = [install for install in found if install.name == name]
    if not named:
        names = ", ".join(dict.fromkeys(install.name for install in found)) or "none"
        raise InvalidInput(
            f"PGPREDICT_SERVER is {name!r}, which is no server with Multicorn here", hint=f"there is {names}"
        )
    return named


def up(home: Home, progress: Progress = SILENT, *, restart: bool = False, durable: bool = True) -> Started:
    """Bring the server, the database, the runtime and the proxy up; whatever runs already is left alone.

    :param progress: called with a line about what is going on
    :param restart: stop them first
    :param durable: False for data that is thrown away
    :raises ServerError: if something cannot be started
    """
    home.create()
    with home.lock(waiting=lambda: progress("waiting for another 'pgpredict up' or 'down' to end")):
        install, newer = choose_server(home)
        if not install.fetched:
            install = fetch(home, progress)
        home.remember(server=install.to_json(), run=str(home.run))
        cluster = Cluster(home, install, durable=durable)
        if restart:
            stop_proxy(cluster)
            stop_runtime(cluster)
            cluster.stop()
        started = cluster.start(progress)
        renew_password(cluster)
        if available_version() is not None:
            make_database(cluster, progress=progress)
            update_extensions(cluster, progress)
        # a restarted server may have changed its port
        runtime_started = start_runtime(cluster, restart=started, progress=progress)
        start_proxy(cluster, restart=started, progress=progress)
    return Started(cluster, started, runtime_started, newer)


def update_extensions(cluster: Cluster, progress: Progress = SILENT) -> None:
    """Bring the extension up to date in every further database that has it."""
    for name in databases(cluster):
        if name == DATABASE:
            continue
        with cluster.connect(name) as connection:
            version = extension_version(connection)
        if version is not None and version != available_version():
            make_database(cluster, name, progress)


def databases(cluster: Cluster) -> list[str]:
    """Return the names of the databases of a running cluster that may be connected to."""
    with cluster.connect("postgres") as connection:
        return [str(name) for (name,) in connection.execute(query("databases"))]


def down(home: Home, progress: Progress = SILENT) -> bool:
    """Stop the proxy, the runtime and the server.

    :returns: whether anything ran
    :raises ServerError: if something does not end
    """
    if not home.path.exists():
        return False
    with home.lock():
        cluster = current_cluster(home)
        if cluster is None:
            return False
        progress("stopping the proxy")
        ran = stop_proxy(cluster)
        progress("stopping the inference runtime")
        ran = stop_runtime(cluster) or ran
        progress("stopping the server")
        return cluster.stop() or ran


def local_dsn(home: Home | None = None, dbname: str = DATABASE) -> str:
    """Return the connection string of the running local server.

    :raises ServerError: if it does not run
    """
    return running_cluster(home or Home.default()).dsn(dbname)


def running_cluster(home: Home) -> Cluster:
    """Return the local server's cluster.

    :raises ServerError: if it does not run
    """
    cluster = current_cluster(home)
    if cluster is None:
        raise ServerError(
            "there is no local server yet",
            hint="run 'pgpredict up', or say which server with --dsn or PGPREDICT_DSN",
        )
    if cluster.pid() is None:
        raise ServerError("the local server does not run", hint="run 'pgpredict up'")
    return cluster
