"""Comparisons with constants among the conjuncts of a WHERE clause, told from the words.

Only the plainest are found: a column or a form, an operator of SQL's own, and constants. What is not found
does no harm, because everything that is drawn from these comparisons only makes a statement cheaper.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Literal

from .scan import Token
from .scope import is_word

Operator = Literal["<", "<=", "=", ">=", ">", "<>"]
Constant = Decimal | str | bool
_FLIPPED: dict[Operator, Operator] = {"<": ">", "<=": ">=", "=": "=", ">=": "<=", ">": "<", "<>": "<>"}
_OPPOSITE: dict[Operator, Operator] = {"<": ">=", "<=": ">", "=": "<>", ">=": "<", ">": "<=", "<>": "="}
_OPERATORS: dict[str, Operator] = {**{name: name for name in _FLIPPED}, "!=": "<>"}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a conjunct says of its operand.

    :ivar operator: a comparison with the only one of ``constants``; ``in`` with any of them; ``between`` two;
        ``null`` and ``not null`` have none
    """

    operator: Operator | Literal["in", "between", "null", "not null"]
    constants: tuple[Constant, ...] = ()

    @property
    def simple(self) -> Operator | None:
        """The operator where there is but one, and one constant."""
        return _OPERATORS.get(self.operator)

    @property
    def opposite(self) -> Comparison | None:
        """What is true where this is false."""
        operator = self.simple
        return None if operator is None else Comparison(_OPPOSITE[operator], self.constants)


def comparison_of(
    tokens: Sequence[Token], start: int, end: int, operand: Callable[[int], int | None]
) -> tuple[int, Comparison] | None:
    """Return where the operand of a comparison begins, and what is said of it.

    :param operand: returns the index behind an operand that begins at a token; None where none does
    """
    while tokens[start].text == "(" and tokens[start].kind == "punct" and _closes(tokens, start, end):
        start, end = start + 1, end - 1
        if start >= end:
            return None
    if is_word(tokens, start, "not") and start + 1 < end:
        inner = comparison_of(tokens, start + 1, end, operand)
        if inner is None or (opposite := inner[1].opposite) is None:
            return None
        return inner[0], opposite
    behind = operand(start)
    if behind is not None:
        said = _said(tokens, behind, end)
        return None if said is None else (start, said)
    constant = constant_at(tokens, start, end)
    if constant is None:
        return None
    value, at = constant
    operator = _operator(tokens, at, end)
    if operator is None or operand(at + 1) != end:
        return None
    return at + 1, Comparison(_FLIPPED[operator], (value,))


def _closes(tokens: Sequence[Token], start: int, end: int) -> bool:
    """Tell whether the last token closes the parenthesis that the first one opens."""
    depth = tokens[start].depth
    closing = next((index for index in range(start + 1, end) if tokens[index].depth <= depth), None)
    return closing == end - 1


def _said(tokens: Sequence[Token], at: int, end: int) -> Comparison | None:
    if at == end:
        # a condition by itself
        return Comparison("=", (True,))
    operator = _operator(tokens, at, end)
    if operator is not None:
        constant = constant_at(tokens, at + 1, end)
        return Comparison(operator, (constant[0],)) if constant is not None and constant[1] == end else None
    if is_word(tokens, at, "is"):
        return _is(tokens, at + 1, end)
    if is_word(tokens, at, "between"):
        low = constant_at(tokens, at + 1, end)
        high = (
            constant_at(tokens, low[1] + 1, end)
            if low is not None and is_word(tokens, low[1], "and")
            else None
        )
        if low is not None and high is not None and high[1] == end:
            return Comparison("between", (low[0], high[0]))
    if is_word(tokens, at, "in") and at + 1 < end and tokens[at + 1].text == "(":
        return _in(tokens, at + 2, end)
    return None


def _is(tokens: Sequence[Token], at: int, end: int) -> Comparison | None:
    words = tuple(token.text for token in tokens[at:end] if token.kind == "word")
    if len(words) != end - at:
        return None
    if words == ("null",):
        return Comparison("null")
    if words == ("not", "null"):
        return Comparison("not null")
    return None


def _in(tokens: Sequence[Token], at: int, end: int) -> Comparison | None:
    constants: list[Constant] = []
    while at < end:
        constant = constant_at(tokens, at, end)
        if constant is None:
            return None
        constants.append(constant[0])
        at = constant[1]
        if at == end - 1 and tokens[at].text == ")":
            return Comparison("in", tuple(constants))
        if at >= end or tokens[at].text != ",":
            return None
        at += 1
    return None


def _operator(tokens: Sequence[Token], at: int, end: int) -> Operator | None:
    if at >= end or tokens[at].kind != "operator":
        return None
    return _OPERATORS.get(tokens[at].text)


def constant_at(tokens: Sequence[Token], at: int, end: int) -> tuple[Constant, int] | None:
    """Return a constant and the index behind it."""
    if at >= end:
        return None
    if is_word(tokens, at, "true", "false"):
        return tokens[at].text == "true", at + 1
    negative = tokens[at].kind == "operator" and tokens[at].text == "-"
    at += negative
    if at >= end:
        return None
    token = tokens[at]
    if token.kind == "number":
        try:
            value = Decimal(token.text)
        except InvalidOperation:
            return None
        return (-value if negative else value), at + 1
    if token.kind == "string" and not negative and token.text.startswith("'"):
        text = token.text[1:-1]
        # a backslash may mean itself or not, and a line's end joins two strings
        if (
            "\\" in text
            or "\n" in text
            or "\r" in text
            or not token.text.endswith("'")
            or len(token.text) < 2
        ):
            return None
        return text.replace("''", "'"), at + 1
    return None
