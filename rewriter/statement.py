"""Rewrites whole statements."""

from __future__ import annotations

import bisect
import dataclasses
import difflib
from collections.abc import Sequence

from .bind import bind
from .catalog import Catalog, Column, DescribeError, ModelInfo
from .describe import check_rowwise, describe, visible_ctes
from .emit import emit
from .emit.outputs import check
from .errors import NotSupported, UndeployedModel, UnknownModel
from .forms import Call, find_calls
from .names import quote
from .plan import Output, Plan, Run, join_equal
from .rules import RULES, Rule
from .scan import Token, mentions, scan
from .scope import Block, find_blocks, find_ctes, innermost
from .sources import FromClause, parse_from
from .splice import Span, Splicer, Text
from .sugar import desugar


@dataclasses.dataclass(frozen=True)
class Rewritten:
    """A statement for PostgreSQL.

    :ivar sql: what PostgreSQL is to be given
    :ivar changed: whether it differs from what the user wrote
    :ivar models: the models that it uses
    """

    sql: str
    changed: bool
    models: tuple[ModelInfo, ...] = ()
    _text: Text | None = None

    def origin(self, position: int) -> int | None:
        """Return the position in the user's statement of a position in :attr:`sql`, both 1-based."""
        return position if self._text is None else self._text.origin(position)


#: places of a SELECT where a prediction cannot be made yet
_REFUSED_CLAUSES = {
    "from": "in FROM or JOIN ... ON",
    "limit": "in LIMIT",
    "offset": "in OFFSET",
    "fetch": "in FETCH",
    "into": "in INTO",
}


def rewrite(sql: str, catalog: Catalog, *, rules: Sequence[Rule] = RULES) -> Rewritten:
    """Return a statement with each PREDICT turned into a join with its model's batch table.

    A statement without our syntax comes back as it is, and the catalog is not asked.

    :param rules: those that make the result cheaper; it is right without any
    :raises RewriteError: for a form that is wrong or stands where it cannot be answered
    """
    if not mentions(sql):
        return Rewritten(sql, changed=False)
    tokens = scan(sql)
    desugared = desugar(sql, tokens, _Answering(catalog))
    if desugared is None:
        return _rewrite(sql, tokens, catalog, rules)
    with desugared.placing_errors():
        rewritten = _rewrite(desugared.sql, scan(desugared.sql), catalog, rules)
    text = desugared if rewritten._text is None else rewritten._text.through(desugared)
    return Rewritten(text.sql, changed=True, models=rewritten.models, _text=text)


