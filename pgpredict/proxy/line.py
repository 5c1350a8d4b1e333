"""Messages of a client that the server has not answered, in their order.

PostgreSQL's rules, which decide how many answers there will be:

- Parse, Bind, Describe, Execute and Close get one answer each, Query, FunctionCall and Sync a ReadyForQuery.
- An error in the answer to one of the former has the server read over everything until the next Sync, a Query
  or FunctionCall too. An error in the answer to one of the latter is followed by its ReadyForQuery.
- While it copies in, it ignores Sync and Flush. CopyDone and CopyFail end the COPY; any other message does so
  with an error, and is not run itself. At any other time rows, CopyDone and CopyFail are ignored.

One thing cannot be known: whether a COPY that fails over a row has come past a Sync that was sent among rows.
It is taken for ignored; nobody who waits for the server's answers sends one there.
"""

from __future__ import annotations

from collections import deque

_QUERY, _SYNC, _CALL, _COPY_DONE, _COPY_FAIL = b"QSFcf"
#: get an answer each
_ANSWERED = frozenset(b"PBEDC")
#: get a ReadyForQuery each
_OWING = frozenset((_QUERY, _SYNC, _CALL))
_COPY_ENDS = frozenset((_COPY_DONE, _COPY_FAIL))
#: messages that an answer depends on
_COUNTED = _ANSWERED | _OWING | _COPY_ENDS

#: SQLSTATEs with which a COPY fails over what it has read, besides those that say in which row
_UNEXPECTED = b"C08P01\x00"
_WHILE_READING = (_UNEXPECTED, b"C22P04\x00", b"C57014\x00")


class Line:
    """See the module.

    :ivar pending: ReadyForQuery messages that the server owes
    :ivar open: whether messages of the extended protocol were sent since the last Sync or Query that counts
    :ivar skipping: whether the server reads over everything until the next Sync
    :ivar in_copy: whether the server copies in, as far as it has said
    """

    __slots__ = ("_done", "_ignored", "_kinds", "_marks", "in_copy", "open", "pending", "skipping")

    def __init__(self) -> None:
        self.pending = 0
        self.open = False
        self.skipping = False
        self.in_copy = False
        self._kinds = bytearray()
        #: messages that have left the line, so that each has a number
        self._done = 0
        self._marks: deque[tuple[int, object]] = deque()
        #: Sync messages that the COPY is thought to have ignored
        self._ignored = 0

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def copying(self) -> bool:
        """Whether the server waits for rows of a COPY, and for nothing else."""
        return self.in_copy and len(self._kinds) == 1

    @property
    def is_marked(self) -> bool:
        """Whether a message in the line has a mark."""
        while self._marks and self._marks[0][0] < self._done:
            self._marks.popleft()
        return bool(self._marks)

    @property
    def mark(self) -> object:
        """The mark of the message that the server works on; None if it has none."""
        return self._marks[0][1] if self.is_marked and self._marks[0][0] == self._done else None

    def append(self, kind: int, mark: object = None) -> None:
        """Take a message that is sent.

        :param mark: what is to be known of it when it is answered
        """
        if kind not in _COUNTED:
            return
        if self.skipping:
            if kind != _SYNC:
                return
            self.skipping = False
        elif kind == _SYNC and self.copying:
            self._ignored += 1
            return
        elif kind in _COPY_ENDS and not self._kinds:
            return
        if mark is not None:
            self._marks.append((self._done + len(self._kinds), mark))
        self._kinds.append(kind)
        if kind in _ANSWERED:
            self.open = True
        elif kind in _OWING:
            self.pending += 1
            self.open = False

    # these are for each message that passes, so they call nothing where they need not

    def answered(self, completes: bool) -> None:
        """Take note of an answer to what the server works on.

        :param completes: whether it is a CommandComplete
        """
        if self.in_copy and completes:
            self.in_copy = False
            self._remove(next((at for at, kind in enumerate(self._kinds) if kind in _COPY_ENDS), 0))
        kinds = self._kinds
        if kinds and kinds[0] in _ANSWERED:
            del kinds[0]
            self._done += 1
            if kinds and kinds[0] in _COPY_ENDS:
                self._drop(0)

    def ready(self) -> None:
        """Take note of a ReadyForQuery."""
        kinds = self._kinds
        self.in_copy = False
        if not kinds:
            self.skipping = self.open = False
        elif kinds[0] in _OWING:
            del kinds[0]
            self._done += 1
            self.pending -= 1
            if kinds and kinds[0] in _COPY_ENDS:
                self._drop(0)

    def failed(self, error: bytes) -> None:
        """Take note of an error.

        :param error: body of the ErrorResponse, if the server copies in
        """
        if self.in_copy:
            self.in_copy = False
            self._copy_failed(error)
        if not self._kinds:
            # between two messages of a batch, such as a timeout
            self.skipping = self.open
        elif self._kinds[0] in _ANSWERED:
            sync = self._kinds.find(_SYNC)
            self._drop(len(self._kinds) if sync < 0 else sync)
            self._recount()
            self.skipping = sync < 0

    def skip(self) -> None:
        """Take note that a question of ours has failed in the open batch."""
        self.skipping = True

    def copies_in(self) -> None:
        """Take note that the server wants rows: it has ignored each Sync that came before anything else."""
        self.in_copy = True
        self._ignored = 0
        while self._kinds[1:2] == b"S":
            self._remove(1)
            self._ignored += 1
        self._recount()

    def _copy_failed(self, error: bytes) -> None:
        fields = error.split(b"\x00")
        read = any(field[:1] == b"W" for field in fields) or any(code in error for code in _WHILE_READING)
        if not read:
            # before it had read anything: what was to be ignored is not
            self._kinds[1:1] = b"S" * self._ignored
            self._shift(self._ignored)
        elif _UNEXPECTED in error and len(self._kinds) > 1 and self._kinds[1] not in _COPY_ENDS:
            self._remove(1)
        self._recount()

    def _drop(self, count: int) -> None:
        """Let messages leave, and what the server ignores behind them."""
        while count < len(self._kinds) and self._kinds[count] in _COPY_ENDS:
            count += 1
        del self._kinds[:count]
        self._done += count

    def _remove(self, place: int) -> None:
        """Take a message out that is not the first."""
        if place:
            self._marks = deque((at, mark) for at, mark in self._marks if at != self._done + place)
            del self._kinds[place]
            self._shift(-1, place)

    def _shift(self, by: int, behind: int = 0) -> None:
        self._marks = deque((at + by if at > self._done + behind else at, mark) for at, mark in self._marks)

    def _recount(self) -> None:
        self.pending = sum(self._kinds.count(kind) for kind in _OWING)
        last = max(map(self._kinds.rfind, _OWING))
        batch = self._kinds[last + 1 :]
        self.open = any(kind in _ANSWERED for kind in batch) or (last < 0 and not batch)
