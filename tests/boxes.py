"""The database's entry point, as in its image, in namespaces of its own with a PostgreSQL of this machine.

Faster than an image, and with whatever a test puts around it; needs root. What the image itself is, the tests
in tests/containers see.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pgpredict.server import Home
from pgpredict.server.install import ServerInstall
from pgpredict.server.shadow import shadow
from tests.pages import ROOT

ACCOUNT = "postgres"
#: what an image makes of `programs.py`
START = "import sys; sys.path.insert(0, {place!r}); {what}"
MAIN = "from database.entrypoint import main; main(sys.argv[1:])"
NAMESPACES = ("--mount", "--pid", "--ipc", "--net", "--fork", "--kill-child", "--mount-proc")


def why_not() -> str | None:
    """Return why this machine cannot make boxes; None if it can."""
    if os.geteuid() != 0:
        return "namespaces with other accounts need root"
    for program in ("unshare", "nsenter", "setpriv"):
        if shutil.which(program) is None:
            return f"the program {program!r} is missing"
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        return f"there is no account {ACCOUNT!r}"
    done = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, check=False)
    return f"namespaces cannot be made: {done.stderr.decode()}" if done.returncode else None


class Box:
    """A machine of the test's, with one volume.

    :ivar volume: directory that lasts
    :ivar mounts: shell commands that run first, as root
    """

    def __init__(self, place: Path, install: ServerInstall) -> None:
        self.place = place
        place.chmod(0o755)
        server, _ = shadow(Home(place), install)
        self.bindir = server.bindir
        shutil.copytree(ROOT / "docker/database", place / "lib/database")
        shutil.copytree(ROOT / "fdw", place / "lib/packages/fdw")
        description = {
            "major": int(install.version.split(".")[0]),
            "bindir": str(server.bindir),
            "sharedir": str(server.sharedir),
            "environment": {"PYTHONPATH": str(place / "lib/packages")},
        }
        (place / "lib/database/server.json").write_text(json.dumps(description))
        self.volume = place / "volume"
        self.volume.mkdir(mode=0o700)
        shutil.chown(self.volume, ACCOUNT, ACCOUNT)
        self.data = self.volume / "15/data"
        self.mounts: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs = 0

    def environment(self, further: Mapping[str, str]) -> dict[str, str]:
        """Return the container's environment."""
        usual = {"PATH": f"{self.bindir}:/usr/sbin:/usr/bin:/sbin:/bin", "PGDATA": str(self.data)}
        return {**usual, "POSTGRES_PASSWORD": "secret", **further}

    def start(self, *words: str, what: str = MAIN, **further: str) -> Running:
        """Start the entry point, as process 1.

        :param what: Python, to run instead
        :param further: environment
        """
        python = shlex.join(["python3", "-I", "-c", START.format(place=str(self.place / "lib"), what=what)])
        script = "mount --make-rprivate / && mount -t tmpfs -o mode=1777 tmpfs /run/postgresql && "
        script += "".join(f"{line} && " for line in self.mounts)
        script += f"cd / && exec setpriv --reuid={ACCOUNT} --regid={ACCOUNT} --clear-groups --no-new-privs "
        script += f'{python} "$@"'
        self._logs += 1
        log = self.place / f"log{self._logs}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["unshare", *NAMESPACES, "sh", "-c", script, "sh", *words],
                env=self.environment(further),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._processes.append(process)
        return Running(self, process, log)

    def refused(self, **further: str) -> str:
        """Start it, and return what it says when it does not want to."""
        running = self.start(**further)
        code = running.process.wait(240)
        said = running.said()
        assert code == 1, said
        assert "Traceback" not in said
        return said

    def close(self) -> None:
        """End what runs."""
        for process in self._processes:
            process.kill()
            process.wait()


class Running:
    """A box that runs."""

    def __init__(self, box: Box, process: subprocess.Popen[bytes], log: Path) -> None:
        self.box = box
        self.process = process
        self.log = log

    def said(self) -> str:
        """Return its log so far."""
        return self.log.read_text(errors="replace")

    @property
    def first(self) -> int:
        """Process 1, as this machine numbers it."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to process 1."""
        os.kill(self.first, number)

    def popen(self, *words: str, **further: str) -> subprocess.Popen[str]:
        """Start a program in it, as its account."""
        entering = ["nsenter", "--target", str(self.first), "--mount", "--pid", "--ipc", "--net"]
        entering += ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups"]
        return subprocess.Popen(
            [*entering, *words],
            env=self.box.environment(further),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def execute(self, *words: str, timeout: float = 240, **further: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it to its end."""
        with self.popen(*words, **further) as process:
            output, errors = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def query(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the superuser; return what psql prints, its errors too."""
        words = ["psql", "-XqAt", "-h", "/run/postgresql", "-U", "postgres", "-d", database, "-c", statement]
        done = self.execute(*words)
        return (done.stdout + done.stderr).strip()

    def wait_ready(self, seconds: float = 240) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(IndexError, OSError):
                if self.query("SELECT 1") == "1":
                    return
            time.sleep(0.1)
        raise AssertionError(self.said())

    def stop(self) -> int:
        """Stop it as engines do; return the exit code."""
        self.signal(signal.SIGINT)
        return self.process.wait(240)


@contextlib.contextmanager
def make_box(install: ServerInstall) -> Iterator[Box]:
    """Have a box, and end it."""
    with tempfile.TemporaryDirectory(prefix="pgp-box-", ignore_cleanup_errors=True) as name:
        box = Box(Path(name), install)
        try:
            yield box
        finally:
            box.close()
