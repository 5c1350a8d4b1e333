"""What a server said to a question, as most drivers have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .questions import rows_of

Column = tuple[str, int, int]


@dataclass(frozen=True)
class PlainAnswer:
    """What the server said to one question.

    :ivar value: rows as JSON, or columns; None if there is nothing
    :ivar error: fields of the error by the letters of the protocol, None if there was none
    """

    value: bytes | tuple[Column, ...] | None = None
    error: dict[str, str] | None = None

    def rows(self) -> list[list[Any]]:
        """Return the rows of a :class:`pgpredict.catalog.questions.Rows`."""
        return rows_of(self.value) if isinstance(self.value, bytes) else []

    def columns(self) -> Sequence[Column]:
        """Return the columns of a :class:`pgpredict.catalog.questions.Description`."""
        return self.value if isinstance(self.value, tuple) else ()
