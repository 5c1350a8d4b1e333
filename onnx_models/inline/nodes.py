"""What an SQL form is made of: columns of one feature each, trees or weighted sums over them, and a link.

Everything is plain data. It knows no SQL (:mod:`.render` writes that), and nothing of how a model was fitted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Literal, TypeAlias

#: what becomes of the scores: the value itself; a probability of the second of two classes by the logistic
#: curve, or as it is; probabilities by softmax, or as they are, of which the first largest is predicted
Link = Literal["identity", "logistic", "share", "softmax", "shares"]
#: when the second of two classes is predicted: score above 0, score of 0 or more, probability above 1/2
Rule = Literal["above", "from", "half"]


@dataclasses.dataclass(frozen=True)
class Input:
    """A feature that the form reads.

    :ivar text: whether its value is text, else it is double precision
    :ivar nan: whether the value may be NaN, which counts as missing; a whole number or a date cannot
    """

    name: str
    text: bool = False
    nan: bool = True


@dataclasses.dataclass(frozen=True)
class Number:
    """A feature's own number, missing where it is NULL or NaN."""

    feature: str


@dataclasses.dataclass(frozen=True)
class Part:
    """A component of a date or time, missing where it is NULL.

    :ivar kind: one of :data:`onnx_models.calendar.COMPONENTS`
    :ivar part: position among its components
    """

    feature: str
    kind: str
    part: int


@dataclasses.dataclass(frozen=True)
class Category:
    """A text as a number; never missing.

    :ivar values: (text, number) pairs, compared byte by byte
    :ivar null: the number of NULL
    :ivar other: the number of every other text
    """

    feature: str
    values: tuple[tuple[str, float], ...]
    null: float
    other: float


Column: TypeAlias = Number | Part | Category


@dataclasses.dataclass(frozen=True)
class Leaf:
    """The end of a branch.

    :ivar values: what it adds to each score
    """

    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Split:
    """A question about one column.

    :ivar column: position among the form's columns
    :ivar at: rows whose number is ``<= at`` go ``low``; infinity for all that are not missing
    :ivar missing_low: whether missing numbers go ``low``
    """

    column: int
    at: float
    missing_low: bool
    low: Node
    high: Node


Node: TypeAlias = Leaf | Split


@dataclasses.dataclass(frozen=True)
class Trees:
    """Sums of trees: ``(tree + tree + ... + start) / divisor`` in this order, for each score.

    :ivar trees: each gives all scores
    :ivar start: added to the sums unless it is 0 for all
    :ivar divisor: 1 for none
    """

    trees: tuple[Node, ...]
    start: tuple[float, ...]
    divisor: float = 1.0


@dataclasses.dataclass(frozen=True)
class Term:
    """``(x - center) * weight`` for each score, where x is a column, limited to [low, high].

    :ivar low, high: infinite where the type of x has no value beyond the limits
    :ivar missing: what is added instead where x is missing
    """

    column: int
    center: float
    low: float
    high: float
    weights: tuple[float, ...]
    missing: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Lookup:
    """What a text adds to each score; one of a :class:`Linear`'s summands.

    :ivar values: (text, numbers) pairs, compared byte by byte
    """

    feature: str
    values: tuple[tuple[str, tuple[float, ...]], ...]
    null: tuple[float, ...]
    other: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Linear:
    """Weighted sums: ``start + term + ... + lookup + ...`` in this order, for each score."""

    start: tuple[float, ...]
    terms: tuple[Term, ...]
    lookups: tuple[Lookup, ...]


Body: TypeAlias = Trees | Linear


def nodes_of(tree: Node) -> Iterator[Node]:
    """Return every node of a tree."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Split):
            stack += [node.high, node.low]


def make_split(column: int, at: float, missing_low: bool, low: Node, high: Node) -> Node:
    """Return a split, or what is left of it where it decides nothing.

    :param at: -infinity where no number is low enough
    """
    if low == high:
        return low
    if at == -math.inf:
        # all that is there goes high, so that the question is only whether it is there
        at, missing_low, low, high = math.inf, not missing_low, high, low
    if at == math.inf and missing_low:
        return low
    return Split(column, at, missing_low, low, high)
