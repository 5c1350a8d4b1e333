"""Constants and parameters that a form takes beside its features."""

from __future__ import annotations

from rewriter.errors import MalformedForm, NotSupported
from rewriter.splice import Span

from .call import Missing
from .cursor import Cursor

_LARGEST = 2**31 - 1


def parse_version(cursor: Cursor) -> int:
    """Return the number behind VERSION.

    :raises MalformedForm: if it is no positive integer
    """
    token = cursor.token
    number = int(token.text) if token.kind == "number" and token.text.isdecimal() else 0
    if cursor.at_end or not 0 < number <= _LARGEST:
        raise MalformedForm(
            "VERSION needs a positive integer constant",
            hint="pgpredict show MODEL lists the versions",
            position=cursor.position,
        )
    cursor.index += 1
    return number


def parse_missing(cursor: Cursor) -> Missing:
    """Return the word behind ON MISSING.

    :raises MalformedForm: if it is another one
    """
    words: tuple[Missing, ...] = ("error", "null", "impute")
    for word in words:
        if cursor.take(word):
            return word
    raise cursor.expected("ERROR, NULL or IMPUTE")


def parse_label(cursor: Cursor, where: str) -> Span:
    """Return where a class stands.

    :param where: the word that it stands behind, for messages
    :raises MalformedForm: if nothing stands there
    :raises NotSupported: if it is neither constant nor parameter
    """
    start, position = cursor.index, cursor.position
    if cursor.at_end or cursor.at("using", "version", "on", "for") or cursor.token.text == ",":
        raise cursor.expected(f"a class behind {where}")
    _take_constant(cursor, ("string", "number", "param"))
    ends = cursor.at_end or cursor.at("using", "version", "on", "for") or cursor.token.text == ","
    if cursor.index == start or not ends:
        raise NotSupported(
            f"the class after {where} must be a constant or a parameter",
            hint="one column per class: CASE with one PROBABILITY for each",
            position=position,
        )
    return Span(cursor.tokens[start].start, cursor.tokens[cursor.index - 1].end)


def parse_number(cursor: Cursor, what: str, *, integer: bool) -> Span | None:
    """Return where a number or a parameter stands; None for NULL.

    :raises MalformedForm: if something else stands there, or a negative number
    """
    if cursor.take("null"):
        return None
    token = cursor.token
    fits = token.kind == "param" or (
        token.kind == "number" and (token.text.isdecimal() or not (integer or token.text[1:2].isalpha()))
    )
    if cursor.at_end or not fits:
        kind = "an integer" if integer else "a number"
        raise cursor.expected(f"{what}, {kind}, NULL or a parameter,")
    cursor.index += 1
    return Span(token.start, token.end)


def _take_constant(cursor: Cursor, kinds: tuple[str, ...]) -> None:
    if cursor.take("true", "false"):
        return
    index = cursor.index
    signed = cursor.take_punct("-") or cursor.take_punct("+")
    if not cursor.at_end and (cursor.token.kind == "number" if signed else cursor.token.kind in kinds):
        cursor.index += 1
    else:
        cursor.index = index
