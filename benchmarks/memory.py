"""Memory: of a backend that predicts, of one that predicts many rows, and of a model that many use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg

from pgpredict.runtime.client import RuntimeClient

from .report import Finding
from .single import BARE, ROW_FORM

#: private memory that a backend may have after predicting
BACKEND_BYTES = 20_000_000
#: private memory that a backend may need for any number of rows, above what it has when idle
GROWTH_BYTES = 500_000_000
SHARING_CONNECTIONS = 100


def backend_memory(dsn: str) -> Finding:
    """Measure a backend's private memory before and after it predicts."""
    with psycopg.connect(dsn) as connection:
        psycopg.RawCursor(connection).execute(BARE.encode(), [1]).fetchall()
        before = private_bytes(connection.info.backend_pid)
        psycopg.RawCursor(connection).execute(ROW_FORM.encode(), [1]).fetchall()
        after = private_bytes(connection.info.backend_pid)
    return Finding(
        "private memory of a backend",
        f"{after / 1e6:.1f} MB after predicting",
        f"{before / 1e6:.1f} MB before",
        after / before,
        "times as much",
        "≤ 20 MB",
        after <= BACKEND_BYTES,
    )


def many_rows(dsn: str, rewritten: str, bare: str, what: str) -> Finding:
    """Measure a backend's highest private memory while it predicts many rows.

    :param rewritten: the statement that predicts
    :param bare: a statement that reads the same and predicts nothing
    :param what: what they read, for the report
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        pid = connection.info.backend_pid
        reading = peak_during(pid, lambda: connection.execute(bare.encode()).fetchall())
        idle = private_bytes(pid)
        growth = peak_during(pid, lambda: connection.execute(rewritten.encode()).fetchall()) - idle
    return Finding(
        f"peak of a backend that predicts {what}",
        f"{growth / 1e6:.0f} MB above idle",
        f"{idle / 1e6:.0f} MB idle, {(reading - idle) / 1e6:.0f} MB above it while it reads them only",
        growth / max(idle, 1),
        "times idle",
        "≤ 500 MB above idle",
        growth <= GROWTH_BYTES,
    )


def sharing(dsn: str, socket: Path, count: int = SHARING_CONNECTIONS) -> Finding:
    """Let many connections predict with one model, and count how often it is loaded.

    :param socket: the runtime's
    """
    with psycopg.connect(dsn) as connection:
        psycopg.RawCursor(connection).execute(ROW_FORM.encode(), [1]).fetchall()
    start = status(socket)
    connections: list[psycopg.Connection[Any]] = []
    try:
        for _ in range(count):
            connections.append(psycopg.connect(dsn))
            psycopg.RawCursor(connections[-1]).execute(ROW_FORM.encode(), [1]).fetchall()
        end = status(socket)
    finally:
        for connection in connections:
            connection.close()
    copies = 1 + end["loads"] - start["loads"]
    return Finding(
        f"{count} connections that predict with one model",
        f"{copies} cop{'y' if copies == 1 else 'ies'}; runtime {start['private'] / 1e6:.0f} MB, "
        f"{(end['private'] - start['private']) / 1e6:+.1f} MB for them",
        f"{count} copies, were it loaded in every backend",
        count / copies,
        "times fewer copies",
        "one copy",
        copies == 1,
    )


def status(socket: Path) -> dict[str, Any]:
    """Return the runtime's status, and its private memory in bytes as ``private``."""
    with RuntimeClient(socket) as client:
        answer = client.status()
    return {**answer, "private": private_bytes(answer["pid"])}


def private_bytes(pid: int) -> int:
    """Return the memory that a process shares with no other, in bytes.

    :raises psutil.Error: if the process is another machine's or another account's
    """
    return int(psutil.Process(pid).memory_full_info().uss)


def peak_during(pid: int, function: Callable[[], Any], interval: float = 0.05) -> int:
    """Run a function and return the highest private memory of another process meanwhile, in bytes."""
    peak, done = private_bytes(pid), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(interval):
            peak = max(peak, private_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return peak
