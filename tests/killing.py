"""Programs of ours that are killed at a chosen moment, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from fdw.errors import FdwError
from pgpredict.errors import ServerError
from pgpredict.server import Cluster
from pgpredict.server.runtime import ask
from tests.fix_runtime import eventually

UNSOUND = Path(__file__).parent / "fixtures" / "unsound.sql"
#: seconds for anything that one waits for here
PATIENCE = 120.0


class Program:
    """``pgpredict`` with some words, whose lines of progress are watched.

    :param environment: what is added to ours
    """

    def __init__(self, *words: str, environment: Mapping[str, str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgpredict", *words],
            env={**os.environ, **environment, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._output.close()

    @property
    def output(self) -> str:
        """What it has written so far."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def wait_for(self, text: str) -> bool:
        """Wait until it says something; return False if it ended without."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.output:
            if self.process.poll() is not None:
                return text in self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)
        return True

    def kill(self) -> None:
        """Kill it, and nothing that it started."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        """Wait for its end and return its exit status; an error is one that a user can read."""
        status = self.process.wait(PATIENCE)
        assert "Traceback" not in self.output, self.output
        return status


@contextlib.contextmanager
def held_up(dsn: str, relation: str) -> Iterator[None]:
    """Let nobody write to a relation until the block ends."""
    with psycopg.connect(dsn) as connection:
        statement = sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(*relation.split(".")))
        connection.execute(statement)
        try:
            yield
        finally:
            # the server itself may be what was killed
            with contextlib.suppress(psycopg.OperationalError):
                connection.rollback()


def waiting_backend(dsn: str, event: str = "Lock") -> int:
    """Wait until one backend of a database waits for a lock, and return its process id.

    :param dsn: of somebody who sees what others wait for
    :param event: what it waits for instead, or its kind, as PostgreSQL calls it
    """
    query = """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND %s IN (wait_event_type, wait_event) AND state = 'active'
    """
    deadline = time.monotonic() + PATIENCE
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() < deadline:
            if row := connection.execute(query, (event,)).fetchone():
                return int(row[0])
            time.sleep(0.02)
    raise AssertionError("nobody waits")


@contextlib.contextmanager
def canceling(connection: psycopg.Connection[Any], dsn: str, event: str = "PgSleep") -> Iterator[None]:
    """Send one cancel request for a statement that the block runs, as soon as it waits.

    A request that comes before its statement is for nobody.

    :param dsn: of the same database, not by way of what is tested
    :param event: see :func:`waiting_backend`
    """

    def cancel() -> None:
        waiting_backend(dsn, event)
        connection.cancel_safe(timeout=PATIENCE)

    with ThreadPoolExecutor(1) as other:
        request = other.submit(cancel)
        yield
        request.result()


def predicting_worker(cluster: Cluster, other_than: int = 0) -> int:
    """Wait until a worker of a cluster's runtime computes, and return its process id.

    :param other_than: one that is of no interest
    """

    def predicting() -> int:
        told = ask(cluster)
        worker: int = told["pid"]
        return worker if worker != other_than and any(model.get("in_use") for model in told["models"]) else 0

    return eventually(predicting, ServerError, FdwError, seconds=PATIENCE)


def kill(pid: int) -> None:
    """Kill a process that is not our child, and wait for its end."""
    try:
        process = psutil.Process(pid)
        process.kill()
        psutil.wait_procs([process], PATIENCE)
    except psutil.NoSuchProcess:
        return


def assert_sound(connection: psycopg.Connection[Any]) -> None:
    """Check that the catalog contradicts itself nowhere, and that every deployed model predicts."""
    assert connection.execute(UNSOUND.read_bytes()).fetchall() == []
    nothing_known = """
        SELECT name, json_object_agg(feature ->> 'name', NULL)::text
        FROM ml.models, jsonb_array_elements(signature -> 'features') AS feature
        WHERE version IS NOT NULL GROUP BY 1
    """
    for name, features in connection.execute(nothing_known).fetchall():
        query = sql.SQL("SELECT prediction FROM models.{} WHERE features = {}")
        found = connection.execute(query.format(sql.Identifier(name), sql.Literal(features))).fetchall()
        assert len(found) == 1, name
