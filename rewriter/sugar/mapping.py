"""The condition of a join with a model table: which features it names, if it does nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.conjuncts import conjuncts
from rewriter.forms.cursor import closing
from rewriter.scan import Token
from rewriter.scope import Clause, is_word
from rewriter.splice import Span

#: what binds looser than = beside it, so that an equation is only a part of the expression
_LOOSER_WORDS = "or not is isnull notnull in like ilike similar between any some all < > <= >= <> != => :="
_LOOSER = frozenset(_LOOSER_WORDS.split())
_ENDS = """
    join inner cross natural on using where group having window order limit offset fetch for union intersect
    except returning into
"""
_END_WORDS = frozenset(_ENDS.split())


def condition_end(tokens: Sequence[Token], start: int) -> int:
    """Return the index behind a condition of ON."""
    depth = tokens[start].depth if start < len(tokens) else 0
    for index in range(start, len(tokens)):
        token = tokens[index]
        if token.depth < depth or (token.depth == depth and ends_join(tokens, index)):
            return index
    return len(tokens)


def ends_join(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether a token of a join's own depth cannot belong to the join's condition."""
    if tokens[index].text in (",", ";") and tokens[index].kind == "punct":
        return True
    if is_word(tokens, index, "left", "right", "full", "prediction"):
        return is_word(tokens, index + 1, "join", "outer")
    if is_word(tokens, index, "from") and is_word(tokens, index - 1, "distinct"):
        return False
    return is_word(tokens, index, "from", *_END_WORDS)


def equations(
    tokens: Sequence[Token], start: int, end: int, names: Sequence[tuple[str, ...]], features: Sequence[str]
) -> dict[str, Span] | None:
    """Return the expression for each feature that a condition names; None if it says anything else.

    :param names: what the model table is called there
    """
    found: dict[str, Span] = {}
    for first, last in conjuncts(tokens, Clause("on", start, start, end)):
        if first < last and tokens[first].text == "(" and closing(tokens, first) == last - 1:
            inner = equations(tokens, first + 1, last - 1, names, features)
            if inner is None or inner.keys() & found.keys():
                return None
            found |= inner
            continue
        equation = _equation(tokens, first, last, names, features)
        if equation is None or equation[0] in found:
            return None
        found[equation[0]] = equation[1]
    return found or None


def _equation(
    tokens: Sequence[Token], start: int, end: int, names: Sequence[tuple[str, ...]], features: Sequence[str]
) -> tuple[str, Span] | None:
    if start >= end:
        return None
    depth = tokens[start].depth
    top = [index for index in range(start, end) if tokens[index].depth == depth]
    equal = [index for index in top if tokens[index].text == "=" and tokens[index].kind == "operator"]
    if len(equal) != 1 or any(
        tokens[index].kind in ("word", "operator", "punct") and tokens[index].text in _LOOSER for index in top
    ):
        return None
    left, right = (start, equal[0]), (equal[0] + 1, end)
    for side, (first, last) in ((left, right), (right, left)):
        path = [token.text for token in tokens[side[0] : side[1]]]
        if path[1::2] == ["."] * (len(path) // 2) and tuple(path[:-1:2]) in names and path[-1] in features:
            if first == last or _mentions(tokens, first, last, names):
                return None
            return path[-1], Span(tokens[first].start, tokens[last - 1].end)
    return None


def _mentions(tokens: Sequence[Token], start: int, end: int, names: Sequence[tuple[str, ...]]) -> bool:
    own = {name[-1] for name in names}
    return any(
        tokens[index].is_name and tokens[index].text in own and tokens[index - 1].text != "."
        for index in range(start, end)
    )
