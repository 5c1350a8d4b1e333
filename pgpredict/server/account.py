"""The operating-system account that the server and the runtime run under.

PostgreSQL refuses to run as root. An ordinary user is the account; root hands
everything over to ``postgres``, or to ``nobody`` where that does not exist.
"""

from __future__ import annotations

import functools
import os
import pwd
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pgpredict.errors import ServerError

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An account to run processes under.

    :param name: login name
    :param uid: user id
    :param gid: id of its group
    :param switch: whether we are root and have to become it
    """

    name: str
    uid: int
    gid: int
    switch: bool


@functools.cache
def server_account() -> Account:
    """Return the account for the server's processes.

    :raises ServerError: as root on a machine without an unprivileged account
    """
    uid = os.geteuid()
    if uid != 0:
        return Account(_login_name(uid), uid, os.getegid(), switch=False)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid, switch=True)
    raise ServerError(
        f"none of the accounts {CANDIDATES!r} exists",
        hint="PostgreSQL does not run as root: add an account with 'useradd --system postgres'",
    )


def _login_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    timeout: float | None = None,
    stdin: str | None = None,
) -> str:
    """Run a program to its end and return what it wrote to standard output.

    :param env: its whole environment, ours by default
    :param account: whom to run it as, ourselves by default
    :param timeout: seconds
    :param stdin: text for its standard input
    :raises ServerError: if it is missing, fails or takes too long; the message ends with its last words
    """
    words = [str(word) for word in command]
    identity = account if account is not None and account.switch else None
    try:
        done = subprocess.run(
            words,
            input=stdin or "",
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=None if env is None else dict(env),
            timeout=timeout,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
        )
    except FileNotFoundError as error:
        raise ServerError(f"program {words[0]!r} does not exist") from error
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{shlex.join(words)!r} did not end within {timeout:g} s") from error
    if done.returncode != 0:
        said = last_words(done.stderr or done.stdout)
        raise ServerError(f"{shlex.join(words)!r} failed with exit code {done.returncode}: {said}")
    return done.stdout


def last_words(output: str, lines: int = 6) -> str:
    """Return the last lines of a program's output."""
    return "\n".join(output.strip().splitlines()[-lines:])


def start_daemon(
    command: Sequence[str | Path], *, env: Mapping[str, str], account: Account, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, in a session of its own.

    :param log: where its output goes
    """
    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env=dict(env),
        start_new_session=True,
        user=account.uid if account.switch else None,
        group=account.gid if account.switch else None,
        extra_groups=[] if account.switch else None,
    )


@contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Take the account's effective identity: what a peer of a socket sees.

    Effective ids belong to the whole process: not for programs with threads that do other work.
    """
    if not account.switch:
        yield
        return
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def can_read(account: Account, path: Path) -> bool:
    """Tell whether the account can read a file or enter a directory, parents included."""
    if not account.switch:
        return os.access(path, os.R_OK)
    try:
        run(["test", "-x" if path.is_dir() else "-r", path], account=account)
    except ServerError:
        return False
    return True


def make_directory(path: Path, account: Account, mode: int = 0o700) -> Path:
    """Make a directory that belongs to the account.

    :raises ServerError: if it cannot be made
    """
    try:
        path.mkdir(mode=mode, exist_ok=True)
        if account.switch:
            os.chown(path, account.uid, account.gid)
        path.chmod(mode)
    except OSError as error:
        raise ServerError(
            f"cannot make the directory {str(path)!r}: {error.strerror}",
            hint="set PGPREDICT_HOME to a directory of your own",
        ) from error
    return path
