"""The inference runtime of a cluster: started, found and stopped."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from psycopg.conninfo import make_conninfo

from fdw import protocol
from fdw.errors import FdwError
from pgpredict.errors import ServerError

from .account import acting_as, can_read, last_words, start_daemon
from .cluster import Cluster, open_log
from .database import RUNTIME_ROLE
from .home import write_atomically
from .private import SILENT, Progress

#: seconds until the runtime answers; it imports NumPy and ONNX Runtime
START_TIMEOUT = 60
STOP_TIMEOUT = 10


def runtime_exists() -> bool:
    """Tell whether this package has a runtime to start."""
    return importlib.util.find_spec("pgpredict.cli.runtime") is not None


def start_runtime(cluster: Cluster, *, restart: bool = False, progress: Progress = SILENT) -> bool:
    """Start the runtime unless it runs and answers; one that runs and does not answer is replaced.

    :param restart: replace it in any case
    :param progress: called with a line if it has to be started
    :returns: whether it had to be started
    :raises ServerError: if it does not come up
    """
    if not runtime_exists():
        return False
    library = str(cluster.home.lib.resolve())
    process = runtime_process(cluster)
    if process is not None:
        current = read_pid_file(cluster).get("library") == library
        if current and not restart and answers(cluster, patience=5):
            return False
        stop_runtime(cluster)
    progress("starting the inference runtime")
    check_interpreter(cluster)
    log = cluster.home.log / "runtime.log"
    with open_log(log, cluster.account) as output:
        start = log.stat().st_size
        child = start_daemon(command(cluster), env=environment(cluster), account=cluster.account, log=output)
    record = {"pid": child.pid, "created": psutil.Process(child.pid).create_time(), "library": library}
    write_atomically(cluster.home.run / "runtime.json", json.dumps(record), 0o600, cluster.account)
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        if answers(cluster, patience=1):
            # it goes on without us: no complaint that we do not wait for it
            child.returncode = 0
            return True
        time.sleep(0.05)
    stop_runtime(cluster)
    with log.open(errors="replace") as output_text:
        output_text.seek(start)
        said = last_words(output_text.read(), 8)
    raise ServerError(
        f"the runtime did not start: {said or 'it said nothing'}", hint=f"its log is {str(log)!r}"
    )


def command(cluster: Cluster) -> list[str]:
    """Return the command line of the runtime."""
    dsn = make_conninfo(host=str(cluster.home.run), port=cluster.port, user=RUNTIME_ROLE)
    socket_path = str(cluster.home.runtime_socket)
    return [str(interpreter()), "-P", "-m", "pgpredict", "runtime", "--socket", socket_path, "--dsn", dsn]


#: settings of ``pgpredict runtime`` that ``up`` hands on from its own environment
SETTINGS = ("PGPREDICT_MEMORY", "PGPREDICT_THREADS", "PGPREDICT_CONNECTIONS", "PGPREDICT_ADDRESS_SPACE")


def environment(cluster: Cluster) -> dict[str, str]:
    """Return the environment of the runtime: our packages from the copy that its account can read."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(cluster.home.path),
        "PYTHONPATH": str(cluster.home.lib),
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        **{name: os.environ[name] for name in SETTINGS if os.environ.get(name)},
    }


def interpreter() -> Path:
    """Return the path of our interpreter that the runtime's account can walk.

    The checkout's ``.venv`` may be a link out of a directory that is closed to it. The interpreter itself
    is not resolved: where it lies tells Python which environment's packages to use.
    """
    given = Path(sys.executable)
    return given.parent.resolve() / given.name


def check_interpreter(cluster: Cluster) -> None:
    """Refuse an interpreter or packages that the server's account cannot read.

    :raises ServerError: if it cannot
    """
    packages = importlib.util.find_spec("numpy")
    needed = [interpreter()] + ([Path(packages.origin).resolve()] if packages and packages.origin else [])
    for path in needed:
        if not can_read(cluster.account, path):
            raise ServerError(
                f"the account {cluster.account.name!r}, which runs the runtime, cannot read {str(path)!r}",
                hint="install pgpredict where other accounts can read it; 'scripts/setup' does that",
            )


def read_pid_file(cluster: Cluster) -> dict[str, Any]:
    """Return what is known about the runtime that was started last."""
    try:
        record = json.loads((cluster.home.run / "runtime.json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def runtime_process(cluster: Cluster) -> psutil.Process | None:
    """Return the runtime's process, None if it does not run."""
    record = read_pid_file(cluster)
    try:
        process = psutil.Process(int(record["pid"]))
        # process ids are used again: the time of its start tells it apart; the account, who could write
        # anything there, that root ends no process of anybody else
        same = (
            abs(process.create_time() - float(record["created"])) < 0.05
            and process.uids().real == cluster.account.uid
        )
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, KeyError, ValueError):
        return None


def stop_runtime(cluster: Cluster) -> bool:
    """Stop the runtime and its worker.

    :returns: whether it ran
    """
    process = runtime_process(cluster)
    if process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        # a suspended one does not see the signal before it goes on
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGCONT)
        _, alive = psutil.wait_procs([process], timeout=STOP_TIMEOUT)
        for member in family if alive else family[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=STOP_TIMEOUT)
    (cluster.home.run / "runtime.json").unlink(missing_ok=True)
    return True


def answers(cluster: Cluster, patience: float) -> bool:
    """Tell whether the runtime answers within ``patience`` seconds."""
    try:
        ask(cluster, patience)
    except (ServerError, FdwError):
        return False
    return True


def ask(cluster: Cluster, patience: float = 5) -> dict[str, Any]:
    """Return the runtime's answer to the request ``status``.

    :param patience: seconds
    :raises ServerError: if it does not answer
    """
    path = str(cluster.home.runtime_socket)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patience)
        try:
            # the runtime talks to its own account only, and sees who we are when we connect
            with acting_as(cluster.account):
                connection.connect(path)
            connection.sendall(b"".join(protocol.encode({"do": "status"})))
            header_length, blob_length = protocol.decode_head(_receive(connection, protocol.HEAD.size))
            header = _receive(connection, header_length)
            fields, _ = protocol.decode_body(header, memoryview(_receive(connection, blob_length)))
        except OSError as error:
            raise ServerError(
                f"the runtime does not answer on {path!r}: {error.strerror or error}",
                hint="run 'pgpredict up'",
            ) from error
    if not fields.get("ok"):
        raise ServerError(f"the runtime refused to tell its status: {fields.get('message')}")
    return fields


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionResetError("it closed the connection")
        data += piece
    return bytes(data)
