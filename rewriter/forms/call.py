"""The one shape behind every form."""

from __future__ import annotations

import dataclasses
from typing import Literal

from rewriter.splice import Span

Kind = Literal["predict", "probability", "set"]
Missing = Literal["error", "null", "impute"]


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
    :ivar label: the class that the probability is asked of
    :ivar name: the name that PostgreSQL would give the column of a function call spelled so
    :ivar version: the number after VERSION
    :ivar missing: what is to come of NULL features; None is what the model was trained for
    :ivar top: of kind ``set``, how many classes at the most; None is all
    :ivar cutoff: of kind ``set``, the least probability; None is 0
    :ivar is_plain: whether the form could be a call of a function of the user's: ``PREDICT(name)``, and
        ``PREDICTION_SET(name, 3)`` and its like
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
