"""The sources of a FROM clause: their aliases, and with the catalog's help their columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .catalog import Column
from .errors import NotSupported
from .scan import Token
from .scope import is_word, matching

_QUERY_WORDS = ("select", "with", "values", "table")
_FOLLOWING_WORDS = """
    on using join left right full inner cross natural tablesample with where group having window order
    limit offset fetch for union intersect except as
"""
#: words that can follow a source and are no alias of it
_FOLLOWERS = frozenset(_FOLLOWING_WORDS.split())


@dataclasses.dataclass
class Source:
    """One name that columns can be qualified with.

    :ivar alias: as PostgreSQL folds it
    :ivar schema: the schema written before a table's name, None behind an alias of its own
    :ivar is_table: whether it is a table or view by its own name, which ``schema.table.column`` may refer to
    :ivar columns: in order; empty until described
    :ivar row: the whole row as one value, once described
    :ivar at: index of the token that it begins with
    """

    alias: str
    schema: str | None = None
    is_table: bool = False
    columns: tuple[Column, ...] = ()
    row: Column | None = None
    at: int = -1

    def column(self, name: str) -> Column | None:
        """Return the column of this name, the first of several."""
        return next((column for column in self.columns if column.name == name), None)

    def doubled(self) -> str | None:
        """Return a name that two of the columns have, if there is one."""
        names = [column.name for column in self.columns]
        return next((name for name in names if names.count(name) > 1), None)


@dataclasses.dataclass
class FromClause:
    """All sources, in the order of their columns in ``SELECT *``.

    :ivar merges: whether there is a USING or NATURAL join
    :ivar join_aliases: names of merged columns as a row: ``JOIN ... USING (...) AS name``
    :ivar star: columns of ``SELECT *``; empty until described
    """

    sources: list[Source]
    merges: bool = False
    join_aliases: frozenset[str] = frozenset()
    star: tuple[Column, ...] = ()

    def source(self, alias: str) -> Source | None:
        """Return the source of this alias."""
        return next((source for source in self.sources if source.alias == alias), None)

    @property
    def merged(self) -> frozenset[str]:
        """Names of columns that a USING or NATURAL join has merged."""
        if not self.merges:
            return frozenset()
        star = [column.name for column in self.star]
        every = [column.name for source in self.sources for column in source.columns]
        return frozenset(name for name in every if star.count(name) < every.count(name))


def parse_from(tokens: Sequence[Token], start: int, end: int) -> FromClause:
    """Return the sources between two tokens.

    :raises NotSupported: for a source whose columns cannot be named
    """
    clause = FromClause([])
    _parse_list(tokens, start, end, clause)
    return clause


def _parse_list(tokens: Sequence[Token], start: int, end: int, clause: FromClause) -> None:
    depth = tokens[start].depth
    index = start
    while index < end:
        known, first = len(clause.sources), index
        index = _parse_item(tokens, index, end, clause)
        for source in clause.sources[known:]:
            source.at = first if source.at < 0 else source.at
        while index < end:
            token = tokens[index]
            if token.depth == depth:
                if token.text == "," and token.kind == "punct":
                    index += 1
                    break
                if is_word(tokens, index, "natural") or (
                    is_word(tokens, index, "using") and index + 1 < end and tokens[index + 1].text == "("
                ):
                    clause.merges = True
                    clause.join_aliases |= _join_alias(tokens, index, end)
                elif is_word(tokens, index, "join"):
                    index += 1
                    break
            index += 1


def _join_alias(tokens: Sequence[Token], using: int, end: int) -> frozenset[str]:
    if not is_word(tokens, using, "using"):
        return frozenset()
    at = matching(tokens, using + 1) + 1
    named = at + 1 < end and tokens[at].kind == "word" and tokens[at].text == "as"
    return frozenset((tokens[at + 1].text,)) if named else frozenset()


def _parse_item(tokens: Sequence[Token], index: int, end: int, clause: FromClause) -> int:
    """Add the source or sources that begin here; return the index behind their alias."""
    at = tokens[index].start + 1
    if is_word(tokens, index, "lateral"):
        index += 1
    if is_word(tokens, index, "only"):
        index += 1
    if index >= end:  # PostgreSQL will complain
        return index
    if tokens[index].text == "(" and tokens[index].kind == "punct":
        close = matching(tokens, index)
        alias, behind = _alias(tokens, close + 1, end)
        if alias is None and _is_joined(tokens, index + 1, close):
            _parse_list(tokens, index + 1, close, clause)
            return behind
        if alias is None and close == index + 2:  # ONLY (t)
            alias = tokens[index + 1].text
        if alias is None:
            raise NotSupported(
                "a subquery in FROM needs an alias beside PREDICT", hint="write (...) AS name", position=at
            )
        clause.sources.append(Source(alias))
        return behind
    if is_word(tokens, index, "rows") and is_word(tokens, index + 1, "from") and index + 2 < end:
        alias, behind = _alias(tokens, matching(tokens, index + 2) + 1, end)
        if alias is None:
            raise NotSupported("ROWS FROM needs an alias beside PREDICT", position=at)
        clause.sources.append(Source(alias))
        return behind
    return _parse_named(tokens, index, end, clause)


def _parse_named(tokens: Sequence[Token], index: int, end: int, clause: FromClause) -> int:
    path = [tokens[index].text]
    index += 1
    while index + 1 < end and tokens[index].text == "." and tokens[index + 1].is_name:
        path.append(tokens[index + 1].text)
        index += 2
    is_function = index < end and tokens[index].text == "(" and tokens[index].kind == "punct"
    if is_function:
        index = matching(tokens, index) + 1
    elif index < end and tokens[index].text == "*":  # the old way to say: with its children
        index += 1
    alias, behind = _alias(tokens, index, end)
    is_table = not is_function and alias is None
    schema = path[-2] if is_table and len(path) > 1 else None
    clause.sources.append(Source(alias or path[-1], schema, is_table))
    return behind


def _is_joined(tokens: Sequence[Token], start: int, end: int) -> bool:
    """Tell whether parentheses hold joined tables rather than a query."""
    if start >= end or is_word(tokens, start, *_QUERY_WORDS):
        return False
    depth = tokens[start].depth
    same = [index for index in range(start, end) if tokens[index].depth == depth]
    if any(is_word(tokens, index, "union", "intersect", "except") for index in same):
        return False
    return any(is_word(tokens, index, "join") for index in same) or (
        tokens[start].text == "(" and _is_joined(tokens, start + 1, matching(tokens, start))
    )


def _alias(tokens: Sequence[Token], index: int, end: int) -> tuple[str | None, int]:
    """Return the alias that stands here, if any, and the index behind it and its column list."""
    if is_word(tokens, index, "with") and is_word(tokens, index + 1, "ordinality"):
        index += 2
    if index < end and tokens[index].kind == "word" and tokens[index].text == "as":
        index += 1
        if index >= end:  # PostgreSQL will complain
            return None, index
        if tokens[index].text == "(":  # a function's column definitions without a name
            return None, matching(tokens, index) + 1
    elif (
        index >= end
        or not tokens[index].is_name
        or (tokens[index].kind == "word" and tokens[index].text in _FOLLOWERS)
    ):
        return None, index
    alias = tokens[index].text
    index += 1
    if index < end and tokens[index].text == "(" and tokens[index].kind == "punct":
        index = matching(tokens, index) + 1
    return alias, index
