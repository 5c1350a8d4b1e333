"""What is known of features, and what follows for a form: branches that no row reaches.

All numbers here are doubles, as the form compares them. A condition on a column of another type has to be
translated with care: a cast to double rounds, so that ``amount > 0.1`` on numeric tells no more than
``amount::float8 >= 0.1::float8``. ``x > 60`` holds for NaN in PostgreSQL, which is missing to a form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from . import sql
from .exact import after
from .form import InlineForm
from .nodes import (
    Category,
    Column,
    Input,
    Leaf,
    Linear,
    Lookup,
    Node,
    Number,
    Split,
    Trees,
    make_split,
    nodes_of,
)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What the value of a feature may be.

    :ivar low, high: of a number, both ends included; an open end is the next double inside,
        ``math.nextafter(60.0, math.inf)`` for ``> 60``. Nothing where ``low > high``.
    :ivar missing: whether the value may be NULL, or NaN
    :ivar texts: the only texts that it may be; None for all
    :ivar excluded: texts that it cannot be
    """

    low: float = -math.inf
    high: float = math.inf
    missing: bool = True
    texts: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether no value is left."""
        return not self.missing and not self.has_value

    @property
    def has_value(self) -> bool:
        """Whether a value that is not missing is left."""
        return self.low <= self.high and (self.texts is None or bool(self.texts - self.excluded))

    def allows(self, text: str) -> bool:
        """Tell whether a text is possible."""
        return text not in self.excluded and (self.texts is None or text in self.texts)

    def within(self, other: Bounds) -> Bounds:
        """Return what both allow."""
        texts, excluded = self.texts if other.texts is None else other.texts, self.excluded | other.excluded
        if self.texts is not None and other.texts is not None:
            texts = self.texts & other.texts
        if texts is not None:
            texts, excluded = texts - excluded, frozenset()
        missing = self.missing and other.missing
        return Bounds(max(self.low, other.low), min(self.high, other.high), missing, texts, excluded)


def condition(bounds: Bounds, item: Input, value: str) -> str:
    """Return SQL that is true for the values within bounds; for others it is false or NULL.

    :param value: of the feature, as :meth:`.form.InlineForm.render` takes it
    """
    value = sql.parens(value)
    missing = [f"{value} IS NULL", *([sql.op(value, "=", "'NaN'")] if item.nan else [])]
    inside = _inside(bounds, item, value)
    if not bounds.has_value:
        return f"({' OR '.join(missing)})" if bounds.missing else "false"
    if not bounds.missing:
        return " AND ".join(inside) or f"{value} IS NOT NULL"
    return f"({' OR '.join([*missing, ' AND '.join(inside)])})" if inside else "true"


def _inside(bounds: Bounds, item: Input, value: str) -> list[str]:
    """Return conditions that hold for values within bounds, but may hold for NaN if it may be missing."""
    if item.text:
        if bounds.texts is not None:
            return [sql.among(value, sorted(bounds.texts - bounds.excluded))]
        return [f"NOT ({sql.among(value, sorted(bounds.excluded))})"] if bounds.excluded else []
    if bounds.low == bounds.high:
        return [sql.op(value, "=", sql.bare(bounds.low))]
    inside = [sql.op(value, ">=", sql.bare(bounds.low))] if bounds.low > -math.inf else []
    # NaN is larger than infinity
    if bounds.high < math.inf or (item.nan and not bounds.missing):
        inside.append(sql.op(value, "<=", sql.bare(bounds.high)))
    return inside


#: what is known of features, by name; nothing of those that are not in it
Known = Mapping[str, Bounds]


def bounded(form: InlineForm, bounds: Known) -> InlineForm:
    """Return a form that gives the same for all rows within bounds, without branches that they do not reach.

    Of a weighted sum, only categories that cannot occur are left out: its arithmetic stays as it is.

    :param bounds: what is known, for some of the features
    """
    if isinstance(form.body, Trees):
        trees = tuple(pruned(tree, form.columns, bounds) for tree in form.body.trees)
        return compact(dataclasses.replace(form, body=dataclasses.replace(form.body, trees=trees)))
    lookups = tuple(_possible(item, bounds.get(item.feature, Bounds())) for item in form.body.lookups)
    return dataclasses.replace(form, body=dataclasses.replace(form.body, lookups=lookups))


def _possible(lookup: Lookup, known: Bounds) -> Lookup:
    return dataclasses.replace(lookup, values=tuple(pair for pair in lookup.values if known.allows(pair[0])))


def compact(form: InlineForm) -> InlineForm:
    """Return a form of trees without columns and features that nothing asks about."""
    if isinstance(form.body, Linear):
        return form
    used = sorted({n.column for tree in form.body.trees for n in nodes_of(tree) if isinstance(n, Split)})
    number = {column: position for position, column in enumerate(used)}
    trees = tuple(renumbered(tree, number) for tree in form.body.trees)
    columns = tuple(form.columns[column] for column in used)
    read = {column.feature for column in columns}
    inputs = tuple(item for item in form.inputs if item.name in read)
    return dataclasses.replace(
        form,
        features=tuple(item.name for item in inputs),
        inputs=inputs,
        columns=columns,
        body=dataclasses.replace(form.body, trees=trees),
    )


def renumbered(node: Node, number: Mapping[int, int]) -> Node:
    """Return a tree whose columns have other positions."""
    if isinstance(node, Leaf):
        return node
    low, high = renumbered(node.low, number), renumbered(node.high, number)
    return dataclasses.replace(node, column=number[node.column], low=low, high=high)


def pruned(node: Node, columns: tuple[Column, ...], known: Known) -> Node:
    """Return a tree without what rows within bounds do not reach."""
    if isinstance(node, Leaf):
        return node
    column = columns[node.column]
    before = known.get(column.feature, Bounds())
    sides = [narrowed(column, before, node, low=low) for low in (True, False)]
    # what is neither low nor high does not occur at all
    if sides[1] is None:
        return pruned(node.low, columns, {**known, column.feature: sides[0] or before})
    if sides[0] is None:
        return pruned(node.high, columns, {**known, column.feature: sides[1]})
    low = pruned(node.low, columns, {**known, column.feature: sides[0]})
    high = pruned(node.high, columns, {**known, column.feature: sides[1]})
    # where it cannot be missing, the side that is cheaper to write
    missing_low = node.missing_low and before.missing
    return make_split(node.column, node.at, missing_low, low, high)


def narrowed(column: Column, before: Bounds, split: Split, *, low: bool) -> Bounds | None:
    """Return what is known of a feature behind a split; None if nothing goes there."""
    if isinstance(column, Category):
        found = _of_category(column, split.at, low=low)
    elif isinstance(column, Number):
        missing = split.missing_low == low
        found = Bounds(high=split.at, missing=missing) if low else Bounds(after(split.at), missing=missing)
        if not low and split.at == math.inf:
            found = Bounds(math.inf, -math.inf, missing=missing)
    else:
        # of a component, only whether it is missing says anything about the date
        found = Bounds(missing=split.missing_low == low)
        if split.at == math.inf and not low:
            found = Bounds(math.inf, -math.inf)
    both = before.within(found)
    return None if both.is_empty else both


def _of_category(column: Category, at: float, *, low: bool) -> Bounds:
    here = frozenset(text for text, number in column.values if (number <= at) == low)
    there = frozenset(text for text, _ in column.values) - here
    missing = (column.null <= at) == low
    if (column.other <= at) == low:
        return Bounds(missing=missing, excluded=there)
    return Bounds(missing=missing, texts=here)
