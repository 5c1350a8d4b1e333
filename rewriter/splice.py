"""The new statement: the user's own text with pieces of ours put in.

Nothing of the user's is ever written anew: a piece is either text of ours or a :class:`Span` of theirs. An
edit replaces one span by pieces, and edits may lie inside spans that another edit has moved elsewhere.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True, order=True)
class Span:
    """A part of the user's statement, by offsets; the end lies behind the last character."""

    start: int
    end: int

    def holds(self, other: Span) -> bool:
        """Tell whether another span lies in this one."""
        return self.start <= other.start and other.end <= self.end


Piece = str | Span


@dataclasses.dataclass(frozen=True)
class Text:
    """A rendered statement that knows where its characters came from.

    :ivar starts: offsets in :attr:`sql` where a run of the user's characters begins, ascending
    :ivar origins: for each run its (offset in the user's statement, length)
    """

    sql: str
    starts: tuple[int, ...]
    origins: tuple[tuple[int, int], ...]

    def origin(self, position: int) -> int | None:
        """Return the 1-based position in the user's statement of a 1-based position in this text.

        Inside of what we wrote it is the end of the user's text before it; None if there is none.
        """
        run = bisect.bisect_right(self.starts, position - 1) - 1
        if run < 0:
            return None
        start, length = self.origins[run]
        return start + min(position - 1 - self.starts[run], max(length - 1, 0)) + 1


class Splicer:
    """Collects edits and renders spans with them.

    :param sql: the user's statement
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._edits: dict[Span, list[Piece]] = {}

    def replace(self, span: Span, pieces: Iterable[Piece]) -> None:
        """Put pieces in the place of a span; spans within the pieces must be smaller."""
        self._edits[span] = list(pieces)

    @property
    def has_edits(self) -> bool:
        """Whether the statement changes at all."""
        return bool(self._edits)

    def render(self, pieces: Sequence[Piece]) -> Text:
        """Return pieces as text, with all edits that lie within their spans."""
        writer = _Writer(self.sql, sorted(self._edits, key=lambda span: (span.start, -span.end)), self._edits)
        for piece in pieces:
            writer.write(piece, None)
        return Text("".join(writer.parts), tuple(writer.starts), tuple(writer.origins))


def _is_word(character: str) -> bool:
    return character.isalnum() or character in ("_", "$", '"') or character > "\x7f"


class _Writer:
    def __init__(self, sql: str, order: list[Span], edits: dict[Span, list[Piece]]) -> None:
        self.sql, self.order, self.edits = sql, order, edits
        self.parts: list[str] = []
        self.starts: list[int] = []
        self.origins: list[tuple[int, int]] = []
        self.length = 0

    def write(self, piece: Piece, within: Span | None) -> None:
        if isinstance(piece, str):
            self._put(piece)
            return
        position = piece.start
        first = bisect.bisect_left(self.order, piece.start, key=lambda span: span.start)
        for span in self.order[first:]:
            if span.start > piece.end:
                break
            if span == within or span.start < position or not piece.holds(span):
                continue
            self._copy(position, span.start)
            for part in self.edits[span]:
                self.write(part, span)
            position = span.end
        self._copy(position, piece.end)
        if "--" in self.sql[piece.start : piece.end].rpartition("\n")[2]:
            # what follows must not become part of the comment
            self._put("\n")

    def _copy(self, start: int, end: int) -> None:
        if start < end:
            self._part(self.sql[start])
            self.starts.append(self.length)
            self.origins.append((start, end - start))
            self._put(self.sql[start:end])

    def _part(self, first: str) -> None:
        """Keep two words apart that used to touch something else, as in ``SELECT*``."""
        if self.parts and _is_word(self.parts[-1][-1:]) and (_is_word(first) or first in "\"'"):
            self.parts.append(" ")
            self.length += 1

    def _put(self, text: str) -> None:
        if not text:
            return
        self._part(text[0])
        self.parts.append(text)
        self.length += len(text)
