"""The sockets that clients connect to."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from pgpredict.errors import ServerError

from .settings import ProxySettings, parse_address

logger = logging.getLogger(__name__)

_BACKLOG = 512
_LONGEST_PATH = 107


@contextlib.contextmanager
def listening(settings: ProxySettings) -> Iterator[list[socket.socket]]:
    """Give listening sockets for all addresses, closed and removed afterwards.

    :raises ServerError: if one cannot be had
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_tcp(address)) for address in settings.addresses]
        if settings.listen_socket:
            port = parse_address(settings.addresses[0])[1] if settings.addresses else 5432
            sockets.append(stack.enter_context(_unix(Path(settings.listen_socket), port)))
        if not sockets:
            raise ServerError("the proxy has no address to listen on", hint="give listen or listen_socket")
        yield sockets


def allow_descriptors(count: int) -> None:
    """Raise the limit of open files to what a full house needs; a shell gives 1,024 and allows more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < count:
        logger.warning("event=few_file_descriptors allowed=%d wanted=%d", allowed, count)


@contextlib.contextmanager
def _tcp(address: str) -> Iterator[socket.socket]:
    host, port = parse_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(found[0], socket.SOCK_STREAM)
    except OSError as error:
        raise ServerError(f"cannot listen on {address!r}: {error.strerror}") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[4])
            listener.listen(_BACKLOG)
        except OSError as error:
            raise ServerError(
                f"cannot listen on {address!r}: {error.strerror}", hint="choose another one with --listen"
            ) from error
        listener.setblocking(False)
        yield listener


@contextlib.contextmanager
def _unix(directory: Path, port: int) -> Iterator[socket.socket]:
    path = directory / f".s.PGSQL.{port}"
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ServerError(f"socket path {str(path)!r} is longer than {_LONGEST_PATH} bytes")
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            _remove_stale(path)
            # as PostgreSQL: who may connect is the directory's matter, and the authentication's
            before = os.umask(0)
            try:
                listener.bind(str(path))
            finally:
                os.umask(before)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise ServerError(f"cannot listen on {str(path)!r}: {error.strerror}") from error
        listener.setblocking(False)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ServerError(f"{str(path)!r} exists and is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
                return
        raise ServerError(f"another server listens on {str(path)!r}", hint="choose another port or directory")
