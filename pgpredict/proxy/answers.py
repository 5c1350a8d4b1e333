"""What a session's server says: it passes as it comes, but for answers to us and about changed statements.

Pure state: bytes in, bytes out. Messages are looked at while a question of ours is open, or one of the
client's messages waits for its answer that has a mark (:mod:`pgpredict.proxy.changes`).
"""

from __future__ import annotations

from collections.abc import Sequence

from pgpredict.catalog.vanished import vanished

from . import frames
from .changes import Changes, Mark
from .descriptions import with_origins
from .errors import Malformed
from .questions import Asked, Asking
from .traffic import Traffic

_QUERY = b"Q"[0]
_READY, _ERROR, _NOTICE, _DESCRIBED = b"ZENT"
#: the server sends these when it likes: NoticeResponse, NotificationResponse, ParameterStatus
_ASYNCHRONOUS = frozenset(b"NAS")
#: those that end an answer, or are about a marked message; all else may be of any length
_READ = frozenset(b"ZEN123TnCIs")
#: parameter that questions change, for themselves
_ENCODING = b"client_encoding\x00"
_SYNTAX_ERROR = "42601"
#: a message of the server's that is read whole is longer than this only by mistake: an answer, an error
_LARGEST_READ = 1 << 28

_length = frames.LENGTH.unpack_from


class Answers:
    """See the module.

    :param traffic: accounts for what has come
    :param changes: statements that were changed
    :ivar has_failed: whether the statement that was to end a failed transaction did not
    """

    __slots__ = ("_asking", "_awaited", "_changes", "_inbox", "_leaves", "_traffic", "has_failed")

    def __init__(self, traffic: Traffic, changes: Changes) -> None:
        self._traffic, self._changes = traffic, changes
        #: a message that has come in part, while messages are looked at, and its length
        self._inbox = bytearray()
        self._awaited = 0
        #: questions of ours that the server has not answered yet
        self._asking: Asked | None = None
        #: whether the first statement of a Query runs that ends a failed transaction
        self._leaves = False
        self.has_failed = False

    @property
    def is_whole(self) -> bool:
        """Whether no message is held that has come in part."""
        return not self._inbox

    @property
    def is_answered(self) -> bool:
        """Whether the server has answered what it was asked last."""
        return self._asking is None and not self._leaves

    def leave(self) -> None:
        """Take note that the first statement of a Query is under way that ends a failed transaction.

        The client is told what comes of it, and that it is over only if it fails.
        """
        self._leaves, self.has_failed = True, False

    def ask(self, questions: Sequence[Asking], encoding: str, *, wide: bool) -> tuple[Asked, bytes]:
        """Return questions, which are being answered, and bytes for the server.

        :param encoding: Python's name of the encoding that they are asked in
        :param wide: whether that is not the client's
        :raises UnicodeError: if a question cannot be said in it
        """
        asked = Asked(questions, synced=not self._traffic.open, encoding=encoding, wide=wide)
        messages = asked.messages()
        self._asking = asked
        return asked, messages

    @property
    def _looks(self) -> bool:
        return self._asking is not None or self._leaves or self._traffic.line.is_marked

    def server(self, data: bytes) -> bytes:
        """Take bytes of the server's; return those for the client.

        :raises Malformed: if they are not the protocol
        """
        if not self._looks and not self._inbox:
            self._traffic.received(data)
            return data
        passed: list[bytes] = []
        if self._inbox:
            self._inbox += data
            if len(self._inbox) < self._awaited:
                return b""
            data, self._inbox = bytes(self._inbox), bytearray()
        elif begun := self._traffic.under_way(data):
            # of a message whose beginning has passed the rest must
            passed.append(data[:begun])
            self._traffic.received(passed[0])
            data = data[begun:]
        size = len(data)
        # of what passes as it came, of what is accounted for, of what is looked at next
        start = counted = position = 0
        self._awaited = frames.HEAD
        looks = True
        while looks and size - position >= frames.HEAD:
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
                self._traffic.received(data[counted:position])
                told, is_ours = self._message(kind, data[position:end])
                if not is_ours:
                    self._traffic.received(data[position:end])
                counted = end
                if told is not None:
                    passed += [data[start:position], told]
                    start = end
                looks = self._looks
            position = end
        position = min(position, size) if looks else size
        self._inbox += data[position:]
        self._traffic.received(data[counted:position])
        passed.append(data[start:position])
        return b"".join(passed)

    def _message(self, kind: int, message: bytes) -> tuple[bytes | None, bool]:
        """Look at a whole message.

        :return: what the client gets in its place, None for the message itself, and whether it answers us
        """
        if self._asking is not None:
            if kind == _READY and not self._asking.is_complete:
                return None, False  # of a Sync that a COPY was thought to have ignored
            if kind not in _ASYNCHRONOUS:
                if self._asking.feed(kind, message[frames.HEAD :]):
                    self._answered(self._asking)
                return b"", True
            # a notice is about our question
            is_ours = kind == _NOTICE or (self._asking.wide and message.startswith(_ENCODING, frames.HEAD))
            return (b"", True) if is_ours else (None, False)
        if self._leaves:
            return self._left(kind, message)
        mark = self._traffic.line.mark
        if not isinstance(mark, Mark):
            return None, False
        body = message[frames.HEAD :]
        if kind in (_ERROR, _NOTICE):
            return self._complaint(mark, kind, body), False
        self._changes.answered(mark, kind, body)
        if kind != _DESCRIBED:
            return None, False
        change = self._changes.change(mark)
        if change is None or change.description is None:
            return None, False
        described = with_origins(body, change.description)
        return None if described is None else frames.frame(b"T", described), False

    def _answered(self, asked: Asked) -> None:
        self._asking = None
        if asked.status is not None:
            self._traffic.status = asked.status
        elif asked.error is not None:
            self._traffic.line.skip()

    def _left(self, kind: int, message: bytes) -> tuple[bytes | None, bool]:
        self.has_failed = self.has_failed or kind == _ERROR
        if kind != _READY:
            return None, False
        self._leaves = False
        if self.has_failed:
            self._traffic.sent(_QUERY)
            return None, False
        self._traffic.status = chr(message[frames.HEAD])
        return b"", True

    def _complaint(self, mark: Mark, kind: int, body: bytes) -> bytes | None:
        """Return an error or notice in terms of the client's text; None if it is as it should be."""
        fields = frames.error_fields(body, "latin-1")
        if mark.refusal is not None:
            # it may have another reason to fail, such as its shutdown
            return mark.refusal if kind == _ERROR and fields.get("C") == _SYNTAX_ERROR else None
        position, change = fields.get(frames.POSITION), self._changes.change(mark)
        told = body
        if mark.advice and kind == _ERROR and "H" not in fields:
            told = told[:-1] + frames.cstring(b"H" + mark.advice.encode()) + b"\x00"
        if change is not None and kind == _ERROR:
            gone = vanished(fields.get("C"), fields.get("M"))
            if gone is not None:
                fields |= {"C": gone.sqlstate, "M": gone.message, "H": gone.hint or ""}
                fields.pop(frames.POSITION, None)
                return frames.error(fields, "latin-1")
        if position is not None and change is not None:
            told = frames.with_position(told, change.origin(int(position)))
        return None if told is body else frames.frame(bytes([kind]), told)
