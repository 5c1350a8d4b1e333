"""The socket to the server, whose last words are heard even if they cross with something that is sent.

A server that gives up says why and closes, with something unread. If we write before we read, the write
fails, and the event loop gives the connection up with those words in it: so they are read here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import ssl
import struct
import termios
from collections.abc import Iterator
from typing import Any

from .side import Side

#: bytes that are read at once
_PIECE = 1 << 16
_COUNT = struct.Struct("i")
_CLOSED = (BrokenPipeError, ConnectionResetError)


class ServerSide(Side):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._is_encrypted = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone, after what has come of it."""
        try:
            if not self._is_encrypted and self.transport is not None:
                for piece in _rest(self.transport, exc):
                    self.data_received(piece)
        finally:
            super().connection_lost(exc)

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Encrypt the connection.

        :param name: of the server
        :raises ssl.SSLError: if the server cannot be trusted
        :raises ConnectionError: if the handshake fails
        """
        plain = self.transport
        if plain is None or plain.is_closing():
            raise ConnectionResetError("the connection ended before the TLS handshake")
        self._is_encrypted = True
        upgraded = await asyncio.get_running_loop().start_tls(plain, self, context, server_hostname=name)
        if upgraded is None:
            raise ConnectionResetError("the connection ended during the TLS handshake")
        self.connection_made(upgraded)
        plain.set_protocol(_BelowTls(self, plain, upgraded))


class _BelowTls(asyncio.BufferedProtocol):
    """Stands between a connection and its TLS, which is gone when :class:`ServerSide` is told of the end.

    :param plain: the connection, with TLS for its protocol
    :param upgraded: what TLS makes of it
    """

    def __init__(self, side: ServerSide, plain: asyncio.Transport, upgraded: asyncio.Transport) -> None:
        # one of uvloop's own, which has the methods of a BufferedProtocol, but is none
        tls: Any = plain.get_protocol()
        self._side, self._plain, self._upgraded, self._tls = side, plain, upgraded, tls
        # bytes go where they went
        for name in ("get_buffer", "buffer_updated", "eof_received", "pause_writing", "resume_writing"):
            setattr(self, name, getattr(tls, name))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let TLS have what has come before it is told that the connection is gone."""
        try:
            for piece in _rest(self._plain, exc):
                self._take(piece)
            if isinstance(exc, _CLOSED):
                self._take(b"")  # what it has been holding back
        finally:
            self._tls.connection_lost(exc)

    def _take(self, data: bytes) -> None:
        # that the client does not take as much holds nothing up any more, like without TLS
        self._upgraded.resume_reading()
        # as much as asked for, up to 256 kB
        self._tls.get_buffer(len(data))[: len(data)] = data
        self._tls.buffer_updated(len(data))


def _rest(plain: asyncio.BaseTransport, exc: Exception | None) -> Iterator[bytes]:
    """Read what the kernel holds of a connection that the other end has closed while it was written to.

    What has come until now, and no more: somebody who goes on sending must not hold us up.

    :param plain: whose protocol is told so just now: the descriptor is still its own
    :param exc: how it was lost
    """
    sock = plain.get_extra_info("socket")
    if sock is None or not isinstance(exc, _CLOSED):
        return
    with contextlib.suppress(OSError):
        (left,) = _COUNT.unpack(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(_COUNT.size)))
        while left > 0 and (data := os.read(sock.fileno(), min(left, _PIECE))):
            left -= len(data)
            yield data
