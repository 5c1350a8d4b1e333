"""Rows are predicted before a join that multiplies them.

In ``FROM flights f JOIN classes c ON PREDICT(m USING f.*) >= c.least`` all features are columns of ``f``.
The flights that pass their own conditions are predicted, and what comes of it stands in the place of ``f``,
in the text of FROM as it is. A join that leaves fewer rows is better made first, so the database is asked how
many there are on either side of it.
"""

from __future__ import annotations

from rewriter.plan import Note, Plan
from rewriter.scope import is_word
from rewriter.sources import Source

from .predict_once import takes_columns

#: joins behind which a row of one source may be missing, or its columns become others
_OTHER_JOINS = ("left", "right", "full", "natural", "using")
_ENDS = ("on", "join", "inner", "cross")
#: a join that adds fewer rows than these, in all and as a share, is no matter
_LEAST_ROWS = 100
_LEAST_SHARE = 1.2


def before_join(plan: Plan) -> None:
    """Predict the rows of the one source that features come from before it is joined to the others."""
    asks, from_ = plan.asks, plan.block.clauses.get("from")
    if asks is None or from_ is None or not plan.runs or plan.inline or plan.limited or plan.once:
        return
    source = _source(plan)
    item = None if source is None else _item(plan, source)
    if source is None or item is None or len(item) == from_.end - from_.start or not takes_columns(plan):
        return
    joined = asks.rows(plan.span(from_.start, from_.end), plan.inner)
    if joined is None or joined < _LEAST_ROWS:
        return
    text = plan.span(item.start, item.stop)
    if not asks.stands_alone(["SELECT 1 FROM ", text]):
        return
    first = [span for span in plan.inner if asks.stands_alone(["SELECT 1 FROM ", text, " WHERE ", span])]
    if first and not asks.is_steady(first):
        return
    alone = asks.rows(text, first)
    if alone is None or joined < max(alone * _LEAST_SHARE, alone + _LEAST_ROWS):
        return
    plan.outer = [*(span for span in plan.inner if span not in first), *plan.outer]
    plan.inner, plan.apart, plan.rows = first, item, alone
    plan.notes.append(Note("before_join", f"{source.alias}, {alone:,.0f} rows rather than {joined:,.0f}"))


def _source(plan: Plan) -> Source | None:
    """Return the one source that all features come from."""
    aliases: set[str] = set()
    for run in plan.runs:
        for input_ in run.inputs:
            if input_.column is not None:
                aliases.add(input_.column[0])
                continue
            owners = [
                source.alias
                for source in plan.clause.sources
                for place, token in plan.tokens_of(input_)
                if token.is_name and token.text == source.alias and plan.tokens[place + 1].text == "."
            ]
            names = [token for _, token in plan.tokens_of(input_) if token.is_name]
            if not owners and names and not is_word(names, 0, "true", "false", "null"):
                # by a name alone
                owners = [
                    source.alias for source in plan.clause.sources if source.column(names[0].text) is not None
                ]
            aliases.update(owners)
    if len(aliases) != 1 or plan.clause.merges:
        return None
    return plan.clause.source(aliases.pop())


def _item(plan: Plan, source: Source) -> range | None:
    """Return the tokens of a source in FROM, if it stands among inner joins only."""
    tokens, depth, from_ = plan.tokens, plan.block.depth, plan.block.clauses["from"]
    own = [index for index in range(from_.start, from_.end) if tokens[index].depth == depth]
    if any(is_word(tokens, index, *_OTHER_JOINS) for index in own) or source.at not in own:
        return None
    ends = (
        index
        for index in own
        if index > source.at and (tokens[index].text == "," or is_word(tokens, index, *_ENDS))
    )
    item = range(source.at, next(ends, from_.end))
    others = (index for index in range(from_.start, from_.end) if index not in item)
    if any(_is_row(plan, index, source.alias) for index in others):
        return None
    return item


def _is_row(plan: Plan, index: int, alias: str) -> bool:
    """Tell whether a name that is the source's may mean its whole row."""
    tokens = plan.tokens
    if not tokens[index].is_name or tokens[index].text != alias:
        return False
    follows = tokens[index + 1].text if index + 1 < len(tokens) else ""
    return follows != "." and tokens[index - 1].text != "."
