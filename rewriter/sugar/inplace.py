"""Puts the outputs of a table-valued form where they are read, so that its SELECT predicts in batches.

``t AS d CROSS JOIN LATERAL (SELECT PREDICT(m USING d.*) AS score) AS p`` is right everywhere, and costs a
request a row. Where all that is read of ``p`` is written ``p.score``, these places are given the scalar form,
and rules and batches work as for any SELECT. What is not certain here is left to LATERAL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewriter.forms import find_calls
from rewriter.names import quote
from rewriter.scan import Token
from rewriter.scope import Block, find_blocks, innermost, is_word
from rewriter.splice import Mark, Piece, Span, Splicer

from .common import reads_all

#: what an expression can begin with whose output is named after what is in it
_NAMED_INSIDE = ("(", "case", "cast")


def put_in_place(
    tokens: Sequence[Token],
    form: range,
    alias: Token | None,
    outputs: Mapping[str, Sequence[Piece]],
    splicer: Splicer,
    *,
    at: int,
    joins_before: bool,
) -> bool:
    """Register edits that replace all uses of a form's columns; False, and none, where that is not certain.

    :param form: the tokens of the form in FROM, with its alias
    :param outputs: the expression for each column
    :param at: where errors about the form point to
    :param joins_before: whether the form predicts rows that outer joins before it have made
    """
    blocks = find_blocks(tokens)
    block = innermost(blocks, form.start)
    if alias is None or block is None or reads_all(tokens, alias):
        return False
    if not _is_alone(tokens, form, block, joins_before=joins_before):
        return False
    calls = find_calls(tokens)
    edits: list[tuple[Span, list[Piece]]] = []
    for index in range(len(tokens)):
        token = tokens[index]
        if index in form or not token.is_name:
            continue
        is_ours = token.text == alias.text and (not index or tokens[index - 1].text != ".")
        if is_ours:
            name = tokens[index + 2].text if index + 2 < len(tokens) else ""
            if name not in outputs or innermost(blocks, index) is not block:
                return False
            if any(call.first < index < call.last for call in calls):
                # a feature goes by the name that is written there
                return False
            label = _label(tokens, block, index, name)
            if label is None:
                return False
            span = Span(token.start, tokens[index + 2].end)
            edits.append((span, [Mark(at), *outputs[name], label]))
        elif token.text not in outputs or _is_qualified(tokens, index) or not block.holds(index):
            continue
        elif not _is_sorted(tokens, block, index):
            return False
    if not edits or not _labelled(edits, tokens, block, outputs):
        return False
    for span, pieces in edits:
        splicer.replace(span, pieces)
    return True


def _is_alone(tokens: Sequence[Token], form: range, block: Block, *, joins_before: bool) -> bool:
    """Tell whether the form stands in the SELECT's own FROM, and no outer join can make NULLs of its rows."""
    from_ = block.clauses.get("from")
    if from_ is None or not from_.start <= form.start < from_.end or "for" in block.clauses:
        return False
    if tokens[form.start].depth != block.depth:
        return False
    before = [index for index in range(from_.start, form.start) if tokens[index].depth == block.depth]
    behind = [index for index in range(form.stop, from_.end) if tokens[index].depth == block.depth]
    if any(is_word(tokens, index, "right", "full") for index in behind):
        return False
    if not any(is_word(tokens, index, "left", "right", "full") for index in before):
        return True
    joins = sum(
        is_word(tokens, index, "join")
        and not is_word(tokens, index - 1, "cross")
        and tokens[index + 1].text != "models"
        for index in before
    )
    # a join that still waits for its ON has the form on its right
    return joins_before and joins <= sum(is_word(tokens, index, "on", "using") for index in before)


def _is_qualified(tokens: Sequence[Token], index: int) -> bool:
    return index > 0 and tokens[index - 1].text == "."


def _is_sorted(tokens: Sequence[Token], block: Block, index: int) -> bool:
    """Tell whether a name is an entry of ORDER BY, where outputs come first."""
    order = block.clauses.get("order")
    if order is None or not order.start <= index < order.end or tokens[index].depth != block.depth:
        return False
    before = index == order.start or tokens[index - 1].text == ","
    after = index + 1 >= order.end or tokens[index + 1].text in (",", "asc", "desc", "nulls")
    return before and after


def _label(tokens: Sequence[Token], block: Block, index: int, name: str) -> str | None:
    """Return what keeps an output's name; None where a name would change in a way that is not told here."""
    select = block.clauses["select"]
    if not select.start <= index < select.end:
        return ""
    start = index
    while start > select.start and not _divides(tokens[start - 1], block):
        start -= 1
    if is_word(tokens, start, "all", "distinct"):
        start += 1
        if is_word(tokens, start, "on"):
            return None
    end = index
    while end < select.end and not _divides(tokens[end], block):
        end += 1
    if (start, end) == (index, index + 3):
        return f" AS {quote(name)}"
    has_alias = end - start > 2 and tokens[end - 2].text == "as" and tokens[end - 1].is_name
    top = [token for token in tokens[start:end] if token.depth == block.depth]
    has_operator = any(token.kind == "operator" for token in top)
    begins = tokens[start]
    if has_alias or (begins.is_name and tokens[start + 1].text == "(" and begins.text not in _NAMED_INSIDE):
        return ""
    return "" if has_operator and begins.text not in _NAMED_INSIDE else None


def _divides(token: Token, block: Block) -> bool:
    return token.text == "," and token.depth == block.depth


def _labelled(
    edits: Sequence[tuple[Span, list[Piece]]],
    tokens: Sequence[Token],
    block: Block,
    outputs: Mapping[str, Sequence[Piece]],
) -> bool:
    """Tell whether each name that ORDER BY uses bare is still an output's."""
    order = block.clauses.get("order")
    if order is None:
        return True
    sorted_ = {
        tokens[index].text
        for index in range(order.start, order.end)
        if tokens[index].text in outputs and not _is_qualified(tokens, index)
        and tokens[index].is_name and tokens[index].depth == block.depth
    }  # fmt: skip
    labels = {str(pieces[-1]).removeprefix(" AS ") for _, pieces in edits}
    return all(quote(name) in labels for name in sorted_)
