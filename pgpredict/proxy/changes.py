"""Statements that were changed, by their names and those of their portals, as long as the server has them.

What the server says of one has to be said of the client's own text: positions of errors, also those that
come only when it is bound or run because a table has changed meanwhile, and the tables that columns come
from. A message that names a changed statement gets a mark; what it does to names is done when the server
has answered it, since it may fail.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass

from .traffic import Traffic

_QUERY, _PARSE, _BIND, _DESCRIBE, _CLOSE, _EXECUTE = b"QPBDCE"
_PARSED, _BOUND, _CLOSED, _COMPLETE = b"123C"
_STATEMENT = b"S"
#: statements and portals that are remembered at the most, and bytes of their texts; what is forgotten keeps
#: PostgreSQL's positions and descriptions
_MOST, _LARGEST = 1_000, 8 << 20
#: PostgreSQL takes no more of a name
NAME = 63
#: bytes of a message, head included, in which the names are looked for
NAMES = 4096

_DEALLOCATE = re.compile(
    rb"\bdeallocate\s+(?:prepare\s+)?(?:\"((?:[^\"\0]|\"\")+)\"|([^\s;\"\0]+))|\bdiscard\s+(all)\b",
    re.IGNORECASE,
)
_FORGETTING = (b"DEALLOCATE", b"DISCARD")
_ALL = b"\x00"

#: where a position in the server's text lies in the client's, both in characters from 1
Origin = Callable[[int], int | None]


def same(position: int) -> int:
    """Return a position in a text that was not changed."""
    return position


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be known of a statement.

    :ivar origin: where a position in its text lies in the client's
    :ivar description: RowDescription of the client's text, as far as its columns come from elsewhere now
    :ivar size: bytes of its text
    :ivar forgets: names of prepared statements that are gone once it has run
    """

    origin: Origin = same
    description: bytes | None = None
    size: int = 0
    forgets: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Mark:
    """What is to be known of a message when it is answered.

    :ivar name: of the statement that it is about
    :ivar portal: that it is about, None if it is about a statement only
    :ivar change: of the statement that it brings
    :ivar refusal: what the client gets for the server's error
    :ivar advice: hint of errors that have none
    """

    kind: int
    name: bytes = b""
    portal: bytes | None = None
    change: Change | None = None
    refusal: bytes | None = None
    advice: str = ""


class Changes:
    """Remembers a session's changed statements.

    :param traffic: that the marks go into
    """

    __slots__ = ("_portals", "_statements", "_traffic")

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._statements: dict[bytes, Change] = {}
        self._portals: dict[bytes, Change] = {}

    @property
    def any(self) -> bool:
        """Whether the client's messages have to be looked at."""
        return bool(self._statements or self._portals) or self._traffic.line.is_marked

    def mark(self, kind: int, body: bytes) -> Mark | None:
        """Return the mark of a message that is on its way to the server; None if it needs none.

        :param body: at least as much of it as holds the names
        """
        traffic = self._traffic
        if self._portals and traffic.status == "I" and not (traffic.line or traffic.open):
            self._portals.clear()  # with their transaction
        if kind in (_QUERY, _PARSE):
            return self._mark_of_text(kind, body)
        name, portal = b"", None
        if kind == _BIND:
            portal, name = (part[:NAME] for part in (*body.split(b"\x00", 2), b"")[:2])
        elif kind == _EXECUTE:
            portal = body.partition(b"\x00")[0][:NAME]
        elif kind not in (_DESCRIBE, _CLOSE):
            return None
        elif body[:1] == _STATEMENT:
            name = body[1:].partition(b"\x00")[0][:NAME]
        else:
            portal = body[1:].partition(b"\x00")[0][:NAME]
        known = portal in self._portals or ((portal is None or kind == _BIND) and name in self._statements)
        # a name may be about to become known
        return Mark(kind, name, portal) if known or traffic.line.is_marked else None

    @staticmethod
    def of_long(kind: int, body: bytes) -> Mark:
        """Return the mark of a statement that is too long to be looked at."""
        return Mark(kind, body.partition(b"\x00")[0][:NAME] if kind == _PARSE else b"")

    def of_decided(self, kind: int, body: bytes, change: Change | None, refusal: bytes | None) -> Mark | None:
        """Return the mark of a statement that was looked at.

        :param body: of the client's message
        """
        mark = self._mark_of_text(kind, body) if self.any else None
        if change is None and refusal is None:
            return mark
        if change is not None and mark is not None and mark.change is not None:
            change = dataclasses.replace(change, forgets=mark.change.forgets)
        name = body.partition(b"\x00")[0][:NAME] if kind == _PARSE else b""
        return Mark(kind, name, change=change, refusal=refusal)

    def _mark_of_text(self, kind: int, body: bytes) -> Mark | None:
        forgets = _forgotten(body) if self._statements else ()
        change = Change(forgets=forgets) if forgets else None
        if kind == _QUERY:
            return Mark(kind, change=change) if change else None
        mark = Mark(kind, body.partition(b"\x00")[0][:NAME], change=change)
        return mark if change or mark.name in self._statements or self._traffic.line.is_marked else None

    def change(self, mark: Mark) -> Change | None:
        """Return what is known of the statement that a message is about; to be called when it is answered."""
        if mark.kind in (_QUERY, _PARSE):
            return mark.change
        if mark.kind == _BIND or mark.portal is None:
            return self._statements.get(mark.name)
        return self._portals.get(mark.portal)

    def answered(self, mark: Mark, kind: int, body: bytes) -> None:
        """Take note of an answer.

        :param kind: of the server's message
        """
        if kind == _PARSED:
            _remember(self._statements, mark.name, mark.change)
        elif kind == _BOUND and mark.portal is not None:
            _remember(self._portals, mark.portal, self._statements.get(mark.name))
        elif kind == _CLOSED and mark.portal is None:
            self._statements.pop(mark.name, None)
        elif kind == _CLOSED and mark.portal is not None:
            self._portals.pop(mark.portal, None)
        elif kind == _COMPLETE and body.startswith(_FORGETTING):
            change = self.change(mark)
            for name in () if change is None else change.forgets:
                if name == _ALL:
                    self._statements.clear()
                self._statements.pop(name, None)


def _forgotten(body: bytes) -> tuple[bytes, ...]:
    """Return the names of prepared statements that a text gives up."""
    lowered = body.lower()
    if b"deallocate" not in lowered and b"discard" not in lowered:
        return ()
    return tuple(_given_up(*found) for found in _DEALLOCATE.findall(body))


def _given_up(quoted: bytes, word: bytes, every: bytes) -> bytes:
    if quoted:
        return quoted.replace(b'""', b'"')[:NAME]
    return _ALL if every or word.lower() == b"all" else word.lower()[:NAME]


def _remember(known: dict[bytes, Change], name: bytes, change: Change | None) -> None:
    known.pop(name, None)
    if change is not None:
        known[name] = change
        size = sum(each.size for each in known.values())
        while len(known) > _MOST or (size > _LARGEST and len(known) > 1):
            size -= known.pop(next(iter(known))).size
