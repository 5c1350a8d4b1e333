"""A runtime of the tests' own, which they may kill, freeze and fill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from onnx_models.artifact import sha256
from pgpredict.runtime import RuntimeClient
from pgpredict.runtime.errors import NotRunning

from .fix_server import Database, Server

T = TypeVar("T")


class RunningRuntime:
    """A supervisor and its worker.

    :param dsn: server to read models from
    :param options: further words of the command line
    :param path: of the socket, by default in a directory of its own
    """

    def __init__(self, dsn: str, *options: str, path: Path | None = None) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pgp-rt-")
        self.path = path or Path(self._directory.name) / "s" / "rt.sock"
        self.log = Path(self._directory.name) / "log"
        command = [sys.executable, "-m", "pgpredict", "runtime", "--socket", str(self.path)]
        command += ["--dsn", dsn, "--log", str(self.log), *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)

    def __enter__(self) -> RunningRuntime:
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """End it, by force if it must be, and return its exit status."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        finally:
            status = self.process.wait()
            if self.process.stderr is not None:
                self.process.stderr.close()
            self._directory.cleanup()
        return status

    def wait_ready(self) -> dict[str, Any]:
        """Wait for its first answer, the status."""

        def answer() -> dict[str, Any]:
            assert self.process.poll() is None, "the runtime has ended"
            return self.status()

        return eventually(answer, NotRunning, OSError)

    def client(self, timeout: float = 60) -> RuntimeClient:
        return RuntimeClient(self.path, timeout)

    def status(self) -> dict[str, Any]:
        with self.client() as client:
            return client.status()

    @property
    def worker(self) -> int:
        """Pid of the worker."""
        pid: int = self.status()["pid"]
        return pid


def eventually(probe: Callable[[], T | None], *errors: type[BaseException], seconds: float = 120) -> T:
    """Return the probe's first true result; fail after some time with its last error.

    The time is for machines that are busy with other things; who has a result does not wait for it.
    """
    deadline = time.monotonic() + seconds
    while True:
        failure: BaseException | None = None
        try:
            if result := probe():
                return result
        except errors as error:
            failure = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s") from failure
        time.sleep(0.05)


def served(path: Path) -> RuntimeClient | None:
    """Return a client that a runtime serves; None where the last place is taken, as by its supervisor."""
    client = RuntimeClient(path, 60)
    with contextlib.suppress(NotRunning):
        client.status()
        return client
    client.close()
    return None


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def store(database: Database, content: bytes, name: str | None = None) -> dict[str, Any]:
    """Put an artifact into a database, and return the start of a request that predicts with it.

    :param name: to store it under, instead of its sha256
    """
    name = name or sha256(content)
    with database.connect() as connection:
        connection.execute("INSERT INTO ml.artifact (sha256, onnx) VALUES (%s, %s)", [name, content])
    return {"do": "predict", "artifact": name, "database": oid(database)}


def oid(database: Database) -> int:
    with database.connect() as connection:
        query = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
        return int(fetch_value(connection, query))


def fetch_value(connection: psycopg.Connection[Any], query: Any, parameters: Any = None) -> Any:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def freeze(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


@pytest.fixture(scope="module")
def shared_runtime(server: Server) -> Iterator[RunningRuntime]:
    """A runtime that a module's gentler tests share."""
    with RunningRuntime(server.admin_dsn) as runtime:
        yield runtime
