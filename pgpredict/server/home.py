"""Where the local server lives: ``$PGPREDICT_HOME`` and what is in it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from pgpredict.errors import InvalidInput, ServerError

from .account import Account, can_read, make_directory, server_account

#: a directory that carries this file is ours, and ``make clean`` may delete it
MARKER = ".pgpredict-home"
LOCKS = frozenset((".lock", ".fetch.lock"))
#: a socket's path has at most 107 bytes on Linux; PostgreSQL appends "/.s.PGSQL.65535"
MAX_RUN_PATH = 107 - len("/.s.PGSQL.65535")

ENTERABLE = "set PGPREDICT_HOME to a directory that other accounts can enter, such as /var/lib/pgpredict"

State = dict[str, Any]


def default_home() -> Path:
    """Return ``$PGPREDICT_HOME``, else ``/var/lib/pgpredict`` for root, else the user's data directory.

    :raises InvalidInput: if ``$PGPREDICT_HOME`` is not an absolute path
    """
    given = os.environ.get("PGPREDICT_HOME")
    if given:
        path = Path(given).expanduser()
        if not path.is_absolute():
            raise InvalidInput(f"PGPREDICT_HOME is {given!r}, which is not an absolute path")
        return path
    if os.geteuid() == 0:
        return Path("/var/lib/pgpredict")
    return Path(platformdirs.user_data_dir("pgpredict"))


@dataclass(frozen=True)
class Home:
    """The directory of one local server.

    :param path: absolute path
    """

    path: Path

    @classmethod
    def default(cls) -> Home:
        """Return the home that the command line uses."""
        return cls(default_home())

    @property
    def log(self) -> Path:
        """Directory of the logs."""
        return self.path / "log"

    @property
    def lib(self) -> Path:
        """Our packages, for the Python of the server and of the runtime."""
        return self.path / "lib"

    @property
    def password_file(self) -> Path:
        """Password of the superuser over TCP."""
        return self.path / "password"

    @property
    def run(self) -> Path:
        """Directory of the sockets; outside the home where its path is too long for a socket."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) <= MAX_RUN_PATH:
            return inside
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        account = server_account()
        base = os.environ.get("XDG_RUNTIME_DIR", "")
        if account.switch or not base or not os.access(base, os.W_OK):
            base = "/tmp"  # noqa: S108 - the directory in it is checked to be ours and closed to others
        return Path(base) / f"pgpredict-{account.uid}-{digest}"

    @property
    def runtime_socket(self) -> Path:
        """Socket of the runtime."""
        return self.run / "runtime.sock"

    def data(self, major: int) -> Path:
        """Return the data directory of a major version."""
        return self.path / f"data-{major}"

    def create(self) -> None:
        """Make the directories that are missing.

        :raises ServerError: if they cannot be made or the server's account cannot enter them
        """
        account = server_account()
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o755 if account.switch else 0o700)
            marker = self.path / MARKER
            if not marker.exists():
                if any(entry.name not in LOCKS for entry in self.path.iterdir()):
                    raise ServerError(
                        f"the directory {str(self.path)!r} has other contents than a pgpredict server",
                        hint="set PGPREDICT_HOME to an empty or new directory",
                    )
                marker.write_text("Everything in this directory was made by pgpredict.\n")
        except OSError as error:
            raise ServerError(
                f"cannot use the directory {str(self.path)!r}: {error.strerror}",
                hint="set PGPREDICT_HOME to a directory that you can write to",
            ) from error
        if not can_read(account, self.path):
            raise ServerError(
                f"the account {account.name!r}, which runs the server, cannot enter {str(self.path)!r}",
                hint=ENTERABLE,
            )
        make_directory(self.log, account)
        self.make_run_directory(account)

    def make_run_directory(self, account: Account) -> None:
        """Make the directory of the sockets, or refuse one that somebody else made.

        :raises ServerError: if it is a link or another account's
        """
        run = self.run
        with contextlib.suppress(FileNotFoundError):
            status = run.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (account.uid, os.geteuid()):
                raise ServerError(
                    f"the directory {str(run)!r} belongs to somebody else",
                    hint="remove it, then run this again",
                )
        make_directory(run, account)

    @contextlib.contextmanager
    def lock(self, name: str = ".lock", waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold a lock of this home; a second holder waits.

        :param name: file name of the lock
        :param waiting: called if there is a wait
        :raises ServerError: if the home is another account's
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o755 if os.geteuid() == 0 else 0o700)
        try:
            descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError as error:
            raise ServerError(
                f"the directory {str(self.path)!r} belongs to the account {owner(self.path)!r}",
                hint="run this as that account, or set PGPREDICT_HOME to a directory of your own",
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read_state(self) -> State:
        """Return what was remembered; empty if there is nothing."""
        try:
            state = json.loads((self.path / "state.json").read_text())
        except (FileNotFoundError, PermissionError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def remember(self, **values: Any) -> None:
        """Add values to the state, in one step that a crash cannot halve."""
        write_atomically(
            self.path / "state.json", json.dumps({**self.read_state(), **values}, indent=2) + "\n"
        )


def owner(path: Path) -> str:
    """Return the login name of a file's owner, or the number where that has no name."""
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)


def write_atomically(path: Path, text: str, mode: int = 0o644, account: Account | None = None) -> None:
    """Replace a file's contents in one step.

    :param mode: permissions of the file
    :param account: its owner, ourselves by default
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, mode)
            if account is not None and account.switch:
                os.fchown(handle, account.uid, account.gid)
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
