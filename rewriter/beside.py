"""Forms that are answered beside the rows of their SELECT."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .asking import Asks
from .choose import choose, is_large, is_single, limited, rows_by_text
from .conjuncts import conjunct_spans
from .describe import check_items
from .emit import emit, is_fenced
from .errors import Aggregated, EmptyClause, InvalidSource, NotSupported, RewriteError
from .forms import Call
from .gathering import move
from .in_place import InPlace
from .plan import Note, Plan, Run, join_equal
from .rules import EARLY, Rule
from .rules.limit_first import limit_first
from .scope import Block
from .sources import FromClause
from .splice import Span, Splicer


class Beside(InPlace):
    """A statement whose SELECTs can be answered in batches, or written out as SQL."""

    def answer_block(self, block: Block, calls: list[Call]) -> None:
        """Answer the forms of a SELECT.

        :raises EmptyClause: where PostgreSQL would not see a clause any more that it must refuse
        """
        for clause in block.clauses.values():
            if clause.name != "select" and clause.start >= clause.end:
                at = self.tokens[clause.start].start if clause.start < len(self.tokens) else len(self.sql)
                raise EmptyClause(f"{clause.name.upper()} has nothing behind it", position=at + 1)
        runs: list[Run] = []
        for call in calls:
            try:
                self.check_features(call, grouped=False)
            except Aggregated:
                self.check_features(call, grouped=True)
                self.answer(call, self.single(call))
                continue
            runs.append(self.run_of(call))
        plan = self.plan_of(block, join_equal(runs, self.sql))
        for rule in self.rules:
            if rule in EARLY:
                rule(plan)
        self.plans.append(plan)
        for call in plan.unread:
            check_items(
                [item.span for item in call.items or () if item.feature], self.scopes.of(call).context
            )
            self.splicer.replace(call.span, self.unread(call))
            del self.inputs[call.first]
        if self.explains or (self.setting.forced is None and any(map(is_large, plan.runs))):
            plan.rows = self._rows(plan)
        single = is_single(plan) and plan.gathered is None
        few = limit_first in self.rules and bool(limited(plan).limited)
        for run in plan.runs:
            choose(run, self.sql, self.setting, self.stored, block=True, single=single, rows=plan.rows)
            if few and run.way == "inline" and is_fenced(run, self.prefix, self.sql):
                # in the select list PostgreSQL computes it behind LIMIT, in FROM before
                run.reason += ", in its place for the few rows of LIMIT"
                plan.single.append(run)
        if plan.gathered is not None and self._gather(plan):
            if not plan.unread:
                self.plans.remove(plan)
            return
        plan.single += [run for run in plan.runs if run.way == "row"]
        grouped = "group" in block.clauses or "having" in block.clauses
        for run in plan.single:
            for call in run.outputs[0].calls:
                if grouped:
                    self._beside_groups(call, run, block)
                else:
                    self.answer(call, run)
        plan.inline = [run for run in plan.runs if run.way == "inline" and run not in plan.single]
        plan.runs = [run for run in plan.runs if run.way == "batch"]
        if not plan.runs and not plan.inline:
            return
        runs = plan.runs + plan.inline
        try:
            if grouped:
                tried = self.probe.copy()
                self._emit(plan, tried, rules=())
                self._try(block, tried)
            splicer = self.splicer.copy()
            self._emit(plan, splicer, self.rules)
        except (NotSupported, InvalidSource) as error:
            if isinstance(error, InvalidSource) and error.sqlstate != "42803":
                raise
            self.plans.remove(plan)
            for run in runs:
                for call in run.outputs[0].calls:
                    self._beside_groups(call, self.single(call), block)
            return
        self.splicer.become(splicer)
        self.runs += plan.runs + plan.inline

    def _gather(self, plan: Plan) -> bool:
        """Let the SELECT around answer the forms of one in LATERAL; return whether it can."""
        gathered = plan.gathered
        if gathered is None or any(run.way != "batch" for run in plan.runs):
            return False
        parent, calls = gathered.parent, self.calls
        if self.scopes.in_recursion(parent) or any(
            self.scopes.container(call.first) is parent for call in calls
        ):
            return False
        moved = move(plan, gathered, self.prefix)
        own = [call for run in plan.runs for output in run.outputs for call in output.calls]
        edits = [*moved.edits]
        for call in own:
            edits.append((call.span, [*self.null_of(call)]))
        try:
            above = self.plan_of(parent, moved.runs)
            source = above.clause.source(gathered.alias)
            if source is None or source.doubled() is not None:
                return False
            above.marker = moved.marker
            splicers = [self.probe.copy(), self.splicer.copy()]
            for splicer in splicers:
                for span, pieces in edits:
                    splicer.replace(span, pieces)
            if "group" in parent.clauses or "having" in parent.clauses:
                self._emit(above, splicers[0], rules=())
                self._try(parent, splicers[0])
            self._emit(above, splicers[1], self.rules)
            if self.explains:
                above.rows = self._rows(above)
        except RewriteError:
            return False
        above.notes.insert(0, Note("gather_lateral", f"forms of {gathered.alias}"))
        self.splicer.become(splicers[1])
        self.plans.append(above)
        self.runs += above.runs
        return True

    def plan_of(self, block: Block, runs: list[Run]) -> Plan:
        """Return the plan of a block whose runs have no way yet."""
        plan = Plan(self.sql, self.tokens, self.blocks, block, self.scopes.clause(block), [], runs)
        names = [input_.column for inputs in self.inputs.values() for input_ in inputs]
        plan.bound = frozenset(name[1] for name in names if name is not None)
        plan.ctes = self.scopes.ctes
        plan.texts_are_bytes = self.catalog.texts_are_bytes
        plan.asks = Asks(self.sql, self.tokens, self.scopes, block, [call.first for call in self.calls])
        where = block.clauses.get("where")
        if where is not None:
            plan.outer = [plan.span(where.start, where.end)]
        return plan

    def _rows(self, plan: Plan) -> float | None:
        """Return how many rows a plan is expected to predict."""
        limit = rows_by_text(plan)
        if "from" not in plan.block.clauses:
            return limit
        where = plan.block.clauses.get("where")
        spans = [] if where is None else conjunct_spans(plan, where)
        spans = [span for span in spans if not plan.predicts(span)]
        rows = self.scopes.context(plan.block).estimate(spans)
        return min((number for number in (limit, rows) if number is not None), default=None)

    def _beside_groups(self, call: Call, run: Run, block: Block) -> None:
        """Answer a form in its place, where features may be expressions that the rows are grouped by.

        In a subquery PostgreSQL knows only the grouped columns again, not the expressions. Every row of a
        group has the same value of them, so an aggregate that takes the first gives it.
        """
        for candidate in (run, self._of_groups(call, run, block)):
            tried = self.probe.copy()
            tried.replace(call.span, self.answered(call, candidate))
            try:
                self._try(block, tried)
            except InvalidSource as error:
                if error.sqlstate != "42803":
                    raise
            else:
                self.answer(call, candidate)
                return
        # PostgreSQL says why not
        self.answer(call, run)

    def _of_groups(self, call: Call, run: Run, block: Block) -> Run:
        group = block.clauses.get("group")
        words = self.tokens[group.start : group.end] if group is not None else []
        if any(token.text in ("rollup", "cube", "sets") for token in words):
            return run
        columns = {item.span for item in call.items or () if item.path is not None}
        inputs = []
        for input_ in run.inputs:
            spans = [piece for piece in input_.pieces if isinstance(piece, Span)]
            if spans and spans[0] not in columns and any(token.is_name for token in self.tokens_in(spans[0])):
                pieces = ("(pg_catalog.array_agg(", *input_.pieces, "))[1]")
                input_ = dataclasses.replace(input_, pieces=pieces)
            inputs.append(input_)
        # an aggregate of a column of this query, also in a subquery of it
        tie = f"pg_catalog.count(ROW({run.tie}))" if run.tie else ""
        return dataclasses.replace(run, inputs=tuple(inputs), tie=tie)

    def _emit(self, plan: Plan, splicer: Splicer, rules: Sequence[Rule]) -> None:
        runs = plan.runs + plan.inline
        plan.calls = [call for run in runs for output in run.outputs for call in output.calls]
        plan.kept = self._kept(plan.block, plan.calls)
        for rule in rules:
            if rule not in EARLY:
                rule(plan)
        emit(plan, splicer, self.prefix)

    def _kept(self, block: Block, answered: Sequence[Call]) -> set[tuple[str, str]]:
        """Return the columns that other forms in the block or nested in it have bound by name."""
        done = {call.first for call in answered}
        others = (inputs for first, inputs in self.inputs.items() if block.holds(first) and first not in done)
        columns = {input_.column for inputs in others for input_ in inputs if input_.column is not None}
        clause = self.scopes.clause(block)
        return {
            (alias, name)
            for alias, name in columns
            # a nested query may have a source of the same alias
            if (name in clause.merged if not alias else _has(clause, alias, name))
        }

    def _try(self, block: Block, splicer: Splicer) -> None:
        """Let PostgreSQL see a grouped SELECT: forms may have to be answered after its groups are made."""
        context = dataclasses.replace(self.scopes.context(block), splicer=splicer)
        span = Span(self.tokens[block.first].start, self.tokens[block.end - 1].end)
        context.columns([span])


def _has(clause: FromClause, alias: str, name: str) -> bool:
    source = clause.source(alias)
    return source is not None and source.column(name) is not None
