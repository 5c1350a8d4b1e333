"""What goes over a session's two streams: where messages begin, and what the server still owes.

Nothing is held back or changed here. Every byte that passes is accounted for, because only then is it known
whether the server is idle, inside of a transaction, or skipping messages until the next Sync, when a
statement has to be rewritten. Only heads of messages are looked at: some 0.1 microseconds each.

What the client has sent and the server has not answered stands in a line (:mod:`pgpredict.proxy.line`), with
the message that the server works on at its head; each answer is that one's.
"""

from __future__ import annotations

from .errors import Malformed
from .frames import HEAD, LENGTH
from .line import Line

_READY, _ERROR, _PARAMETER, _ROW, _COPY_ROW, _COPY_IN, _COMPLETE = b"ZESDdGC"
#: the last message of an answer: ParseComplete, BindComplete, CloseComplete, RowDescription, NoData,
#: CommandComplete, EmptyQueryResponse, PortalSuspended
_ANSWERS = frozenset(b"123TnCIs")
#: those of which more than the head is looked at
_READ = frozenset((_READY, _PARAMETER))

_length = LENGTH.unpack_from


class Traffic:
    """Accounts for the messages of one session, from the end of its start-up on.

    :ivar status: of the transaction at the last ReadyForQuery: ``I`` none, ``T`` open, ``E`` failed
    :ivar parameters: what the server has reported, such as ``client_encoding``
    :ivar counts: messages that were sent, by kind
    :ivar line: messages that the server has not answered
    """

    __slots__ = ("_left", "_rest", "counts", "line", "parameters", "status")

    def __init__(self, counts: list[int] | None = None) -> None:
        self.status = "I"
        self.parameters: dict[str, str] = {}
        self.counts = [0] * 256 if counts is None else counts
        self.line = Line()
        #: of the server: bytes of a message that are still to come, and a head that has come in part
        self._left = 0
        self._rest = b""

    @property
    def pending(self) -> int:
        """ReadyForQuery messages that the server owes."""
        return self.line.pending

    @property
    def open(self) -> bool:
        """Whether messages of the extended protocol were sent since the last Sync or Query that counts."""
        return self.line.open

    @property
    def skipping(self) -> bool:
        """Whether the server ignores what it is sent until the next Sync."""
        return self.line.skipping

    @property
    def copying(self) -> bool:
        """Whether the server waits for rows of a COPY, and for nothing else."""
        return self.line.copying

    @property
    def quiet(self) -> bool:
        """Whether the server has answered all that it was sent, or skips the rest of it."""
        return not self.line and self.whole

    @property
    def left(self) -> int:
        """Bytes that the server's current message still has to come."""
        return self._left

    @property
    def whole(self) -> bool:
        """Whether the last message of the server has come to its end."""
        return not (self._left or self._rest)

    def under_way(self, data: bytes) -> int:
        """Return how many bytes belong to a message of the server's that has come, and passed, in part.

        :param data: the next that have come
        """
        if not self._rest:
            return min(self._left, len(data))
        begun = self._rest + data[:HEAD]
        if len(begun) < HEAD:
            return len(data)
        return min(max(1 + int(_length(begun, 1)[0]) - len(self._rest), 0), len(data))

    def sent(self, kind: int, mark: object = None) -> None:
        """Account for a message that is sent to the server.

        :param mark: what is to be known of it when it is answered
        """
        self.counts[kind] += 1
        self.line.append(kind, mark)

    def received(self, data: bytes) -> None:
        """Account for what the server sends.

        :raises Malformed: for a length that cannot be
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        size = len(data)
        start = self._left
        if start > size:
            self._left = start - size
            return
        last = size - HEAD
        while start <= last:
            kind = data[start]
            end = start + 1 + _length(data, start + 1)[0]
            # most messages are rows, and need no second look
            if kind != _ROW and kind != _COPY_ROW:
                if end < start + HEAD:
                    raise Malformed("the server sent a message shorter than its head")
                if end > size and (kind in _READ or (kind == _ERROR and self.line.in_copy)):
                    break
                self._note(kind, data, start + HEAD, end)
            start = end
        if start < size:
            self._left, self._rest = 0, data[start:]
        else:
            self._left = start - size

    def _note(self, kind: int, data: bytes, start: int, end: int) -> None:
        if kind in _ANSWERS:
            self.line.answered(kind == _COMPLETE)
        elif kind == _READY:
            self.status = chr(data[start])
            self.line.ready()
        elif kind == _ERROR:
            self.line.failed(data[start:end] if self.line.in_copy else b"")
        elif kind == _PARAMETER:
            name, value = data[start : end - 1].split(b"\x00", 1)
            self.parameters[name.decode("latin-1")] = value.decode("latin-1")
        elif kind == _COPY_IN:
            self.line.copies_in()
