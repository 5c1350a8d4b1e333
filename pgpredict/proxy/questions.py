"""Questions to the server within a client's session, as messages, and their answers.

A question uses the session's own connection, so that it sees what the session sees: its rights, its
search_path, its temporary tables and what it has not committed. It leaves nothing behind: its statement and
portal have a name of their own, since the client's unnamed ones must stay, and are closed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pgpredict.catalog.questions import Description, Question, rows_of

from . import frames

NAME = b"_pgpredict"
# A client's encoding may lack letters of a name; for the time of some questions it is UTF-8. What it was is
# kept on the server: it may have been changed in this batch, without being reported yet.
WIDEN = (
    "SELECT pg_catalog.set_config('pgpredict.encoding', pg_catalog.current_setting('client_encoding'), true),"
    " pg_catalog.set_config('client_encoding', 'UTF8', true)"
)
NARROW = (
    "SELECT pg_catalog.set_config('client_encoding', pg_catalog.current_setting('pgpredict.encoding'), true)"
)
#: closes what a question leaves, if anything
CLOSE = frames.close_portal(NAME) + frames.close_statement(NAME)
_CLOSES = 2


@dataclass(frozen=True)
class Command:
    """A statement without a result, such as SAVEPOINT."""

    sql: str


Asking = Question | Command


def messages(question: Asking, encoding: str) -> bytes:
    """Return Parse, Bind and Execute, or Parse and Describe, and two Close.

    :param encoding: Python's name of the client's encoding
    """
    if isinstance(question, Description):
        parse = frames.parse(NAME, question.sql.encode(encoding), question.types)
        return parse + frames.describe_statement(NAME) + CLOSE
    if isinstance(question, Command):
        parse, bind = (
            frames.parse(NAME, question.sql.encode(encoding)),
            frames.bind(NAME, NAME, (), binary=False),
        )
    else:
        values = [None if text is None else text.encode(encoding) for text in question.texts]
        parse = frames.parse(NAME, question.as_json.encode(encoding))
        bind = frames.bind(NAME, NAME, values, binary=True)
    return parse + bind + frames.execute(NAME) + CLOSE


@dataclass
class Answer:
    """What the server said to one question.

    :ivar value: body of the DataRow or RowDescription, None if there was none
    :ivar error: fields of the error, None if there was none
    :ivar encoding: Python's name of the client's encoding
    """

    value: bytes | None = None
    error: dict[str, str] | None = None
    encoding: str = "utf-8"

    def rows(self) -> list[list[Any]]:
        """Return the rows of a :class:`Rows`."""
        return [] if self.value is None else rows_of(frames.row(self.value)[0])

    def columns(self) -> list[tuple[str, int, int]]:
        """Return (name, oid of the type, modifier) of the columns of a :class:`Description`."""
        found = [] if self.value is None else frames.columns(self.value)
        return [(name.decode(self.encoding), oid, modifier) for name, oid, modifier in found]


@dataclass
class Asked:
    """Questions that are under way, sent together.

    :ivar questions: what is asked
    :ivar synced: whether a Sync ends them, so that a ReadyForQuery does; else each Close is waited for
    :ivar encoding: Python's name of the encoding that they are asked in
    :ivar wide: whether that is not the client's
    :ivar status: of the transaction afterwards
    """

    questions: Sequence[Asking]
    synced: bool
    encoding: str
    wide: bool = False
    answers: list[Answer] = field(default_factory=list)
    status: str | None = None

    def __post_init__(self) -> None:
        self._current = self._next()
        # one that has failed leaves a statement behind
        self._closes = -_CLOSES

    def messages(self) -> bytes:
        """Return what is sent."""
        asked = b"".join(messages(question, self.encoding) for question in self.questions)
        return CLOSE + asked + (frames.SYNC if self.synced else frames.FLUSH)

    @property
    def error(self) -> dict[str, str] | None:
        """The error of the question that failed, if one did."""
        return self.answers[-1].error if self.answers else None

    @property
    def is_complete(self) -> bool:
        """Whether the server has answered all, or has failed, so that a ReadyForQuery is the end."""
        return self.error is not None or (self._closes == 0 and len(self.answers) == len(self.questions))

    def feed(self, kind: int, body: bytes) -> bool:
        """Take a message of the server's; return whether it was the last."""
        if kind in b"DT":
            self._current.value = body
        elif kind == 0x45:  # ErrorResponse: whatever follows is skipped
            self._current.error = frames.error_fields(body, self.encoding)
            self._end()
            return not self.synced
        elif kind == 0x33:  # CloseComplete
            self._closes += 1
            if self._closes == _CLOSES:
                self._closes = 0
                self._end()
                return not self.synced and len(self.answers) == len(self.questions)
        elif kind == 0x5A:  # ReadyForQuery
            self.status = chr(body[0])
            return True
        return False

    def _end(self) -> None:
        self.answers.append(self._current)
        self._current = self._next()

    def _next(self) -> Answer:
        return Answer(encoding=self.encoding)
