"""Reads one form from its first word to its closing parenthesis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rewriter.errors import MalformedForm
from rewriter.scan import Token
from rewriter.splice import Span

from .call import Call, Item, Kind, Missing
from .constants import parse_label, parse_missing, parse_number, parse_version
from .cursor import Cursor, closing
from .items import parse_items

_LIST = "* | t.* | expression AS feature, ..."
_REST = f"[USING {_LIST}] [ON MISSING ERROR | NULL | IMPUTE])"


@dataclasses.dataclass(frozen=True)
class Form:
    """What a word before a parenthesis begins.

    :ivar has_label: whether FOR may name a class
    :ivar arguments: how many constants may follow the model
    :ivar text: how it is written
    """

    kind: Kind
    has_label: bool
    arguments: int
    text: str


FORMS: dict[str, Form] = {
    "predict": Form("predict", False, 0, f"PREDICT(model [VERSION n] {_REST}"),
    "probability": Form("probability", True, 0, f"PROBABILITY(model [VERSION n] [FOR 'class'] {_REST}"),
    "prediction": Form("predict", False, 0, f"PREDICTION(model [VERSION n] {_REST}"),
    "prediction_probability": Form(
        "probability", True, 1, f"PREDICTION_PROBABILITY(model [VERSION n] [, 'class'] {_REST}"
    ),
    "prediction_set": Form("set", False, 2, f"PREDICTION_SET(model [VERSION n] [, top [, cutoff]] {_REST}"),
}
_BY = f"PREDICT BY model [VERSION n] (FEATURES {_LIST} [ON MISSING ERROR | NULL | IMPUTE])"


class _Parts:
    """What has been read of a form behind its model's name."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.label: Span | None = None
        self.items: tuple[Item, ...] | None = None
        self.missing: Missing | None = None
        self.top: Span | None = None
        self.cutoff: Span | None = None


def parse_call(tokens: Sequence[Token], first: int) -> Call:
    """Return the form that begins with ``word (``.

    :raises MalformedForm: naming what was expected, and where
    """
    name = tokens[first].text
    form, parts = FORMS[name], _Parts()
    cursor = Cursor(tokens, first + 2, _last(tokens, first, first + 1), form.text)
    start = cursor.index
    path = cursor.path("a model's name, as a table's without quotes,")
    could_be_function = True
    while not cursor.at_end:
        if form.arguments and cursor.take_punct(","):
            _arguments(form, parts, cursor)
            form = dataclasses.replace(form, arguments=0)
            continue
        could_be_function = False
        if not _extra(name, form, parts, cursor):
            break
    _list_and_rest(parts, cursor, "using")
    _check_path(path, tokens[start], is_plain=could_be_function)
    return _call(tokens, first, cursor.last, name, form.kind, path, start, parts, is_plain=could_be_function)


def parse_by(tokens: Sequence[Token], first: int) -> Call:
    """Return the form ``PREDICT BY model (FEATURES ...)``.

    :raises MalformedForm: naming what was expected, and where
    """
    parts, start = _Parts(), first + 2
    head = Cursor(tokens, start, len(tokens) - 1, _BY)
    path = head.path("a model's name")
    if head.take("version"):
        parts.version = parse_version(head)
    if head.token.text != "(":
        raise head.expected("(FEATURES ...)")
    last = _last(tokens, first, head.index)
    cursor = Cursor(tokens, head.index + 1, last, _BY)
    if not cursor.at("features"):
        raise cursor.expected("FEATURES")
    _list_and_rest(parts, cursor, "features")
    _check_path(path, tokens[start], is_plain=False)
    return _call(tokens, first, last, "predict", "predict", path, start, parts, is_plain=False)


def _last(tokens: Sequence[Token], first: int, opening: int) -> int:
    last = closing(tokens, opening)
    if last is None:
        raise MalformedForm(
            f"{tokens[first].text.upper()} has no closing parenthesis", position=tokens[first].start + 1
        )
    return last


def _check_path(path: tuple[str, ...], token: Token, *, is_plain: bool) -> None:
    if len(path) > 2 and not is_plain:
        raise MalformedForm(
            f"model name {'.'.join(path)!r} has too many parts",
            hint='write "model" or "models.model"',
            position=token.start + 1,
        )


def _arguments(form: Form, parts: _Parts, cursor: Cursor) -> None:
    """Read the arguments behind the model: a class, or how many classes and from which probability on."""
    if form.kind == "probability":
        parts.label = parse_label(cursor, "the model")
        return
    parts.top = parse_number(cursor, "how many classes", integer=True)
    if cursor.take_punct(","):
        parts.cutoff = parse_number(cursor, "the least probability", integer=False)


def _extra(name: str, form: Form, parts: _Parts, cursor: Cursor) -> bool:
    """Read VERSION or FOR, in either order; False at anything else."""
    position = cursor.position
    word = cursor.token.text.upper()
    if cursor.take("version"):
        if parts.version is not None:
            raise _twice(word, position)
        parts.version = parse_version(cursor)
        return True
    if not cursor.take("for"):
        return False
    if not form.has_label:
        raise MalformedForm(
            f"FOR belongs to PROBABILITY, not to {name.upper()}",
            hint=FORMS["probability"].text,
            position=position,
        )
    if parts.label is not None:
        raise _twice("the class", position)
    if cursor.at_end or cursor.at("using", "version", "on"):
        raise MalformedForm("FOR needs a class", hint=cursor.form, position=position)
    parts.label = parse_label(cursor, "FOR")
    return True


def _twice(what: str, position: int) -> MalformedForm:
    return MalformedForm(f"{what} is given twice", position=position)


def _list_and_rest(parts: _Parts, cursor: Cursor, word: str) -> None:
    if cursor.take(word):
        parts.items = parse_items(cursor)
    if cursor.take("on"):
        if not cursor.take("missing"):
            raise cursor.expected("MISSING")
        parts.missing = parse_missing(cursor)
    if not cursor.at_end:
        raise MalformedForm(
            f"unexpected {cursor.token.text!r} in {cursor.form.partition('(')[0].partition(' ')[0]}",
            hint=cursor.form,
            position=cursor.position,
        )


def _call(
    tokens: Sequence[Token],
    first: int,
    last: int,
    name: str,
    kind: Kind,
    path: tuple[str, ...],
    model: int,
    parts: _Parts,
    *,
    is_plain: bool,
) -> Call:
    return Call(
        kind=kind,
        path=path,
        model_at=tokens[model].start,
        items=parts.items,
        label=parts.label,
        is_plain=is_plain,
        span=Span(tokens[first].start, tokens[last].end),
        first=first,
        last=last,
        name=name,
        version=parts.version,
        missing=parts.missing,
        top=parts.top,
        cutoff=parts.cutoff,
    )
