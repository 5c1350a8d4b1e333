"""What all steps share that rewrite one statement."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from .catalog import Catalog, ModelInfo
from .choose import stored
from .dml import find_dml
from .emit.convert import type_name
from .emit.outputs import result_type
from .forms import Call
from .names import RESERVED, prefix_free_of, quote
from .plan import Input, Output, Plan, Run
from .rules import Rule
from .scan import Token
from .scope import find_blocks, find_ctes
from .setting import Setting
from .splice import Piece, Span, Splicer
from .visible import Scopes


class State:
    """One statement under way.

    :param explains: whether the rows of each plan are wanted, for a report
    :ivar splicer: edits of the result
    :ivar probe: the statement with a NULL for each form, which PostgreSQL can tell the columns of
    :ivar inputs: index of a form's first token -> its features
    """

    def __init__(
        self,
        sql: str,
        tokens: list[Token],
        catalog: Catalog,
        rules: Sequence[Rule],
        setting: Setting,
        *,
        explains: bool = False,
    ) -> None:
        self.sql, self.tokens, self.catalog, self.rules, self.setting = sql, tokens, catalog, rules, setting
        self.blocks = find_blocks(tokens)
        self.prefix = prefix_free_of(token.text for token in tokens if token.is_name)
        self.splicer = Splicer(sql)
        self.probe = Splicer(sql)
        self.scopes = Scopes(tokens, self.blocks, find_dml(tokens), find_ctes(tokens), self.probe, catalog)
        self.stored = stored(tokens, kept=setting.kept)
        self.models: dict[tuple[tuple[str, ...], int | None], ModelInfo] = {}
        #: the forms that are ours
        self.calls: list[Call] = []
        self.runs: list[Run] = []
        self.plans: list[Plan] = []
        self.explains = explains
        self.inputs: dict[int, tuple[Input, ...]] = {}

    def model_of(self, call: Call) -> ModelInfo:
        """Return the model of a form."""
        return self.models[call.path, call.version]

    def null_of(self, call: Call) -> list[str]:
        """Return a NULL of a form's type and name."""
        return [f"(SELECT NULL::{result_type(call, self.model_of(call))} AS {call.name})"]

    def unread(self, call: Call) -> list[Piece]:
        """Return a NULL of a form's type and name that still holds the form's parameters beside its features.

        PostgreSQL finds the type of every number up to the highest one where it is used.
        """
        target = type_name(self.model_of(call).signature.target.type)
        held: list[Piece] = []
        for span, type_ in ((call.label, target), (call.top, "integer"), (call.cutoff, "double precision")):
            if span is not None and "$" in self.sql[span.start : span.end]:
                held += [", (" if held else "(", span, f")::{type_}"]
        (null,) = self.null_of(call)
        return [f"{null[:-1]} FROM (SELECT ", *held, f") AS {self.prefix}n)"] if held else [null]

    def null_over(self, call: Call, inputs: Sequence[Input]) -> list[Piece]:
        """Return a NULL that depends on features, which may decide whose an aggregate around it is."""
        listed: list[Piece] = []
        for input_ in inputs:
            listed += [", " if listed else "", *input_.pieces]
        (null,) = self.null_of(call)
        return [f"{null[:-1]} FROM (SELECT ", *listed, f") AS {self.prefix}n)"]

    def run_of(self, call: Call) -> Run:
        """Return a run for one form."""
        model = self.model_of(call)
        missing = call.missing or model.signature.on_missing
        run = Run(model, self.inputs[call.first], [Output([call])], missing)
        run.fenced = self._is_fed_by_more(call)
        run.volatile = self._is_volatile(call)
        if run.volatile:
            run.tie = self._tie(call)
        return run

    def _is_volatile(self, call: Call) -> bool:
        """Tell whether a form's features call a function that may give another value for each row."""
        names: set[str] = set()
        ours = {other.first for other in self.calls}
        for item in call.items or ():
            if item.path is not None:
                continue
            start = bisect.bisect_left(self.tokens, item.span.start, key=lambda token: token.start)
            tokens = self.tokens_in(item.span)
            for index, (token, after) in enumerate(itertools.pairwise(tokens), start):
                is_call = token.is_name and after.text == "(" and after.kind == "punct"
                reserved = token.kind == "word" and token.text in RESERVED
                if is_call and not reserved and index not in ours:
                    names.add(token.text)
        return bool(names) and self.catalog.is_volatile(sorted(names))

    def _tie(self, call: Call) -> str:
        """Return a column of each source that a form sees; empty where a feature is one already."""
        if any(item.path is not None for item in call.items or ()):
            return ""
        sources = [source for source in self.scopes.of(call).clause.sources if source.columns]
        return ", ".join(f"{quote(source.alias)}.{quote(source.columns[0].name)}" for source in sources)

    def _is_fed_by_more(self, call: Call) -> bool:
        """Tell whether a form's features may be more than columns and constants.

        An SQL form looks at a feature many times. PostgreSQL would copy into each of these places what it
        is made of: of an SQL form over another one, gigabytes.
        """
        for item in call.items or ():
            if item.path is None and any(token.text == "(" for token in self.tokens_in(item.span)):
                return True
        sources = [
            Span(self.tokens[clause.start].start, self.tokens[clause.end - 1].end)
            for block in self.blocks
            if block.holds(call.first) and (clause := block.clauses.get("from")) and clause.start < clause.end
        ]
        sources += [cte.span for cte in self.scopes.ctes]
        return any(
            source.holds(other.span) and not source.holds(call.span)
            for source in sources
            for other in self.calls
            if other is not call
        )

    def tokens_in(self, span: Span) -> list[Token]:
        """Return the tokens of a span."""
        start = bisect.bisect_left(self.tokens, span.start, key=lambda token: token.start)
        end = bisect.bisect_left(self.tokens, span.end, key=lambda token: token.start)
        return self.tokens[start:end]
