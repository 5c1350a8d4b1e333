"""Where a statement's SELECT blocks begin and end, their clauses, and the CTEs they see.

Found from the words alone: the words that begin a clause are reserved in PostgreSQL, and what could be
mistaken for one stands in parentheses, behind a dot, or behind AS. So any kind of statement around a block
will do (EXPLAIN, COPY, DECLARE, CREATE VIEW, INSERT ...), and a part that sqlglot cannot parse is no
hindrance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .scan import Token
from .splice import Piece, Span

_SET_OPERATIONS = ("union", "intersect", "except")
#: words that begin a clause, in the order of the grammar; the second word where one must follow
_CLAUSES: dict[str, str | None] = {
    "into": None,
    "from": None,
    "where": None,
    "group": "by",
    "having": None,
    "window": None,
    "order": "by",
    "limit": None,
    "offset": None,
    "fetch": None,
    "for": None,
}
_OF_THE_SET = ("order", "limit", "offset", "fetch", "for")
_ENDS = frozenset((*_SET_OPERATIONS, *_OF_THE_SET, "returning", "on", "with"))


@dataclasses.dataclass(frozen=True)
class Clause:
    """A clause by its tokens: ``word`` begins it, its contents are ``[start, end)``."""

    name: str
    word: int
    start: int
    end: int


@dataclasses.dataclass
class Block:
    """One SELECT without its set operations.

    :ivar first: index of the token SELECT; ``end`` is behind the last one
    :ivar is_arm: whether it follows UNION, INTERSECT or EXCEPT, so that ORDER BY and LIMIT are not its own
    """

    first: int
    depth: int
    is_arm: bool
    end: int = 0
    clauses: dict[str, Clause] = dataclasses.field(default_factory=dict)

    def holds(self, index: int) -> bool:
        """Tell whether a token belongs to the block or to one nested in it."""
        return self.first <= index < self.end

    def clause_of(self, index: int) -> str:
        """Return the name of the clause that a token lies in."""
        for clause in self.clauses.values():
            if clause.word <= index < clause.end:
                return clause.name
        return "select"


@dataclasses.dataclass(frozen=True)
class Cte:
    """One entry of a WITH clause.

    :ivar span: from its name to the end of its definition
    :ivar visible: the tokens of the WITH clause's own query, after the clause
    :ivar arm: of a recursive one, what stands before its UNION
    :ivar by_arm: a definition of the name by that arm alone
    """

    name: str
    span: Span
    recursive: bool
    clause: int
    visible: range
    arm: Span | None = None
    by_arm: tuple[Piece, ...] = ()


def is_word(tokens: Sequence[Token], index: int, *words: str) -> bool:
    """Tell whether a token is one of these keywords, not a name behind a dot or a label behind AS."""
    if not 0 <= index < len(tokens) or tokens[index].kind != "word" or tokens[index].text not in words:
        return False
    return index == 0 or tokens[index - 1].text not in (".", "as") or tokens[index - 1].kind == "quoted"


def matching(tokens: Sequence[Token], opening: int) -> int:
    """Return the index of the parenthesis that closes an opening one, or of the last token."""
    depth = tokens[opening].depth
    for index in range(opening + 1, len(tokens)):
        if tokens[index].depth <= depth:
            return index
    return len(tokens) - 1


def find_blocks(tokens: Sequence[Token]) -> list[Block]:
    """Return all SELECT blocks, outer before inner."""
    blocks: list[Block] = []
    stack: list[Block] = []
    for index, token in enumerate(tokens):
        while stack and (
            token.depth < stack[-1].depth
            or (token.depth == stack[-1].depth and _ends(tokens, index, stack[-1]))
        ):
            stack.pop().end = index
        if token.kind == "word" and token.text == "select" and not (stack and stack[-1].depth == token.depth):
            if index and tokens[index - 1].text == ".":
                continue
            block = Block(index, token.depth, _follows_set_operation(tokens, index))
            blocks.append(block)
            stack.append(block)
    for block in stack:
        block.end = len(tokens)
    for block in blocks:
        block.clauses = _clauses(tokens, block)
    return blocks


def _follows_set_operation(tokens: Sequence[Token], select: int) -> bool:
    before = select - 1
    if is_word(tokens, before, "all", "distinct"):
        before -= 1
    return is_word(tokens, before, *_SET_OPERATIONS)


def _ends(tokens: Sequence[Token], index: int, block: Block) -> bool:
    """Tell whether a token of the block's own depth begins something behind the block."""
    token = tokens[index]
    if token.text == ";":
        return True
    # most words are none of these: told before anything dearer is asked
    if token.text not in _ENDS or not is_word(tokens, index, *_ENDS):
        return False
    if token.text in _SET_OPERATIONS or token.text == "returning":
        return True
    if token.text == "on":
        return is_word(tokens, index + 1, "conflict")
    if token.text == "with":
        return is_word(tokens, index + 1, "no", "data", "check", "local", "cascaded")
    return block.is_arm and _begins_clause(tokens, index)


def _begins_clause(tokens: Sequence[Token], index: int) -> bool:
    text = tokens[index].text
    second = _CLAUSES[text]
    if second is not None:
        return is_word(tokens, index + 1, second) and not is_word(tokens, index - 1, "within")
    if text == "from":
        is_comparison = is_word(tokens, index - 1, "distinct") and is_word(tokens, index - 2, "is", "not")
        return not (is_comparison or is_word(tokens, index - 1, "rows"))
    return True


