"""Steps through the words of one form, and says what was expected where a word does not fit."""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.errors import MalformedForm
from rewriter.names import NOT_NAMES
from rewriter.scan import Token


def is_word(token: Token, *words: str) -> bool:
    """Tell whether a token is one of these words, not in quotes."""
    return token.kind == "word" and token.text in words


def is_name(token: Token) -> bool:
    """Tell whether PostgreSQL takes a token for the name of a table."""
    return token.kind == "quoted" or (token.kind == "word" and token.text not in NOT_NAMES)


def path_end(tokens: Sequence[Token], start: int) -> int:
    """Return the index behind ``a.b.c``; ``start`` itself where no name stands."""
    if start >= len(tokens) or not is_name(tokens[start]):
        return start
    index = start + 1
    # behind a dot PostgreSQL takes any word
    while index + 1 < len(tokens) and tokens[index].text == "." and tokens[index + 1].is_name:
        index += 2
    return index


def closing(tokens: Sequence[Token], opening: int) -> int | None:
    """Return the index of the parenthesis that closes an opening one; None if there is none."""
    depth = tokens[opening].depth
    for index in range(opening + 1, len(tokens)):
        if tokens[index].depth <= depth:
            return index if tokens[index].text == ")" else None
    return None


class Cursor:
    """A place among the tokens of a form, up to its closing parenthesis.

    :param index: where to begin
    :param last: the closing parenthesis; the cursor does not go behind it
    :param form: how the form is written, for hints
    """

    def __init__(self, tokens: Sequence[Token], index: int, last: int, form: str) -> None:
        self.tokens, self.index, self.last, self.form = tokens, index, last, form

    @property
    def token(self) -> Token:
        """The token here, at the end the closing parenthesis."""
        return self.tokens[self.index]

    @property
    def position(self) -> int:
        """1-based position of the token here."""
        return self.token.start + 1

    @property
    def at_end(self) -> bool:
        """Whether only the closing parenthesis is left."""
        return self.index >= self.last

    def at(self, *words: str) -> bool:
        """Tell whether one of these words stands here."""
        return not self.at_end and is_word(self.token, *words)

    def take(self, *words: str) -> bool:
        """Step over one of these words, if it stands here."""
        if not self.at(*words):
            return False
        self.index += 1
        return True

    def take_punct(self, text: str) -> bool:
        """Step over a mark such as a comma, if it stands here."""
        if self.at_end or self.token.text != text or self.token.kind not in ("punct", "operator"):
            return False
        self.index += 1
        return True

    def path(self, what: str) -> tuple[str, ...]:
        """Step over a qualified name and return its parts.

        :raises MalformedForm: if none stands here
        """
        end = min(path_end(self.tokens, self.index), self.last)
        if end == self.index:
            raise self.expected(what)
        parts = tuple(token.text for token in self.tokens[self.index : end : 2])
        self.index = end
        return parts

    def expected(self, what: str) -> MalformedForm:
        """Return the error that something else was expected here."""
        found = "the form ends" if self.at_end else f"{self.token.text!r} stands"
        return MalformedForm(f"{what} is expected where {found}", hint=self.form, position=self.position)
