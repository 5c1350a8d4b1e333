"""How large a form may be before ONNX Runtime is faster."""

from __future__ import annotations

from typing import Any

from .form import InlineForm
from .nodes import Linear, Split, Trees, nodes_of
from .raw import NoForm

#: splits that a form may have, each counted once a score that it adds to: the text that PostgreSQL parses and
#: plans each time is some 100 bytes a split
MOST_SPLITS = 2_000
#: comparisons in an ordinary row, beyond which ONNX Runtime is faster; a tree more is worth some to it
_BASE_COMPARISONS, _COMPARISONS_OF_TREE = 30.0, 1.0
#: terms of a sum; of several classes' sums together, whose products cost ONNX Runtime little more than one's
MOST_TERMS, MOST_TERMS_OF_CLASSES = 500, 100


def check_size(form: InlineForm) -> None:
    """Refuse forms that would be slower than the graph.

    :raises NoForm: saying why
    """
    body = form.body
    if isinstance(body, Linear):
        one = len(body.start) == 1
        # a text is looked up once, and costs more the more there are
        looked_up = sum(1.0 + (len(item.values) / 8.0 if one else 0.0) for item in body.lookups)
        terms = len(body.start) * (len(body.terms) + looked_up)
        most = MOST_TERMS if one else MOST_TERMS_OF_CLASSES
        if terms > most:
            raise NoForm(f"its sums have {terms:,.0f} terms, {most} are written out at the most")
        return
    splits, comparisons = size(body)
    if splits > MOST_SPLITS:
        raise too_many(splits)
    if comparisons > _BASE_COMPARISONS + _COMPARISONS_OF_TREE * len(body.trees):
        raise NoForm(f"its {len(body.trees):,} trees are faster in ONNX Runtime")


def too_many(splits: int) -> NoForm:
    """Return what to raise for so many splits."""
    return NoForm(f"its trees have {splits:,} splits, {MOST_SPLITS:,} are written out at the most")


def size(body: Trees) -> tuple[int, float]:
    """Return the splits that are written out, and how many comparisons an ordinary row needs."""
    splits, comparisons = 0, 0.0
    for tree in body.trees:
        scores = 1
        if len(body.start) > 1:
            leaves = [node.values for node in nodes_of(tree) if not isinstance(node, Split)]
            scores = max(1, sum(any(values) for values in zip(*leaves, strict=True)))
        waiting: list[tuple[Any, float]] = [(tree, 1.0)]
        while waiting:
            node, share = waiting.pop()
            if isinstance(node, Split):
                splits, comparisons = splits + scores, comparisons + share * scores
                waiting += [(node.low, share / 2), (node.high, share / 2)]
    return splits, comparisons
