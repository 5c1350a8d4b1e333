"""Binds the features of a model to columns and expressions, by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from onnx_models.signature import Feature, Kind

from .catalog import ModelInfo
from .errors import AmbiguousFeature, MalformedForm, UnknownFeature, WrongType
from .forms import Call, Item
from .names import quote
from .plan import Input
from .sources import FromClause, Source
from .visible import Scope

_NUMBERS = ("smallint", "integer", "bigint", "real", "double precision", "numeric")
_DATES = ("date", "timestamp without time zone", "timestamp with time zone", "text", "character varying")
#: types that can become a feature of a kind; text takes any
_ACCEPTED: dict[Kind, tuple[str, ...]] = {
    "number": (*_NUMBERS, "boolean"),
    "boolean": ("boolean", "integer", "text", "character varying"),
    "date": _DATES,
    "timestamp": _DATES,
    "timestamptz": _DATES,
    "time": ("time without time zone", "time with time zone", *_DATES[1:], "interval"),
}


def bind(call: Call, model: ModelInfo, scope: Scope) -> tuple[Input, ...]:
    """Return an input for each feature of the model, in the signature's order.

    :raises UnknownFeature: for features that nothing gives, or names that are no features
    :raises AmbiguousFeature: for features that several sources give
    :raises WrongType: for columns that cannot become the feature
    """
    items = call.items
    explicit = _explicit(call, model)
    found: dict[str, Input] = {}
    for feature in model.signature.features:
        item = explicit.get(feature.name)
        if item is not None:
            found[feature.name] = _from_item(item, feature, scope)
            continue
        stars = [None] if items is None else [item for item in items if item.feature is None]
        bound = _from_stars(stars, feature, call, scope)
        if bound is not None:
            found[feature.name] = bound
    missing = [feature.name for feature in model.signature.features if feature.name not in found]
    if missing:
        raise _missing(call, missing, scope.clause)
    return tuple(found[feature.name] for feature in model.signature.features)


def _explicit(call: Call, model: ModelInfo) -> dict[str, Item]:
    names = [feature.name for feature in model.signature.features]
    explicit: dict[str, Item] = {}
    for item in call.items or ():
        if item.feature is None:
            continue
        if item.feature not in names:
            close = difflib.get_close_matches(item.feature, names, 1, 0.6)
            raise UnknownFeature(
                f"model {model.name!r} has no feature {item.feature!r}",
                hint=f"did you mean {close[0]!r}?" if close else f"its features: {', '.join(names)}",
                position=item.span.start + 1,
            )
        if item.feature in explicit:
            raise MalformedForm(
                f"feature {item.feature!r} is given twice", position=item.span.start + 1, sqlstate="42701"
            )
        explicit[item.feature] = item
    return explicit


def _from_item(item: Item, feature: Feature, scope: Scope) -> Input:
    clause = scope.clause
    position = item.span.start + 1
    pieces = ("(", item.span, ")") if item.path is None else (item.span,)
    if item.path is None or len(item.path) > 2:
        return Input(feature, pieces, at=item.span.start)
    name = item.path[-1]
    if len(item.path) == 2:
        source = clause.source(item.path[0]) or scope.outer(item.path[0])
        column = source.column(name) if source else None
        where = f"source {item.path[0]!r}"
    else:
        owners = _owners(name, clause)
        if len(owners) > 1:
            raise _ambiguous(name, owners, position)
        column = next((column for column in clause.star if column.name == name), None)
        where = "FROM"
    if column is None:
        # a nested block may mean a column of the query around it: PostgreSQL knows
        if scope.nested:
            return Input(feature, pieces, at=item.span.start)
        if len(item.path) == 2 and source is None:
            raise _no_source(item.path[0], clause, position)
        known = sorted({column.name for source in clause.sources for column in source.columns})
        close = difflib.get_close_matches(name, known, 1, 0.6)
        raise UnknownFeature(
            f"column {name!r} does not exist in {where}",
            hint=f"did you mean {close[0]!r}?" if close else None,
            position=position,
        )
    check_type(column.type, feature, position)
    return Input(feature, pieces, column.type, at=item.span.start)


def _from_stars(stars: Sequence[Item | None], feature: Feature, call: Call, scope: Scope) -> Input | None:
    clause = scope.clause
    for item in stars:
        position = call.position if item is None else item.span.start + 1
        if item is not None and item.path:
            source = clause.source(item.path[-1]) or scope.outer(item.path[-1])
            if source is None:
                raise _no_source(item.path[-1], clause, position)
            owners: list[Source] = [source] if source.column(feature.name) else []
        else:
            owners = _owners(feature.name, clause)
        if len(owners) > 1:
            raise _ambiguous(feature.name, owners, position)
        if not owners:
            continue
        is_merged = not (item and item.path) and feature.name in clause.merged
        qualifier = "" if is_merged else f"{quote(owners[0].alias)}."
        columns = clause.star if is_merged else owners[0].columns
        column = next(column for column in columns if column.name == feature.name)
        check_type(column.type, feature, position)
        origin = ("" if is_merged else owners[0].alias, feature.name)
        return Input(feature, (f"{qualifier}{quote(feature.name)}",), column.type, origin, position - 1)
    return None


def _no_source(alias: str, clause: FromClause, position: int) -> UnknownFeature:
    return UnknownFeature(
        f"source {alias!r} does not stand in FROM",
        hint=f"the sources: {', '.join(source.alias for source in clause.sources) or 'none'}",
        position=position,
        sqlstate="42P01",
    )


def _owners(name: str, clause: FromClause) -> list[Source]:
    """Return the sources that an unqualified name may mean; one for a merged column."""
    owners = [source for source in clause.sources for column in source.columns if column.name == name]
    visible = sum(column.name == name for column in clause.star)
    return owners[:visible]


def _ambiguous(name: str, owners: Sequence[Source], position: int) -> AmbiguousFeature:
    aliases = [source.alias for source in owners]
    return AmbiguousFeature(
        f"feature {name!r} is ambiguous: it is a column of {' and of '.join(map(repr, aliases))}",
        hint=f"name the one that is meant: USING *, {quote(aliases[0])}.{quote(name)}",
        position=position,
    )


def _missing(call: Call, missing: Sequence[str], clause: FromClause) -> UnknownFeature:
    names = list(dict.fromkeys(column.name for column in clause.star))
    plural = "s" if len(missing) > 1 else ""
    where = "the USING list" if call.items is not None else "the columns of FROM"
    message = f"model {call.model!r} misses feature{plural} {', '.join(map(repr, missing))} in {where}"
    folded = {name.lower(): name for name in names}
    cased = next((folded[name.lower()] for name in missing if name.lower() in folded), None)
    if cased is not None and cased not in missing:
        feature = next(name for name in missing if name.lower() == cased.lower())
        hint = f"names are case-sensitive: write USING *, {quote(cased)} AS {quote(feature)}"
    elif call.items is not None and not any(item.feature is None for item in call.items):
        hint = (
            "a USING list must give every feature; add the names, or begin it with * to bind the rest by name"
        )
    else:
        hint = f"columns there: {', '.join(names) or 'none'}; or give it: USING *, expression AS {missing[0]}"
    return UnknownFeature(message, hint=hint, position=call.position)


def check_type(type_: str, feature: Feature, position: int) -> None:
    """Refuse a column whose type cannot become the feature.

    :param type_: PostgreSQL's name of the column's type
    :raises WrongType: naming both types
    """
    base = base_type(type_)
    accepted = _ACCEPTED.get(feature.kind)
    is_known = base in _KNOWN or base.endswith("[]")
    if accepted is None or base in accepted or base == feature.type or not is_known:
        return
    raise WrongType(
        f"feature {feature.name!r} is of type {feature.type}, but the column is of type {type_}",
        hint=f"give it explicitly: USING *, (expression)::{feature.type} AS {quote(feature.name)}",
        position=position,
    )


def base_type(type_: str) -> str:
    """Return a type's name without modifiers: ``numeric(10,2)`` is ``numeric``."""
    start, end = type_.find("("), type_.find(")")
    return type_ if start < 0 else (type_[:start] + type_[end + 1 :]).strip()


#: types that we know enough of to refuse them; domains, enums and others are left to PostgreSQL's casts
_KNOWN = frozenset(
    [
        *_NUMBERS,
        *_DATES,
        "boolean",
        "character",
        "uuid",
        "json",
        "jsonb",
        "bytea",
        "interval",
        "time without time zone",
        "time with time zone",
    ]
)
