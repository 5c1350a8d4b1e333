"""Pieces of SQL that mean the same under every setting of whoever runs them.

Operators are named with their schema, since a search_path may put another before pg_catalog; texts are
compared byte by byte, since a column's collation may call different texts equal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SIMPLE = re.compile(r'(?:[a-z_][a-z0-9_]*|"[^"]+")(?:\.(?:[a-z_][a-z0-9_]*|"[^"]+"))*')


def text_literal(text: str) -> str:
    """Return a text as a literal."""
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"


def bare(number: float) -> str:
    """Return a number as a literal whose type follows from what it is compared with or added to.

    A literal of a known type, or without quotes, would cost PostgreSQL a cast from numeric.
    """
    return f"'{number!r}'"


def number(value: float) -> str:
    """Return a number as a constant of type double precision."""
    return f"{bare(value)}::double precision"


def op(left: str, operator: str, right: str) -> str:
    """Apply an operator; neither side may hold another one outside parentheses."""
    return f"{left} OPERATOR(pg_catalog.{operator}) {right}"


def is_no_nan(value: str) -> str:
    """Tell whether a number is none, the largest of all to PostgreSQL; NULL for NULL."""
    return op(value, "<", "'NaN'")


def parens(expression: str) -> str:
    """Put parentheses around an expression, unless it is a plain name."""
    return expression if _SIMPLE.fullmatch(expression) else f"({expression})"


def bytewise(text: str) -> str:
    """Return a text expression that is compared byte by byte."""
    return f'{parens(text)} COLLATE pg_catalog."C"'


def among(text: str, texts: Sequence[str]) -> str:
    """Tell whether a text expression is one of some texts; NULL for NULL."""
    if len(texts) == 1:
        return op(bytewise(text), "=", text_literal(texts[0]))
    return op(bytewise(text), "=", f"ANY (ARRAY[{', '.join(map(text_literal, texts))}])")


def case(condition: str, then: str, otherwise: str) -> str:
    """Choose between two expressions; where the condition is NULL, the second."""
    return f"CASE WHEN {condition} THEN {then} ELSE {otherwise} END"


def total(summands: Sequence[str]) -> str:
    """Add from left to right, without parentheses: thousands of them would exhaust the parser's stack."""
    return " OPERATOR(pg_catalog.+) ".join(summands)


def choose_text(text: str, values: Sequence[tuple[str, str]], null: str, other: str) -> str:
    """Return an expression for each text of a list, found by halving the list.

    :param values: (text, expression) pairs
    """
    found = _halve(bytewise(text), sorted(values, key=lambda pair: pair[0].encode()), other)
    if null == other:
        return found
    return case(f"{parens(text)} IS NULL", null, found)


#: texts that are tried one by one, which for so few is faster than halving
_FEW = 3


def _halve(text: str, values: Sequence[tuple[str, str]], other: str) -> str:
    if len(values) <= _FEW:
        arms = " ".join(f"WHEN {op(text, '=', text_literal(word))} THEN {result}" for word, result in values)
        return f"CASE {arms} ELSE {other} END" if arms else other
    middle = len(values) // 2
    below, above = _halve(text, values[:middle], other), _halve(text, values[middle:], other)
    return case(op(text, "<", text_literal(values[middle][0])), below, above)
