"""One client's session behind its start-up: what passes, and what is done with a statement that is ours.

Pure state: bytes in, bytes out, no sockets and no clock. Bytes pass as they come, untouched, but for a Query
or Parse with one of our words in it: that one is taken out, what the client sends behind it is held, and
whoever runs the session is handed a :class:`Statement`. They wait until the server is quiet, ask it what
they need to know, and say how it goes on: with another text, with an error, or as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import frames
from .answers import Answers
from .changes import NAMES, Change, Changes, Mark, Origin
from .errors import Malformed
from .questions import Asked, Asking
from .statement import Statement
from .traffic import Traffic

_QUERY, _PARSE = b"QP"
#: messages that name statements and portals: Parse, Bind, Describe, Execute, Close
_NAMING = frozenset(b"PBDEC")
#: a text that no server accepts; it makes the server fail where our own error is due
_UNACCEPTABLE = b"pgpredict: refused, the client was told why"
#: a message of a gigabyte is the largest that PostgreSQL takes
LARGEST_MESSAGE = 0x3FFFFFFF

_length = frames.LENGTH.unpack_from


class Session:
    """See the module.

    :param traffic: from the end of the start-up on
    :param mentions: tells whether bytes hold one of our words
    :param longest: bytes of a statement that is looked at; longer ones pass as they are
    :ivar statement: the one that waits for a decision, None if there is none
    """

    __slots__ = (
        "_answers",
        "_changes",
        "_held",
        "_left",
        "_longest",
        "_mentions",
        "_partial",
        "_skimmed",
        "statement",
        "traffic",
    )

    def __init__(self, traffic: Traffic, mentions: Callable[[bytes], bool], longest: int) -> None:
        self.traffic = traffic
        self._mentions = mentions
        self._longest = longest
        self.statement: Statement | None = None
        #: of the client: a message that has come in part, bytes of one that passes, what is held back
        self._partial = bytearray()
        self._left = 0
        self._held = bytearray()
        self._changes = Changes(traffic)
        self._answers = Answers(traffic, self._changes)
        #: the mark of what passes, if it is a statement too long to be looked at
        self._skimmed: Mark | None = None

    @property
    def held(self) -> int:
        """Bytes of the client's that wait for a decision."""
        return len(self._held)

    @property
    def idle(self) -> bool:
        """Whether the client could be told good-bye without anything being lost but an open transaction."""
        between = self.statement is None and not self._partial and not self._left and self._answers.is_whole
        return between and self.traffic.quiet and not self.traffic.open

    @property
    def is_between(self) -> bool:
        """Whether the client's last message has come to its end."""
        return not self._partial and not self._left

    @property
    def is_settled(self) -> bool:
        """Whether waiting for the server would change nothing: it is quiet, or wants rows of a COPY."""
        return self.traffic.quiet or self.traffic.copying

    # From the client ---------------------------------------------------------------------------------

    def client(self, data: bytes) -> bytes:
        """Take bytes of the client's; return those for the server.

        :raises Malformed: if they are not the protocol
        """
        if self.statement is not None:
            self._held += data
            return b""
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed():
                return b""
            data, self._partial = bytes(self._partial), bytearray()
        return self._pass(data)

    def _needed(self) -> int:
        """Return how long the partial message must be for something to be done with it."""
        if len(self._partial) < frames.HEAD:
            return frames.HEAD
        return self._wanted(self._partial[0], int(_length(self._partial, 1)[0]))

    def _wanted(self, kind: int, length: int) -> int:
        if kind in (_QUERY, _PARSE) and length <= self._longest:
            return length + 1
        return min(length + 1, NAMES) if kind in _NAMING and self._changes.any else frames.HEAD

    def _pass(self, data: bytes) -> bytes:
        size = len(data)
        start = self._left
        if self._skimmed is not None:
            self._skim(self._skimmed, data[:start])
        if start > size:
            self._left = start - size
            return data
        self._left = 0
        self._skimmed = None
        while size - start >= frames.HEAD:
            kind = data[start]
            length = _length(data, start + 1)[0]
            if not 4 <= length <= LARGEST_MESSAGE:
                raise Malformed(f"invalid message length {length}")
            end = start + 1 + length
            if size - start < self._wanted(kind, length):
                break
            mark: Mark | None = None
            if kind in (_QUERY, _PARSE):
                if length > self._longest:
                    self._skimmed = mark = self._changes.of_long(kind, data[start + frames.HEAD : end])
                    self._skim(mark, data[start:end])
                elif self._mentions(data[start + frames.HEAD : end]) and self._take(data, start, end):
                    self._held += data[end:]
                    return data[:start]
            if mark is None and self._changes.any:
                mark = self._changes.mark(kind, data[start + frames.HEAD : end])
            self.traffic.sent(kind, mark)
            start = end
        if start < size:
            self._partial += data[start:]
            return data[:start]
        self._left = start - size
        return data

    def _skim(self, mark: Mark, data: bytes) -> None:
        """Look for our words in a statement that passes because it is long; its errors will say so."""
        if not mark.advice and self._mentions(data):
            mark.advice = (
                f"statements of more than {self._longest} bytes pass the proxy without being rewritten"
            )

    def _take(self, data: bytes, start: int, end: int) -> bool:
        parts = frames.statement(data[start], data[start + frames.HEAD : end])
        if parts is None:
            return False  # the server will tell what is wrong with it
        name, sql, types = parts
        self.statement = Statement(data[start], name, sql, types, data[start:end])
        return True

    # From the server ---------------------------------------------------------------------------------

    def server(self, data: bytes) -> bytes:
        """Take bytes of the server's; return those for the client.

        :raises Malformed: if they are not the protocol
        """
        return self._answers.server(data)

    # What is done with a statement -------------------------------------------------------------------

    def flush(self) -> bytes:
        """Return what makes the server answer all that it was sent of an open batch."""
        return frames.FLUSH if self.traffic.open and not self.traffic.skipping else b""

    def ask(self, questions: Sequence[Asking], encoding: str, *, wide: bool = False) -> tuple[Asked, bytes]:
        """Ask the server something; return the questions, which are being answered, and bytes for the server.

        To be called while the server is quiet.

        :param encoding: Python's name of the encoding that they are asked in
        :param wide: whether that is not the client's
        :raises UnicodeError: if a question cannot be said in it
        """
        return self._answers.ask(questions, encoding, wide=wide)

    def leave(self, first: bytes) -> bytes:
        """Run the first statement of the Query that waits, which ends a failed transaction.

        :return: bytes for the server
        """
        self._answers.leave()
        return frames.query(first)

    @property
    def has_left(self) -> bool:
        """Whether that statement has succeeded."""
        return not self._answers.has_failed

    def drop(self) -> bytes:
        """Take note that the Query that waits is over, since its first statement has failed.

        :return: bytes for the server
        """
        self.statement = None
        return self._resume()

    @property
    def is_answered(self) -> bool:
        """Whether the server has answered what it was asked last."""
        return self._answers.is_answered

    def pass_on(self) -> bytes:
        """Let the statement go as it came; return bytes for the server."""
        statement = self._decided(None)
        return statement.message + self._resume()

    def change(self, sql: bytes, origin: Origin, description: bytes | None = None) -> bytes:
        """Let the statement go with another text; return bytes for the server.

        :param origin: where a position in that text lies in the client's
        :param description: RowDescription of the client's text
        """
        return self._decided(Change(origin, description, len(sql))).with_text(sql) + self._resume()

    def refuse(self, error: bytes) -> tuple[bytes, bytes]:
        """Answer the statement with an error; return bytes for the server and for the client.

        The server is made to fail at the same place, so that its transaction, the ReadyForQuery and what is
        skipped are just what they would be if the error were its own.

        :param error: an ErrorResponse
        """
        if not self.traffic.skipping:
            return self._decided(None, error).with_text(_UNACCEPTABLE) + self._resume(), b""
        # a question has failed already
        ended = b""
        if self._decided(None).kind == _QUERY:
            # nobody but us is going to end what the client had begun before its Query
            self.traffic.sent(frames.SYNC[0])
            ended = frames.SYNC
        return ended + self._resume(), error

    def _decided(self, change: Change | None, refusal: bytes | None = None) -> Statement:
        statement, self.statement = self.statement, None
        if statement is None:
            raise AssertionError("no statement waits")
        body = statement.message[frames.HEAD :]
        self.traffic.sent(statement.kind, self._changes.of_decided(statement.kind, body, change, refusal))
        return statement

    def _resume(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return self.client(held) if held else b""
