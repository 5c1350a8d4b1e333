"""The proxy of a cluster: started, found and stopped."""

from __future__ import annotations

import os

import psutil
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from pgpredict.errors import ServerError

from .cluster import DATABASE, SUPERUSER, Cluster, is_free
from .daemon import base_environment, interpreter, process_of, read_record, start, stop
from .private import SILENT, Progress

NAME = "proxy"
#: seconds until it answers; a machine may be busy with other things, and who has ended is not waited for
START_TIMEOUT = 60
#: ports that are tried
_ATTEMPTS = 5
#: that running statements get when it is stopped
DRAIN_SECONDS = 5


def start_proxy(cluster: Cluster, *, restart: bool = False, progress: Progress = SILENT) -> bool:
    """Start the proxy unless it runs and answers.

    :param restart: replace it in any case
    :param progress: called with a line if it has to be started
    :returns: whether it had to be started
    :raises ServerError: if it does not come up
    """
    library = str(cluster.home.lib.resolve())
    if process_of(cluster, NAME) is not None:
        if read_record(cluster, NAME).get("library") == library and not restart and answers(cluster):
            return False
        stop_proxy(cluster)
    progress("starting the proxy")
    for _ in range(_ATTEMPTS):
        port = cluster.choose_port(NAME)
        try:
            start(
                cluster,
                NAME,
                command(cluster, port),
                base_environment(cluster),
                ready=lambda: answers(cluster),
                patience=START_TIMEOUT,
                library=library,
            )
        except ServerError:
            if is_free(port):
                raise
            continue  # somebody else took the port in between
        return True
    raise ServerError("no free port was found for the proxy")


def command(cluster: Cluster, port: int) -> list[str]:
    """Return the command line of the proxy.

    Clients over its unix socket go to the server's, where the account is enough; clients over TCP go to the
    server over TCP, which asks them for their password.
    """
    options = {
        "listen": f"127.0.0.1:{port}",
        "listen-socket": str(cluster.home.run),
        "server": make_conninfo(host="127.0.0.1", port=cluster.port),
        "server-socket": str(cluster.home.run),
        "drain-seconds": str(DRAIN_SECONDS),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [str(interpreter()), "-P", "-m", "pgpredict", "proxy", *words]


def proxy_port(cluster: Cluster) -> int:
    """Return its port, 0 if it was never started."""
    return int(cluster.home.read_state().get("ports", {}).get(NAME, 0))


def proxy_process(cluster: Cluster) -> psutil.Process | None:
    """Return its process, None if it does not run."""
    return process_of(cluster, NAME)


def proxy_dsn(cluster: Cluster, dbname: str = DATABASE, user: str = SUPERUSER) -> str:
    """Return the connection string over its socket, for those who may enter its directory."""
    return make_conninfo(host=str(cluster.home.run), port=proxy_port(cluster), user=user, dbname=dbname)


def proxy_tcp_dsn(cluster: Cluster, dbname: str = DATABASE, user: str = SUPERUSER) -> str:
    """Return the connection string over TCP, without the password."""
    return make_conninfo(host="127.0.0.1", port=proxy_port(cluster), user=user, dbname=dbname)


def answers(cluster: Cluster) -> bool:
    """Tell whether the server can be reached through it."""
    dsn = make_conninfo(proxy_dsn(cluster, "postgres"), connect_timeout=5)
    return PGconn.ping(os.fsencode(dsn)) == Ping.OK


def stop_proxy(cluster: Cluster) -> bool:
    """Stop it, after the statements that run through it.

    :returns: whether it ran
    """
    return stop(cluster, NAME, patience=DRAIN_SECONDS + 5)
