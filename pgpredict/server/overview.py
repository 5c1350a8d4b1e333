"""What ``pgpredict status`` tells."""

from __future__ import annotations

from typing import Any

import psycopg

from pgpredict.errors import PgpredictError

from .cluster import Cluster
from .daemon import log_path
from .database import extension_version
from .home import Home
from .local import current_cluster, databases
from .proxy import proxy_dsn, proxy_port, proxy_process, proxy_tcp_dsn
from .queries import query
from .runtime import ask, runtime_process


def overview(home: Home) -> dict[str, Any]:
    """Return the state of the local server as JSON.

    :raises ServerError: if the server that holds the data is gone
    """
    cluster = current_cluster(home)
    if cluster is None:
        nothing: dict[str, Any] = {"server": None, "runtime": None, "proxy": None, "databases": []}
        return {"running": False, "home": str(home.path), **nothing}
    pid = cluster.pid()
    return {
        "running": pid is not None,
        "home": str(home.path),
        "server": server_part(cluster, pid),
        "runtime": runtime_part(cluster),
        "proxy": proxy_part(cluster),
        "databases": [database_part(cluster, name) for name in databases(cluster)] if pid else [],
    }


def server_part(cluster: Cluster, pid: int | None) -> dict[str, Any]:
    """Return what is known of the server."""
    install = cluster.install
    return {
        "pid": pid,
        "version": install.version,
        "multicorn": install.multicorn_version,
        "python": install.python_version,
        "private": install.private,
        "account": cluster.account.name,
        "port": cluster.port,
        "data": str(cluster.data),
        "log": str(cluster.log),
        "dsn": cluster.dsn(),
        "tcp_dsn": cluster.tcp_dsn(),
        "password_file": str(cluster.home.password_file),
    }


def runtime_part(cluster: Cluster) -> dict[str, Any]:
    """Return what the runtime tells of itself."""
    process = runtime_process(cluster)
    part: dict[str, Any] = {
        "pid": process.pid if process else None,
        "socket": str(cluster.home.runtime_socket),
        "log": str(cluster.home.log / "runtime.log"),
    }
    if process is None:
        return part
    try:
        answer = ask(cluster)
    except PgpredictError as error:
        return {**part, "error": error.message}
    # the answer is the worker's; the process that was started watches over it
    return {**answer, "worker": answer.get("pid"), **part, "ok": True}


def proxy_part(cluster: Cluster) -> dict[str, Any]:
    """Return what is known of the proxy."""
    process = proxy_process(cluster)
    return {
        "pid": process.pid if process else None,
        "port": proxy_port(cluster),
        "dsn": proxy_dsn(cluster),
        "tcp_dsn": proxy_tcp_dsn(cluster),
        "log": str(log_path(cluster, "proxy")),
    }


def database_part(cluster: Cluster, name: str) -> dict[str, Any]:
    """Return a database's extension and models."""
    try:
        with cluster.connect(name) as connection:
            version = extension_version(connection)
            rows = connection.execute(query("models")).fetchall() if version else []
    except psycopg.Error as error:
        return {"name": name, "error": str(error).strip()}
    models = [{"name": row[0], "task": row[1], "deployed": row[2], "versions": row[3]} for row in rows]
    return {"name": name, "extension": version, "models": models}
