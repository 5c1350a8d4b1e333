"""PREDICT, PROBABILITY and PREDICTION_SET as query expressions."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

from django.db.models import FloatField, JSONField
from django.utils.deconstruct import deconstructible

from . import output
from .form import Form, escaped
from .unknown import PredictionField

Label = str | bool | int | float | decimal.Decimal | datetime.date | datetime.time | uuid.UUID


@deconstructible(path="pgpredict.django.Predict")
class Predict(Form):
    """The prediction of a model, in the type of what it was trained to predict.

    See :class:`Form` for the parameters.
    """

    function = "PREDICT"

    def _known_field(self) -> Any:
        return output.field_of(self._alias, self.model, self.version)

    def typed_at(self, connection: Any) -> Any:
        """Return what this is in the database that SQL is made for, where its type can be known."""
        copied = self.copy()
        copied._alias = connection.alias
        if not isinstance(copied.output_field, PredictionField) or self._declared is not None:
            return copied
        output.field_of(connection.alias, self.model, self.version, output.executing())
        return copied

    @property
    def conditional(self) -> bool:
        """Whether it can be a condition by itself; where the type is not known, PostgreSQL decides."""
        return isinstance(self.output_field, PredictionField) or bool(super().conditional)


@deconstructible(path="pgpredict.django.Probability")
class Probability(Form):
    """The probability of a class, by default of the predicted one.

    :param for_: the class, as text or in the target's own type
    """

    function = "PROBABILITY"

    def __init__(self, model: str, *features: Any, for_: Label | None = None, **options: Any) -> None:
        if hasattr(for_, "resolve_expression"):
            raise TypeError(f"for_ is a class of the model, and no expression: {for_!r}")
        self.for_ = for_
        super().__init__(model, *features, **options)

    def _known_field(self) -> Any:
        return _FLOAT

    def _arguments(self) -> str:
        return "" if self.for_ is None else f" FOR {escaped(_text(self.for_))}"

    def _get_repr_options(self) -> dict[str, Any]:
        return {"for_": self.for_}


@deconstructible(path="pgpredict.django.PredictionSet")
class PredictionSet(Form):
    """The classes with their probabilities, the likeliest first, as a list of dicts.

    :param top: how many at most
    :param cutoff: the least probability
    """

    function = "PREDICTION_SET"

    def __init__(
        self, model: str, *features: Any, top: int | None = None, cutoff: float | None = None, **options: Any
    ) -> None:
        if top is not None and (type(top) is not int or top < 0):
            raise ValueError(f"top {top!r} is no number of classes")
        self.top, self.cutoff = top, None if cutoff is None else float(cutoff)
        super().__init__(model, *features, **options)

    def _known_field(self) -> Any:
        return _JSON

    def _arguments(self) -> str:
        if self.cutoff is not None:
            return f", {'NULL' if self.top is None else self.top}, {self.cutoff!r}"
        return "" if self.top is None else f", {self.top}"

    def _get_repr_options(self) -> dict[str, Any]:
        return {"top": self.top, "cutoff": self.cutoff}


_FLOAT, _JSON = FloatField(), JSONField()


def _text(label: Label) -> str:
    """Return a class as PostgreSQL writes its text, in quotes; PREDICT casts it to the target's type."""
    text = str(label).lower() if isinstance(label, bool) else str(label)
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
