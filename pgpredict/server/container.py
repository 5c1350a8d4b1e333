"""The inside of a container: how it is recognised, and what is checked there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgpredict.errors import PgpredictError
from pgpredict.proxy.settings import ProxySettings, make_settings
from pgpredict.runtime.client import RuntimeClient
from pgpredict.runtime.settings import default_socket

from .checks import Check, guarded
from .health import answers, health, reachable

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
    expected = "PGPREDICT_SOCKET" in os.environ or is_mounted(path.parent)
    if not (path.exists() or running("runtime")) and (running("proxy") or not expected):
        yield Check(
            "runtime", "ok", "none is seen from here: it is another container's, and nothing here needs it"
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


def is_mounted(directory: Path) -> bool:
    """Tell whether a volume is mounted there: the image has a directory of that name, too."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return str(directory) in (line.split()[4] for line in lines)


def check_server() -> Iterator[Check]:
    """Look whether the server lets the runtime in, where this container is told how to reach it."""
    dsn = os.environ.get("PGPREDICT_DSN")
    if not dsn:
        return
    try:
        # the runtime names the database of each caller; this one is always there
        database = conninfo_to_dict(dsn).get("dbname") or "postgres"
        psycopg.connect(dsn, dbname=database, connect_timeout=5).close()
    except psycopg.Error as error:
        mend = "docker compose up -d database; its password is a secret that both containers read"
        yield Check(
            "server", "fail", f"PGPREDICT_DSN does not lead to the server: {str(error).strip()}", mend
        )
        return
    yield Check("server", "ok", "PGPREDICT_DSN leads to the server")


def settings_of(process: psutil.Process) -> ProxySettings:
    """Return what a proxy was told about where it listens, by its command line and the file that this names.

    :raises InvalidInput: if the file is wrong by now
    """
    words = process.cmdline()
    given = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, separator, value = word.partition("=")
        if name in ("--config", "--listen", "--http"):
            given[name.removeprefix("--")] = value if separator else following
    file = given.pop("config", None)
    return make_settings(given, Path(process.cwd(), file) if file else None)


def check_proxy(process: psutil.Process) -> Iterator[Check]:
    """Look whether the server can be reached through a proxy, by its own word where it serves ``/health``."""
    try:
        settings = settings_of(process)
    except psutil.NoSuchProcess:
        return  # it has ended since it was found
    name = f"the proxy, process {process.pid},"
    mend = "see what 'docker compose logs proxy' tells, and whether the database's container is healthy"
    # of that address only: a client that speaks HTTP to the others is one that the proxy refuses, and counts
    told = health(*reachable(settings.http)) if settings.http else None
    if told is not None and told.problem:
        yield Check("proxy", "fail", f"{name} is not well: {told.problem}", mend)
        return
    if any(answers(*reachable(address)) for address in settings.addresses):
        yield Check("proxy", "ok", f"{name} answers")
    else:
        yield Check("proxy", "fail", f"{name} does not answer", mend)
