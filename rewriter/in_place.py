"""Forms that are answered where they stand: by a subquery of one row, or written out as SQL."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from .choose import choose
from .describe import check_rowwise
from .emit import inline_expression, row_expression
from .errors import Aggregated
from .forms import Call
from .plan import Run
from .rules.prune_features import prune, prune_features
from .scan import Token
from .splice import Piece
from .state import State


class InPlace(State):
    """A statement whose forms can be answered in their place."""

    def in_place(self, call: Call) -> Run:
        """Answer a form in its place, and return how."""
        self.check_features(call, grouped=False)
        run = self.single(call)
        self.answer(call, run)
        return run

    def single(self, call: Call) -> Run:
        """Return a run for a form that is answered in its place."""
        run = self.run_of(call)
        if prune_features in self.rules:
            prune(run)
        choose(run, self.sql, self.setting, self.stored, block=False)
        return run

    def answer(self, call: Call, run: Run) -> None:
        """Put a run's answer in the place of a form."""
        self.runs.append(run)
        self.splicer.replace(call.span, self.answered(call, run))

    def answered(self, call: Call, run: Run) -> list[Piece]:
        """Return what answers a form in its place."""
        if run.way == "inline":
            return inline_expression(call, run, self.prefix, self.sql)
        return row_expression(call, run, self.prefix)

    def check_features(self, call: Call, *, grouped: bool) -> None:
        """Refuse features that are computed from several rows.

        :param grouped: whether aggregates of columns will do
        :raises NotSupported: for others
        """
        spans = [item.span for item in call.items or () if item.path is None]
        for span in spans:
            tokens = self.tokens_in(span)
            if not any(token.is_name and self._next(token).text == "(" for token in tokens):
                continue
            try:
                check_rowwise([span], self.scopes.of(call).context)
            except Aggregated:
                if not grouped or not self._aggregates_columns(tokens):
                    raise

    def _next(self, token: Token) -> Token:
        index = bisect.bisect_right(self.tokens, token.start, key=lambda other: other.start)
        return self.tokens[index] if index < len(self.tokens) else token

    def _aggregates_columns(self, tokens: Sequence[Token]) -> bool:
        """Tell whether every function's arguments name something.

        In a subquery, ``max(f.distance)`` is the outer query's aggregate, but ``count(*)`` would be its own.
        """
        for index, token in enumerate(tokens[:-1]):
            if token.is_name and tokens[index + 1].text == "(" and tokens[index + 1].kind == "punct":
                inside = [other for other in tokens[index + 2 :] if other.depth > tokens[index + 1].depth]
                if not inside or not any(other.is_name for other in inside):
                    return False
        return True
