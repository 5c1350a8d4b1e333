"""Rewrites whole statements."""

from __future__ import annotations

import bisect
import dataclasses
import difflib
from collections.abc import Sequence

from .bind import bind
from .catalog import Catalog, Column, DescribeError, ModelInfo
from .choose import choose, is_single, rows_by_text, stored
from .conjuncts import conjunct_spans
from .describe import check_rowwise
from .dml import Dml, find_dml
from .emit import emit, inline_expression, row_expression
from .emit.outputs import check, result_type
from .errors import (
    Aggregated,
    CannotImpute,
    InvalidSource,
    NotSupported,
    UndeployedModel,
    UnknownModel,
    UnknownVersion,
)
from .explain import Report, find_explain
from .forms import Call, find_calls
from .modify import LEAST_ROWS, modification, table_name
from .names import prefix_free_of, quote
from .plan import Input, Output, Plan, Run, join_equal
from .rules import EARLY, RULES, Rule
from .rules.prune_features import prune, prune_features
from .scan import Token, mentions, scan
from .scope import Block, find_blocks, find_ctes, innermost
from .setting import Setting, resolve
from .sources import FromClause
from .splice import Piece, Span, Splicer, Text
from .sugar import desugar
from .visible import Scopes


@dataclasses.dataclass(frozen=True)
class Rewritten:
    """A statement for PostgreSQL.

    :ivar sql: what PostgreSQL is to be given
    :ivar changed: whether it differs from what the user wrote
    :ivar models: the models that it uses
    :ivar runs: what is predicted, and how
    :ivar plans: the SELECTs that were planned, with what the rules did
    :ivar without: names of the rules that are switched off
    :ivar source: the statement that spans of runs and plans are parts of, with scalar forms only
    """

    sql: str
    changed: bool
    models: tuple[ModelInfo, ...] = ()
    runs: tuple[Run, ...] = ()
    plans: tuple[Plan, ...] = ()
    without: frozenset[str] = frozenset()
    source: str = ""
    _text: Text | None = None

    def origin(self, position: int) -> int | None:
        """Return the position in the user's statement of a position in :attr:`sql`, both 1-based."""
        return position if self._text is None else self._text.origin(position)


#: clauses of a SELECT whose forms are answered where they stand
_IN_PLACE = ("from", "limit", "offset", "fetch", "into")


def rewrite(
    sql: str, catalog: Catalog, *, rules: Sequence[Rule] = RULES, setting: Setting | None = None
) -> Rewritten:
    """Return a statement in which PostgreSQL finds each PREDICT answered.

    A statement without our syntax comes back as it is, and the catalog is not asked.

    :param rules: those that make the result cheaper; it is right without any
    :param setting: what is wanted; what it leaves open is as the session has it
    :raises RewriteError: for a form that is wrong or stands where it cannot be answered
    """
    if not mentions(sql):
        return Rewritten(sql, changed=False)
    tokens = scan(sql)
    asked = find_explain(sql, tokens)
    if asked is None:
        return _rewrite_any(sql, tokens, catalog, rules, setting or Setting())
    # of the same length, so that positions stay
    rewritten = _rewrite_any(asked.sql, scan(asked.sql), catalog, rules, setting or Setting(), explains=True)
    if not asked.reports:
        return dataclasses.replace(rewritten, changed=True)
    report = Report(rewritten.source, rewritten.runs, rewritten.plans, rewritten.without)
    text = Text(asked.statement(rewritten.sql, report), (), ())
    return dataclasses.replace(rewritten, sql=text.sql, changed=True, _text=text)


def _rewrite_any(
    sql: str,
    tokens: list[Token],
    catalog: Catalog,
    rules: Sequence[Rule],
    setting: Setting,
    *,
    explains: bool = False,
) -> Rewritten:
    desugared = desugar(sql, tokens, _Answering(catalog))
    if desugared is None:
        return _rewrite(sql, tokens, catalog, rules, setting, explains)
    with desugared.placing_errors():
        rewritten = _rewrite(desugared.sql, scan(desugared.sql), catalog, rules, setting, explains)
    text = desugared if rewritten._text is None else rewritten._text.through(desugared)
    return dataclasses.replace(rewritten, sql=text.sql, changed=True, _text=text)


