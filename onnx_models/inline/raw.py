"""What a fitted estimator computes of the matrix, as families hand it over."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .nodes import Link, Rule


@dataclasses.dataclass(frozen=True)
class RawTree:
    """A tree over the matrix, as arrays by node; leaves have ``left`` = -1.

    :ivar values: (nodes, scores)
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    values: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class RawTrees:
    """What an estimator of trees computes of the matrix; see :class:`.nodes.Trees`.

    :ivar single: whether the matrix is rounded to float32 first
    """

    trees: tuple[RawTree, ...]
    start: tuple[float, ...]
    divisor: float
    single: bool
    link: Link
    rule: Rule = "above"

    @property
    def columns(self) -> frozenset[int]:
        """Columns of the matrix that any split asks about."""
        return frozenset(
            column for tree in self.trees for column in np.unique(tree.feature[tree.left >= 0]).tolist()
        )


@dataclasses.dataclass(frozen=True)
class RawLinear:
    """Weighted sums of the matrix's columns.

    :ivar weights: (columns, scores)
    :ivar start: (scores,)
    """

    weights: NDArray[np.float64]
    start: NDArray[np.float64]
    link: Link
    rule: Rule = "above"

    @property
    def columns(self) -> frozenset[int]:
        """Columns of the matrix with a weight."""
        return frozenset(np.flatnonzero(np.any(self.weights != 0.0, axis=1)).tolist())


#: what an estimator is, for families that have a form
Raw: TypeAlias = RawTrees | RawLinear


class NoForm(Exception):
    """A model that cannot be written as SQL; the message says why."""
