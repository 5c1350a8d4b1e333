"""Lists of features: what stands behind USING, or behind FEATURES."""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.errors import MalformedForm
from rewriter.names import NOT_NAMES
from rewriter.scan import Token
from rewriter.splice import Span

from .call import Item
from .cursor import Cursor, is_word


def parse_items(cursor: Cursor) -> tuple[Item, ...]:
    """Return the entries from the word before the list on; stops at ON MISSING or at the form's end.

    :raises MalformedForm: for an entry that is empty, or gives no feature
    """
    tokens, word = cursor.tokens, cursor.tokens[cursor.index - 1]
    items, start = [], cursor.index
    while True:
        ends = cursor.at_end or _begins_missing(tokens, cursor.index, word.depth)
        if ends or (cursor.token.text == "," and cursor.token.depth == word.depth):
            if cursor.index == start:
                raise MalformedForm(
                    f"{word.text.upper()} has an empty entry",
                    hint=f"{word.text.upper()} *, t.*, column or expression AS feature",
                    position=cursor.position,
                )
            items.append(_item(tokens[start : cursor.index], word.text.upper()))
            start = cursor.index + 1
        if ends:
            return tuple(items)
        cursor.index += 1


def _begins_missing(tokens: Sequence[Token], index: int, depth: int) -> bool:
    if tokens[index].depth != depth or not is_word(tokens[index], "on") or tokens[index - 1].text == ".":
        return False
    return is_word(tokens[index + 1], "missing") if index + 1 < len(tokens) else False


def _item(tokens: Sequence[Token], word: str) -> Item:
    span = Span(tokens[0].start, tokens[-1].end)
    if tokens[-1].text == "*" and tokens[-1].kind == "operator":
        if len(tokens) == 1:
            return Item(span, None, ())
        if tokens[-2].text == "." and _is_path(tokens[:-2]):
            return Item(span, None, tuple(token.text for token in tokens[:-2:2]))
    feature: str | None = None
    if len(tokens) > 2 and is_word(tokens[-2], "as") and tokens[-1].is_name:
        feature, tokens = tokens[-1].text, tokens[:-2]
        span = Span(tokens[0].start, tokens[-1].end)
    if _is_path(tokens):
        path = tuple(token.text for token in tokens[::2])
        return Item(span, feature or path[-1], path)
    if feature is None:
        raise MalformedForm(
            f"an expression in {word} needs the name of its feature",
            hint="write expression AS feature",
            position=span.start + 1,
        )
    return Item(span, feature, None)


def _is_path(tokens: Sequence[Token]) -> bool:
    if len(tokens) % 2 == 0 or (tokens[0].kind == "word" and tokens[0].text in NOT_NAMES):
        return False
    return all(token.is_name for token in tokens[::2]) and all(token.text == "." for token in tokens[1::2])
