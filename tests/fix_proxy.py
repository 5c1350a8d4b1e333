"""A real proxy process in front of each server of the tests."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from onnx_models import storing
from tests import graphs
from tests.fix_rewriter import Lasting
from tests.fix_server import Database, Server

#: seconds until a proxy listens; the machines are slow now and then
START_SECONDS = 60
#: of the model that ``store_weight`` stores
PREDICT = "SELECT PREDICT(weight USING 2.0::float8 AS a)"
#: ports that were given away last, each with a socket that is bound to it
_held: deque[socket.socket] = deque()
_HELD = 50


@atexit.register
def _let_go() -> None:
    """Close them, or each is warned of at the end."""
    while _held:
        _held.popleft().close()


def free_port() -> int:
    """A free TCP port of the loopback address, for a server that takes its time to start.

    Meanwhile nobody is given it who asks for any port: somebody has bound it. With SO_REUSEADDR, which every
    server sets, it can be bound again and listened on as long as nobody else listens.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    if len(_held) > _HELD:
        _held.popleft().close()
    return int(holder.getsockname()[1])


@dataclass
class RunningProxy:
    """A proxy process.

    :param process: it
    :param port: that it listens on, at 127.0.0.1 and in ``directory``
    :param directory: of its unix socket
    :param log: its log file
    """

    process: subprocess.Popen[bytes]
    port: int
    directory: Path
    log: Path

    def dsn(self, dsn: str, *, tcp: bool = False) -> str:
        """Return a connection string that leads through the proxy."""
        host = "127.0.0.1" if tcp else str(self.directory)
        return make_conninfo(dsn, host=host, port=self.port)

    def connect(self, database: Database, **kwargs: Any) -> psycopg.Connection[Any]:
        """Return a connection through the proxy; in autocommit unless told otherwise."""
        parameters = {"autocommit": True, **kwargs}
        return psycopg.connect(self.dsn(database.dsn), **parameters)

    def logged(self) -> str:
        """Return what it has logged so far."""
        return self.log.read_text()


@contextlib.contextmanager
def running_proxy(server_dsn: str, *options: str, port: int | None = None) -> Iterator[RunningProxy]:
    """Run a proxy in front of a server.

    :param server_dsn: connection string of the server; users and databases in it do not matter
    :param options: further options of ``pgpredict proxy``
    """
    known = conninfo_to_dict(server_dsn)
    server = make_conninfo(host=known.get("host"), port=known.get("port"))
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="pgp-proxy-") as name:
        directory = Path(name)
        log = directory / "log"
        command = [sys.executable, "-m", "pgpredict", "proxy", "--server", str(server), "--log", str(log)]
        command += ["--listen", f"127.0.0.1:{port}", "--listen-socket", name, *options]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        process = subprocess.Popen(command, env=environment)
        try:
            deadline = time.monotonic() + START_SECONDS
            while "event=listening" not in (log.read_text() if log.exists() else ""):
                assert process.poll() is None, log.read_text() if log.exists() else "no log"
                assert time.monotonic() < deadline, "the proxy does not listen"
                time.sleep(0.02)
            yield RunningProxy(process, port, directory, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture(scope="session")
def proxy(server: Server) -> Iterator[RunningProxy]:
    """A proxy that all tests of a server share; a defect that it has logged fails the last of them."""
    with running_proxy(server.admin_dsn, "--log-level", "debug") as proxy:
        yield proxy
        assert "event=defect" not in proxy.logged(), proxy.logged()


@pytest.fixture(scope="session")
def proxied(statements_database: Database, proxy: RunningProxy) -> Iterator[Lasting]:
    """A connection through the proxy to the database of the statements."""
    database = Database(
        statements_database.name, proxy.dsn(statements_database.dsn), statements_database.server
    )
    lasting = Lasting(database)
    yield lasting
    if lasting.bench is not None:
        lasting.bench.connection.close()


def store_weight(connection: psycopg.Connection[Any], weight: float, name: str = "weight") -> int:
    """Store and deploy a model that multiplies ``a`` by a number."""
    version = storing.register(connection, name, graphs.regression(["a"]), graphs.linear((weight,)), {})
    storing.deploy(connection, name, version)
    return version
