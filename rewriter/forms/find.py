"""Finds the scalar forms among the words of a statement."""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.scan import Token

from .call import Call
from .cursor import closing, is_name, is_word, path_end
from .parse import FORMS, parse_by, parse_call

#: words behind the model's name that no argument of a function can go on with
_OURS = ("using", "for", "version", "on")


def find_calls(tokens: Sequence[Token]) -> list[Call]:
    """Return the forms of a statement in their order, nested ones too.

    :raises MalformedForm: for a form that begins as ours and breaks off
    """
    calls = []
    for index, token in enumerate(tokens):
        if token.kind != "word" or token.text not in FORMS or (index and tokens[index - 1].text == "."):
            continue
        if _begins_call(tokens, index):
            calls.append(parse_call(tokens, index))
        elif token.text == "predict" and _begins_by(tokens, index):
            calls.append(parse_by(tokens, index))
    return calls


def _begins_call(tokens: Sequence[Token], index: int) -> bool:
    if index + 2 >= len(tokens) or tokens[index + 1].text != "(" or tokens[index + 1].kind != "punct":
        return False
    start = index + 2
    if is_word(tokens[start], "using"):
        return True
    end = path_end(tokens, start)
    if end == start and tokens[start].text != ")":
        # PREDICT('m' USING ...), PREDICT(select USING ...): no expression either, so ours and malformed
        return start + 1 < len(tokens) and is_word(tokens[start + 1], "using", "version")
    if end == start or end >= len(tokens):
        return False
    after = tokens[end]
    if after.text == ",":
        takes = FORMS[tokens[index].text].arguments > 0
        return _has_using(tokens, index + 1) or (takes and _has_constants(tokens, index + 1, end))
    return after.text == ")" or is_word(after, *_OURS)


def _has_using(tokens: Sequence[Token], opening: int) -> bool:
    """Tell whether USING stands between the parentheses, and not in an aggregate's ORDER BY."""
    close, depth = closing(tokens, opening), tokens[opening].depth + 1
    words = [token.text for token in tokens[opening + 1 : close] if token.depth == depth]
    return "using" in words and "order" not in words


def _has_constants(tokens: Sequence[Token], opening: int, comma: int) -> bool:
    """Tell whether all that follows the model is of the sort that a form has there."""
    close = closing(tokens, opening)
    allowed = (",", "+", "-", "true", "false", "null")
    return close is not None and all(
        token.kind in ("string", "number", "param") or token.text in allowed
        for token in tokens[comma + 1 : close]
    )


def _begins_by(tokens: Sequence[Token], index: int) -> bool:
    """``predict by m (``: PostgreSQL could only take BY for an alias, which no name can follow."""
    if index + 2 >= len(tokens) or not is_word(tokens[index + 1], "by") or not is_name(tokens[index + 2]):
        return False
    end = path_end(tokens, index + 2)
    return end < len(tokens) and (tokens[end].text == "(" or is_word(tokens[end], "version"))
