"""The new statement: the user's own text with pieces of ours put in.

Nothing of the user's is ever written anew: a piece is either text of ours or a :class:`Span` of theirs. An
edit replaces one span by pieces, and edits may lie inside spans that another edit has moved elsewhere.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from .errors import RewriteError
from .scan import scan


@dataclasses.dataclass(frozen=True, order=True)
class Span:
    """A part of the user's statement, by offsets; the end lies behind the last character."""

    start: int
    end: int

    def holds(self, other: Span) -> bool:
        """Tell whether another span lies in this one."""
        return self.start <= other.start and other.end <= self.end


@dataclasses.dataclass(frozen=True, order=True)
class Mark(Span):
    """A place in the user's statement that the text written after it stands for; it has no text itself."""

    def __init__(self, at: int) -> None:
        super().__init__(at, at)


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

        Inside of what we wrote it is the beginning of what that replaces, or where it stands for nothing the
        end of the user's text before it; None if there is none.
        """
        run = bisect.bisect_right(self.starts, position - 1) - 1
        if run < 0:
            return None
        start, length = self.origins[run]
        return start + min(position - 1 - self.starts[run], max(length - 1, 0)) + 1

    @contextlib.contextmanager
    def placing_errors(self) -> Iterator[None]:
        """Make errors about this text point into the user's statement."""
        try:
            yield
        except RewriteError as error:
            error.position = None if error.position is None else self.origin(error.position)
            raise

    def marked(self) -> list[Piece]:
        """Return this text as pieces that are written as they are and still know where they came from."""
        pieces: list[Piece] = [self.sql[: self.starts[0]] if self.starts else self.sql]
        ends = [*self.starts[1:], len(self.sql)]
        for start, end, (origin, length) in zip(self.starts, ends, self.origins, strict=True):
            copied, at = self.sql[start : start + length], 0
            for token in scan(copied):
                pieces += [copied[at : token.start], Mark(origin + token.start)]
                at = token.start
            pieces += [] if copied else [Mark(origin)]
            pieces += [copied[at:], self.sql[start + length : end]]
        return pieces

    def through(self, first: Text) -> Text:
        """Return this text with its origins in the statement that another text was made from.

        :param first: the text that this one was made from
        """
        starts: list[int] = []
        origins: list[tuple[int, int]] = []
        for start, (origin, length) in zip(self.starts, self.origins, strict=True):
            low = bisect.bisect_right(first.starts, origin)
            high = bisect.bisect_left(first.starts, origin + length)
            cuts = [origin, *first.starts[low:high]]
            for cut, end in zip(cuts, [*cuts[1:], origin + length], strict=True):
                run = bisect.bisect_right(first.starts, cut) - 1
                # before the user's first character there is only its beginning
                place, within = first.origins[run] if run >= 0 else (0, 0)
                into = cut - first.starts[run] if run >= 0 else 0
                starts.append(start + cut - origin)
                origins.append((place + min(into, max(within - 1, 0)), min(max(within - into, 0), end - cut)))
        return Text(self.sql, tuple(starts), tuple(origins))


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

    def copy(self) -> Splicer:
        """Return a splicer with the same edits, to try others in."""
        other = Splicer(self.sql)
        other._edits = dict(self._edits)
        return other

    def become(self, other: Splicer) -> None:
        """Take over the edits of another one."""
        self._edits = dict(other._edits)

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
        if isinstance(piece, Mark):
            self.starts.append(self.length)
            self.origins.append((piece.start, 0))
            return
        position = piece.start
        first = bisect.bisect_left(self.order, piece.start, key=lambda span: span.start)
        # not a slice: with many edits, copying the rest for every span would cost more than all else
        for index in range(first, len(self.order)):
            span = self.order[index]
            if span.start > piece.end:
                break
            if span == within or span.start < position or not piece.holds(span):
                continue
            self._copy(position, span.start)
            if span.start < span.end:
                # what stands for a part of the user's text begins where that begins
                self.write(Mark(span.start), span)
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
