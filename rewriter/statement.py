"""Rewrites whole statements."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence

from .beside import Beside
from .bind import bind
from .catalog import Catalog, Column, DescribeError, ModelInfo
from .dml import Dml
from .emit import row_expression
from .emit.outputs import check
from .errors import (
    CannotImpute,
    RewriteError,
    UndeployedModel,
    UnknownModel,
    UnknownVersion,
)
from .explain import Report, find_explain
from .forms import Call, find_calls, is_name_of_something
from .modify import LEAST_ROWS, Modification, modification, table_name
from .names import quote
from .plan import Input, Plan, Run, join_equal
from .rules import RULES, Rule
from .scan import Token, mentions, scan
from .scope import Block, innermost, is_word
from .setting import Setting, resolve
from .splice import Mark, Span, Splicer, Text
from .sugar import desugar


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
    :ivar described: the statement with a NULL of its type in each form's place, for a description of what the
        user's own text returns
    """

    sql: str
    changed: bool
    models: tuple[ModelInfo, ...] = ()
    runs: tuple[Run, ...] = ()
    plans: tuple[Plan, ...] = ()
    without: frozenset[str] = frozenset()
    source: str = ""
    described: str = ""
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
        self.is_volatile = catalog.is_volatile
        self.settings = catalog.settings
        self.texts_are_bytes = catalog.texts_are_bytes
        self.primary_key = catalog.primary_key
        self.is_steady = catalog.is_steady

    def describe(self, sql: str) -> Sequence[Column]:
        try:
            rewritten = rewrite(sql, self._catalog)
        except RewriteError as error:
            raise DescribeError(error.message, error.sqlstate, error.hint, error.position) from error
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
    statement = _Statement(sql, tokens, catalog, rules, setting, explains=explains)
    return statement.rewrite(calls)


