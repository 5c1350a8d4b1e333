"""Places where PostgreSQL takes a name and no expression: ``predict(delay)`` is a table and a column there.

Told from the words around, for what could be a form and something else: ``word(name)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.names import RESERVED
from rewriter.scan import Token

from .call import Call
from .cursor import is_word

#: words that a name follows: of a table to be made or filled, a view, an alias, a function's signature
_BEFORE_NAMES = (
    *("into", "as", "references", "copy", "table", "view", "exists", "recursive"),
    *("function", "procedure", "aggregate", "routine"),
)
#: statements without an expression outside of the parentheses of a query
_WITHOUT_EXPRESSIONS = frozenset(
    (
        *("analyze", "analyse", "vacuum", "cluster", "comment", "drop", "grant", "lock", "reindex"),
        *("revoke", "security", "truncate"),
    )
)
#: words that are not reserved and that an operand may follow all the same
_BEFORE_OPERANDS = frozenset(
    (
        *("by", "content", "document", "escape", "groups", "key", "matched", "passing", "path", "range"),
        *("ref", "return", "rows", "value", "version", "zone"),
    )
)


def is_name_of_something(tokens: Sequence[Token], call: Call, *, in_from: bool) -> bool:
    """Tell whether a form that could be a call of a function is no expression at all.

    :param in_from: whether it stands in a FROM clause, where it may be an alias and its columns
    """
    first, last = call.first, call.last
    if _begins_cte(tokens, last + 1):
        return True
    if not first:
        return False
    if is_word(tokens[first - 1], *_BEFORE_NAMES):
        return True
    start = _statement(tokens, first)
    if tokens[first].depth == 0 and _takes_names(tokens, start, first):
        return True
    return in_from and _is_operand_end(tokens, first - 1)


def _begins_cte(tokens: Sequence[Token], behind: int) -> bool:
    """Tell whether ``AS [[NOT] MATERIALIZED] (`` stands here, which no label of an expression is."""
    words = [token.text for token in tokens[behind : behind + 4]]
    if not words or not is_word(tokens[behind], "as"):
        return False
    rest = words[1:]
    if rest[:1] == ["not"]:
        rest = rest[1:]
    if rest[:1] == ["materialized"]:
        rest = rest[1:]
    return rest[:1] == ["("]


def _statement(tokens: Sequence[Token], index: int) -> int:
    """Return the index of the first word of the statement that holds a token."""
    while index and not (tokens[index - 1].text == ";" and tokens[index - 1].depth == 0):
        index -= 1
    return index


def _takes_names(tokens: Sequence[Token], start: int, index: int) -> bool:
    """Tell whether a statement has a name, perhaps with columns, where a token of its own depth stands."""
    first = tokens[start]
    if is_word(first, *_WITHOUT_EXPRESSIONS):
        return True
    if not is_word(first, "create", "alter"):
        return False
    if is_word(tokens[start + 1], "publication"):
        return True
    indexed = start + 1 + is_word(tokens[start + 1], "unique")
    return is_word(tokens[indexed], "index") and is_word(tokens[index - 1], "on", "only")


def _is_operand_end(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether a token ends a table's name or its parentheses: an alias follows and no operand."""
    token = tokens[index]
    if token.text == ")" and token.kind == "punct":
        opening = index - 1
        while opening > 0 and tokens[opening].depth > token.depth:
            opening -= 1
        return not is_word(tokens[opening - 1], "operator")
    if token.kind == "quoted":
        return True
    return token.kind == "word" and token.text not in RESERVED and token.text not in _BEFORE_OPERANDS
