"""What ``t.*`` means where it stands: columns one by one, or a row as one value."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import Plan
from .scan import Token
from .scope import Block, innermost, is_word, matching

#: words that an operand follows; without quotes no column is called so
BEFORE_OPERANDS = frozenset(
    (
        *("all", "and", "case", "distinct", "else", "from", "having", "ilike", "in", "is", "like", "limit"),
        *("not", "offset", "on", "or", "select", "similar", "symmetric", "then", "using", "when", "where"),
    )
)
#: words that ``(a, b)`` follows as a row
_BEFORE_ROWS = (BEFORE_OPERANDS | {"by", "between"}) - {"in", "all", "using"}


def opening_of(tokens: Sequence[Token], index: int, depth: int) -> int:
    """Return the index of the parenthesis before a token that stands at a depth."""
    index -= 1
    while index > 0 and tokens[index].depth > depth:
        index -= 1
    return index


def opens_operand(tokens: Sequence[Token], close: int) -> bool:
    """Tell whether a closing parenthesis is that of DISTINCT ON (...) or OPERATOR(...)."""
    opening = opening_of(tokens, close, tokens[close].depth)
    return is_word(tokens, opening - 1, "on", "operator")


def is_output_star(tokens: Sequence[Token], blocks: Sequence[Block], index: int, star: int) -> bool:
    """Tell whether ``t.*`` is an output, and no row as a value: ``t.* IS NULL``, ``ORDER BY t.*``.

    :param index: where it begins; ``star`` is its last token
    """
    owner = innermost(blocks, index)
    if owner is None or owner.depth != tokens[index].depth:
        return False
    select = owner.clauses["select"]
    if not select.start <= index < select.end:
        return False
    if star + 1 < select.end and tokens[star + 1].text != ",":
        return False
    before = tokens[index - 1].text
    begins = index == select.start or before in (",", "all", "distinct")
    return begins or (before == ")" and opens_operand(tokens, index - 1))


def is_spread(plan: Plan, index: int) -> bool:
    """Tell whether ``t.*`` gives its columns one by one: in ROW (...), (..., ...) and VALUES (...)."""
    tokens, depth = plan.tokens, plan.tokens[index].depth
    opening = opening_of(tokens, index, depth - 1)
    if is_word(tokens, opening - 1, "row", "values"):
        return True
    first = opening
    while first > 1 and tokens[first - 1].text == "," and tokens[first - 2].text == ")":
        first = opening_of(tokens, first - 2, depth - 1)
    if is_word(tokens, first - 1, "values"):
        return True
    distinct = is_word(tokens, opening - 1, "on") and is_word(tokens, opening - 2, "distinct")
    if distinct or plan.block.clause_of(index) == "group":
        return False
    before = tokens[opening - 1]
    listed = before.kind == "operator" or before.text in ("(", "[", ",")
    listed = listed or opens_operand(tokens, opening - 1)
    if not (listed or is_word(tokens, opening - 1, *_BEFORE_ROWS)):
        return False
    inside = range(opening + 1, matching(tokens, opening))
    return any(tokens[at].text == "," and tokens[at].depth == depth for at in inside)
