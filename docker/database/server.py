"""The server's programs in this image: where they are, and a server that only this container can reach."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import Refused

#: seconds; a server that was killed replays its log first
START_TIMEOUT = 600
#: seconds for one of our own scripts, and for a shutdown
TIMEOUT = 600
#: the variables that the server gets of the container's: no password among them
HANDED_ON = ("PATH", "TZ", "PGDATA", "PGPREDICT_SOCKET", "PGPREDICT_DEBUG")
#: psql's exit code
_NO_CONNECTION = 2
DESCRIPTION = Path(__file__).with_name("server.json")


@dataclass(frozen=True)
class Programs:
    """PostgreSQL in this image.

    :param major: its version
    :param bindir: its programs
    :param sharedir: its share directory
    :param environment: what they need in theirs
    """

    major: int
    bindir: Path
    sharedir: Path
    environment: Mapping[str, str]

    @classmethod
    def load(cls) -> Programs:
        """Return what `programs.py` wrote down when the image was made."""
        found = json.loads(DESCRIPTION.read_text())
        return cls(found["major"], Path(found["bindir"]), Path(found["sharedir"]), found["environment"])

    @property
    def extension(self) -> str:
        """Version of our extension that the image brings."""
        text = (self.sharedir / "extension/pgpredict.control").read_text()
        match = re.search(r"default_version\s*=\s*'([^']+)'", text)
        if match is None:
            raise Refused("the image has no extension pgpredict")
        return match[1]

    def server_environment(self) -> dict[str, str]:
        """Return the whole environment of the server."""
        given = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
        return {"LC_ALL": "C.UTF-8", "HOME": "/tmp", **given, **self.environment, "PYTHONNOUSERSITE": "1"}  # noqa: S108


class Inside:
    """A server without TCP, while the container makes its database or brings it up to date.

    :param programs: PostgreSQL
    :param socket: directory of its socket
    :param user: the superuser
    """

    def __init__(self, programs: Programs, socket: Path, user: str) -> None:
        self.programs = programs
        self.socket = socket
        self.user = user

    def psql(
        self,
        database: str,
        script: str,
        variables: Mapping[str, str] | None = None,
        *,
        limited: bool = True,
    ) -> str:
        """Run a script of psql and return what it printed.

        :param variables: for ``:'name'`` and ``:"name"`` in it; in no command line, as the script is not
        :param limited: whether it gets no more than :data:`TIMEOUT` seconds
        :raises Refused: if a statement fails, or takes longer
        """
        settings = "".join(f"\\set {name} {quote(text)}\n" for name, text in (variables or {}).items())
        try:
            done = subprocess.run(
                self.command(database),
                input=settings + script,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                env=self.environment(database),
                timeout=TIMEOUT if limited else None,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Refused(
                f"a statement in the database {database!r} has not ended within {TIMEOUT} s",
                hint="something in the database holds it up; nobody else is let in before it has ended",
            ) from error
        if limited and done.returncode == _NO_CONNECTION:
            raise Refused(
                f"the container cannot reach its own database {database!r}: {done.stderr.strip()}",
                hint=f"at each start it works in the database 'postgres' as {self.user!r}; pg_hba.conf has "
                f'to let it in: local all "{self.user}" peer map=container',
            )
        if done.returncode != 0:
            raise Refused(f"a statement failed in the database {database!r}: {done.stderr.strip()}")
        return done.stdout

    def command(self, database: str) -> list[str]:
        """Return psql's command line."""
        return [str(self.programs.bindir / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database]

    def environment(self, database: str) -> dict[str, str]:
        """Return the environment for clients of this server."""
        place = {"PGHOST": str(self.socket), "PGUSER": self.user, "PGDATABASE": database, "PGPORT": "5432"}
        return {**os.environ, **place, "LC_ALL": "C.UTF-8"}


def quote(text: str) -> str:
    """Quote a value for a psql command that sets a variable."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


@contextmanager
def inside(programs: Programs, data: Path, user: str) -> Iterator[Inside]:
    """Run a server that nobody outside can reach, and stop it.

    :raises Refused: if it does not start
    """
    with tempfile.TemporaryDirectory(prefix="pgpredict-") as socket:
        command = [str(programs.bindir / "postgres"), "-D", str(data), "-c", "listen_addresses="]
        command += ["-c", f"unix_socket_directories={socket}", "-c", "port=5432"]
        # a commit would wait for a standby, which cannot reach this server
        command += ["-c", "synchronous_standby_names=", "-c", "log_min_messages=fatal"]
        server = subprocess.Popen(command, env=programs.server_environment(), stdin=subprocess.DEVNULL)
        try:
            _wait(programs, server, Path(socket))
            yield Inside(programs, Path(socket), user)
        finally:
            server.send_signal(2)  # SIGINT: a fast shutdown, which writes everything down
            try:
                server.wait(TIMEOUT)
            except subprocess.TimeoutExpired as error:
                server.send_signal(3)  # SIGQUIT: at once; the next start replays the log
                server.wait()
                raise Refused(
                    f"the server does not stop within {TIMEOUT} s", hint="does archive_command end?"
                ) from error


def _wait(programs: Programs, server: subprocess.Popen[bytes], socket: Path) -> None:
    ready = [str(programs.bindir / "pg_isready"), "-q", "-h", str(socket), "-p", "5432"]
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise Refused(f"the server ended with exit code {server.returncode}", hint="its log is above")
        if subprocess.run(ready, env=dict(os.environ), check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise Refused(f"the server does not get ready within {START_TIMEOUT} s", hint="its log is above")
