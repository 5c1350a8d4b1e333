"""``python -m benchmarks.soak``: mixed clients against one proxy for as long as you like.

Answers are checked all the time; at the end nothing may have been left behind: descriptors, memory, threads,
backends, sessions in the proxy's account.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import rich_click as click
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from onnx_models import storing
from pgpredict.cli.examples import examples
from pgpredict.connection import connect
from pgpredict.errors import ServerError
from pgpredict.server import Home
from pgpredict.server.local import up

from .report import console
from .soak_clients import ACTIONS, APPLICATION, Action, Moving, Place
from .soak_model import SIGNATURE, linear

#: bytes by which the proxy's memory may grow after it has warmed up
GROWTH = 32 << 20
#: seconds until whatever was left must be gone
_PATIENCE = 40
#: of a session, in the log
_BEGUN, _ENDED = "event=connect ", "event=disconnect "
_WRONG = 20
#: of the process itself: the event loop, and those that look up names
_THREADS = 6


@dataclass
class Findings:
    """What a soak has found.

    :ivar done: actions that went well, by name
    :ivar wrong: what went wrong, in words
    :ivar before, after: descriptors, threads and resident bytes of the proxy, warmed up and at the end
    """

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    before: tuple[int, int, int] = (0, 0, 0)
    after: tuple[int, int, int] = (0, 0, 0)
    largest: int = 0

    def complain(self, message: str) -> None:
        """Note something that went wrong; after some it is clear that it does."""
        if len(self.wrong) < _WRONG:
            self.wrong.append(message)


@contextlib.contextmanager
def proxied(dsn: str) -> Iterator[tuple[psutil.Process, Path, int]]:
    """Run a proxy before the server of a connection string; give its process, directory and port."""
    known = conninfo_to_dict(dsn)
    server = make_conninfo(host=known.get("host"), port=known.get("port"), hostaddr=known.get("hostaddr"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pgp-soak-") as name:
        directory = Path(name)
        log = directory / "log"
        command = [sys.executable, "-m", "pgpredict", "proxy", "--server", str(server), "--log", str(log)]
        command += ["--listen", f"127.0.0.1:{port}", "--listen-socket", name]
        command += ["--login-seconds", "10", "--linger-seconds", "5"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        process = subprocess.Popen(command, env=environment)
        try:
            deadline = time.monotonic() + 60
            while not (log.exists() and "event=listening" in log.read_text()):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ServerError("the proxy does not listen", hint=log.read_text()[-500:])
                time.sleep(0.05)
            yield psutil.Process(process.pid), directory, port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def prepared(dsn: str) -> Iterator[psycopg.Connection]:
    """Make the table and the models of the soak, and remove them at the end."""
    with connect(dsn, autocommit=True) as connection:
        _remove(connection)
        try:
            connection.execute("CREATE SCHEMA soak")
            connection.execute(
                "CREATE TABLE soak.numbers AS SELECT i::float8 AS a FROM generate_series(1, 1000) AS g(i)"
            )
            for name in ("soak_fixed", "soak_moving"):
                version = storing.register(connection, name, SIGNATURE, linear(10.0), {})
                storing.deploy(connection, name, version)
            yield connection
        finally:
            _remove(connection)


def _remove(connection: psycopg.Connection) -> None:
    connection.execute("DROP SCHEMA IF EXISTS soak CASCADE")
    connection.execute(
        "SELECT ml.drop_model(name) FROM ml.models WHERE name IN ('soak_fixed', 'soak_moving')"
    )


def soak(
    dsn: str, seconds: float, clients: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> Findings:
    """Run clients against a proxy.

    :param dsn: of the server, over its unix socket
    :param clients: at once
    :param say: told how it goes, about once a minute
    """
    findings = Findings()
    with prepared(dsn) as connection, proxied(dsn) as (process, directory, port):
        through = make_conninfo(dsn, host=str(directory), port=port)
        places = [
            Place(through, directory, port, random.Random(seed + number), moving)
            for moving in [Moving()]
            for number in range(clients)
        ]
        # what is made once and kept: threads, caches, backends' plans
        _run(places, time.monotonic() + seconds * 0.2, findings)
        _settle(connection, findings)
        findings.before = measure(process)
        deadline = time.monotonic() + seconds * 0.8
        while time.monotonic() < deadline:
            _run(places, min(deadline, time.monotonic() + 60), findings)
            findings.largest = max(findings.largest, process.memory_info().rss)
            left = max(deadline - time.monotonic(), 0)
            say(f"{left:.0f} s left, {findings.done.total():,} done, {len(findings.wrong)} wrong, "
                f"{measure(process)[2] >> 20} MB")  # fmt: skip
        _settle(connection, findings)
        findings.after = _after(process, findings.before)
        _account(findings, clients, _last_log(directory / "log"))
    return findings


def _run(places: list[Place], deadline: float, findings: Findings) -> None:
    def live(place: Place) -> None:
        while time.monotonic() < deadline:
            action: Action = place.random.choice(ACTIONS)
            try:
                action(place)
            except Exception as error:  # noqa: BLE001 - whatever it is, it should not have been
                findings.complain(f"{action.__name__}: {type(error).__name__}: {str(error)[:300]}")
            else:
                findings.done[action.__name__] += 1

    threads = [threading.Thread(target=live, args=(place,), daemon=True) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0) + 120)
        if thread.is_alive():
            findings.complain("a client hangs")


def measure(process: psutil.Process) -> tuple[int, int, int]:
    """Return descriptors, threads and resident bytes of a process."""
    return process.num_fds(), process.num_threads(), process.memory_info().rss


def _settle(connection: psycopg.Connection, findings: Findings) -> None:
    """Wait until the server has no session of the clients any more."""
    deadline = time.monotonic() + _PATIENCE
    backends = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    while (row := connection.execute(backends, (APPLICATION,)).fetchone()) != (0,):
        if time.monotonic() > deadline:
            findings.complain(f"{row and row[0]} backends are left")
            return
        time.sleep(0.2)


def _after(process: psutil.Process, before: tuple[int, int, int]) -> tuple[int, int, int]:
    deadline = time.monotonic() + _PATIENCE
    while (after := measure(process))[0] > before[0] and time.monotonic() < deadline:
        time.sleep(0.2)
    return after


def _last_log(path: Path) -> str:
    """Return the log once every session has ended: one whose client is gone may linger for a while."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        log = path.read_text()
        if log.count(_BEGUN) == log.count(_ENDED) or time.monotonic() > deadline:
            return log
        time.sleep(0.2)


