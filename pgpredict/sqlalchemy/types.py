"""Types of predictions and of what they are compared with."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Dialect
from sqlalchemy.types import NullType, String, TypeEngine, UserDefinedType, to_instance

#: PostgreSQL's name of a prediction's type -> ours. Not here: enums, uuid and the like, where the driver's
#: own value and no cast are what serves best
_TYPES: dict[str, TypeEngine[Any]] = {
    "smallint": sqlalchemy.SmallInteger(),
    "integer": sqlalchemy.Integer(),
    "bigint": sqlalchemy.BigInteger(),
    "real": sqlalchemy.Float(),
    "double precision": sqlalchemy.Double(),
    "numeric": sqlalchemy.Numeric(),
    "boolean": sqlalchemy.Boolean(),
    "date": sqlalchemy.Date(),
    "timestamp without time zone": sqlalchemy.DateTime(),
    "timestamp with time zone": sqlalchemy.DateTime(timezone=True),
    "time without time zone": sqlalchemy.Time(),
    "text": sqlalchemy.Text(),
    "character varying": sqlalchemy.String(),
}


def engine_type(given: Any) -> TypeEngine[Any]:
    """Return SQLAlchemy's type for one of its own or of Python.

    :raises ArgumentError: for a type of Python that no prediction is
    """
    if isinstance(given, TypeEngine) or (isinstance(given, type) and issubclass(given, TypeEngine)):
        return to_instance(given)
    found = _PYTHON.get(given)
    if found is None:
        known = ", ".join(known.__name__ for known in _PYTHON)
        raise sqlalchemy.exc.ArgumentError(
            f"{given!r} is no type of a prediction (hint: {known}, or SQLAlchemy's)"
        )
    return found


def type_named(name: str) -> TypeEngine[Any] | None:
    """Return SQLAlchemy's type for a prediction; None where it is best left to the driver.

    :param name: as ``format_type`` writes it, without modifiers
    """
    return _TYPES.get(name)


class Untold(UserDefinedType[Any]):
    """Type of a prediction of which only the database knows the type.

    Values come as the driver makes them, which is how SQLAlchemy's own types have them, too. What it is
    compared with is bound by its Python type, texts without a cast: they may stand for an enum.
    """

    cache_ok = True
    comparator_factory = NullType.Comparator

    def get_col_spec(self, **kw: Any) -> str:
        """Refuse to be a column's type.

        :raises CompileError: always
        """
        raise sqlalchemy.exc.CompileError(
            "the type of a prediction is not known here (hint: predict(..., type_=...))"
        )

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return the type that the other operand is bound as."""
        if isinstance(value, str):
            return UncastText()
        return sqlalchemy.literal(value).type

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """Return what writes a value as SQL."""
        return UncastText().literal_processor(dialect)


class UncastText(String):
    """A text that PostgreSQL gives its type by what stands beside it: no ``::VARCHAR`` behind the parameter.

    Forms take constants and parameters in some places, and nothing around them.
    """

    def adapt(self, cls: Any, **kw: Any) -> Any:
        """Stay what it is: a dialect's own type would write the cast."""
        return UncastText()

    def bind_processor(self, dialect: Dialect) -> None:
        """Return nothing: a class may be a number or a boolean, too."""

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """Return what writes a value as SQL, where parameters are to be written out."""
        text: Any = super().literal_processor(dialect)  # type: ignore[no-untyped-call]

        def process(value: Any) -> str:
            if isinstance(value, bool):
                return str(value).lower()
            return repr(value) if isinstance(value, int | float) else str(text(str(value)))

        return process


#: types of Python -> ours; a text may be an enum's, so it goes without a cast
_PYTHON: dict[Any, TypeEngine[Any]] = {
    str: UncastText(),
    int: sqlalchemy.BigInteger(),
    float: sqlalchemy.Double(),
    bool: sqlalchemy.Boolean(),
    Decimal: sqlalchemy.Numeric(),
    datetime.date: sqlalchemy.Date(),
    datetime.datetime: sqlalchemy.DateTime(timezone=True),
    datetime.time: sqlalchemy.Time(),
}
