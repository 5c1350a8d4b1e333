"""What a correlated subquery predicts is predicted once, not for each row of the query around it.

``WHERE EXISTS (SELECT FROM flights f WHERE f.dest = a.faa AND f.day = '2013-12-30' AND PREDICT(m) = 'yes')``
would make a batch for each airport. Conditions that need the query around stay behind inference instead, so
that all flights of the day are predicted together and kept in a CTE. PostgreSQL computes a CTE that depends
on nothing outside of it once, however often the subquery is run, and not at all if it never is.

That predicts rows that no row around may look at, and each run looks at all that were predicted. So the
database is asked how many there are, unless no condition has to move: then it can only be fewer predictions.
"""

from __future__ import annotations

import dataclasses

from rewriter.asking import Asks
from rewriter.plan import Input, Note, Plan
from rewriter.scope import is_word
from rewriter.splice import Span

from .limit_first import limit_first, limit_of

#: seconds, measured: of a batch beside its rows; of a row in it; of a look at a row that is kept
_BATCH = 8e-4
_ROW = 1e-5
_LOOK = 5e-8


def predict_once(plan: Plan) -> None:
    """Let conditions that need the query around stand behind inference, and keep what is predicted."""
    asks, from_ = plan.asks, plan.block.clauses.get("from")
    if asks is None or from_ is None or not plan.runs or plan.inline or not takes_columns(plan):
        return
    if not asks.is_repeated():
        return
    source = plan.span(from_.start, from_.end)
    if not asks.stands_alone(["SELECT 1 FROM ", source]):
        return
    moved = [
        span for span in plan.inner if not asks.stands_alone(["SELECT 1 FROM ", source, " WHERE ", span])
    ]
    staying = [span for span in plan.inner if span not in moved]
    if not asks.is_steady([source, *staying]):
        return
    if moved and not _is_worth(plan, asks, source, staying):
        return
    plan.inner, plan.outer, plan.once = staying, [*moved, *plan.outer], True
    behind = " AND ".join(plan.text(span) for span in moved)
    text = "for all runs of the subquery" + (f", before {behind}" if behind else "")
    plan.notes.append(Note("predict_once", text))


def _is_worth(plan: Plan, asks: Asks, source: Span, staying: list[Span]) -> bool:
    """Tell whether all rows at once take less time than those of each run on their own."""
    runs = asks.rows_around()
    together = None if runs is None else asks.rows_for_all(source, plan.inner)
    every = None if together is None else asks.rows(source, staying)
    if runs is None or together is None or every is None:
        return False
    trial = dataclasses.replace(plan, limited=[], notes=[])
    limit_first(trial)
    limit = limit_of(trial)
    if limit is not None:
        together = min(together, runs * limit)
    # a run without rows makes no batch
    each = min(runs, together) * _BATCH + together * _ROW
    return _BATCH + every * _ROW + every * runs * _LOOK < each


def takes_columns(plan: Plan) -> bool:
    """Tell whether all features are plain columns of FROM, or constants, and may be missing.

    What is computed could fail for a row that would not have been predicted, or differ from one look to the
    next; and ON MISSING ERROR fails as soon as PostgreSQL looks at a prediction, in an order of its own.
    """
    return all(run.missing != "error" for run in plan.runs) and all(
        _is_column(plan, input_) for run in plan.runs for input_ in run.inputs
    )


def _is_column(plan: Plan, input_: Input) -> bool:
    clause = plan.clause
    if input_.column is not None:
        alias, name = input_.column
        source = clause.source(alias) if alias else None
        return name in clause.merged if not alias else source is not None and source.column(name) is not None
    if input_.pieces == ("NULL",):
        return True
    found = plan.tokens_of(input_)
    tokens = [token for _, token in found]
    if len(found) == 1 and (
        tokens[0].kind in ("number", "string", "param")
        or is_word(plan.tokens, found[0][0], "true", "false", "null")
    ):
        return True
    if len(tokens) == 1 and tokens[0].is_name:
        return any(column.name == tokens[0].text for column in clause.star)
    if len(tokens) == 3 and tokens[1].text == ".":
        source = clause.source(tokens[0].text)
        return source is not None and source.column(tokens[2].text) is not None
    return False
