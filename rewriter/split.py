"""Takes a text apart into its statements."""

from __future__ import annotations

from .scan import scan
from .scope import is_word


def split(sql: str) -> list[tuple[int, str]]:
    """Return (offset, text) of each statement, with its semicolon; together they are the text.

    What follows the last semicolon belongs to the last statement if it is white space or comments only.
    """
    tokens = scan(sql)
    parts: list[tuple[int, str]] = []
    start = 0
    for index, token in enumerate(tokens):
        if token.text != ";" or token.kind != "punct" or token.depth or _in_body(sql, start, token.start):
            continue
        end = token.end if index + 1 < len(tokens) else len(sql)
        parts.append((start, sql[start:end]))
        start = end
    if start < len(sql):
        parts.append((start, sql[start:]))
    return parts


def _in_body(sql: str, start: int, end: int) -> bool:
    """Tell whether a position lies in the BEGIN ATOMIC ... END of a function."""
    if "atomic" not in sql[start:end].lower():
        return False
    tokens = scan(sql[start:end])
    depth = 0
    for index in range(len(tokens)):
        if is_word(tokens, index, "atomic") and is_word(tokens, index - 1, "begin"):
            depth = 1
        elif depth and is_word(tokens, index, "case"):
            depth += 1
        elif depth and is_word(tokens, index, "end"):
            depth -= 1
    return depth > 0
