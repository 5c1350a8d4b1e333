"""PREDICT, PROBABILITY and PREDICTION_SET as query expressions."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from django.core.exceptions import FieldError
from django.db import router
from django.db.models import FloatField, Func, JSONField
from django.db.models.expressions import Col
from django.db.utils import NotSupportedError
from django.utils.deconstruct import deconstructible

from . import output
from .features import TableStar, name_of, parse

Missing = Literal["error", "null", "impute"]
Label = str | bool | int | float | decimal.Decimal | datetime.date | datetime.time | uuid.UUID


class Form(Func):
    """A call of a model: what the three have in common.

    :param model: its name, as it is stored
    :param features: fields, which are the features of their columns' names, across relations too; ``"*"``
        is all columns of the query's own table, ``"relation__*"`` of a related one. Without any: ``"*"``
    :param version: number of the version to ask; by default the deployed one
    :param on_missing: what a NULL feature makes: ``"error"``, ``"null"`` or ``"impute"``; by default the
        model decides
    :param output_field: the type in Python, where it is to be another one than the model's
    :param features_by_name: features whose names are parameters here, such as ``version``
    :param named: features by name: expressions or values
    :raises TypeError: for a feature without a name, or a text where an expression is due
    :raises ValueError: for a version, an ``on_missing``, that there is not
    """

    window_compatible = False
    constraint_validation_compatible = False
    allowed_default = False

    def __init__(
        self,
        model: str,
        *features: Any,
        version: int | None = None,
        on_missing: Missing | None = None,
        output_field: Any = None,
        features_by_name: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise TypeError(f"{model!r} is no name of a model")
        if version is not None and (type(version) is not int or version < 1):
            raise ValueError(f"version {version!r} is no positive number")
        if on_missing not in (None, "error", "null", "impute"):
            raise ValueError(f"on_missing {on_missing!r} is none of 'error', 'null', 'impute'")
        sources, names = parse(features, {**named, **(features_by_name or {})})
        self._declared: Any = None
        #: of the database that the query is for
        self._alias: str | None = None
        super().__init__(*sources, output_field=output_field)
        self.model, self.version, self.on_missing = model, version, on_missing
        self._names = names

    # The type -----------------------------------------------------------------------------------------

    @property
    def output_field(self) -> Any:
        """The type in Python."""
        return self._declared or self._known_field()

    @output_field.setter
    def output_field(self, field: Any) -> None:
        self._declared = field

    def _known_field(self) -> Any:
        raise NotImplementedError

    @property
    def convert_value(self) -> Any:
        """The driver gives every value in its own type."""
        return self._convert_value_noop

    # The query ----------------------------------------------------------------------------------------

    def resolve_expression(
        self,
        query: Any = None,
        allow_joins: bool = True,
        reuse: Any = None,
        summarize: bool = False,
        for_save: bool = False,
    ) -> Any:
        """Bind the features to the query's columns."""
        if query is not None and not getattr(query, "alias_cols", True):
            raise FieldError(
                f"{self!r} cannot stand in an index, a constraint or a generated column: "
                "what a model predicts changes when it is deployed"
            )
        resolved = super().resolve_expression(query, allow_joins, reuse, summarize, for_save)
        before, after = self.get_source_expressions(), resolved.get_source_expressions()
        resolved._names = [
            name if name is not None else name_of(source, found)
            for name, source, found in zip(self._names, before, after, strict=True)
        ]
        if query is not None and getattr(query, "model", None) is not None:
            resolved._alias = router.db_for_read(query.model)
        return resolved

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:
        """Write the form."""
        if connection.vendor != "postgresql":
            raise NotSupportedError(f"{self.function} needs PostgreSQL; this is {connection.display_name}")
        self._alias = connection.alias
        version = "" if self.version is None else f" VERSION {self.version}"
        parts, params = [f"{_literal(_quoted(self.model))}{version}{self._arguments()}"], []
        features = []
        for source, name in zip(self.get_source_expressions(), self._names, strict=True):
            sql, source_params = compiler.compile(source)
            params.extend(source_params)
            if name is None and isinstance(source, Col):
                name = str(source.target.column)
            if isinstance(source, TableStar):
                features.append(sql)
            elif name is None:
                raise FieldError(f"{source!r} has no name: give it as feature=expression")
            else:
                features.append(f"{sql} AS {_literal(_quoted(name))}")
        parts.append("USING " + ", ".join(features))
        if self.on_missing is not None:
            parts.append(f"ON MISSING {self.on_missing.upper()}")
        return f"{self.function}({' '.join(parts)})", params

    def _arguments(self) -> str:
        """Return what stands between the model's name and its version."""
        return ""

    def copy(self) -> Any:
        """Return a copy that can be resolved by itself."""
        copied = super().copy()
        copied._names = list(self._names)
        return copied

    def __repr__(self) -> str:
        shown = [repr(self.model)]
        for source, name in zip(self.get_source_expressions(), self._names, strict=True):
            shown.append(f"{name}={source!r}" if name else repr(source))
        given = {"version": self.version, "on_missing": self.on_missing, **self._get_repr_options()}
        shown += [f"{key}={value!r}" for key, value in given.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


@deconstructible(path="pgpredict.django.Predict")
class Predict(Form):
    """The prediction of a model, in the type of what it was trained to predict.

    See :class:`Form` for the parameters.
    """

    function = "PREDICT"

    def _known_field(self) -> Any:
        return output.field_of(self._alias, self.model, self.version)

    @property
    def conditional(self) -> bool:
        """Whether it can be a condition by itself; where the type is not known, PostgreSQL decides."""
        return isinstance(self.output_field, output.PredictionField) or bool(super().conditional)


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
        return "" if self.for_ is None else f" FOR {_literal(_text(self.for_))}"

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


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _text(label: Label) -> str:
    """Return a class as PostgreSQL writes its text, in quotes; PREDICT casts it to the target's type."""
    text = str(label).lower() if isinstance(label, bool) else str(label)
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _literal(sql: str) -> str:
    """Return SQL that stands beside parameters, whose sign it may contain."""
    return sql.replace("%", "%%")


def contained(expressions: Sequence[Any]) -> bool:
    """Tell whether one of some expressions predicts."""
    return any(
        isinstance(part, Form)
        for expression in expressions
        if hasattr(expression, "flatten")
        for part in expression.flatten()
    )
