"""Conditions on a prediction as conditions on features, where that is exact."""

from __future__ import annotations

import dataclasses
import math
import operator as operators
from collections.abc import Callable, Mapping
from typing import Literal

from .bounds import Bounds, narrowed
from .evaluate import scores
from .exact import after, last
from .form import InlineForm, Wanted
from .leaves import answers, is_one_tree, mapped
from .nodes import Leaf, Linear, Node, Number

Comparison = Literal["<", "<=", "=", ">=", ">", "<>"]
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operators.lt,
    "<=": operators.le,
    "=": operators.eq,
    ">=": operators.ge,
    ">": operators.gt,
    "<>": operators.ne,
}
#: boxes that are worth a condition
MOST_BOXES = 16
#: a box: what each feature is limited to, all of them at once; features that are not in it may be anything
Box = dict[str, Bounds]


def regions(
    form: InlineForm,
    wanted: Wanted,
    comparison: Comparison,
    constant: float | str,
    most: int = MOST_BOXES,
) -> list[Box] | None:
    """Return the boxes of features in which a single tree's output compares so with a constant.

    A row satisfies the comparison if and only if it lies in one of the boxes, and it lies in one at most. No
    box at all means that no row does; ``{}`` is the box of all rows.

    :param wanted: the output: a value, a label, or a probability
    :param constant: a number; for a label one of the form's classes, with ``=`` or ``<>``
    :param most: boxes that are returned at the most
    :returns: None if the form is no single tree, asks about a component of a date, or needs more boxes
    """
    if not is_one_tree(form):
        return None
    tree = answers(form, wanted)
    if wanted.kind == "label":
        if comparison not in ("=", "<>") or not isinstance(constant, str):
            return None
        constant = float(form.classes.index(constant)) if constant in form.classes else -1.0
    if isinstance(constant, str) or math.isnan(constant):
        return None
    number, compare = constant, _COMPARE[comparison]
    chosen = mapped(tree, lambda values: (float(compare(values[0], number)),))
    boxes: list[Box] = []
    if not _gather(form, chosen, {}, boxes, 4 * most):
        return None
    boxes = _merged(boxes)
    return boxes if len(boxes) <= most else None


def _gather(form: InlineForm, node: Node, box: Box, boxes: list[Box], most: int) -> bool:
    """Collect the boxes of leaves that are chosen; False if there are too many, or they are no boxes."""
    if isinstance(node, Leaf):
        if node.values[0]:
            boxes.append({name: bounds for name, bounds in box.items() if bounds != Bounds()})
        return len(boxes) <= most
    column = form.columns[node.column]
    if not isinstance(column, Number) and hasattr(column, "part"):
        return False
    for low in (True, False):
        found = narrowed(column, box.get(column.feature, Bounds()), node, low=low)
        if found is None:
            continue
        child = node.low if low else node.high
        if not _gather(form, child, {**box, column.feature: found}, boxes, most):
            return False
    return True


def _merged(boxes: list[Box]) -> list[Box]:
    """Join boxes that differ in one feature's interval only and touch there."""
    joined = True
    while joined:
        joined = False
        for i, one in enumerate(boxes):
            for other in boxes[i + 1 :]:
                both = _join(one, other)
                if both is not None:
                    boxes = [box for box in boxes if box is not one and box is not other]
                    boxes.append(both)
                    joined = True
                    break
            if joined:
                break
    return boxes


def _join(one: Box, other: Box) -> Box | None:
    differing = [name for name in {*one, *other} if one.get(name) != other.get(name)]
    if len(differing) != 1 or differing[0] not in one or differing[0] not in other:
        return None
    name = differing[0]
    first, second = sorted((one[name], other[name]), key=lambda bounds: bounds.low)
    if (first.texts, first.excluded) != (second.texts, second.excluded):
        return None
    missing = first.missing or second.missing
    if second.low > second.high:
        # only the missing ones
        bounds = dataclasses.replace(first, missing=missing)
    elif first.high < math.inf and second.low <= after(first.high):
        bounds = dataclasses.replace(first, high=max(first.high, second.high), missing=missing)
    else:
        return None
    rest = {key: value for key, value in one.items() if key != name}
    return rest if bounds == Bounds() else {**rest, name: bounds}


def threshold(
    form: InlineForm,
    comparison: Comparison,
    constant: float,
    fixed: Mapping[str, float | str | None] | None = None,
) -> Bounds | None:
    """Return the values of the only feature that is not fixed for which a weighted sum compares so.

    The sum is that of the regression's value, or of the two classes' score (above 0: the second class). Each
    step of its arithmetic rises or falls throughout, rounding included, and is done here as PostgreSQL does
    it, so that the border found by bisection is exact to the last bit.

    :param fixed: values of all other features, None for NULL
    :returns: None where the form is no weighted sum of one number that is left, or for ``<>``; its
        ``missing`` tells whether the comparison holds where the feature is missing, and ``is_empty`` whether
        it never holds
    """
    values: dict[str, float | str | None] = dict(fixed or {})
    left = [item for item in form.inputs if item.name not in values]
    if not isinstance(form.body, Linear) or len(form.body.start) != 1 or comparison == "<>":
        return None
    if len(left) != 1 or left[0].text or math.isnan(constant):
        return None
    about = [term for term in form.body.terms if form.columns[term.column].feature == left[0].name]
    if len(about) != 1 or not isinstance(form.columns[about[0].column], Number):
        return None
    name = left[0].name

    def value(number: float | None) -> float:
        return scores(form, {**values, name: number})[0]

    missing = _COMPARE[comparison](value(None), constant)
    if comparison == "=":
        low, high = _interval(value, ">=", constant), _interval(value, "<=", constant)
        return dataclasses.replace(low.within(high), missing=missing)
    return dataclasses.replace(_interval(value, comparison, constant), missing=missing)


def _interval(value: Callable[[float | None], float], comparison: Comparison, constant: float) -> Bounds:
    compare = _COMPARE[comparison]
    at_low, at_high = compare(value(-math.inf), constant), compare(value(math.inf), constant)
    if at_low and at_high:
        return Bounds()
    if not at_low and not at_high:
        return Bounds(math.inf, -math.inf)
    border = last(lambda number: compare(value(number), constant) == at_low)
    if border is None:
        return Bounds(math.inf, -math.inf)
    return Bounds(high=border) if at_low else Bounds(low=after(border))
