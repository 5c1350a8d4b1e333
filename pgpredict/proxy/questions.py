"""Questions to the server within a client's session, as messages, and their answers.

A question uses the session's own connection, so that it sees what the session sees: its rights, its
search_path, its temporary tables and what it has not committed. It leaves nothing behind: its statement and
portal have a name of their own, since the client's unnamed ones must stay, and are closed at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from . import frames

NAME = b"_pgpredict"
SAVEPOINT = "SAVEPOINT _pgpredict"
RELEASE = "RELEASE SAVEPOINT _pgpredict"
UNDO = "ROLLBACK TO SAVEPOINT _pgpredict"
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
# as bytes of UTF-8 in the binary format, whatever the client's encoding and bytea_output are
_AS_JSON = (
    "SELECT pg_catalog.convert_to(a.rows, 'UTF8') "
    "FROM (SELECT pg_catalog.json_agg(pg_catalog.to_json(q))::pg_catalog.text AS rows FROM ({}) AS q) AS a"
)


@dataclass(frozen=True)
class Rows:
    """What a query returns.

    :ivar sql: the query, with parameters ``$1`` ...
    :ivar parameters: their values
    """

    sql: str
    parameters: tuple[Any, ...] = ()

    def messages(self, encoding: str) -> bytes:
        """Return Parse, Bind, Execute and two Close."""
        values = [None if value is None else _text(value).encode(encoding) for value in self.parameters]
        return (
            frames.parse(NAME, _AS_JSON.format(self.sql).encode(encoding))
            + frames.bind(NAME, NAME, values, binary=True)
            + frames.execute(NAME)
            + CLOSE
        )


@dataclass(frozen=True)
class Command:
    """A statement without a result, such as SAVEPOINT."""

    sql: str

    def messages(self, encoding: str) -> bytes:
        """Return Parse, Bind, Execute and two Close."""
        return (
            frames.parse(NAME, self.sql.encode(encoding))
            + frames.bind(NAME, NAME, (), binary=False)
            + frames.execute(NAME)
            + CLOSE
        )


@dataclass(frozen=True)
class Description:
    """The columns that a query would return.

    :ivar types: oids of its parameters' types, 0 where the server is to find out
    """

    sql: str
    types: tuple[int, ...] = ()

    def messages(self, encoding: str) -> bytes:
        """Return Parse, Describe and two Close."""
        return (
            frames.parse(NAME, self.sql.encode(encoding), self.types)
            + frames.describe_statement(NAME)
            + CLOSE
        )


Question = Rows | Command | Description


@dataclass
class Answer:
    """What the server said to one question.

    :ivar row: body of the DataRow or RowDescription, None if there was none
    :ivar error: fields of the error, None if there was none
    """

    row: bytes | None = None
    error: dict[str, str] | None = None

    def rows(self) -> list[list[Any]]:
        """Return the rows of a :class:`Rows`."""
        if self.row is None:
            return []
        (value,) = frames.row(self.row)
        return [] if value is None else [list(row.values()) for row in json.loads(value)]

    def columns(self, encoding: str) -> list[tuple[str, int, int]]:
        """Return (name, oid of the type, modifier) of the columns of a :class:`Description`."""
        found = [] if self.row is None else frames.columns(self.row)
        return [(name.decode(encoding), oid, modifier) for name, oid, modifier in found]


@dataclass
class Asked:
    """Questions that are under way, sent together.

    :ivar questions: what is asked
    :ivar synced: whether a Sync ends them, so that a ReadyForQuery does; else each Close is waited for
    :ivar encoding: Python's name of the encoding that they are asked in
    :ivar wide: whether that is not the client's
    :ivar status: of the transaction afterwards
    """

    questions: Sequence[Question]
    synced: bool
    encoding: str
    wide: bool = False
    answers: list[Answer] = field(default_factory=list)
    status: str | None = None

    def __post_init__(self) -> None:
        self._current = Answer()
        # one that has failed leaves a statement behind
        self._closes = -_CLOSES

    def messages(self) -> bytes:
        """Return what is sent."""
        asked = b"".join(question.messages(self.encoding) for question in self.questions)
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
            self._current.row = body
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
        self._current = Answer()


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "{" + ",".join(map(_element, value)) + "}"
    return str(value)


def _element(value: Any) -> str:
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
