"""One client's session behind its start-up: what passes, and what is done with a statement that is ours.

Pure state: bytes in, bytes out, no sockets and no clock. Bytes pass as they come, untouched, but for a Query
or Parse with one of our words in it: that one is taken out, what the client sends behind it is held, and
whoever runs the session is handed a :class:`Statement`. They wait until the server is quiet, ask it what
they need to know, and say how it goes on: with another text, with an error, or as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import frames
from .descriptions import Descriptions
from .errors import Malformed
from .questions import Asked, Asking
from .statement import Statement
from .traffic import Traffic

_QUERY, _PARSE = b"QP"
_READY, _ERROR, _NOTICE, _PARSED, _DESCRIBED, _NO_DATA = b"ZEN1Tn"
#: the server sends these when it likes: NoticeResponse, NotificationResponse, ParameterStatus
_ASYNCHRONOUS = frozenset(b"NAS")
#: those that are looked at for a changed statement; all else may be of any length
_READ = frozenset(b"ZEN1Tn")
_SYNTAX_ERROR = "42601"
#: a text that no server accepts; it makes the server fail where our own error is due
_UNACCEPTABLE = b"pgpredict: refused, the client was told why"
#: a message of a gigabyte is the largest that PostgreSQL takes
LARGEST_MESSAGE = 0x3FFFFFFF
#: the same for one of the server's that is read whole: an answer to a question of ours, an error
_LARGEST_READ = 1 << 28

_length = frames.LENGTH.unpack_from

#: where a position in the server's text lies in the client's, both in characters from 1
Origin = Callable[[int], int | None]


def _same(position: int) -> int:
    return position


class Session:
    """See the module.

    :param traffic: from the end of the start-up on
    :param mentions: tells whether bytes hold one of our words
    :param longest: bytes of a statement that is looked at; longer ones pass as they are
    :ivar statement: the one that waits for a decision, None if there is none
    """

    __slots__ = (
        "_advice",
        "_asking",
        "_awaited",
        "_descriptions",
        "_held",
        "_inbox",
        "_left",
        "_longest",
        "_mentions",
        "_origin",
        "_origin_ends",
        "_partial",
        "_refusal",
        "_skims",
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
        #: of the server: a message that has come in part, while messages are looked at, and its length
        self._inbox = bytearray()
        self._awaited = 0
        #: questions of ours that the server has not answered yet
        self._asking: Asked | None = None
        #: what the client gets for the server's next error
        self._refusal: bytes | None = None
        #: set while errors of a changed statement may come, and the message that ends that
        self._origin: Origin | None = None
        self._origin_ends = _READY
        #: what changed statements would be described as
        self._descriptions = Descriptions()
        #: whether what passes is a statement too long to be looked at, and what its errors are told beside
        self._skims = False
        self._advice = ""

    @property
    def held(self) -> int:
        """Bytes of the client's that wait for a decision."""
        return len(self._held)

    @property
    def idle(self) -> bool:
        """Whether the client could be told good-bye without anything being lost but an open transaction."""
        between = self.statement is None and not self._partial and not self._left and not self._inbox
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
        length = int(_length(self._partial, 1)[0])
        is_read = self._partial[0] in (_QUERY, _PARSE) and length <= self._longest
        return length + 1 if is_read else frames.HEAD

    def _pass(self, data: bytes) -> bytes:
        size = len(data)
        start = self._left
        if self._skims:
            self._skim(data[:start])
        if start > size:
            self._left = start - size
            return data
        self._left = 0
        self._skims = False
        while size - start >= frames.HEAD:
            kind = data[start]
            length = _length(data, start + 1)[0]
            if not 4 <= length <= LARGEST_MESSAGE:
                raise Malformed(f"invalid message length {length}")
            end = start + 1 + length
            if kind in (_QUERY, _PARSE):
                if length > self._longest:
                    self._skims = True
                    self._skim(data[start:end])
                elif end > size:
                    break
                elif self._mentions(data[start + frames.HEAD : end]) and self._take(data, start, end):
                    self._held += data[end:]
                    return data[:start]
            if self._descriptions.any:
                self._descriptions.sent(kind, data[start + frames.HEAD : end], self.traffic.pending)
            self.traffic.sent(kind)
            start = end
        if start < size:
            self._partial += data[start:]
            return data[:start]
        self._left = start - size
        return data

    def _skim(self, data: bytes) -> None:
        """Look for our words in a statement that passes because it is long; its errors will say so."""
        if not self._advice and self._mentions(data):
            self._advice = (
                f"statements of more than {self._longest} bytes pass the proxy without being rewritten"
            )
            self._origin, self._origin_ends = _same, _READY

    def _take(self, data: bytes, start: int, end: int) -> bool:
        parts = frames.statement(data[start], data[start + frames.HEAD : end])
        if parts is None:
            return False  # the server will tell what is wrong with it
        name, sql, types = parts
        self.statement = Statement(data[start], name, sql, types, data[start:end])
        return True

    # From the server ---------------------------------------------------------------------------------

    @property
    def _looks(self) -> bool:
        """Whether the server's messages have to be looked at."""
        if self._asking is not None or self._refusal is not None or self._origin is not None:
            return True
        return self._descriptions.awaited

    def server(self, data: bytes) -> bytes:
        """Take bytes of the server's; return those for the client.

        :raises Malformed: if they are not the protocol
        """
        if not self._looks:
            self.traffic.received(data)
            return data
        passed: list[bytes] = []
        if self._inbox:
            self._inbox += data
            if len(self._inbox) < self._awaited:
                return b""
            data, self._inbox = bytes(self._inbox), bytearray()
        elif begun := self.traffic.under_way(data):
            # of a message whose beginning has passed the rest must
            passed.append(data[:begun])
            self.traffic.received(passed[0])
            data = data[begun:]
        size = len(data)
        start = position = 0  # of what passes as it came
        self._awaited = frames.HEAD
        while size - position >= frames.HEAD and self._looks:
            kind = data[position]
            length = _length(data, position + 1)[0]
            end = position + 1 + length
            if length < 4:
                raise Malformed(f"the server sent a message of length {length}")
            if self._asking is not None or kind in _READ:
                if length > _LARGEST_READ:
                    raise Malformed(f"the server sent a message of length {length}")
                if end > size:
                    self._awaited = length + 1
                    break
                told = self._message(kind, data[position:end])
                if told is not None:
                    self.traffic.received(data[start:position])
                    self._account(kind, data[position:end])
                    passed += [data[start:position], told]
                    start = end
            position = end
        position = min(position, size) if self._looks else size
        self._inbox += data[position:]
        self.traffic.received(data[start:position])
        passed.append(data[start:position])
        return b"".join(passed)

    def _message(self, kind: int, message: bytes) -> bytes | None:
        """Look at a whole message; return what the client gets in its place, None for the message itself."""
        if self._asking is not None:
            if kind in _ASYNCHRONOUS:
                return b"" if kind == _NOTICE else None  # a notice is about our question
            if self._asking.feed(kind, message[frames.HEAD :]):
                self._answered(self._asking)
            return b""
        if self._refusal is not None:
            if kind != _ERROR:
                return None
            refusal, self._refusal = self._refusal, None
            # it may have another reason to fail, such as its shutdown
            code = frames.error_fields(message[frames.HEAD :], "latin-1").get("C")
            return refusal if code == _SYNTAX_ERROR else None
        told = self._in_the_clients_text(kind, message) if kind in (_ERROR, _NOTICE) else None
        if kind in (_DESCRIBED, _NO_DATA):
            body = self._descriptions.described(message[frames.HEAD :] if kind == _DESCRIBED else None)
            told = None if body is None else frames.frame(b"T", body)
        elif kind == _READY:
            self._descriptions.ready()
        if kind == self._origin_ends or (kind == _ERROR and self._origin_ends == _PARSED):
            self._origin, self._advice = None, ""
        return told

    def _answered(self, asked: Asked) -> None:
        self._asking = None
        if asked.status is not None:
            self.traffic.status = asked.status
        elif asked.error is not None:
            self.traffic.failed = True

    def _account(self, kind: int, message: bytes) -> None:
        """Account for a message that the client gets in other words."""
        if kind in (_ERROR, _DESCRIBED) and self._asking is None:
            self.traffic.received(message)

    def _in_the_clients_text(self, kind: int, message: bytes) -> bytes | None:
        body = message[frames.HEAD :]
        fields = frames.error_fields(body, "latin-1")
        position = fields.get(frames.POSITION)
        if self._advice and kind == _ERROR and "H" not in fields:
            body = body[:-1] + frames.cstring(b"H" + self._advice.encode()) + b"\x00"
        elif position is None or self._origin is None:
            return None
        if position is not None and self._origin is not None:
            body = frames.with_position(body, self._origin(int(position)))
        return frames.frame(bytes([kind]), body)

    # What is done with a statement -------------------------------------------------------------------

    def flush(self) -> bytes:
        """Return what makes the server answer all that it was sent of an open batch."""
        return frames.FLUSH if self.traffic.open and not self.traffic.skipping else b""

    def ask(self, questions: Sequence[Asking], encoding: str) -> tuple[Asked, bytes]:
        """Ask the server something; return the questions, which are being answered, and bytes for the server.

        To be called while the server is quiet.

        :param encoding: Python's name of the client's encoding
        :raises UnicodeError: if a question cannot be said in it
        """
        asked = Asked(questions, synced=not self.traffic.open, encoding=encoding)
        messages = asked.messages()
        self._asking = asked
        return asked, messages

    @property
    def is_answered(self) -> bool:
        """Whether the server has answered what it was asked last."""
        return self._asking is None

    def pass_on(self) -> bytes:
        """Let the statement go as it came; return bytes for the server."""
        statement = self._decided()
        return statement.message + self._resume()

    def change(self, sql: bytes, origin: Origin, description: bytes | None = None) -> bytes:
        """Let the statement go with another text; return bytes for the server.

        :param origin: where a position in that text lies in the client's
        :param description: RowDescription of the client's text
        """
        statement = self._decided()
        if statement.kind == _QUERY:
            self._descriptions.of_query(description)
        else:
            self._descriptions.of_statement(statement.name, description)
        self._origin = origin
        self._origin_ends = _READY if statement.kind == _QUERY else _PARSED
        return statement.with_text(sql) + self._resume()

    def refuse(self, error: bytes) -> tuple[bytes, bytes]:
        """Answer the statement with an error; return bytes for the server and for the client.

        The server is made to fail at the same place, so that its transaction, the ReadyForQuery and what is
        skipped are just what they would be if the error were its own.

        :param error: an ErrorResponse
        """
        if not self.traffic.skipping:
            self._refusal = error
            return self._decided().with_text(_UNACCEPTABLE) + self._resume(), b""
        # a question has failed already
        ended = b""
        if self._decided().kind == _QUERY:
            # nobody but us is going to end what the client had begun before its Query
            self.traffic.sent(frames.SYNC[0])
            ended = frames.SYNC
        return ended + self._resume(), error

    def _decided(self) -> Statement:
        statement, self.statement = self.statement, None
        if statement is None:
            raise AssertionError("no statement waits")
        self.traffic.sent(statement.kind)
        if statement.kind == _PARSE:
            self._descriptions.of_statement(statement.name, None)
        return statement

    def _resume(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return self.client(held) if held else b""
