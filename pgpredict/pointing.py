"""Shows where in a statement an error is, as psql does."""

from __future__ import annotations


def pointer(statement: str, position: int | None) -> str:
    """Return the line of a position, with a caret under it, to be put below a message.

    :param position: in characters from 1; None, or one outside of the statement, gives an empty text
    """
    if position is None or not 0 < position <= len(statement) + 1:
        return ""
    start = statement.rfind("\n", 0, position - 1) + 1
    end = statement.find("\n", position - 1)
    line = statement[start : len(statement) if end < 0 else end]
    label = f"LINE {statement.count(chr(10), 0, start) + 1}: "
    # a tab takes more columns than its one character
    before = "".join("\t" if character == "\t" else " " for character in line[: position - 1 - start])
    return f"\n{label}{line}\n{' ' * len(label)}{before}^"
