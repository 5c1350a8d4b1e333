"""What the rewriter must know of the database, and nothing more.

The rewriter does no I/O: whoever calls it hands over a :class:`Catalog`. A client asks its own connection
(``pgpredict.catalog``), a proxy may answer from a cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from onnx_models.inline import InlineForm
from onnx_models.signature import Signature


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """A model that the caller may use, in its deployed version or in the one that was asked for.

    :ivar pinned: whether the version was asked for by number, so that deploying another changes nothing
    :ivar inline: its form as SQL, if one was certified to be equal to the ONNX form when it was stored
    :ivar unused: features that have no influence on any output, whatever their values
    """

    name: str
    version: int
    signature: Signature
    schema: str = "models"
    pinned: bool = False
    inline: InlineForm | None = None
    unused: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that a query gives.

    :ivar type: PostgreSQL's name of its type with modifiers, valid in SQL on this connection
    :ivar type_oid: the type's oid
    :ivar is_array: whether values are arrays of any sort (also a domain over one, int2vector and the like):
        these cannot travel through array_agg and unnest
    :ivar is_pseudo: whether the type is a pseudo-type such as ``anyarray`` or ``record``
    :ivar is_composite: whether values are rows of a named type
    """

    name: str
    type: str
    type_oid: int
    is_array: bool = False
    is_pseudo: bool = False
    is_composite: bool = False


class DescribeError(Exception):
    """PostgreSQL does not accept a query that the rewriter wanted to know the columns of.

    :param position: 1-based position in that query
    """

    def __init__(
        self, message: str, sqlstate: str, hint: str | None = None, position: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.hint = hint
        self.position = position


class Catalog(Protocol):
    """Questions that the rewriter asks."""

    def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        """Return the model that the caller knows under this name; None if there is none.

        :param version: number of a version; None is the deployed one
        :raises UndeployedModel: if it has no deployed version; its position is filled in by the rewriter
        :raises UnknownVersion: if it has no version of this number; likewise
        """
        ...

    def settings(self) -> Mapping[str, str]:
        """Return the session's settings ``pgpredict.way`` and ``pgpredict.rules_off``; empty where not set.

        Asked after :meth:`model`, which may bring them along.
        """
        ...

    def texts_are_bytes(self) -> bool:
        """Tell whether texts that are equal are so byte by byte, whatever their collation."""
        ...

    def model_names(self) -> Sequence[str]:
        """Return the names of all models that the caller may use, for hints."""
        ...

    def has_function(self, name: str) -> bool:
        """Tell whether a function of this name can be called without a schema."""
        ...

    def is_volatile(self, names: Sequence[str]) -> bool:
        """Tell whether one of these may be the name of a function that gives another value at each call."""
        ...

    def describe(self, sql: str) -> Sequence[Column]:
        """Return the columns that a query gives, without running it.

        :param sql: it may hold parameters of the statement, under their numbers there
        :raises DescribeError: if PostgreSQL does not accept the query
        """
        ...

    def primary_key(self, table: str) -> Sequence[str]:
        """Return the columns of a table's primary key; none where it has none, or has tables that inherit.

        :param table: name of the table as SQL, with its schema where that is written
        """
        ...

    def is_steady(self, relations: Sequence[str], functions: Sequence[str]) -> bool:
        """Tell whether nothing here is volatile, so that one look gives what many would.

        :param relations: names as SQL; those that are no tables or views are ignored. A view is as volatile
            as what it calls, and what the views below it call
        :param functions: names; a function counts whatever its schema and arguments
        """
        ...

    def estimate(self, sql: str) -> float | None:
        """Return how many rows PostgreSQL expects of a query, without running it.

        :param sql: a query, which may hold parameters
        :return: None where PostgreSQL cannot tell
        """
        ...
