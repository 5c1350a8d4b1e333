"""Class labels as PostgreSQL writes a value of the target's type as text."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

_TRUE = frozenset(("t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"))
_FALSE = frozenset(("f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"))
#: bits of the whole numbers
_BITS: Mapping[str, int] = {"smallint": 16, "integer": 32, "bigint": 64}
_FRACTIONS = ("real", "double precision", "numeric")
_TEXTS = ("text", "character varying", "character")


def canonical(label: str, type_: str) -> str:
    """Return a label as PostgreSQL writes it.

    :param type_: PostgreSQL's name of the target's type, without modifiers
    :raises ValueError: for a text that is no value of the type, or a type that has no class labels
    """
    text = label.strip()
    if type_ in _TEXTS:
        return label.rstrip(" ") if type_ == "character" else label
    if type_ == "boolean" and text.lower() in _TRUE | _FALSE:
        return "true" if text.lower() in _TRUE else "false"
    if type_ in _BITS:
        number, limit = int(text), 1 << (_BITS[type_] - 1)
        if -limit <= number < limit:
            return str(number)
    # a fraction is written in more than one way
    if type_ in _FRACTIONS and float(text).is_integer() and abs(float(text)) < 2**53:
        return str(int(float(text)))
    if type_ == "uuid":
        return str(uuid.UUID(text))
    raise ValueError(f"{label!r} is no label of type {type_}")
