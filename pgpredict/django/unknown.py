"""Predictions whose type is not known yet, because querysets are made without a connection.

What depends on the type is put off: lookups and transforms until SQL is made for a connection, the conversion
of results until there are some. Then the type is known, unless the statement is none anyway.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Lookup, Subquery, Transform, When, expressions, fields
from django.db.models.expressions import ExpressionWrapper

# its transforms are registered by this
from django.db.models.functions import datetime as _transforms  # noqa: F401
from django.db.models.sql import Query


class PredictionField(fields.Field):
    """A prediction whose type is not known: values come and go as the driver has them.

    It has the lookups that every type has and those of dates, and arithmetic with numbers; expressions may
    mix it with any other type.
    """

    description = "a prediction"

    def get_internal_type(self) -> str:
        """Return a name that is no column type's: this is no column."""
        return "PredictionField"

    def get_db_converters(self, connection: Any) -> list[Any]:
        """Return what makes of a result what it is in the type that is known when there is a result."""
        converters: list[Callable[[Any, Any, Any], Any]] | None = None
        typed: Any = None

        def convert(value: Any, expression: Any, connection: Any) -> Any:
            nonlocal converters, typed
            if converters is None:
                typed = retyped(expression, connection)
                same = isinstance(typed.output_field, PredictionField)
                converters = [] if same else typed.get_db_converters(connection)
            for each in converters:
                value = each(value, typed, connection)
            return value

        return [convert]


def retyped(expression: Any, connection: Any) -> Any:
    """Return an expression with the types that predictions have at a connection, itself if none is known."""
    if hasattr(expression, "typed_at"):
        return expression.typed_at(connection)
    if not isinstance(getattr(expression, "_output_field_or_none", None), PredictionField):
        return expression
    if isinstance(expression, _Transform):
        lhs = retyped(expression.lhs, connection)
        known = not isinstance(lhs.output_field, PredictionField)
        return _transformed(expression, lhs) if known else expression
    copied = expression.copy()
    if isinstance(expression, Subquery):
        selected = list(expression.query.annotation_select.values())
        field = retyped(selected[0], connection).output_field if len(selected) == 1 else PredictionField()
        copied.output_field = field
        return copied
    sources = expression.get_source_expressions()
    copied.set_source_expressions([source and retyped(source, connection) for source in sources])
    for cached in ("output_field", "_output_field_or_none", "convert_value"):
        vars(copied).pop(cached, None)
    try:
        known = not isinstance(copied.output_field, PredictionField)
    except FieldError:
        return expression
    return copied if known else expression


class _Put:
    """A lookup that becomes the one of the type when SQL is made."""

    lookup_name: str
    lhs: Any
    rhs: Any

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Write it as the type has it, as far as that is known."""
        lhs = retyped(self.lhs, connection)
        # filter(Predict(…)), too, is a comparison with True: a number may be 1, but PostgreSQL shall tell
        # that a text is no condition, where Django would look for the text "True"
        truth = self.lookup_name == "exact" and isinstance(self.rhs, bool) and not lhs.conditional
        if truth or isinstance(lhs.output_field, PredictionField):
            return super().as_sql(compiler, connection)  # type: ignore[misc]
        lookup = lhs.get_lookup(self.lookup_name)
        return compiler.compile(lookup(lhs, self.rhs))


class _Transform(Transform):
    """A transform that becomes the one of the type when SQL is made."""

    output_field = PredictionField()

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> Any:
        """Write it; where the type is not known, PostgreSQL decides whether the value is a time."""
        typed = retyped(self, connection)
        if typed is self:
            typed = _transformed(self, ExpressionWrapper(self.lhs, fields.DateTimeField()))
        return compiler.compile(typed)


def _transformed(transform: Any, lhs: Any) -> Any:
    found = lhs.get_transform(transform.lookup_name)
    if found is None:
        kind = type(lhs.output_field).__name__
        raise FieldError(f"unsupported lookup {transform.lookup_name!r} for a prediction that is a {kind}")
    return found(lhs)


def _put_off() -> None:
    # as members of the module, so that querysets can be pickled
    classes: list[type] = []
    for name, lookup in fields.Field.class_lookups.items():
        if issubclass(lookup, Lookup) and name != "isnull":
            classes.append(type(f"Prediction{lookup.__name__}", (_Put, lookup), {"__module__": __name__}))
    times = (fields.DateField, fields.DateTimeField, fields.TimeField)
    found = {name: each for kind in times for name, each in kind.class_lookups.items()}
    for name, transform in found.items():
        if issubclass(transform, Transform):
            members = {"__module__": __name__, "lookup_name": name}
            classes.append(type(f"Prediction{transform.__name__}", (_Transform,), members))
    for each in classes:
        globals()[each.__name__] = each
        PredictionField.register_lookup(each)


def _allow_arithmetic() -> None:
    numbers = (fields.IntegerField, fields.FloatField, fields.DecimalField, PredictionField)
    combinable = expressions.Combinable
    for connector in (
        combinable.ADD, combinable.SUB, combinable.MUL, combinable.DIV, combinable.MOD, combinable.POW,
    ):  # fmt: skip
        for number in numbers:
            expressions.register_combinable_fields(PredictionField, connector, number, PredictionField)
            if number is not PredictionField:
                expressions.register_combinable_fields(number, connector, PredictionField, PredictionField)


def _predicts(expression: Any) -> bool:
    """Tell whether an expression's value comes from a prediction; conditions are no values."""
    if isinstance(expression, When):
        return _predicts(expression.result)
    if isinstance(expression, Query):
        return any(_predicts(selected) for selected in expression.annotation_select.values())
    sources: list[Any] = getattr(expression, "get_source_expressions", list)()
    return hasattr(expression, "typed_at") or any(_predicts(source) for source in sources)


def _allow_mixing() -> None:
    """Have an expression of a prediction and of something else be a prediction, where Django knows no type.

    Whether there is an error must not depend on whether the type is known. What Django can tell stays.
    """
    resolve = expressions.BaseExpression._resolve_output_field

    @functools.wraps(resolve)
    def _resolve_output_field(self: Any) -> Any:
        try:
            return resolve(self)
        except FieldError:
            if _predicts(self):
                return PredictionField()
            raise

    expressions.BaseExpression._resolve_output_field = _resolve_output_field


_put_off()
_allow_arithmetic()
_allow_mixing()
