"""A rendered unit file, run by hand as systemd would: for machines that systemd does not run.

What systemd does to a service from outside (namespaces, system call filters, limits) is left to the tests
with a host of their own; command line, environment, account, directories and notifications are the unit's.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pgpredict.server.account import Account, make_directory

START_SECONDS = 180


def parse(text: str) -> dict[str, list[str]]:
    """Return the assignments of a unit file by name, in their order, specifiers undone."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2].replace("%%", "%"))
    return found


@dataclass
class UnitProcess:
    """A service that runs.

    :ivar process: its main process
    :ivar messages: what it told its manager so far
    """

    process: subprocess.Popen[bytes]
    log: Path
    unit: Mapping[str, list[str]]
    _socket: socket.socket
    messages: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """Return all assignments that it sent up to now."""
        while True:
            try:
                self.messages += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.messages

    def wait_for(self, assignment: str, seconds: float = START_SECONDS) -> None:
        """Wait until it has sent something."""
        deadline = time.monotonic() + seconds
        while assignment not in self.told():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"no {assignment}: {self.messages} {self.log.read_text()}"
            time.sleep(0.02)

    def reload(self) -> None:
        """Do what ExecReload says."""
        [command] = self.unit["ExecReload"]
        words = [word.replace("$MAINPID", str(self.process.pid)) for word in shlex.split(command)]
        subprocess.run(words, check=True)

    def stop(self) -> int:
        """End it as systemd does, and return its exit status; it has to end in the time that it is given."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(int(self.unit["TimeoutStopSec"][0]))


@contextmanager
def running_unit(
    text: str, directory: Path, account: Account, replaced: Mapping[str, str]
) -> Iterator[UnitProcess]:
    """Run a unit, and wait until it is ready.

    :param directory: that the account can enter; the host's own directories are below it
    :param replaced: what stands for paths of the host, such as ``/run/pgpredict``
    """
    for path, instead in replaced.items():
        text = text.replace(path, instead)
    unit = parse(text)
    assert unit["Type"] == ["notify"]
    address = directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.setblocking(False)
        os.chown(address, account.uid, account.gid)
        environment = {**_environment(unit), "NOTIFY_SOCKET": str(address)}
        environment["WATCHDOG_USEC"] = str(2_000_000)
        log = directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                shlex.split(unit["ExecStart"][0]),
                cwd=unit["WorkingDirectory"][0],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                umask=int(unit["UMask"][0], 8),
                user=account.uid if account.switch else None,
                group=account.gid if account.switch else None,
                extra_groups=[] if account.switch else None,
            )
        started = UnitProcess(process, log, unit, manager)
        try:
            started.wait_for("READY=1")
            yield started
        finally:
            for child in _children(process.pid):
                child.kill()
            process.kill()
            process.wait()


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _environment(unit: Mapping[str, list[str]]) -> dict[str, str]:
    words = [word for line in unit["Environment"] for word in shlex.split(line)]
    for name in unit.get("EnvironmentFile", []):
        path = Path(name.removeprefix("-"))
        if path.exists():
            words += shlex.split(path.read_text(), comments=True)
    known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"}
    return known | dict(word.split("=", 1) for word in words)


def runtime_directory(directory: Path, name: str, account: Account, mode: int) -> Path:
    """Make what RuntimeDirectory= of a unit asks for."""
    return make_directory(directory / name, account, mode)
