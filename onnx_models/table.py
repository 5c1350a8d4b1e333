"""Training data in memory: columns of float64, and texts as codes into a list of words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .signature import Feature


@dataclasses.dataclass(frozen=True)
class Texts:
    """A text column.

    :ivar codes: int32 index into ``words`` a row, -1 for NULL
    :ivar words: the distinct texts
    """

    codes: NDArray[np.int32]
    words: tuple[str, ...]

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Texts:
        """Encode a sequence."""
        index: dict[str, int] = {}
        codes = np.fromiter(
            (-1 if value is None else index.setdefault(value, len(index)) for value in values),
            np.int32,
            len(values),
        )
        return cls(codes, tuple(index))

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.int64]) -> Texts:
        """Return some rows."""
        return Texts(self.codes[rows], self.words)

    def values(self) -> NDArray[np.object_]:
        """Return the texts, None for NULL."""
        words = np.array([*self.words, None], dtype=object)
        return words[self.codes]

    def counts(self) -> NDArray[np.int64]:
        """Return how often each word occurs."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.words))


Column = NDArray[np.float64] | Texts
Columns = Mapping[str, Column]


@dataclasses.dataclass(frozen=True)
class TrainingTable:
    """What was read for training.

    :ivar features: the columns but the target; ``nullable`` tells whether NULL occurs
    :ivar columns: values by name
    :ivar target: the target column: float64 without NaN, or texts without NULL
    :ivar target_feature: its name, type and kind
    :ivar dropped: rows left out because their target was NULL
    :ivar time: seconds or numbers to order rows by, where a time column was named
    """

    features: tuple[Feature, ...]
    columns: Columns
    target: Column
    target_feature: Feature
    dropped: int = 0
    time: NDArray[np.float64] | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.target)


def take(columns: Columns, rows: NDArray[np.int64]) -> dict[str, Column]:
    """Return some rows of every column."""
    return {
        name: column.take(rows) if isinstance(column, Texts) else column[rows]
        for name, column in columns.items()
    }


def row_count(columns: Columns) -> int:
    """Return the number of rows."""
    return len(next(iter(columns.values())))


def for_scoring(columns: Columns) -> dict[str, NDArray[np.float64] | list[str | None]]:
    """Return columns in the form that :meth:`onnx_models.scoring.Model.predict` takes."""
    return {
        name: column.values().tolist() if isinstance(column, Texts) else column
        for name, column in columns.items()
    }
