"""Trees with other leaves."""

from __future__ import annotations

from collections.abc import Callable

from .form import InlineForm, Wanted
from .nodes import Leaf, Node, Trees, make_split


def mapped(node: Node, change: Callable[[tuple[float, ...]], tuple[float, ...]]) -> Node:
    """Return a tree with other leaves; splits between equal ones fall away."""
    if isinstance(node, Leaf):
        return Leaf(change(node.values))
    low, high = mapped(node.low, change), mapped(node.high, change)
    return make_split(node.column, node.at, node.missing_low, low, high)


def is_one_tree(form: InlineForm) -> bool:
    """Tell whether the outputs are constants at the leaves of a single tree."""
    body = form.body
    if not isinstance(body, Trees) or len(body.trees) != 1 or any(body.start) or body.divisor != 1.0:
        return False
    return form.link in ("identity", "share", "shares")


def answers(form: InlineForm, wanted: Wanted) -> Node:
    """Return a single tree whose leaves hold what is wanted; a label as its position among the classes."""
    trees = form.body.trees if isinstance(form.body, Trees) else ()
    return mapped(trees[0], lambda values: (_answer(form, values, wanted),))


def _answer(form: InlineForm, values: tuple[float, ...], wanted: Wanted) -> float:
    if wanted.kind == "value":
        return values[0]
    if form.link == "share":
        values = (1.0 - values[0], values[0])
        label = int(values[1] > 0.5)
    else:
        label = values.index(max(values))
    if wanted.kind == "label":
        return float(label)
    return values[label if wanted.label is None else form.classes.index(wanted.label)]