def _clauses(tokens: Sequence[Token], block: Block) -> dict[str, Clause]:
    starts: list[tuple[str, int]] = []
    order = list(_CLAUSES)
    reached = -1
    for index in range(block.first + 1, block.end):
        token = tokens[index]
        if token.depth != block.depth or token.text not in _CLAUSES or not is_word(tokens, index, *_CLAUSES):
            continue
        rank = order.index(token.text)
        # LIMIT and OFFSET come in any order, FOR may come before them
        if (rank > reached or rank >= order.index("limit")) and _begins_clause(tokens, index):
            starts.append((token.text, index))
            reached = rank
    clauses = {}
    for position, (name, word) in enumerate(starts):
        end = starts[position + 1][1] if position + 1 < len(starts) else block.end
        clauses[name] = Clause(name, word, word + (2 if _CLAUSES[name] else 1), end)
    first = starts[0][1] if starts else block.end
    clauses["select"] = Clause("select", block.first, block.first + 1, first)
    return clauses


def innermost(blocks: Sequence[Block], index: int) -> Block | None:
    """Return the innermost block that holds a token."""
    found = None
    for block in blocks:
        if block.holds(index):
            found = block
    return found


def find_ctes(tokens: Sequence[Token]) -> list[Cte]:
    """Return the entries of all WITH clauses, in their order."""
    ctes: list[Cte] = []
    for index in range(len(tokens)):
        # not is_word: in CREATE VIEW v AS WITH ... it stands behind AS, and no definition follows a label
        if tokens[index].kind == "word" and tokens[index].text == "with":
            ctes += _with_clause(tokens, index)
        elif is_word(tokens, index, "recursive") and is_word(tokens, index + 1, "view"):
            ctes += _recursive_view(tokens, index)
    return ctes


def _with_clause(tokens: Sequence[Token], word: int) -> list[Cte]:
    recursive = is_word(tokens, word + 1, "recursive")
    start = word + 1 + recursive
    found: list[tuple[str, Span, Span | None]] = []
    while (opening := _definition(tokens, start)) is not None:
        close = matching(tokens, opening)
        end = close + 1
        # SEARCH and CYCLE clauses belong to the entry before them
        while is_word(tokens, end, "search", "cycle"):
            end += 1
            while end < len(tokens) and not (
                (tokens[end].text == "," and _definition(tokens, end + 1) is not None)
                or tokens[end].text == "("
                or is_word(
                    tokens, end, "search", "cycle", "select", "insert", "update", "delete", "merge", "values"
                )
            ):
                end += 1
        arm = _first_arm(tokens, opening, close, tokens[opening].depth + 1) if recursive else None
        found.append((tokens[start].text, Span(tokens[start].start, tokens[end - 1].end), arm))
        if end >= len(tokens) or tokens[end].text != ",":
            start = end
            break
        start = end + 1
    stop = start
    while stop < len(tokens) and tokens[stop].depth >= tokens[word].depth and tokens[stop].text != ";":
        stop += 1
    return [
        Cte(name, span, recursive, word, range(start, stop), arm, _by_arm(span, arm))
        for name, span, arm in found
    ]


def _by_arm(span: Span, arm: Span | None) -> tuple[Piece, ...]:
    return () if arm is None else (Span(span.start, arm.start), arm, ")")


def _recursive_view(tokens: Sequence[Token], word: int) -> list[Cte]:
    """Return the view of ``CREATE RECURSIVE VIEW name (columns) AS query``, which its own query may read."""
    name = word + 2
    while name + 2 < len(tokens) and tokens[name + 1].text == ".":
        name += 2
    query = next((at + 1 for at in range(name, len(tokens)) if tokens[at].text == "as"), len(tokens))
    end = next((at for at in range(query, len(tokens)) if tokens[at].text == ";"), len(tokens))
    arm = _first_arm(tokens, query - 1, end, tokens[name].depth) if query < end else None
    if arm is None:
        return []
    span = Span(tokens[name].start, tokens[end - 1].end)
    by_arm = (Span(span.start, tokens[query - 1].end), " (", arm, ")")
    return [Cte(tokens[name].text, span, True, word, range(0), arm, by_arm)]


def _first_arm(tokens: Sequence[Token], opening: int, close: int, depth: int) -> Span | None:
    for index in range(opening + 1, close):
        if tokens[index].depth == depth and is_word(tokens, index, "union"):
            return Span(tokens[opening + 1].start, tokens[index - 1].end)
    return None


def _definition(tokens: Sequence[Token], name: int) -> int | None:
    """Return the last parenthesis of ``name [(columns)] AS [[NOT] MATERIALIZED] (``, if that stands here."""
    if name >= len(tokens) or not tokens[name].is_name:
        return None
    index = name + 1
    if index < len(tokens) and tokens[index].text == "(":
        index = matching(tokens, index) + 1
    if not (index < len(tokens) and tokens[index].kind == "word" and tokens[index].text == "as"):
        return None
    index += 1
    while (
        index < len(tokens) and tokens[index].kind == "word" and tokens[index].text in ("not", "materialized")
    ):
        index += 1
    return index if index < len(tokens) and tokens[index].text == "(" else None
