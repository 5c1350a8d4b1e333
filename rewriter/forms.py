"""Our syntax as it stands in a statement: every form becomes one :class:`Call`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from .errors import MalformedForm, NotSupported
from .names import RESERVED
from .scan import Token
from .splice import Span

Kind = Literal["predict", "probability", "set"]
Missing = Literal["error", "null", "impute"]
_KINDS: dict[str, Kind] = {"predict": "predict", "probability": "probability"}
_AFTER_NAME = ("using", "for", "version")


@dataclasses.dataclass(frozen=True)
class Item:
    """One entry of a USING list.

    :ivar feature: the feature that it gives, None for a star
    :ivar path: the names of a plain column (``t.c``) or the qualifier of a star (``t.*``), else None
    """

    span: Span
    feature: str | None
    path: tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class Call:
    """A form, however it is spelled.

    :ivar kind: what it gives: the prediction, a probability, or the likeliest classes as JSON
    :ivar path: the model's name, with its schema where that is written
    :ivar items: the USING list; None where there is no USING, which means the same as ``USING *``
    :ivar label: the class after FOR
    :ivar name: the name that PostgreSQL would give the column of a function call spelled so
    :ivar version: the number after VERSION
    :ivar missing: what is to come of NULL features; None is what the model was trained for
    :ivar top: of kind ``set``, how many classes at the most; None is all
    :ivar cutoff: of kind ``set``, the least probability; None is 0
    :ivar is_plain: whether the form is just ``PREDICT(name)``, which could be a function of the user's
    :ivar first: index of the form's first token; ``last`` of its closing parenthesis
    """

    kind: Kind
    path: tuple[str, ...]
    model_at: int
    items: tuple[Item, ...] | None
    label: Span | None
    is_plain: bool
    span: Span
    first: int
    last: int
    name: str = "predict"
    version: int | None = None
    missing: Missing | None = None
    top: Span | None = None
    cutoff: Span | None = None

    @property
    def model(self) -> str:
        """The model's name without schema."""
        return self.path[-1]

    @property
    def position(self) -> int:
        """1-based position of the form."""
        return self.span.start + 1

    @property
    def model_position(self) -> int:
        """1-based position of the model's name."""
        return self.model_at + 1


def find_calls(tokens: Sequence[Token]) -> list[Call]:
    """Return the forms of a statement in their order, nested ones too.

    :raises MalformedForm: for a form that begins as ours and breaks off
    """
    calls = []
    for index, token in enumerate(tokens[:-3]):
        if token.kind == "word" and token.text in _KINDS and _begins_call(tokens, index):
            calls.append(_parse(tokens, index))
    return calls


def _begins_call(tokens: Sequence[Token], index: int) -> bool:
    if tokens[index + 1].text != "(" or (index and tokens[index - 1].text == "."):
        return False
    end = _path_end(tokens, index + 2)
    if end == index + 2 or end >= len(tokens):
        return False
    after = tokens[end]
    return after.text == ")" or (after.kind == "word" and after.text in _AFTER_NAME)


def _path_end(tokens: Sequence[Token], start: int) -> int:
    """Return the index behind ``a.b.c``; ``start`` itself where no name stands."""
    index = start
    while index < len(tokens) and tokens[index].is_name:
        index += 1
        if index + 1 < len(tokens) and tokens[index].text == "." and tokens[index + 1].is_name:
            index += 1
            continue
        return index
    return start


