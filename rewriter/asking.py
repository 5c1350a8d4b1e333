"""What rules ask the database about parts of a SELECT: whether they stand alone, and how many rows they give.

Each question is a round trip, so a rule asks only once the words have left it no other doubt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .conjuncts import conjuncts
from .describe import Context
from .errors import InvalidSource
from .names import quote
from .scan import Token
from .scope import Block
from .splice import Piece, Span
from .visible import Scopes

#: alias of a query that is counted for each row of another
_EACH = '"pgpredict: each"'


class Asks:
    """Questions about one SELECT.

    :param calls: index of the first token of each form of the statement
    """

    def __init__(
        self, sql: str, tokens: Sequence[Token], scopes: Scopes, block: Block, calls: Sequence[int]
    ) -> None:
        self._sql, self._tokens, self._scopes, self._block, self._calls = sql, tokens, scopes, block, calls

    @property
    def is_nested(self) -> bool:
        """Whether there are queries around it."""
        return bool(self._context(self._block).outer)

    def stands_alone(self, query: Sequence[Piece], block: Block | None = None) -> bool:
        """Tell whether a query means something without the queries around it; what it means is the same then.

        :param block: in whose place it stands; None is the SELECT itself
        """
        context = dataclasses.replace(self._context(block or self._block), outer=[])
        try:
            context.columns(query)
        except InvalidSource:
            return False
        return True

    def is_repeated(self) -> bool:
        """Tell whether the SELECT is run for each row of a query around it."""
        if not self.is_nested:
            return False
        around = [block for block in self._scopes.blocks if block.holds(self._block.first)]
        for block in reversed(around):
            if not self._context(block).outer:
                return False
            if not self.stands_alone([self._text(block.first, block.end)], block):
                return True
        return False

    def is_steady(self, spans: Sequence[Span]) -> bool:
        """Tell whether parts of the statement give the same each time: nothing volatile, in views neither."""
        relations: set[str] = set()
        functions: set[str] = set()
        for span in spans:
            tokens = [token for token in self._tokens if span.start <= token.start < span.end]
            for index, token in enumerate(tokens):
                if token.kind == "word" and token.text == "tablesample":
                    return False
                if not token.is_name:
                    continue
                follows = tokens[index + 1].text if index + 1 < len(tokens) else ""
                if follows == "(":
                    functions.add(token.text)
                elif index and tokens[index - 1].text == ".":
                    relations.add(f"{quote(tokens[index - 2].text)}.{quote(token.text)}")
                else:
                    relations.add(quote(token.text))
        return self._scopes.catalog.is_steady(tuple(sorted(relations)), tuple(sorted(functions)))

    def rows(self, from_: Span, conditions: Sequence[Span]) -> float | None:
        """Return how many rows of a FROM meet conditions; None where PostgreSQL cannot tell."""
        return self._estimate(["SELECT 1 FROM ", from_, *_where(conditions)])

    def rows_around(self) -> float | None:
        """Return how many rows of the query around it is run for."""
        query: list[Piece] = ["SELECT 1 FROM ", *self._body()]
        return self._estimate_if(query, self._conditions())

    def rows_for_all(self, from_: Span, conditions: Sequence[Span]) -> float | None:
        """Return how many rows all these runs give together."""
        each: list[Piece] = ["(SELECT 1 FROM ", from_, *_where(conditions), f"\n) AS {_EACH}"]
        return self._estimate_if(["SELECT 1 FROM ", *self._body(), ", LATERAL ", *each], self._conditions())

    def _estimate_if(self, query: Sequence[Piece], conditions: Sequence[Span]) -> float | None:
        rows = self._estimate([*query, *_where(conditions)])
        # they may need queries further out
        return self._estimate(query) if rows is None and conditions else rows

    def _estimate(self, query: Sequence[Piece]) -> float | None:
        return self._context(self._block).estimate_of(query)

    def _context(self, block: Block) -> Context:
        # described by nobody: FROM is no matter here
        return self._scopes.context_for([], block.first)

    def _body(self) -> list[Piece]:
        return self._context(self._block).outer[0]

    def _conditions(self) -> list[Span]:
        """Return the conditions of the query around that hold neither a query nor a form."""
        around = self._scopes.container_of(self._block)
        where = around.clauses.get("where") if isinstance(around, Block) else None
        found = []
        for start, end in () if where is None else conjuncts(self._tokens, where):
            words = {token.text for token in self._tokens[start:end] if token.kind == "word"}
            if start < end and "select" not in words and not any(start <= at < end for at in self._calls):
                found.append(self._text(start, end))
        return found

    def _text(self, start: int, end: int) -> Span:
        return Span(self._tokens[start].start, self._tokens[end - 1].end)


def _where(conditions: Sequence[Span]) -> list[Piece]:
    pieces: list[Piece] = []
    for condition in conditions:
        pieces += [" AND (" if pieces else "\nWHERE (", condition, "\n)"]
    return pieces
