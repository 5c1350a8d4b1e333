"""The inference runtime of a cluster: started, found and stopped."""

from __future__ import annotations

import importlib.util
import os
import socket
from typing import Any

import psutil
from psycopg.conninfo import make_conninfo

from fdw import protocol
from fdw.errors import FdwError
from pgpredict.errors import ServerError
from pgpredict.runtime.errors import TooManyConnections

from .account import acting_as
from .cluster import Cluster
from .daemon import base_environment, interpreter, process_of, read_record, start, stop
from .database import RUNTIME_ROLE
from .private import SILENT, Progress

#: seconds until the runtime answers; it imports NumPy and ONNX Runtime, on a machine that may be busy
START_TIMEOUT = 120
NAME = "runtime"


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
        current = read_record(cluster, NAME).get("library") == library
        if current and not restart and answers(cluster, patience=5):
            return False
        stop_runtime(cluster)
    progress("starting the inference runtime")
    start(
        cluster,
        NAME,
        command(cluster),
        environment(cluster),
        ready=lambda: answers(cluster, patience=1),
        patience=START_TIMEOUT,
        library=library,
    )
    return True


def command(cluster: Cluster) -> list[str]:
    """Return the command line of the runtime."""
    dsn = make_conninfo(host=str(cluster.home.run), port=cluster.port, user=RUNTIME_ROLE)
    socket_path = str(cluster.home.runtime_socket)
    return [str(interpreter()), "-P", "-m", "pgpredict", "runtime", "--socket", socket_path, "--dsn", dsn]


#: settings of ``pgpredict runtime`` that ``up`` hands on from its own environment
SETTINGS = ("PGPREDICT_MEMORY", "PGPREDICT_THREADS", "PGPREDICT_CONNECTIONS", "PGPREDICT_ADDRESS_SPACE")


def environment(cluster: Cluster) -> dict[str, str]:
    """Return the environment of the runtime."""
    given = {name: os.environ[name] for name in SETTINGS if os.environ.get(name)}
    return {**base_environment(cluster), **given}


def runtime_process(cluster: Cluster) -> psutil.Process | None:
    """Return the runtime's process, None if it does not run."""
    return process_of(cluster, NAME)


def stop_runtime(cluster: Cluster) -> bool:
    """Stop the runtime and its worker.

    :returns: whether it ran
    """
    return stop(cluster, NAME)


def answers(cluster: Cluster, patience: float) -> bool:
    """Tell whether the runtime answers within ``patience`` seconds."""
    try:
        fields = _told(cluster, patience)
    except (ServerError, FdwError):
        return False
    # one whose places are all taken answers with that, and is well
    return bool(fields.get("ok")) or fields.get("sqlstate") == TooManyConnections.sqlstate


def ask(cluster: Cluster, patience: float = 5) -> dict[str, Any]:
    """Return the runtime's answer to the request ``status``.

    :param patience: seconds
    :raises ServerError: if it does not answer
    """
    fields = _told(cluster, patience)
    if not fields.get("ok"):
        raise ServerError(f"the runtime refused to tell its status: {fields.get('message')}")
    return fields


def _told(cluster: Cluster, patience: float) -> dict[str, Any]:
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
    return fields


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionResetError("it closed the connection")
        data += piece
    return bytes(data)
