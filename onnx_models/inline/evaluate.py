"""A form computed in Python: the same operations in the same order as its SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnx_models.calendar import components

from .form import InlineForm
from .linear_sql import TINY
from .nodes import Category, Column, Leaf, Lookup, Node, Part, Term, Trees

#: a row: numbers or texts by name, None for NULL
Row = Mapping[str, float | str | None]


class Plain:
    """The names of NumPy that :mod:`onnx_models.calendar` uses, for one number."""

    @staticmethod
    def floor(x: float) -> float:
        """Round down."""
        return float(math.floor(x))

    @staticmethod
    def where(condition: bool, x: float, y: float) -> float:
        """Choose."""
        return x if condition else y


def scores(form: InlineForm, row: Row) -> tuple[float, ...]:
    """Return the scores of a row."""
    body = form.body
    columns = [_column(column, row) for column in form.columns]
    if isinstance(body, Trees):
        found = []
        leaves = [_leaf(tree, columns) for tree in body.trees]
        for score, start in enumerate(body.start):
            total = 0.0
            for leaf in leaves:
                total += leaf[score]
            found.append((total + start) / body.divisor)
        return tuple(found)
    totals = []
    for score, start in enumerate(body.start):
        total = start
        for term in body.terms:
            total += _term(term, score, columns[term.column])
        for lookup in body.lookups:
            total += _looked_up(lookup, score, row[lookup.feature])
        totals.append(total)
    return tuple(totals)


def _column(column: Column, row: Row) -> float | None:
    value = row[column.feature]
    if isinstance(column, Category):
        if value is None:
            return column.null
        return dict(column.values).get(str(value), column.other)
    if value is None or isinstance(value, str) or math.isnan(value):
        return None
    if isinstance(column, Part):
        return float(components(value, column.kind, Plain)[column.part])  # type: ignore[arg-type]
    return float(value)


def _leaf(node: Node, columns: list[float | None]) -> tuple[float, ...]:
    while not isinstance(node, Leaf):
        value = columns[node.column]
        low = node.missing_low if value is None else value <= node.at
        node = node.low if low else node.high
    return node.values


def _term(term: Term, score: int, value: float | None) -> float:
    weight = term.weights[score]
    if value is None:
        return term.missing[score]
    if not weight or (not term.center and abs(value) < TINY):
        return 0.0
    return (min(max(value, term.low), term.high) - term.center) * weight


def _looked_up(lookup: Lookup, score: int, text: float | str | None) -> float:
    if text is None:
        return lookup.null[score]
    return dict(lookup.values).get(str(text), lookup.other)[score]
