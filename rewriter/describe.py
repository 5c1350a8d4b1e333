"""Asks the catalog for the columns of a FROM clause, all sources with one question."""

from __future__ import annotations

from collections.abc import Sequence

from .catalog import Catalog, Column, DescribeError
from .errors import InvalidSource, NotSupported
from .names import quote
from .scan import Token, scan
from .scope import Block, Cte
from .sources import FromClause
from .splice import Piece, Span, Splicer

#: column that divides one source's columns from the next one's
_DIVIDER = "pgpredict: next source"


def describe(
    clause: FromClause,
    body: Span,
    ctes: Sequence[Cte],
    splicer: Splicer,
    catalog: Catalog,
    *,
    nested: bool,
) -> None:
    """Fill in the columns of all sources and of ``SELECT *``.

    :param body: what stands behind FROM
    :param nested: whether the block lies in another query
    :param ctes: those that the block sees, outer before inner
    :raises InvalidSource: with PostgreSQL's own complaint, placed into the user's statement
    """
    pieces = _with(ctes)
    for source in clause.sources:
        pieces += ["SELECT " if source is clause.sources[0] else "", f"{quote(source.alias)}.*, "]
        # a whole row as a value, whatever its columns are called; its type is wanted as well
        pieces.append(f"COALESCE({quote(source.alias)}.*) AS {quote(_DIVIDER)}, ")
    pieces += ["* FROM ", body]
    text = splicer.render(pieces)
    sql, shifts = _renumber(text.sql)
    try:
        columns = catalog.describe(sql)
    except DescribeError as error:
        position = (
            None if error.position is None else text.origin(error.position - _shift(shifts, error.position))
        )
        hint = error.hint
        if nested and error.sqlstate in ("42P01", "42703"):
            hint = (
                "the FROM of a block that predicts cannot refer to the query around it yet, nor to its own "
                "recursive CTE; hand values in through USING instead"
            )
        raise InvalidSource(error.message, hint, position, error.sqlstate) from error
    rows = [column for column in columns if column.name == _DIVIDER]
    groups = _split(columns)
    if len(groups) != len(clause.sources) + 1:
        raise NotSupported("the columns of FROM could not be told apart", position=body.start + 1)
    for source, group, row in zip(clause.sources, groups, rows, strict=False):
        source.columns, source.row = tuple(group), row
    clause.star = tuple(groups[-1])


def check_rowwise(
    expressions: Sequence[Span], body: Span | None, ctes: Sequence[Cte], splicer: Splicer, catalog: Catalog
) -> None:
    """Refuse features that are no function of one row: aggregates, window functions, set-returning functions.

    They would change which rows there are. PostgreSQL refuses them in WHERE, which is how we ask.

    :param expressions: those of USING lists that call functions
    :raises NotSupported: for one that PostgreSQL refuses there
    :raises InvalidSource: with PostgreSQL's own complaint about anything else
    """
    for expression in expressions:
        from_: list[Piece] = [" FROM ", body] if body is not None else []
        pieces = [*_with(ctes), "SELECT 1", *from_, " WHERE (", expression, ") IS NOT NULL"]
        text = splicer.render(pieces)
        sql, shifts = _renumber(text.sql)
        try:
            catalog.describe(sql)
        except DescribeError as error:
            position = (
                None
                if error.position is None
                else text.origin(error.position - _shift(shifts, error.position))
            )
            if error.sqlstate in ("42803", "42P20", "0A000"):
                raise NotSupported(
                    "a feature must be computed from one row, without aggregates, window or set-returning "
                    "functions",
                    hint="compute it in a subquery of FROM",
                    position=position or expression.start + 1,
                ) from error
            raise InvalidSource(error.message, error.hint, position, error.sqlstate) from error


def visible_ctes(ctes: Sequence[Cte], block: Block, tokens: Sequence[Token]) -> list[Cte]:
    """Return the CTEs that a block sees, of several with one name the innermost."""
    start = tokens[block.first].start
    seen = {cte.name: cte for cte in ctes if cte.span.end <= start and block.first < cte.visible.stop}
    return sorted(seen.values(), key=lambda cte: cte.span)


def _with(ctes: Sequence[Cte]) -> list[Piece]:
    pieces: list[Piece] = []
    for cte in ctes:
        if not pieces:
            pieces.append("WITH RECURSIVE " if any(cte.recursive for cte in ctes) else "WITH ")
        else:
            pieces.append(", ")
        pieces.append(cte.span)
    return [*pieces, " "] if pieces else []


def _split(columns: Sequence[Column]) -> list[list[Column]]:
    groups: list[list[Column]] = [[]]
    for column in columns:
        if column.name == _DIVIDER:
            groups.append([])
        else:
            groups[-1].append(column)
    return groups


def _renumber(sql: str) -> tuple[str, list[tuple[int, int]]]:
    """Give parameters numbers from $1 on without gaps, which PostgreSQL insists on.

    :return: the query, and (position from which on, characters to be taken off there)
    """
    if "$" not in sql:
        return sql, []
    numbers: dict[str, int] = {}
    parts, shifts, position, shift = [], [], 0, 0
    for token in scan(sql):
        if token.kind == "param":
            text = f"${numbers.setdefault(token.text, len(numbers) + 1)}"
            parts += [sql[position : token.start], text]
            position = token.end
            shift += len(text) - len(token.text)
            shifts.append((token.end + 1 + shift, shift))
    return "".join([*parts, sql[position:]]), shifts


def _shift(shifts: Sequence[tuple[int, int]], position: int) -> int:
    return next((shift for start, shift in reversed(shifts) if position >= start), 0)
