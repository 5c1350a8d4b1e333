"""One of the two sockets of a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from . import frames
from .errors import Malformed

#: an authentication token may be of some kilobytes; nothing else before a session begins comes near
LARGEST_AT_LOGIN = 0x10000
#: the other side does not take what is written to it
_FULL = "full"
#: a client sends its statements before it is let in
_AHEAD = "ahead"


class Relay(Protocol):
    """What is told of a socket once the session runs."""

    def lost(self, side: Side) -> None:
        """Take note that the connection is gone."""
        ...

    def half_closed(self, side: Side) -> bool:
        """Take note that nothing more comes; return whether the socket stays open for writing."""
        ...


class Side(asyncio.Protocol):
    """A socket: read message by message during the start-up, then handed every piece of bytes that comes.

    :ivar transport: to write to
    :ivar received: what is called with each piece of bytes
    :ivar other: the socket whose reading pauses while this one does not take what is written
    :ivar ended: whether nothing more comes
    :ivar closed: whether the connection is gone
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.received: Callable[[bytes], None] = self._keep
        self.other: Side | None = None
        self.relay: Relay | None = None
        self.ended = False
        self.closed = False
        #: whether nothing more may be written
        self._finished = False
        self._buffer = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        #: why reading is paused
        self._reasons: set[str] = set()

    # From asyncio ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; a TLS layer calls this again with its own."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Hand bytes on."""
        self.received(data)

    def eof_received(self) -> bool:
        """Take note that nothing more comes."""
        self.ended = True
        self._wake()
        if self.relay is not None:
            return self.relay.half_closed(self)
        # whoever says all at once and then ends may wait for the answer; TLS cannot be ended by half
        return self.can_half_close

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self.closed = self.ended = self._finished = True
        self._wake()
        if self.other is not None:
            self.other.resume(_FULL)
        if self.relay is not None:
            self.relay.lost(self)

    def pause_writing(self) -> None:
        """Have the other side read no more: what it sends is not taken as fast as it comes."""
        if self.other is not None:
            self.other.pause(_FULL)

    def resume_writing(self) -> None:
        """Have the other side read again."""
        if self.other is not None:
            self.other.resume(_FULL)

    # Reading, message by message ---------------------------------------------------------------------

    async def read(self, count: int) -> bytes:
        """Return so many bytes.

        :raises ConnectionError: if the connection ends before
        """
        while len(self._buffer) < count:
            if self.ended:
                raise ConnectionResetError("the connection ended during the start-up")
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self.resume(_AHEAD)
        return data

    async def read_frame(self) -> tuple[int, bytes]:
        """Return kind and body of the next message.

        :raises Malformed: if it is longer than anything that is said during the start-up
        :raises ConnectionError: if the connection ends before
        """
        head = await self.read(frames.HEAD)
        (length,) = frames.LENGTH.unpack_from(head, 1)
        if not 4 <= length <= LARGEST_AT_LOGIN:
            raise Malformed(f"invalid message length {length} during the start-up")
        return head[0], await self.read(length - 4)

    @property
    def has_more(self) -> bool:
        """Whether bytes have come that nobody has asked for."""
        return bool(self._buffer)

    def take_buffered(self) -> bytes:
        """Return what has come and was not read."""
        data, self._buffer = bytes(self._buffer), bytearray()
        self.resume(_AHEAD)
        return data

    def _keep(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > 2 * LARGEST_AT_LOGIN:
            self.pause(_AHEAD)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # Writing, pausing, closing -----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes; nothing happens if the connection is gone, or about to go."""
        if data and self.transport is not None and not self._finished:
            self.transport.write(data)

    @property
    def can_half_close(self) -> bool:
        """Whether one direction can end before the other."""
        return self.transport is not None and self.transport.can_write_eof()

    def write_eof(self) -> None:
        """Say that nothing more will be sent."""
        if self.transport is not None and not self._finished:
            self._finished = True
            self.transport.write_eof()

    def pause(self, reason: str) -> None:
        """Read no more, until :meth:`resume` was called for each reason."""
        if not self._reasons and self.transport is not None and not self.closed:
            self.transport.pause_reading()
        self._reasons.add(reason)

    def resume(self, reason: str) -> None:
        """Read again, unless there is another reason not to."""
        if reason not in self._reasons:
            return
        self._reasons.remove(reason)
        if not self._reasons and self.transport is not None and not self.closed:
            self.transport.resume_reading()

    def close(self) -> None:
        """Close it after what was written has been sent."""
        self._finished = True
        if self.transport is not None and not self.closed:
            self.transport.close()

    def abort(self) -> None:
        """Close it at once."""
        self._finished = True
        if self.transport is not None and not self.closed:
            self.transport.abort()
