"""Asks the catalog for the columns of a FROM clause, all sources with one question."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .catalog import Catalog, Column, DescribeError
from .errors import Aggregated, InvalidSource, NotSupported
from .names import quote
from .sources import FromClause
from .splice import Piece, Span, Splicer

#: column that divides one source's columns from the next one's
_DIVIDER = "pgpredict: next source"
#: alias of a FROM that is tried within the queries around it
_INNER = '"pgpredict: inner"'


@dataclasses.dataclass
class Context:
    """What an expression can be tried in.

    :ivar body: what stands behind FROM; empty where there is none
    :ivar ctes: definitions that are visible, outer before inner, and whether each is recursive
    :ivar outer: the FROM of each query around, innermost first
    """

    body: list[Piece]
    ctes: list[tuple[list[Piece], bool]]
    splicer: Splicer
    catalog: Catalog
    outer: list[list[Piece]] = dataclasses.field(default_factory=list)

    def columns(self, select: Sequence[Piece]) -> Sequence[Column]:
        """Return the columns of a query over the context's FROM, which is prepared and never run.

        :param select: the query without its WITH
        :raises InvalidSource: with PostgreSQL's own complaint, placed into the user's statement
        """
        try:
            return self._ask(select)
        except InvalidSource as error:
            if not self.outer or error.sqlstate not in ("42P01", "42703"):
                raise
        # a FROM may refer to the queries around it (LATERAL, or a function of an outer column)
        wrapped = list(select)
        for body in self.outer:
            wrapped = [f"SELECT {_INNER}.* FROM ", *body, ", LATERAL (", *wrapped, f"\n) AS {_INNER}"]  # noqa: S608 - our own names
        # with all that can be meant in sight, PostgreSQL names what is really wrong
        return self._ask(wrapped)

    def estimate(self, conditions: Sequence[Span]) -> float | None:
        """Return how many rows of FROM PostgreSQL expects to meet conditions; None where it cannot tell."""
        where: list[Piece] = []
        for condition in conditions:
            where += [" AND " if where else " WHERE ", "(", condition, "\n)"]
        return self.estimate_of(["SELECT 1 FROM ", *self.body, *where])

    def estimate_of(self, select: Sequence[Piece]) -> float | None:
        """Return how many rows PostgreSQL expects of a query without its WITH; None where it cannot tell."""
        return self.catalog.estimate(self.splicer.render([*_with(self.ctes), *select]).sql)

    def _ask(self, select: Sequence[Piece]) -> Sequence[Column]:
        text = self.splicer.render([*_with(self.ctes), *select])
        try:
            return self.catalog.describe(text.sql)
        except DescribeError as error:
            position = None if error.position is None else text.origin(error.position)
            raise InvalidSource(error.message, error.hint, position, error.sqlstate) from error


def describe(clause: FromClause, context: Context) -> None:
    """Fill in the columns of all sources and of ``SELECT *``.

    :raises InvalidSource: with PostgreSQL's own complaint, placed into the user's statement
    """
    pieces: list[Piece] = []
    for source in clause.sources:
        pieces += ["SELECT " if source is clause.sources[0] else "", f"{quote(source.alias)}.*, "]
        # a whole row as a value, whatever its columns are called; its type is wanted as well
        pieces.append(f"COALESCE({quote(source.alias)}.*) AS {quote(_DIVIDER)}, ")
    pieces += ["* FROM ", *context.body]
    columns = context.columns(pieces)
    rows = [column for column in columns if column.name == _DIVIDER]
    groups = _split(columns)
    if len(groups) != len(clause.sources) + 1:
        raise NotSupported("the columns of FROM could not be told apart")
    for source, group, row in zip(clause.sources, groups, rows, strict=False):
        source.columns, source.row = tuple(group), row
    clause.star = tuple(groups[-1])


def check_rowwise(expressions: Sequence[Span], context: Context) -> None:
    """Refuse features that are no function of one row: aggregates, window functions, set-returning functions.

    They would change which rows there are. PostgreSQL refuses them in WHERE, which is how we ask.

    :param expressions: those of USING lists that call functions
    :raises Aggregated: for an aggregate
    :raises NotSupported: for another that PostgreSQL refuses there
    :raises InvalidSource: with PostgreSQL's own complaint about anything else
    """
    for expression in expressions:
        from_: list[Piece] = [" FROM ", *context.body] if context.body else []
        try:
            context.columns(["SELECT 1", *from_, " WHERE (", expression, ") IS NOT NULL"])
        except InvalidSource as error:
            if error.sqlstate not in ("42803", "42P20", "0A000"):
                raise
            refusal = Aggregated if error.sqlstate == "42803" else NotSupported
            raise refusal(
                "a feature must be computed from one row, without aggregates, window or set-returning "
                "functions",
                hint="compute it in a subquery of FROM",
                position=error.position or expression.start + 1,
            ) from error


def check_items(expressions: Sequence[Span], context: Context) -> None:
    """Let PostgreSQL look at features that nothing else of the statement will hold.

    :raises InvalidSource: with PostgreSQL's complaint
    """
    if expressions:
        listed: list[Piece] = []
        for expression in expressions:
            listed += [", " if listed else "", expression]
        context.columns(["SELECT ", *listed, *([" FROM ", *context.body] if context.body else [])])


def _with(ctes: Sequence[tuple[Sequence[Piece], bool]]) -> list[Piece]:
    pieces: list[Piece] = []
    for definition, _ in ctes:
        if not pieces:
            pieces.append("WITH RECURSIVE " if any(recursive for _, recursive in ctes) else "WITH ")
        else:
            pieces.append(", ")
        pieces += definition
    return [*pieces, " "] if pieces else []


def _split(columns: Sequence[Column]) -> list[list[Column]]:
    groups: list[list[Column]] = [[]]
    for column in columns:
        if column.name == _DIVIDER:
            groups.append([])
        else:
            groups[-1].append(column)
    return groups
