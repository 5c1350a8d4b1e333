"""INSERT, UPDATE, DELETE and MERGE: where they begin and end, and which rows a form in them can read.

Found from the words alone, like SELECT blocks (:mod:`rewriter.scope`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from .scan import Token
from .scope import is_word, matching

Kind = Literal["insert", "update", "delete", "merge"]
_SECOND: dict[str, str] = {"insert": "into", "delete": "from", "merge": "into"}
#: what a statement can stand behind: EXPLAIN's words, the parenthesis of a CTE or the end of a WITH clause
_BEFORE = ("explain", "analyze", "analyse", "verbose", "as", "atomic", "also", "instead")


@dataclasses.dataclass
class Dml:
    """One data-modifying statement, also in a CTE.

    :ivar first: index of its word; ``end`` is behind its last token
    :ivar target: token range of the table that changes, with its alias
    :ivar source: token range of FROM, or of USING in DELETE and MERGE; empty if there is none
    :ivar conflict: index of ON in ``ON CONFLICT``, ``returning`` of RETURNING; -1 where there is none
    """

    kind: Kind
    first: int
    depth: int
    end: int
    target: range = range(0)
    source: range = range(0)
    conflict: int = -1
    returning: int = -1

    def holds(self, index: int) -> bool:
        """Tell whether a token belongs to the statement or to a query nested in it."""
        return self.first <= index < self.end

    def reads(self, tokens: Sequence[Token], index: int) -> tuple[bool, bool, bool]:
        """Tell which rows are visible at a token: those of the target, of the source, and ``excluded``."""
        if self.kind == "insert":
            behind = self.conflict >= 0 and index > self.conflict
            returning = self.returning >= 0 and index > self.returning
            return behind or returning, False, behind and not returning
        if self.kind == "merge":
            return (*self._reads_of_merge(tokens, index), False)
        return True, True, False

    def _reads_of_merge(self, tokens: Sequence[Token], index: int) -> tuple[bool, bool]:
        when = next(
            (
                at
                for at in range(index, self.first, -1)
                if tokens[at].depth == self.depth and is_word(tokens, at, "when")
            ),
            None,
        )
        if when is None or 0 <= self.returning < index or not is_word(tokens, when + 1, "not"):
            return True, True
        of_source = is_word(tokens, when + 3, "by") and is_word(tokens, when + 4, "source")
        return of_source, not of_source


def find_dml(tokens: Sequence[Token]) -> list[Dml]:
    """Return all data-modifying statements, outer before inner."""
    found = []
    for index, token in enumerate(tokens):
        if token.kind == "word" and token.text in ("insert", "update", "delete", "merge"):
            if not _begins(tokens, index):
                continue
            found.append(_parse(tokens, index))
    return found


def _begins(tokens: Sequence[Token], index: int) -> bool:
    second = _SECOND.get(tokens[index].text)
    if second is not None and not is_word(tokens, index + 1, second):
        return False
    if index + 1 >= len(tokens) or not (tokens[index + 1].is_name or second):
        return False
    if index == 0:
        return True
    before = tokens[index - 1]
    if before.kind == "punct":
        return before.text in ("(", ")", ";")
    return before.kind == "word" and before.text in _BEFORE


def _parse(tokens: Sequence[Token], first: int) -> Dml:
    depth = tokens[first].depth
    end = first
    while end < len(tokens) and tokens[end].depth >= depth and not _closes(tokens[end], depth):
        end += 1
    kind: Kind = tokens[first].text  # type: ignore[assignment]
    dml = Dml(kind, first, depth, end)
    words: dict[str, int] = {}
    for index in range(first + 1, end):
        if tokens[index].depth == depth and is_word(
            tokens, index, "set", "from", "using", "where", "returning", "on", "when"
        ):
            if is_word(tokens, index, "from") and is_word(tokens, index - 1, "distinct"):
                continue
            words.setdefault(tokens[index].text, index)
            if tokens[index].text == "on" and is_word(tokens, index + 1, "conflict"):
                dml.conflict = index
    dml.returning = words.get("returning", -1)
    start = first + (1 if kind == "update" else 2)
    if kind == "insert":
        dml.target = range(start, _target_end(tokens, start, end))
    elif kind == "update":
        dml.target = range(start, words.get("set", end))
        dml.source = _part(words, "from", ("where", "returning"), end)
    elif kind == "delete":
        dml.target = range(start, min(words.get(word, end) for word in ("using", "where", "returning")))
        dml.source = _part(words, "using", ("where", "returning"), end)
    else:
        dml.target = range(start, words.get("using", end))
        stop = words.get("when", end)
        # the last ON before WHEN is that of MERGE, others belong to joins
        ons = [
            index
            for index in range(dml.target.stop, stop)
            if tokens[index].depth == depth and is_word(tokens, index, "on")
        ]
        dml.source = range(dml.target.stop + 1, ons[-1] if ons else stop)
    return dml


def _closes(token: Token, depth: int) -> bool:
    return token.depth == depth and token.kind == "punct" and token.text == ";"


def _part(words: dict[str, int], word: str, followers: Sequence[str], end: int) -> range:
    start = words.get(word)
    if start is None or start > min((words.get(name, end) for name in followers), default=end):
        return range(0)
    return range(start + 1, min(words.get(name, end) for name in followers))


def _target_end(tokens: Sequence[Token], start: int, end: int) -> int:
    index = start + 1
    while index + 1 < end and tokens[index].text == "." and tokens[index + 1].is_name:
        index += 2
    if index + 1 < end and tokens[index].kind == "word" and tokens[index].text == "as":
        index += 2
    return min(index, end)


def is_values(tokens: Sequence[Token], index: int, within: int) -> bool:
    """Tell whether a token stands in a VALUES list of FROM, which sees nothing; behind LATERAL it sees."""
    for opening in range(within, index):
        is_list = (
            tokens[opening].text == "("
            and is_word(tokens, opening + 1, "values")
            and not is_word(tokens, opening - 1, "lateral")
        )
        if is_list and matching(tokens, opening) > index:
            return True
    return False
