"""RowDescriptions of statements that were changed: columns keep the tables that they come from.

A column that has been through a batch comes out of a function, so PostgreSQL no longer tells its table and
its number in it, which drivers show and make result sets updatable by. The client's own text was described
with a NULL in each form's place; from there these two numbers are put back. Pure state: which of the server's
RowDescriptions belongs to which statement is told by the order of the client's Describe messages.
"""

from __future__ import annotations

import struct

from . import frames

_PARSE, _BIND, _DESCRIBE, _CLOSE = b"PBDC"
#: statements and portals that are remembered at the most; what is forgotten keeps PostgreSQL's description
_MOST = 1_000
#: behind the name: table, number in it, type, size, modifier, format
_COLUMN = struct.Struct("!IhIhih")


class Descriptions:
    """Remembers what a session's changed statements would be described as."""

    __slots__ = ("_asked", "_portals", "_query", "_statements")

    def __init__(self) -> None:
        self._query: bytes | None = None
        self._statements: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}
        #: Describe messages without an answer: ReadyForQuery messages that come before it, and what is due
        self._asked: list[tuple[int, bytes | None]] = []

    @property
    def awaited(self) -> bool:
        """Whether a RowDescription may come that has to be looked at."""
        return self._query is not None or bool(self._asked)

    @property
    def any(self) -> bool:
        """Whether the client's messages have to be looked at."""
        return bool(self._statements or self._portals)

    def of_query(self, description: bytes | None) -> None:
        """Take note of a changed Query."""
        self._query = description

    def of_statement(self, name: bytes, description: bytes | None) -> None:
        """Take note of a changed Parse."""
        _remember(self._statements, name, description)

    def sent(self, kind: int, body: bytes, pending: int) -> None:
        """Look at a message of the client's that is on its way to the server.

        :param body: as much of it as has come
        :param pending: ReadyForQuery messages that the server owes
        """
        if kind == _PARSE:
            _remember(self._statements, body.partition(b"\x00")[0], None)
        elif kind == _BIND:
            portal, name = (*body.split(b"\x00", 2), b"")[:2]
            _remember(self._portals, portal, self._statements.get(name))
        elif kind == _DESCRIBE:
            known = self._statements if body[:1] == b"S" else self._portals
            self._asked.append((pending, known.get(body[1:-1])))
        elif kind == _CLOSE:
            _remember(self._statements if body[:1] == b"S" else self._portals, body[1:-1], None)

    def ready(self) -> None:
        """Take note of a ReadyForQuery: what was asked before it gets no answer any more."""
        self._query = None
        self._asked = [(pending - 1, due) for pending, due in self._asked if pending > 0]

    def described(self, body: bytes | None) -> bytes | None:
        """Take a RowDescription, or NoData; return what the client gets in its place, None for itself."""
        if self._query is not None:
            due, self._query = self._query, None
        elif self._asked and self._asked[0][0] == 0:
            due = self._asked.pop(0)[1] or b""
        else:
            return None
        return with_origins(body, due) if body is not None and due else None


def with_origins(body: bytes, due: bytes) -> bytes | None:
    """Return a RowDescription with the tables and numbers of another one's columns.

    :return: None if they do not describe the same columns
    """
    ours, theirs = frames.columns(body), frames.columns(due)
    if [column[:2] for column in ours] != [column[:2] for column in theirs]:
        return None
    made, place, other = [body[:2]], 2, 2
    for (name, *_), (their_name, *_) in zip(ours, theirs, strict=True):
        place, other = place + len(name) + 1, other + len(their_name) + 1
        _, _, *rest = _COLUMN.unpack_from(body, place)
        table, number, *_ = _COLUMN.unpack_from(due, other)
        made += [frames.cstring(name), _COLUMN.pack(table, number, *rest)]
        place, other = place + _COLUMN.size, other + _COLUMN.size
    return b"".join(made)


def _remember(known: dict[bytes, bytes], name: bytes, description: bytes | None) -> None:
    known.pop(name, None)
    if description is not None:
        if len(known) >= _MOST:
            del known[next(iter(known))]
        known[name] = description
