"""``predict``, ``probability`` and ``prediction_set``, and models with a type."""

from __future__ import annotations

import datetime
import enum
from typing import Any, Generic, TypeAlias, TypeVar, overload

import sqlalchemy
from sqlalchemy import BindParameter
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from .features import Feature, NamedFeature
from .forms import Form, Missing
from .types import engine_type

_T = TypeVar("_T")
_P = TypeVar("_P")
#: a class of a model: a value of the target's type, or a bindparam()
Class: TypeAlias = str | int | float | datetime.date | enum.Enum | BindParameter[Any]
Bound: TypeAlias = BindParameter[Any]


class Model(Generic[_T]):
    """A model by its name, with the type of its predictions, for operators and for whoever checks types.

    :param name: as in ``ml.models``, without quotes
    :param type_: SQLAlchemy's type of a prediction, or the type in Python: ``str``, ``int``, ``float``,
        ``bool``, ``Decimal``, ``date``, ``datetime``, ``time``
    :raises ArgumentError: for another one
    """

    @overload
    def __init__(self: Model[_T], name: str, type_: TypeEngine[_T] | type[TypeEngine[_T]]) -> None: ...
    @overload
    def __init__(self: Model[_P], name: str, type_: type[_P]) -> None: ...
    def __init__(self, name: str, type_: Any) -> None:
        self.name, self.type_ = name, engine_type(type_)

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self.type_!r})"


@overload
def predict(
    model: Model[_T],
    /,
    *features: Feature,
    version: int | None = None,
    on_missing: Missing | None = None,
    **named: NamedFeature,
) -> Form[_T]: ...
@overload
def predict(
    model: str,
    /,
    *features: Feature,
    type_: TypeEngine[_T] | type[TypeEngine[_T]],
    version: int | None = None,
    on_missing: Missing | None = None,
    **named: NamedFeature,
) -> Form[_T]: ...
@overload
def predict(
    model: str,
    /,
    *features: Feature,
    type_: type[_P],
    version: int | None = None,
    on_missing: Missing | None = None,
    **named: NamedFeature,
) -> Form[_P]: ...
@overload
def predict(
    model: str,
    /,
    *features: Feature,
    version: int | None = None,
    on_missing: Missing | None = None,
    **named: NamedFeature,
) -> Form[Any]: ...
def predict(
    model: str | Model[Any],
    /,
    *features: Feature,
    type_: Any = None,
    version: int | None = None,
    on_missing: Missing | None = None,
    **named: NamedFeature,
) -> Form[Any]:
    """Return an expression for a model's prediction.

    :param model: its name as in ``ml.models``, quoted where it has to be; or a :class:`Model`
    :param features: columns, each the feature of its name, and expressions with a label; or an entity, an
        alias, a table, a subquery, whose columns are bound by name; ``"*"`` for all of the FROM clause, as
        without any
    :param named: features by name, as expressions or values; they win over what comes by name
    :param type_: of the prediction, as of a :class:`Model`; by default what the engine has told
    :param version: a version that need not be deployed
    :param on_missing: what NULL features make of the prediction; by default as the model was trained
    :raises ArgumentError: for features that are none
    """
    given = model.type_ if isinstance(model, Model) else None if type_ is None else engine_type(type_)
    return Form("predict", _name(model), features, named, type_=given, version=version, on_missing=on_missing)


def probability(
    model: str | Model[Any],
    /,
    *features: Feature,
    for_: Class | None = None,
    version: int | None = None,
    on_missing: Missing | None = None,
    **named: NamedFeature,
) -> Form[float]:
    """Return an expression for the probability of a class.

    :param for_: the class, a value of the target's type or a ``bindparam()``; by default the predicted one
    :raises ArgumentError: for features that are none, or a class that is an expression

    The other parameters are those of :func:`predict`.
    """
    return Form(
        "probability",
        _name(model),
        features,
        named,
        type_=sqlalchemy.Double(),
        version=version,
        on_missing=on_missing,
        label=for_,
    )


def prediction_set(
    model: str | Model[Any],
    /,
    *features: Feature,
    top: int | Bound | None = None,
    cutoff: float | Bound | None = None,
    version: int | None = None,
    on_missing: Missing | None = None,
    **named: NamedFeature,
) -> Form[list[dict[str, Any]]]:
    """Return an expression for the likeliest classes: ``[{"prediction": …, "probability": …}, …]``.

    :param top: how many classes at the most; by default all
    :param cutoff: the least probability; by default none
    :raises ArgumentError: for features that are none

    The other parameters are those of :func:`predict`.
    """
    limits: list[Any] = []
    if top is not None or cutoff is not None:
        limits = [top] if cutoff is None else [top, cutoff]
    return Form(
        "prediction_set",
        _name(model),
        features,
        named,
        type_=postgresql.JSONB(),
        version=version,
        on_missing=on_missing,
        limits=limits,
    )


def _name(model: str | Model[Any]) -> str:
    return model.name if isinstance(model, Model) else model
