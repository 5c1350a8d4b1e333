"""Forms of a SELECT in LATERAL as forms of the SELECT around it (:mod:`rewriter.rules.gather_lateral`).

The subquery keeps its rows and columns, NULL in the place of each form, and gives the features behind them.
The predictions of the SELECT around come back as the columns that the forms were.
"""

from __future__ import annotations

import dataclasses

from .emit.convert import converted, is_text
from .names import quote
from .plan import Gathered, Input, Output, Plan, Run, as_written
from .splice import Piece, Span


@dataclasses.dataclass
class Moved:
    """What a subquery's forms are in the SELECT around it.

    :ivar runs: over the columns of the subquery
    :ivar edits: what makes the subquery give the features, but for NULL in the place of forms
    :ivar marker: (alias, column) that tells rows of the subquery from those that an outer join made up
    """

    runs: list[Run]
    edits: list[tuple[Span, list[Piece]]]
    marker: tuple[str, str] | None


def move(plan: Plan, gathered: Gathered, p: str) -> Moved:
    """Return the forms of a plan as those of the SELECT around it.

    :param p: prefix of our own names
    """
    features: dict[str, tuple[str, list[Piece]]] = {}
    runs = [_moved(run, gathered, features, plan.sql, p) for run in plan.runs]
    listed: list[Piece] = []
    for name, pieces in features.values():
        listed += [", ", *pieces, f" AS {name}"]
    marker = None
    if gathered.outer:
        marker = (gathered.alias, f"{p}l0")
        listed.append(f", true AS {marker[1]}")
    at = plan.tokens[plan.block.clauses["select"].end - 1].end
    return Moved(runs, [(Span(at, at), listed)], marker)


def _moved(
    run: Run, gathered: Gathered, features: dict[str, tuple[str, list[Piece]]], sql: str, p: str
) -> Run:
    inputs = []
    for input_ in run.inputs:
        if input_.pieces == ("NULL",):
            inputs.append(input_)
            continue
        # converted where it is computed: a constant has no type of its own any more once it is a column
        pieces = converted(input_)
        name, _ = features.setdefault(as_written(pieces, sql), (f"{p}l{len(features) + 1}", pieces))
        kind, type_ = ("text", "text") if is_text(input_) else ("number", "double precision")
        feature = dataclasses.replace(input_.feature, kind=kind, type=type_)  # type: ignore[arg-type]
        column = f"{quote(gathered.alias)}.{name}"
        inputs.append(Input(feature, (column,), type_, (gathered.alias, name)))
    outputs = [
        Output(output.calls, tuple((gathered.alias, gathered.columns[call.first]) for call in output.calls))
        for output in run.outputs
    ]
    return dataclasses.replace(
        run,
        inputs=tuple(inputs),
        origins=run.inputs,
        outputs=outputs,
        way="batch",
        reason=f"for all rows of {gathered.alias} at once",
    )