class _Answering:
    """A catalog that also describes queries with forms in them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.model = catalog.model
        self.model_names = catalog.model_names
        self.has_function = catalog.has_function
        self.settings = catalog.settings
        self.primary_key = catalog.primary_key

    def describe(self, sql: str) -> Sequence[Column]:
        rewritten = rewrite(sql, self._catalog)
        try:
            return self._catalog.describe(rewritten.sql)
        except DescribeError as error:
            error.position = None if error.position is None else rewritten.origin(error.position)
            raise

    def estimate(self, sql: str) -> float | None:
        return self._catalog.estimate(rewrite(sql, self._catalog).sql)


def _rewrite(
    sql: str,
    tokens: list[Token],
    catalog: Catalog,
    rules: Sequence[Rule],
    setting: Setting,
    explains: bool,
) -> Rewritten:
    calls = find_calls(tokens)
    if not calls:
        return Rewritten(sql, changed=False)
    statement = _Statement(sql, tokens, catalog, rules, setting)
    statement.explains = explains
    return statement.rewrite(calls)


def _has(clause: FromClause, alias: str, name: str) -> bool:
    source = clause.source(alias)
    return source is not None and source.column(name) is not None


class _Statement:
    def __init__(
        self, sql: str, tokens: list[Token], catalog: Catalog, rules: Sequence[Rule], setting: Setting
    ) -> None:
        self.sql, self.tokens, self.catalog, self.rules, self.setting = sql, tokens, catalog, rules, setting
        self.blocks = find_blocks(tokens)
        self.prefix = prefix_free_of(token.text for token in tokens if token.is_name)
        self.splicer = Splicer(sql)
        # the statement with a NULL for each form, which PostgreSQL can tell the columns of
        self.probe = Splicer(sql)
        self.scopes = Scopes(tokens, self.blocks, find_dml(tokens), find_ctes(tokens), self.probe, catalog)
        self.stored = stored(tokens)
        self.models: dict[tuple[tuple[str, ...], int | None], ModelInfo] = {}
        self.runs: list[Run] = []
        self.plans: list[Plan] = []
        #: whether the rows of each plan are wanted, for a report
        self.explains = False
        #: index of a form's first token -> its features
        self.inputs: dict[int, tuple[Input, ...]] = {}

    def rewrite(self, calls: list[Call]) -> Rewritten:
        ours = [call for call in calls if self._is_ours(call)]
        if not ours:
            return Rewritten(self.sql, changed=False)
        self._read_settings()
        for call in ours:
            model = self._model(call)
            check(call, model, self.sql)
            self._check_missing(call, model)
            self.probe.replace(call.span, self._null(call))
        for call in ours:
            self.inputs[call.first] = bind(call, self._model(call), self.scopes.of(call))
        owned: dict[int, list[Call]] = {}
        changing: dict[int, tuple[Dml, list[Call]]] = {}
        for call in ours:
            block = self._block(call, ours)
            if block is None:
                run = self._in_place(call)
                container = self.scopes.container(call.first)
                if isinstance(container, Dml) and run.way == "row":
                    changing.setdefault(container.first, (container, []))[1].append(call)
            else:
                owned.setdefault(self.blocks.index(block), []).append(call)
        for index, held in owned.items():
            self._rewrite_block(self.blocks[index], held)
        for dml, held in changing.values():
            self._modify(dml, held)
        text = self.splicer.render([Span(0, len(self.sql))])
        models = tuple(self.models.values())
        return Rewritten(
            text.sql,
            changed=True,
            models=models,
            runs=tuple(self.runs),
            plans=tuple(self.plans),
            without=frozenset(rule.__name__ for rule in RULES if rule not in self.rules),
            source=self.sql,
            _text=text,
        )

    def _read_settings(self) -> None:
        self.setting = resolve(self.setting, self.catalog.settings(), [rule.__name__ for rule in RULES])
        without = self.setting.without or ()
        self.rules = [rule for rule in self.rules if rule.__name__ not in without]

    def _null(self, call: Call) -> list[Piece]:
        """Return a NULL of a form's type and name."""
        return [f"(SELECT NULL::{result_type(call, self._model(call))} AS {call.name})"]

    def _check_missing(self, call: Call, model: ModelInfo) -> None:
        if call.missing != "impute" or model.signature.on_missing != "error":
            return
        words = [token for token in self.tokens[call.first : call.last] if token.text == "impute"]
        raise CannotImpute(
            f"model {model.name!r} cannot impute missing features",
            hint="write ON MISSING NULL or ON MISSING ERROR",
            position=words[-1].start + 1 if words else call.position,
        )

    def _model(self, call: Call) -> ModelInfo:
        return self.models[call.path, call.version]

    def _is_ours(self, call: Call) -> bool:
        """Find the form's model, or tell that the form is a function of the user's.

        ``predict(name)`` alone could be a call of theirs. It is left to PostgreSQL if there is no such model
        and it stands where no prediction could stand anyhow, or a function of that name exists.
        """
        is_model = len(call.path) == 1 or call.path[:-1] == ("models",)
        if not is_model and call.is_plain:
            # an argument of a function: a column by its table's name
            return False
        if not is_model:
            raise UnknownModel(
                f"there are no models in schema {call.path[0]!r}",
                hint=f"models live in schema models: {quote(call.model)} or models.{quote(call.model)}",
                position=call.model_position,
            )
        try:
            model = self.catalog.model(call.model, call.version)
        except (UndeployedModel, UnknownVersion) as error:
            error.position = call.model_position
            raise
        if model is not None:
            self.models[call.path, call.version] = model
            return True
        if call.is_plain:
            block = innermost(self.blocks, call.first)
            in_from = block is None or block.clause_of(call.first) == "from"
            if in_from or self.catalog.has_function(call.name):
                return False
        close = difflib.get_close_matches(call.model, list(self.catalog.model_names()), 3, 0.5)
        raise UnknownModel(
            f'model "{".".join(call.path)}" does not exist',
            hint=f"did you mean {' or '.join(close)}?" if close else "SELECT name FROM ml.models lists yours",
            position=call.model_position,
        )

    def _block(self, call: Call, calls: Sequence[Call]) -> Block | None:
        """Return the SELECT that can answer a form beside its rows; None where only its place can."""
        container = self.scopes.container(call.first)
        if not isinstance(container, Block) or "for" in container.clauses:
            return None
        if any(other.first < call.first <= other.last for other in calls):
            return None
        if container.clause_of(call.first) in _IN_PLACE or self.scopes.in_recursion(container):
            return None
        return container

    # forms that are answered where they stand

    def _in_place(self, call: Call) -> Run:
        self._check_features(call, grouped=False)
        run = self._single(call)
        self._answer(call, run)
        return run

    def _single(self, call: Call) -> Run:
        """Return a run for a form that is answered in its place."""
        run = self._run(call)
        if prune_features in self.rules:
            prune(run)
        choose(run, self.sql, self.setting, self.stored, block=False)
        return run

    def _answer(self, call: Call, run: Run) -> None:
        self.runs.append(run)
        self.splicer.replace(call.span, self._answered(call, run))

    def _answered(self, call: Call, run: Run) -> list[Piece]:
        if run.way == "inline":
            return inline_expression(call, run, self.prefix, self.sql)
        return row_expression(call, run, self.prefix)

    def _modify(self, dml: Dml, calls: Sequence[Call]) -> None:
        """Answer the forms of an UPDATE or DELETE of many rows in batches."""
        nested = any(other.first < call.first <= other.last for call in calls for other in calls)
        if nested or self.setting.forced == "row" or self.stored.kept or dml.kind not in ("update", "delete"):
            return
        scope = self.scopes.of(calls[0])
        name = range(dml.target.start, dml.target.stop)
        key = self.catalog.primary_key(table_name(self.sql, self.tokens, name))
        found = modification(dml, scope.clause, key, self.tokens, [call.span for call in calls])
        if found is None:
            return
        rows = self.catalog.estimate(self.probe.render(found.rows()).sql)
        if self.setting.forced != "batch" and (rows is None or rows < LEAST_ROWS):
            return
        runs = join_equal([self._run(call) for call in calls], self.sql)
        for number, run in enumerate(runs, 1):
            run.way, run.reason = "batch", "by a query over the same table, joined by its primary key"
            for call in run.outputs[0].calls:
                otherwise = row_expression(call, run, self.prefix)
                self.splicer.replace(call.span, found.answer(run, number, otherwise, self.prefix))
        query = Splicer(self.sql).render(found.query(runs, self.prefix)).sql
        forced = dataclasses.replace(self.setting, way="batch")
        asked = rewrite(query, self.catalog, rules=self.rules, setting=forced).sql
        for span, pieces in found.join(asked, self.prefix):
            self.splicer.replace(span, pieces)
        spans = {call.span for call in calls}
        self.runs = [run for run in self.runs if run.call.span not in spans] + runs

    def _run(self, call: Call) -> Run:
        model = self._model(call)
        missing = call.missing or model.signature.on_missing
        return Run(model, self.inputs[call.first], [Output([call])], missing)

    def _check_features(self, call: Call, *, grouped: bool) -> None:
        spans = [item.span for item in call.items or () if item.path is None]
        for span in spans:
            tokens = self._tokens_in(span)
            if not any(token.is_name and self._next(token).text == "(" for token in tokens):
                continue
            try:
                check_rowwise([span], self.scopes.of(call).context)
            except Aggregated:
                if not grouped or not self._aggregates_columns(tokens):
                    raise

    def _tokens_in(self, span: Span) -> list[Token]:
        start = bisect.bisect_left(self.tokens, span.start, key=lambda token: token.start)
        end = bisect.bisect_left(self.tokens, span.end, key=lambda token: token.start)
        return self.tokens[start:end]

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

    # forms that are answered beside the rows of their SELECT

    def _rewrite_block(self, block: Block, calls: list[Call]) -> None:
        runs: list[Run] = []
        for call in calls:
            try:
                self._check_features(call, grouped=False)
            except Aggregated:
                self._check_features(call, grouped=True)
                self._answer(call, self._single(call))
                continue
            runs.append(self._run(call))
        plan = self._plan(block, join_equal(runs, self.sql))
        for rule in self.rules:
            if rule in EARLY:
                rule(plan)
        self.plans.append(plan)
        for call in plan.unread:
            self.splicer.replace(call.span, self._null(call))
            del self.inputs[call.first]
        if self.explains:
            plan.rows = self._rows(plan)
        single = is_single(plan)
        for run in plan.runs:
            choose(run, self.sql, self.setting, self.stored, block=True, single=single)
        plan.single = [run for run in plan.runs if run.way == "row"]
        grouped = "group" in block.clauses or "having" in block.clauses
        for run in plan.single:
            for call in run.outputs[0].calls:
                if grouped:
                    self._beside_groups(call, run, block)
                else:
                    self._answer(call, run)
        plan.inline = [run for run in plan.runs if run.way == "inline"]
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
                    self._beside_groups(call, self._single(call), block)
            return
        self.splicer.become(splicer)
        self.runs += plan.runs + plan.inline

    def _plan(self, block: Block, runs: list[Run]) -> Plan:
        """Return the plan of a block whose runs have no way yet."""
        plan = Plan(self.sql, self.tokens, self.blocks, block, self.scopes.clause(block), [], runs)
        names = [input_.column for inputs in self.inputs.values() for input_ in inputs]
        plan.bound = frozenset(name[1] for name in names if name is not None)
        plan.ctes = self.scopes.ctes
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
            tried.replace(call.span, self._answered(call, candidate))
            try:
                self._try(block, tried)
            except InvalidSource as error:
                if error.sqlstate != "42803":
                    raise
            else:
                self._answer(call, candidate)
                return
        # PostgreSQL says why not
        self._answer(call, run)

    def _of_groups(self, call: Call, run: Run, block: Block) -> Run:
        group = block.clauses.get("group")
        words = self.tokens[group.start : group.end] if group is not None else []
        if any(token.text in ("rollup", "cube", "sets") for token in words):
            return run
        columns = {item.span for item in call.items or () if item.path is not None}
        inputs = []
        for input_ in run.inputs:
            spans = [piece for piece in input_.pieces if isinstance(piece, Span)]
            if (
                spans
                and spans[0] not in columns
                and any(token.is_name for token in self._tokens_in(spans[0]))
            ):
                pieces = ("(pg_catalog.array_agg(", *input_.pieces, "))[1]")
                input_ = dataclasses.replace(input_, pieces=pieces)
            inputs.append(input_)
        return dataclasses.replace(run, inputs=tuple(inputs))

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