def _account(findings: Findings, clients: int, log: str) -> None:
    """Compare the end with the beginning."""
    (descriptors, threads, memory), (more, many, grown) = findings.before, findings.after
    # the pool grows to as many as ever rewrote at once, which is one for each client
    threads = max(threads, clients + _THREADS)
    if more > descriptors:
        findings.complain(f"{more - descriptors} file descriptors are left")
    if many > threads:
        findings.complain(f"{many} threads are left of {clients} clients")
    if grown - memory > GROWTH:
        findings.complain(f"memory has grown by {(grown - memory) >> 20} MB")
    begun, ended = log.count(_BEGUN), log.count(_ENDED)
    if begun != ended:
        findings.complain(f"{begun} sessions have begun and {ended} have ended")
    if "event=defect" in log:
        findings.complain(f"the log has a defect: {log[log.index('event=defect') :][:1000]}")


@click.command(
    epilog=examples(
        "python -m benchmarks.soak --minutes 30", "python -m benchmarks.soak --minutes 1 --clients 4"
    )
)
@click.option("--minutes", type=click.FloatRange(0.05), default=30, show_default=True, help="How long.")
@click.option("--clients", type=click.IntRange(1), default=12, show_default=True, help="At once.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of what they do.")
@click.option(
    "--dsn", metavar="CONNINFO", help="The database; by default the local server's, which is started."
)
def main(minutes: float, clients: int, seed: int, dsn: str | None) -> None:
    """Run mixed clients against a proxy, check their answers, and see that nothing leaks."""
    if dsn is None:
        dsn = up(Home.default()).cluster.dsn()
    findings = soak(dsn, minutes * 60, clients, seed, lambda line: console.print(line, highlight=False))
    for name, count in sorted(findings.done.items()):
        console.print(f"{name:12} {count:8,}", highlight=False)
    for what, values in (("before", findings.before), ("after", findings.after)):
        descriptors, threads, memory = values
        console.print(
            f"{what:7} {descriptors} descriptors, {threads} threads, {memory / 1e6:.0f} MB", highlight=False
        )
    for message in findings.wrong:
        console.print(message, markup=False, highlight=False)
    sys.exit(1 if findings.wrong else 0)


if __name__ == "__main__":
    main()
