"""Forms in the ON of an inner join become forms in WHERE, where rows are predicted in batches.

``FROM t JOIN c ON t.x = c.x AND PREDICT(m) > c.y WHERE z`` means the same as
``FROM t JOIN c ON t.x = c.x WHERE (PREDICT(m) > c.y) AND z``. Only for the last join of a FROM clause
without commas: its ON sees the same sources as WHERE, and nothing outer can come after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.catalog import Catalog
from rewriter.conjuncts import conjuncts
from rewriter.errors import RewriteError
from rewriter.forms import Call, find_calls
from rewriter.scan import Token
from rewriter.scope import Block, Clause, find_blocks, innermost, is_word
from rewriter.splice import Piece, Span, Splicer, Text

#: what makes a join another one than an inner one with a condition
_OTHER_JOINS = ("left", "right", "full", "outer", "cross", "natural")
_BEGINNINGS = frozenset(("on", "select", "join", "where", "having", "set", "values"))


def join_on(sql: str, tokens: Sequence[Token], catalog: Catalog) -> Text | None:
    """Return the statement with the conditions of one such join in WHERE; None if there is none."""
    if not any(token.text == "join" for token in tokens):
        return None
    calls = find_calls(tokens)
    behind_on = [call for call in calls if _follows_on(tokens, call.first)]
    if not behind_on:
        return None
    blocks = find_blocks(tokens)
    for call in behind_on:
        block = innermost(blocks, call.first)
        if block is None or block.clause_of(call.first) != "from" or "for" in block.clauses:
            continue
        on = _last_on(tokens, block)
        if on is not None and on < call.first and _is_ours(call, catalog):
            inside = [other.span for other in calls if on < other.first]
            return _moved(sql, tokens, block, on, inside)
    return None


def _follows_on(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether ON is the last word before a token, at its depth or less, that begins anything."""
    depth = tokens[index].depth
    for at in range(index - 1, -1, -1):
        token = tokens[at]
        depth = min(depth, token.depth)
        if token.depth == depth and token.text in _BEGINNINGS and is_word(tokens, at, *_BEGINNINGS):
            return token.text == "on"
    return False


def _last_on(tokens: Sequence[Token], block: Block) -> int | None:
    """Return the ON of the last join of a block, if that is an inner one."""
    clause = block.clauses["from"]
    own = [index for index in range(clause.start, clause.end) if tokens[index].depth == block.depth]
    joins = [index for index in own if is_word(tokens, index, "join")]
    if not joins or any(tokens[index].text == "," and tokens[index].kind == "punct" for index in own):
        return None
    ons = [index for index in own if index > joins[-1] and is_word(tokens, index, "on")]
    # JOIN ... JOIN ... ON ... ON: the last ON is not that of the last JOIN
    if len(ons) != 1 or is_word(tokens, joins[-1] - 1, *_OTHER_JOINS):
        return None
    return ons[0]


def _is_ours(call: Call, catalog: Catalog) -> bool:
    if len(call.path) > 1 and call.path[:-1] != ("models",):
        return False
    try:
        return catalog.model(call.model, call.version) is not None
    except RewriteError:
        # told later, with its position
        return False


def _moved(sql: str, tokens: Sequence[Token], block: Block, on: int, calls: Sequence[Span]) -> Text:
    end = block.clauses["from"].end
    stay: list[Span] = []
    move: list[Span] = []
    for start, stop in conjuncts(tokens, Clause("on", on, on + 1, end)):
        span = Span(tokens[start].start, tokens[stop - 1].end)
        (move if any(span.holds(call) for call in calls) else stay).append(span)
    moved: list[Piece] = []
    for span in move:
        moved += [" AND (" if moved else "(", span, ")"]
    where = block.clauses.get("where")
    splicer = Splicer(sql)
    kept: list[Piece] = []
    for span in stay:
        kept += [" AND " if kept else "ON ", span]
    # with its ON, so that it is never the same span as a condition that moves
    condition = Span(tokens[on].start, tokens[end - 1].end)
    if where is None:
        splicer.replace(condition, [*(kept or ["ON true"]), " WHERE ", *moved])
    else:
        first, last = tokens[where.start].start, tokens[where.end - 1].end
        splicer.replace(condition, kept or ["ON true"])
        splicer.replace(Span(first, first), [*moved, " AND ("])
        splicer.replace(Span(last, last), [")"])
    return splicer.render([Span(0, len(sql))])