class _Answering:
    """A catalog that also describes queries with forms in them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.model = catalog.model
        self.model_names = catalog.model_names
        self.has_function = catalog.has_function

    def describe(self, sql: str) -> Sequence[Column]:
        rewritten = rewrite(sql, self._catalog)
        try:
            return self._catalog.describe(rewritten.sql)
        except DescribeError as error:
            error.position = None if error.position is None else rewritten.origin(error.position)
            raise

    def estimate(self, sql: str) -> float | None:
        return self._catalog.estimate(rewrite(sql, self._catalog).sql)


def _rewrite(sql: str, tokens: list[Token], catalog: Catalog, rules: Sequence[Rule]) -> Rewritten:
    calls = find_calls(tokens)
    if not calls:
        return Rewritten(sql, changed=False)
    return _Statement(sql, tokens, catalog, rules).rewrite(calls)


def _check_answerable(call: Call) -> None:
    """Refuse what is understood and cannot be answered yet."""
    what = "VERSION" if call.version is not None else "ON MISSING" if call.missing else None
    if what is None and call.kind != "set":
        return
    raise NotSupported(f"{what or call.name.upper()} is not supported yet", position=call.position)


class _Statement:
    def __init__(self, sql: str, tokens: list[Token], catalog: Catalog, rules: Sequence[Rule]) -> None:
        self.sql, self.tokens, self.catalog, self.rules = sql, tokens, catalog, rules
        self.blocks = find_blocks(tokens)
        self.ctes = find_ctes(tokens)
        self.splicer = Splicer(sql)
        self.models: dict[tuple[str, ...], ModelInfo] = {}

    def rewrite(self, calls: list[Call]) -> Rewritten:
        owned: dict[int, list[Call]] = {}
        for call in calls:
            block = innermost(self.blocks, call.first)
            if self._is_ours(call, block):
                self._check_place(call, block, calls)
                owned.setdefault(self.blocks.index(block), []).append(call)  # type: ignore[arg-type]
        # inner blocks and CTEs first: what stands around them is described with them rewritten
        for index in sorted(owned, key=lambda index: self.blocks[index].end):
            self._rewrite_block(self.blocks[index], owned[index])
        if not self.splicer.has_edits:
            return Rewritten(self.sql, changed=False)
        text = self.splicer.render([Span(0, len(self.sql))])
        return Rewritten(text.sql, changed=True, models=tuple(self.models.values()), _text=text)

    def _is_ours(self, call: Call, block: Block | None) -> bool:
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
            model = self.catalog.model(call.model)
        except UndeployedModel as error:
            error.position = call.model_position
            raise
        if model is not None:
            _check_answerable(call)
            self.models[call.path] = model
            return True
        if call.is_plain and (
            block is None or block.clause_of(call.first) == "from" or self.catalog.has_function(call.name)
        ):
            return False
        close = difflib.get_close_matches(call.model, list(self.catalog.model_names()), 3, 0.5)
        raise UnknownModel(
            f'model "{".".join(call.path)}" does not exist',
            hint=f"did you mean {' or '.join(close)}?" if close else "SELECT name FROM ml.models lists yours",
            position=call.model_position,
        )

    def _check_place(self, call: Call, block: Block | None, calls: Sequence[Call]) -> None:
        form = call.name.upper()
        if block is None:
            raise NotSupported(
                f"{form} outside of a SELECT's own clauses is not supported yet",
                hint="predict in a subquery: (SELECT ... FROM ...)",
                position=call.position,
            )
        around = [other for other in calls if other.first < call.first <= other.last]
        if any(innermost(self.blocks, other.first) is block for other in around):
            raise NotSupported(
                f"{form} inside of another form's USING is not supported yet",
                hint="predict the inner one in a subquery of FROM",
                position=call.position,
            )
        clause = block.clause_of(call.first)
        if clause in _REFUSED_CLAUSES:
            raise NotSupported(
                f"{form} {_REFUSED_CLAUSES[clause]} is not supported yet",
                hint="predict in a subquery of FROM, or in WHERE" if clause == "from" else None,
                position=call.position,
            )
        if "for" in block.clauses:
            raise NotSupported(
                f"{form} beside FOR UPDATE or FOR SHARE is not supported yet",
                hint="lock the rows in a subquery or a CTE",
                position=self.tokens[block.clauses["for"].word].start + 1,
            )

    def _rewrite_block(self, block: Block, calls: list[Call]) -> None:
        clause = self._sources(block)
        self._check_features(block, calls)
        nested = block.depth > 0
        runs = []
        for call in calls:
            model = self.models[call.path]
            check(call, model, self.sql)
            runs.append(Run(model, bind(call, model, clause, nested=nested), [Output([call])]))
        plan = Plan(self.sql, self.tokens, self.blocks, block, clause, calls, join_equal(runs, self.sql))
        where = block.clauses.get("where")
        if where is not None:
            plan.outer = [plan.span(where.start, where.end)]
        for rule in self.rules:
            rule(plan)
        emit(plan, self.splicer)

    def _check_features(self, block: Block, calls: Sequence[Call]) -> None:
        spans = [item.span for call in calls for item in call.items or () if item.path is None]
        calling = [span for span in spans if self._calls_function(span)]
        from_ = block.clauses.get("from")
        body = None
        if from_ is not None:
            body = Span(self.tokens[from_.start].start, self.tokens[from_.end - 1].end)
        ctes = visible_ctes(self.ctes, block, self.tokens)
        check_rowwise(calling, body, ctes, self.splicer, self.catalog)

    def _calls_function(self, span: Span) -> bool:
        start = bisect.bisect_left(self.tokens, span.start, key=lambda token: token.start)
        end = bisect.bisect_left(self.tokens, span.end, key=lambda token: token.start)
        return any(
            self.tokens[index].is_name and self.tokens[index + 1].text == "("
            for index in range(start, end - 1)
        )

    def _sources(self, block: Block) -> FromClause:
        from_ = block.clauses.get("from")
        if from_ is None or from_.start >= from_.end:
            return FromClause([])
        clause = parse_from(self.tokens, from_.start, from_.end)
        body = Span(self.tokens[from_.start].start, self.tokens[from_.end - 1].end)
        ctes = visible_ctes(self.ctes, block, self.tokens)
        describe(clause, body, ctes, self.splicer, self.catalog, nested=block.depth > 0)
        return clause
