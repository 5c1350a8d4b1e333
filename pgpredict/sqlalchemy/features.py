"""What a form's features are made of: columns, expressions with names, and whole sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import exc, inspect
from sqlalchemy.orm import InstanceState
from sqlalchemy.sql import coercions, roles
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import ColumnClause, ColumnElement, Label, SQLCoreOperations
from sqlalchemy.sql.expression import FromClause, Join, Select, SelectBase
from sqlalchemy.sql.selectable import FromGrouping, Subquery

#: a column, an expression with a label; or an entity, alias, table, subquery; or ``"*"``
Feature: TypeAlias = (
    SQLCoreOperations[Any] | roles.ExpressionElementRole[Any] | FromClause | type[Any] | str | Any
)
#: features by name: an expression, or a value, which becomes a parameter
NamedFeature: TypeAlias = SQLCoreOperations[Any] | roles.ExpressionElementRole[Any] | Any


class Features(NamedTuple):
    """The features of a form, in SQLAlchemy's terms.

    :ivar is_open: whether features come from the whole FROM clause, too
    :ivar sources: those of which all columns are offered
    :ivar values: columns and expressions
    :ivar names: of the features that the values give; None is the column's own
    """

    is_open: bool
    sources: tuple[FromClause, ...]
    values: tuple[ColumnElement[Any], ...]
    names: tuple[str | None, ...]


def read_features(owner: Any, given: Iterable[Any], named: Mapping[str, Any]) -> Features:
    """Return the features that the arguments of a form tell.

    :param owner: the form; it learns from ORM entities that its statement is the ORM's
    :raises ArgumentError: for what is no feature, or has no name
    """
    sources, values, names, is_open = [], [], [], False
    for argument in given:
        if isinstance(argument, str) and argument == "*":
            is_open = True
        elif (source := _source(owner, argument)) is not None:
            sources.append(source)
        else:
            name, value = _named(_expression(owner, argument))
            values.append(value)
            names.append(name)
    for key, argument in named.items():
        element = coercions.expect(roles.ExpressionElementRole, argument, apply_propagate_attrs=owner)
        values.append(element.element if isinstance(element, Label) else element)
        names.append(key)
    return Features(is_open, tuple(sources), tuple(values), tuple(names))


def _source(owner: Any, argument: Any) -> FromClause | None:
    """Return the FROM clause that an argument is; None for a column."""
    if isinstance(argument, ReadOnlyColumnCollection):
        # the `excluded` of INSERT ... ON CONFLICT is the columns of an alias
        argument = next(iter(argument)).table
    if isinstance(argument, SelectBase):
        raise exc.ArgumentError(
            "a SELECT is no source of features (hint: give its subquery(), which stands in FROM)"
        )
    # a function is both
    is_source = isinstance(argument, FromClause) and not isinstance(argument, roles.ExpressionElementRole)
    return _entity(owner, argument, is_source=is_source)


def _entity(owner: Any, argument: Any, *, is_source: bool) -> FromClause | None:
    found = None if is_source else inspect(argument, raiseerr=False)
    if isinstance(found, InstanceState):
        raise exc.ArgumentError(
            f"{type(argument).__name__} is given as an object, which is not in the database's hands "
            "(hint: predict with the class, in a query for this object's row; or give its values by name, "
            "distance=flight.distance)"
        )
    if found is None and hasattr(argument, "__mapper__"):
        # what with_loader_criteria() hands to a lambda wraps the class
        found = argument = argument.__mapper__
    is_entity = getattr(found, "is_mapper", False) or getattr(found, "is_aliased_class", False)
    if not (is_source or is_entity):
        return None
    source: FromClause = coercions.expect(roles.FromClauseRole, argument, apply_propagate_attrs=owner)
    return source


def _expression(owner: Any, argument: Any) -> ColumnElement[Any]:
    if argument is None or isinstance(argument, str | bytes | int | float):
        raise exc.ArgumentError(
            f"{argument!r} is no feature (hint: features are columns; give values by name, distance=760)"
        )
    found: ColumnElement[Any] = coercions.expect(
        roles.ExpressionElementRole, argument, apply_propagate_attrs=owner
    )
    return found


def _named(element: ColumnElement[Any]) -> tuple[str | None, ColumnElement[Any]]:
    """Return a feature's name beside its value.

    :raises ArgumentError: for an expression without a name
    """
    if isinstance(element, Label):
        return str(element.name), element.element
    key = element._annotations.get("proxy_key")
    mapped = _mapped(element, key)
    if mapped is not None:
        return mapped, element
    if isinstance(element, ColumnClause) and not element.is_literal:
        # a column of a declarative class has no name before the class is there
        return (str(element.name) if element.name else None), element
    if key is None:
        raise exc.ArgumentError(
            f"expression {str(element)!r} needs the name of its feature "
            "(hint: distance=..., or its label('distance'))"
        )
    return str(key), element


def _mapped(element: ColumnElement[Any], key: str | None) -> str | None:
    """Return the name of the column that an entity's attribute is mapped to, whatever a subquery calls it."""
    entity = element._annotations.get("parententity")
    # not mapper.attrs, which would configure mappers while classes are still being made
    column = None if entity is None or key is None else entity.mapper.columns.get(key)
    return str(column.name) if isinstance(column, ColumnClause) else None


def leaves(source: FromClause) -> Iterator[FromClause]:
    """Yield what has a name in FROM: the tables of a join, as of joined inheritance, or the source itself.

    :raises CompileError: for a subquery whose columns are not called what they are called in the tables
    """
    if isinstance(source, FromGrouping):
        yield from leaves(source.element)
    elif isinstance(source, Join):
        yield from leaves(source.left)
        yield from leaves(source.right)
    elif isinstance(source, Subquery) and _renames(source.element):
        raise exc.CompileError(
            f"columns of subquery {str(source.name)!r} are called <table>_<column>, no feature's name "
            "(hint: aliased(..., flat=True), or give the features one by one)"
        )
    else:
        yield source


def _renames(select: Any) -> bool:
    return isinstance(select, Select) and select._label_style.name == "LABEL_STYLE_TABLENAME_PLUS_COL"
