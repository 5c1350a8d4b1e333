"""What goes over a session's two streams: where messages begin, and what the server still owes.

Nothing is held back or changed here. Every byte that passes is accounted for, because only then is it known
whether the server is idle, inside of a transaction, or skipping messages until the next Sync, when a
statement has to be rewritten. Only heads of messages are looked at: some 0.1 microseconds each.
"""

from __future__ import annotations

from .errors import Malformed
from .frames import HEAD, LENGTH

_QUERY, _SYNC, _CALL, _FLUSH, _COPY_DATA, _COPY_DONE, _COPY_FAIL = b"QSFHdcf"
#: what a client may send while it copies in; anything else makes the COPY fail, and is not run itself
_COPYING = frozenset(b"SHdcf")
#: messages of the extended protocol that get an answer each: Parse, Bind, Execute, Describe, Close
_ANSWERED = frozenset(b"PBEDC")
_READY, _ERROR, _PARAMETER, _ROW, _COPY_ROW, _COPY_IN = b"ZESDdG"
#: the last message of an answer: ParseComplete, BindComplete, CloseComplete, RowDescription, NoData,
#: CommandComplete, EmptyQueryResponse, PortalSuspended
_ANSWERS = frozenset(b"123TnCIs")

_length = LENGTH.unpack_from


class Traffic:
    """Accounts for the messages of one session, from the end of its start-up on.

    :ivar status: of the transaction at the last ReadyForQuery: ``I`` none, ``T`` open, ``E`` failed
    :ivar pending: ReadyForQuery messages that the server owes
    :ivar open: whether messages of the extended protocol were sent since the last Sync or Query
    :ivar failed: whether an error came since the last ReadyForQuery; in an open batch the server skips
        everything until the next Sync then
    :ivar parameters: what the server has reported, such as ``client_encoding``
    :ivar counts: messages that were sent, by kind
    """

    __slots__ = (
        "_answered",
        "_blind",
        "_copying",
        "_last",
        "_left",
        "_rest",
        "_sent",
        "counts",
        "failed",
        "open",
        "parameters",
        "pending",
        "status",
    )

    def __init__(self, counts: list[int] | None = None) -> None:
        self.status = "I"
        self.pending = 0
        self.open = False
        self.failed = False
        self.parameters: dict[str, str] = {}
        self.counts = [0] * 256 if counts is None else counts
        #: of the server: bytes of a message that are still to come, and a head that has come in part
        self._left = 0
        self._rest = b""
        #: messages of the open batch that get an answer, and answers since the last ReadyForQuery
        self._sent = 0
        self._answered = 0
        self._copying = False
        #: whether a client has ended a COPY before it knew that the server takes it: nobody can tell then
        #: what belongs to it, but also that it has got past it
        self._blind = False
        self._last = 0

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

    @property
    def copying(self) -> bool:
        """Whether the server waits for rows of a COPY, and for nothing else."""
        return self._copying

    @property
    def quiet(self) -> bool:
        """Whether the server has answered all that it was sent, or skips the rest of it."""
        if self.pending or not self.whole:
            return False
        return not self.open or self.failed or self._answered >= self._sent

    @property
    def skipping(self) -> bool:
        """Whether the server ignores what it is sent until the next Sync."""
        return self.open and self.failed and not self.pending

    def sent(self, kind: int) -> None:
        """Account for a message that is sent to the server."""
        self.counts[kind] += 1
        if self._copying and kind not in _COPYING:
            self._copying = False  # the error that it makes of the COPY is the answer to both
        elif kind in _ANSWERED:
            if not self.open:
                self.open, self._sent = True, 0
                if not self.pending:
                    self._answered = 0
            self._sent += 1
        elif kind in (_QUERY, _SYNC, _CALL):
            if kind == _SYNC:
                # a server that copies in ignores it
                if not self._copying:
                    self.pending += 1
                    self.open = False
                return
            if self.skipping:
                return  # the server reads over it like over anything but a Sync
            self.pending += 1
            self.open = False
        elif kind in (_COPY_DONE, _COPY_FAIL):
            if not self._copying and not self.failed and (self.pending or self.open):
                self._blind = True
            self._copying = False
            return
        elif kind in (_FLUSH, _COPY_DATA):
            return
        self._last = kind

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
                if end > size and (kind in (_READY, _PARAMETER)):
                    break
                self._note(kind, data, start + HEAD, end)
            start = end
        if start < size:
            self._left, self._rest = 0, data[start:]
        else:
            self._left = start - size

    def _note(self, kind: int, data: bytes, start: int, end: int) -> None:
        if kind in _ANSWERS:
            self._answered += 1
        elif kind == _READY:
            self.status = chr(data[start])
            if self.pending:
                self.pending -= 1
            else:
                # it answers a Sync that was taken for one that a COPY ignores: what was sent behind the
                # COPY before the server had said that it copies
                self.open = False
            self.failed = self._copying = False
            self._blind = self._blind and self.pending > 0
            self._answered = 0
        elif kind == _ERROR:
            self.failed = True
            self._copying = False
        elif kind == _PARAMETER:
            name, value = data[start : end - 1].split(b"\x00", 1)
            self.parameters[name.decode("latin-1")] = value.decode("latin-1")
        elif kind == _COPY_IN and not self._blind:
            # everything before it is answered, and a Sync that came along with the Execute is ignored
            self._copying = True
            self.pending = 1 if self._last == _QUERY else 0
            self.open = self._last != _QUERY
