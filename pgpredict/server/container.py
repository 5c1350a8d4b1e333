"""The inside of a container: how it is recognised, and what is checked there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg

from pgpredict.errors import PgpredictError
from pgpredict.runtime.client import RuntimeClient
from pgpredict.runtime.settings import default_socket

from .checks import Check, guarded
from .health import answers, health

#: what container engines leave: Docker; Podman, Buildah and CRI-O; systemd-nspawn and others by a variable
MARKERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
SYSTEMD = Path("/run/systemd/system")
VARIABLES = ("container", "KUBERNETES_SERVICE_HOST")


def evidence() -> str:
    """Return what tells that this is a container of a deployment, empty if it is none.

    A host that systemd runs is taken for one, container or not: what matters is who starts services. And a
    container that has no place for the socket of a runtime is somebody's machine.
    """
    if SYSTEMD.is_dir() or not ("PGPREDICT_SOCKET" in os.environ or default_socket().parent.exists()):
        return ""
    for marker in MARKERS:
        if marker.exists():
            return str(marker)
    return next((f"${name}" for name in VARIABLES if os.environ.get(name)), "")


def check_container() -> Iterator[Check]:
    """Look at the runtime's socket, which containers share, at the server, and at a proxy that runs here."""
    yield from guarded("runtime", check_socket)
    yield from guarded("server", check_server)
    for process in running("proxy"):
        yield from guarded("proxy", lambda process=process: check_proxy(process))  # type: ignore[misc]


def running(command: str) -> list[psutil.Process]:
    """Return the processes ``pgpredict COMMAND`` of this account."""
    found = []
    for process in psutil.process_iter(["cmdline", "uids"]):
        words, uids = process.info["cmdline"] or [], process.info["uids"]
        ours = [place for place, word in enumerate(words) if Path(word).name == "pgpredict"]
        if ours and words[ours[0] + 1 : ours[0] + 2] == [command] and uids and uids.real == os.geteuid():
            found.append(process)
    return found


def check_socket() -> Iterator[Check]:
    """Look at the volume that server and runtime share, and at who answers on it."""
    path = default_socket()
    if not path.exists() and running("proxy") and not running("runtime"):
        yield Check(
            "runtime", "ok", "none is seen from here: it is another container's, and the proxy needs none"
        )
        return
    owner = path.parent.stat().st_uid if path.parent.exists() else os.geteuid()
    if owner != os.geteuid():
        yield Check(
            "runtime",
            "fail",
            f"the volume {str(path.parent)!r} belongs to the uid {owner}, and we have {os.geteuid()}",
            "server and runtime need the same uid: give it to both containers, and make the volume again",
        )
        return
    try:
        with RuntimeClient(path, 5) as client:
            status = client.status()
    except PgpredictError as error:
        mend = "docker compose up -d runtime; 'docker compose logs runtime' tells why it ended"
        yield Check("runtime", "fail", error.message, mend)
        return
    yield Check("runtime", "ok", f"version {status['version']} answers on {str(path)!r}")


def check_server() -> Iterator[Check]:
    """Look whether the server lets the runtime in, where this container is told how to reach it."""
    dsn = os.environ.get("PGPREDICT_DSN")
    if not dsn:
        return
    try:
        psycopg.connect(dsn, connect_timeout=5).close()
    except psycopg.Error as error:
        mend = "docker compose up -d database; its password is a secret that both containers read"
        yield Check(
            "server", "fail", f"PGPREDICT_DSN does not lead to the server: {str(error).strip()}", mend
        )
        return
    yield Check("server", "ok", "PGPREDICT_DSN leads to the server")


def check_proxy(process: psutil.Process) -> Iterator[Check]:
    """Look whether the server can be reached through a proxy, by its own word where it serves ``/health``."""
    listening = process.net_connections(kind="tcp")
    ports = sorted({found.laddr.port for found in listening if found.status == psutil.CONN_LISTEN})
    name = f"the proxy, process {process.pid},"
    mend = "see what 'docker compose logs proxy' tells, and whether the database's container is healthy"
    for told in filter(None, (health("127.0.0.1", port) for port in ports)):
        if told.problem:
            yield Check("proxy", "fail", f"{name} is not well: {told.problem}", mend)
            return
    if any(answers("127.0.0.1", port) for port in ports):
        yield Check("proxy", "ok", f"{name} answers")
    else:
        yield Check("proxy", "fail", f"{name} does not answer", mend)
