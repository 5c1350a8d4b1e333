"""Frames over a blocking socket."""

from __future__ import annotations

import socket

from fdw import protocol
from fdw.errors import ProtocolError

Received = tuple[protocol.Header, list[memoryview]]

#: most requests for one row fit in one read
_FIRST_READ = 8192


def read_frame(sock: socket.socket) -> Received | None:
    """Return the next frame, or None if the peer has closed between frames.

    :raises ProtocolError: if the frame breaks the format or ends early
    :raises OSError: if the connection breaks
    """
    head = sock.recv(_FIRST_READ)
    if not head:
        return None
    while len(head) < protocol.HEAD.size:
        more = sock.recv(_FIRST_READ)
        if not more:
            raise ProtocolError(f"the peer closed after {len(head)} bytes of a frame")
        head += more
    header_length, blob_length = protocol.decode_head(head[: protocol.HEAD.size])
    total = header_length + blob_length
    got = len(head) - protocol.HEAD.size
    if got > total:
        raise ProtocolError("a request was sent before the answer to the last one")
    body = memoryview(head)[protocol.HEAD.size :]
    if got < total:
        body = _rest(sock, body, total)
    return protocol.decode_body(bytes(body[:header_length]), body[header_length:])


def _rest(sock: socket.socket, start: memoryview, total: int) -> memoryview:
    body, got = memoryview(bytearray(total)), len(start)
    body[:got] = start
    while got < total:
        count = sock.recv_into(body[got:])
        if not count:
            raise ProtocolError(f"the peer closed after {got} of {total} bytes of a frame")
        got += count
    return body
