"""Chooses the way of each run: written out as SQL, row by row in its place, or in batches.

A request for one row is a tenth cheaper than a batch of one row, and dearer for every further row or form:
two rows take 1.75 ms rather than 1.4 ms, twenty 10 ms rather than 1.4 ms, also in a query that runs once for
each row of another. So the number of rows is not asked for: a request is made only where the text leaves no
more than one row and one form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .emit import can_inline
from .errors import NotSupported
from .plan import Plan, Run
from .rules.filter_first import filter_first
from .rules.limit_first import limit_first, limit_of
from .scan import Token
from .scope import is_word
from .setting import Setting

#: an SQL form with no more questions than these is parsed and planned in less than a millisecond
_SMALL_SPLITS = 64
#: some 15 microseconds a question, against some 2 a row that the SQL form is faster than a batch
_ROWS_PER_SPLIT = 8


@dataclasses.dataclass(frozen=True)
class Stored:
    """Whether the statement's text is kept by the server, so that later deployments must be seen in it.

    :ivar kept: whether it is
    :ivar is_checked: whether it is a view WITH CHECK OPTION, whose FROM must stay a table
    :ivar is_view: whether others will filter it, which only rows can answer without predicting all
    """

    kept: bool = False
    is_view: bool = False
    is_checked: bool = False


def stored(tokens: Sequence[Token], *, kept: bool = False) -> Stored:
    """Tell what becomes of a statement.

    :param kept: whether the caller knows that it is kept
    """
    if is_word(tokens, 0, "prepare"):
        return Stored(kept=True)
    if not is_word(tokens, 0, "create"):
        return Stored(kept=kept)
    index = 1
    while is_word(
        tokens, index, "or", "replace", "temp", "temporary", "global", "local", "unlogged", "recursive"
    ):
        index += 1
    if is_word(tokens, index, "view"):
        is_checked = is_word(tokens, len(tokens) - 1, "option") or is_word(tokens, len(tokens) - 2, "option")
        return Stored(kept=True, is_view=True, is_checked=is_checked)
    return Stored(kept=is_word(tokens, index, "materialized", "function", "procedure", "rule", "policy"))


def is_large(run: Run) -> bool:
    """Tell whether a run's SQL form takes PostgreSQL longer to plan than a few rows take to predict."""
    return run.model.inline is not None and run.model.inline.splits > _SMALL_SPLITS


def choose(
    run: Run,
    sql: str,
    setting: Setting,
    kept: Stored,
    *,
    block: bool,
    single: bool = False,
    rows: float | None = None,
) -> None:
    """Set a run's way and the reason for it.

    :param block: whether it stands where batches can be made
    :param single: whether it is the only form of one row at the most
    :param rows: how many are expected, if that is known
    :raises NotSupported: if the caller wants a way that there is not
    """
    forced = setting.forced
    refusal = next(
        (reason for output in run.outputs for call in output.calls if (reason := can_inline(call, run, sql))),
        None,
    )
    if refusal is None and kept.kept and not run.model.pinned:
        refusal = "the statement is stored and must see later deployments"
    if forced is None and is_large(run) and not _is_worth(run, rows):
        refusal = refusal or "its SQL form is large for so few rows"
    if forced is None and is_large(run) and run.fenced:
        # PostgreSQL runs out of columns
        refusal = refusal or "its SQL form is large, and so may be what its features are made of"
    if run.volatile:
        # PostgreSQL may evaluate a LATERAL subquery once for several rows
        refusal = refusal or "a feature is computed anew for each row"
    if kept.is_view and forced != "inline":
        # another SQL form over the view would take this one into each of its places
        refusal = refusal or "whoever reads the view may compute with it"
    if forced == "inline" and refusal is not None:
        raise NotSupported(
            f"{run.call.name.upper()} cannot be written out as SQL: {refusal}",
            hint="leave the way to us, or take 'row' or 'batch'",
            position=run.call.position,
        )
    if refusal is None and forced in (None, "inline"):
        run.way, run.reason = "inline", "certified to be equal to its ONNX form"
    elif not block or kept.is_checked:
        run.way, run.reason = "row", "it stands where rows cannot be collected"
    elif run.volatile and run.missing != "impute":
        run.way, run.reason = "row", "a feature that is computed anew at each look is looked at twice"
    elif forced is not None:
        run.way, run.reason = forced, "as set"
    elif kept.is_view:
        run.way, run.reason = "row", "whoever reads the view may want few of its rows"
    elif single:
        run.way, run.reason = "row", "one row"
    else:
        run.way, run.reason = "batch", refusal or "rows in chunks"
    if run.way == "row" and forced is None and refusal is not None:
        run.reason += f"; {refusal}"


def _is_worth(run: Run, rows: float | None) -> bool:
    form = run.model.inline
    return form is not None and rows is not None and rows >= form.splits * _ROWS_PER_SPLIT


def is_single(plan: Plan) -> bool:
    """Tell whether a plan's runs, not chosen yet, are one form of one row at the most."""
    if len(plan.runs) != 1 or len(plan.runs[0].outputs[0].calls) != 1:
        return False
    return rows_by_text(plan) == 1


def rows_by_text(plan: Plan) -> int | None:
    """Return how many rows are predicted at the most where the text tells; None where it does not."""
    if "from" not in plan.block.clauses:
        return 1
    return limit_of(limited(plan))


def limited(plan: Plan) -> Plan:
    """Return a plan whose runs have no way yet as it would be with LIMIT before inference."""
    trial = dataclasses.replace(plan, inner=[], outer=list(plan.outer), limited=[], notes=[])
    filter_first(trial)
    limit_first(trial)
    return trial