class _Statement(Beside):
    """A statement from its forms to its text."""

    def rewrite(self, calls: list[Call]) -> Rewritten:
        self.calls = ours = [call for call in calls if self._is_ours(call)]
        if not ours:
            return Rewritten(self.sql, changed=False)
        self._read_settings()
        for call in ours:
            model = self.model_of(call)
            check(call, model, self.sql)
            self._check_missing(call, model)
            self.probe.replace(call.span, self.null_of(call))
        # inner ones first: the FROM of a query around holds them
        for call in sorted(ours, key=self.scopes.beginning, reverse=True):
            inputs = self._marked(bind(call, self.model_of(call), self.scopes.of(call)))
            self.inputs[call.first] = inputs
            if self.scopes.decides_levels(call):
                self.probe.replace(call.span, self.null_over(call, inputs))
        owned: dict[int, list[Call]] = {}
        changing: dict[int, tuple[Dml, list[Call]]] = {}
        for call in ours:
            block = self._block(call, ours)
            if block is None:
                run = self.in_place(call)
                container = self.scopes.container(call.first)
                if isinstance(container, Dml) and run.way == "row":
                    changing.setdefault(container.first, (container, []))[1].append(call)
            else:
                owned.setdefault(self.blocks.index(block), []).append(call)
        for index, held in owned.items():
            self.answer_block(self.blocks[index], held)
        for dml, held in changing.values():
            self._modify(dml, held)
        # what is missing at the end is missing at the end of the user's text
        text = self.splicer.render([Span(0, len(self.sql)), Mark(len(self.sql))])
        models = tuple(self.models.values())
        for plan in self.plans:
            plan.close()
        return Rewritten(
            text.sql,
            changed=True,
            models=models,
            runs=tuple(self.runs),
            plans=tuple(self.plans),
            without=frozenset(rule.__name__ for rule in RULES if rule not in self.rules),
            source=self.sql,
            described=self.probe.render([Span(0, len(self.sql))]).sql,
            _text=text,
        )

    def _read_settings(self) -> None:
        self.setting = resolve(self.setting, self.catalog.settings(), [rule.__name__ for rule in RULES])
        without = self.setting.without or ()
        self.rules = [rule for rule in self.rules if rule.__name__ not in without]

    def _check_missing(self, call: Call, model: ModelInfo) -> None:
        if call.missing != "impute" or model.signature.on_missing != "error":
            return
        words = [token for token in self.tokens[call.first : call.last] if token.text == "impute"]
        raise CannotImpute(
            f"model {model.name!r} cannot impute missing features",
            hint="write ON MISSING NULL or ON MISSING ERROR",
            position=words[-1].start + 1 if words else call.position,
        )

    def _is_ours(self, call: Call) -> bool:
        """Find the form's model, or tell that the form is a function of the user's.

        ``predict(name)`` alone could be a call of theirs. It is left to PostgreSQL if there is no such model
        and it stands where no prediction could stand anyhow, or a function of that name exists.
        """
        in_from = self.scopes.in_from(call.first)
        if call.is_plain and is_name_of_something(self.tokens, call, in_from=in_from):
            return False
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
            outside = in_from or innermost(self.blocks, call.first) is None
            if outside or self.catalog.has_function(call.name):
                return False
        close = difflib.get_close_matches(call.model, list(self.catalog.model_names()), 3, 0.5)
        raise UnknownModel(
            f'model "{".".join(call.path)}" does not exist',
            hint=f"did you mean {' or '.join(close)}?" if close else "SELECT name FROM ml.models lists yours",
            position=call.model_position,
        )

    def _marked(self, inputs: Sequence[Input]) -> tuple[Input, ...]:
        """Mark the features that hold parameters."""
        return tuple(
            dataclasses.replace(
                input_,
                has_parameter=any(
                    isinstance(piece, Span) and "$" in self.sql[piece.start : piece.end]
                    for piece in input_.pieces
                ),
            )
            for input_ in inputs
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
        # what is the same for all rows of a SELECT in LATERAL may not be so for all rows around it
        beside = "from" not in container.clauses and is_word(self.tokens, container.first - 2, "lateral")
        return None if not beside and self._is_constant(call) else container

    def _is_constant(self, call: Call) -> bool:
        """Tell whether features are the same for all rows of a SELECT, so that the form is answered once."""
        if call.items is None or any(item.feature is None for item in call.items):
            return False
        clause = self.scopes.of(call).clause
        aliases = {source.alias for source in clause.sources}
        names = {column.name for column in clause.star} | aliases
        for item in call.items:
            tokens = self.tokens_in(item.span)
            for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
                if token.text == "(":
                    return False
                qualifies = after is not None and after.text == "."
                # behind a point stands a column, or a table behind its schema
                if not token.is_name or (before is not None and before.text == "." and not qualifies):
                    continue
                if token.text in (aliases if qualifies else names):
                    return False
        return True

    def _names_rows(self, found: Modification) -> bool:
        """Tell whether a condition gives every column of the key a value."""
        named = set()
        for span in found.steady:
            tokens = self.tokens_in(span)
            if any(token.text == "=" for token in tokens):
                named |= {token.text for token in tokens if token.is_name}
        return named.issuperset(found.key)

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
        few = rows < LEAST_ROWS if rows is not None else self._names_rows(found)
        if few and self.setting.forced != "batch":
            return
        runs = join_equal([self.run_of(call) for call in calls], self.sql)
        for number, run in enumerate(runs, 1):
            run.way, run.reason = "batch", "by a query over the same table, joined by its primary key"
            for call in run.outputs[0].calls:
                otherwise = row_expression(call, run, self.prefix)
                self.splicer.replace(call.span, found.answer(call, run, number, otherwise, self.prefix))
        query = Splicer(self.sql).render(found.query(runs, self.prefix))
        forced = dataclasses.replace(self.setting, way="batch")
        with query.placing_errors():
            asked = rewrite(query.sql, self.catalog, rules=self.rules, setting=forced)
        traced = query if asked._text is None else asked._text.through(query)
        for span, pieces in found.join(traced.marked(), self.prefix):
            self.splicer.replace(span, pieces)
        spans = {call.span for call in calls}
        self.runs = [run for run in self.runs if run.call.span not in spans] + runs
