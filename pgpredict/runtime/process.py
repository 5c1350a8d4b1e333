"""What the supervisor and its worker ask of the operating system."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator
from logging.handlers import WatchedFileHandler
from pathlib import Path

from .errors import AlreadyRunning, RuntimeFailure

_PR_SET_PDEATHSIG = 1
#: sun_path has 108 bytes, one of them the final NUL
_MAX_PATH_BYTES = 107
_BACKLOG = 512


def set_up_logging(path: str | None) -> None:
    """Log lines of ``key=value`` to standard error or a file, which may be rotated by moving it.

    :param path: of the file
    """
    handler = logging.StreamHandler(sys.stderr) if path is None else WatchedFileHandler(path)
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ level=%(levelname)s pid=%(process)d %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process as soon as its parent ends, however it does.

    :param parent: pid that the parent had when it started us
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)


@contextlib.contextmanager
def listening_socket(path: Path) -> Iterator[socket.socket]:
    """Give a listening unix socket that only this account may connect to; remove it afterwards.

    :param path: where; the directory is made if it is missing
    :raises AlreadyRunning: if another runtime serves it
    :raises RuntimeFailure: if it cannot be there
    """
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise RuntimeFailure(
            f"socket path {str(path)!r} is longer than {_MAX_PATH_BYTES} bytes",
            hint="choose a shorter one with --socket",
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_directory(path.parent)
        with _lock(path.with_name(path.name + ".lock")), socket.socket(socket.AF_UNIX) as listener:
            _remove_stale(path)
            before = os.umask(0o177)
            try:
                listener.bind(str(path))
            finally:
                os.umask(before)
            listener.listen(_BACKLOG)
            try:
                yield listener
            finally:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise RuntimeFailure(f"cannot make the socket {str(path)!r}: {error.strerror}") from error


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    # the file stays: removing a lock file that another process has just opened would give two owners
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(
                f"another runtime holds {str(path)!r}",
                hint="pgpredict runtime --status shows it; give this one another --socket",
            ) from error
        yield
    finally:
        os.close(descriptor)


def _check_directory(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise RuntimeFailure(
            f"directory {str(path)!r} is not this account's alone",
            hint=f"others could replace the socket: chown it to this account and chmod 700 {path}",
        )


def _remove_stale(path: Path) -> None:
    """Remove the socket of a runtime that was killed; whoever holds the lock may."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise RuntimeFailure(f"{str(path)!r} exists and is no socket", hint="choose another --socket")
        path.unlink()