def _path(tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(token.text for token in tokens[::2])


def _parse(tokens: Sequence[Token], first: int) -> Call:
    kind = _KINDS[tokens[first].text]
    inside = tokens[first + 1].depth + 1
    last = first + 2
    while last < len(tokens) and not (tokens[last].text == ")" and tokens[last].depth < inside):
        last += 1
    if last == len(tokens):
        raise MalformedForm(f"{kind.upper()} has no closing parenthesis", position=tokens[first].start + 1)
    index = _path_end(tokens, first + 2)
    path, label, items = _path(tokens[first + 2 : index]), None, None
    if len(path) > 2:
        raise MalformedForm(
            f"model name {'.'.join(path)!r} has too many parts",
            hint='write "model" or "models.model"',
            position=tokens[first + 2].start + 1,
        )
    is_plain = index == last
    if _is_word(tokens[index], "version"):
        raise NotSupported(
            "VERSION is not supported yet",
            hint=f"deploy the version first: pgpredict deploy {path[-1]} NUMBER",
            position=tokens[index].start + 1,
        )
    if _is_word(tokens[index], "for"):
        end = index + 1
        while end < last and not (_is_word(tokens[end], "using") and tokens[end].depth == inside):
            end += 1
        label = _label(kind, tokens, index, end)
        index = end
    if _is_word(tokens[index], "using"):
        items = _items(tokens, index, last)
        index = last
    if index != last:
        raise MalformedForm(
            f"unexpected {tokens[index].text!r} in {kind.upper()}",
            hint=_expected(kind),
            position=tokens[index].start + 1,
        )
    return Call(
        kind=kind,
        path=path,
        model_at=tokens[first + 2].start,
        items=items,
        label=label,
        is_plain=is_plain,
        span=Span(tokens[first].start, tokens[last].end),
        first=first,
        last=last,
        name=kind,
    )


def _is_word(token: Token, word: str) -> bool:
    return token.kind == "word" and token.text == word


def _expected(kind: Kind) -> str:
    if kind == "predict":
        return "PREDICT(model [USING * | t.* | expression AS feature, ...])"
    return "PROBABILITY(model [FOR 'class'] [USING * | t.* | expression AS feature, ...])"


def _label(kind: Kind, tokens: Sequence[Token], word: int, end: int) -> Span:
    position = tokens[word].start + 1
    if kind == "predict":
        raise MalformedForm(
            "FOR belongs to PROBABILITY, not to PREDICT", hint=_expected("probability"), position=position
        )
    if end == word + 1:
        raise MalformedForm("FOR needs a class", hint=_expected(kind), position=position)
    parts = tokens[word + 1 : end]
    numeric = parts[0].text in "+-" and len(parts) == 2 and parts[1].kind == "number"
    single = len(parts) == 1 and (
        parts[0].kind in ("string", "number", "param") or parts[0].text in ("true", "false")
    )
    if not (numeric or single):
        raise NotSupported(
            "the class after FOR must be a constant or a parameter",
            hint="one column per class: CASE with one PROBABILITY for each",
            position=parts[0].start + 1,
        )
    return Span(parts[0].start, parts[-1].end)


def _items(tokens: Sequence[Token], using: int, last: int) -> tuple[Item, ...]:
    inside, items, start = tokens[using].depth, [], using + 1
    for index in range(using + 1, last + 1):
        if index == last or (tokens[index].text == "," and tokens[index].depth == inside):
            if index == start:
                raise MalformedForm(
                    "USING has an empty entry",
                    hint="USING *, t.*, column or expression AS feature",
                    position=tokens[index].start + 1,
                )
            items.append(_item(tokens[start:index]))
            start = index + 1
    return tuple(items)


def _item(tokens: Sequence[Token]) -> Item:
    span = Span(tokens[0].start, tokens[-1].end)
    if tokens[-1].text == "*" and tokens[-1].kind == "operator":
        if len(tokens) == 1:
            return Item(span, None, ())
        if tokens[-2].text == "." and _path_end(tokens, 0) == len(tokens) - 2:
            return Item(span, None, _path(tokens[:-2]))
    feature: str | None = None
    if len(tokens) > 2 and _is_word(tokens[-2], "as") and tokens[-1].is_name:
        feature, tokens = tokens[-1].text, tokens[:-2]
        span = Span(tokens[0].start, tokens[-1].end)
    if _path_end(tokens, 0) == len(tokens) and not (tokens[0].kind == "word" and tokens[0].text in RESERVED):
        path = _path(tokens)
        return Item(span, feature or path[-1], path)
    if feature is None:
        raise MalformedForm(
            "an expression in USING needs the name of its feature",
            hint="write expression AS feature",
            position=span.start + 1,
        )
    return Item(span, feature, None)
