"""The inline way: the model's certified SQL form over the features.

In a SELECT the steps of the form are LATERAL subqueries, which PostgreSQL flattens into plain expressions::

    FROM flights AS f, LATERAL (SELECT f.distance::float8 AS _p_a1) AS _p_f1,
        LATERAL (SELECT (1.5 + 0.25 * _p_f1._p_a1)::integer AS predict) AS _p_i1

Elsewhere they make up a scalar subquery.
"""

from __future__ import annotations

import dataclasses

from onnx_models.inline import Wanted
from rewriter.forms import Call
from rewriter.plan import Run
from rewriter.splice import Piece

from .convert import converted, type_name
from .missing import guard
from .outputs import class_of


@dataclasses.dataclass(frozen=True)
class Steps:
    """A run as SQL.

    :ivar laterals: ``(SELECT ...) AS alias`` for each step, every one sees those before it
    :ivar outputs: the value of each output of the run, over the steps
    """

    laterals: list[list[Piece]]
    outputs: list[str]


def can_inline(call: Call, run: Run, sql: str) -> str | None:
    """Return why a form cannot be written out as SQL; None if it can."""
    if run.model.inline is None:
        return "the model has no certified SQL form"
    if call.kind == "set":
        return "sets of classes are not written out as SQL"
    if call.label is not None and class_of(call, run.model, sql) is None:
        return "the class is not a constant"
    return None


def inline_steps(run: Run, number: int, p: str, sql: str) -> Steps:
    """Return a run as SQL.

    :param number: tells the runs of a block apart
    """
    form = run.form or run.model.inline
    if form is None:
        raise AssertionError(run.model.name)
    inputs = [
        input_
        for input_ in run.inputs
        if run.missing != "impute" or input_.feature.name in form.features or input_.has_parameter
    ]
    alias = f"{p}f{number}"
    columns = {input_.feature.name: f"{alias}.{p}a{place}" for place, input_ in enumerate(inputs, 1)}
    listed: list[Piece] = []
    for input_ in inputs:
        column = columns[input_.feature.name].split(".")[1]
        listed += [", " if listed else "", *converted(input_), f" AS {column}"]
    fence = " OFFSET 0" if run.fenced else ""
    laterals = [["(SELECT ", *listed, f"{fence}) AS {alias}"]] if inputs else []
    wanted = [wanted_of(output.call, run, sql) for output in run.outputs]
    rendered = form.render({name: columns[name] for name in form.features}, wanted, f"{p}s{number}_")
    laterals += [[stage.sql] for stage in rendered.stages]
    outputs = [
        _typed(output.call, run, expression)
        for output, expression in zip(run.outputs, rendered.outputs, strict=True)
    ]
    if run.missing != "impute":
        condition = guard(run, [columns[input_.feature.name] for input_ in inputs])
        outputs = [f"CASE WHEN {condition} THEN {output} END" for output in outputs]
    return Steps(laterals, outputs)


def is_fenced(run: Run, p: str, sql: str) -> bool:
    """Tell whether a run's steps are computed for every row of FROM, rather than where they are wanted."""
    steps = inline_steps(run, 1, p, sql).laterals
    return any(isinstance(piece, str) and "OFFSET 0" in piece for step in steps for piece in step)


def inline_expression(call: Call, run: Run, p: str, sql: str) -> list[Piece]:
    """Return a scalar subquery named like the form."""
    steps = inline_steps(dataclasses.replace(run, outputs=[run.outputs[0]]), 1, p, sql)
    pieces: list[Piece] = [f"(SELECT {steps.outputs[0]} AS {call.name}"]
    for place, lateral in enumerate(steps.laterals):
        pieces += [", LATERAL " if place else " FROM ", *lateral]
    return [*pieces, ")"]


def wanted_of(call: Call, run: Run, sql: str) -> Wanted:
    """Return what a form wants of the model's SQL form."""
    if call.kind == "probability":
        return Wanted("probability", None if call.label is None else class_of(call, run.model, sql))
    return Wanted("label" if run.model.signature.classes else "value")


def _typed(call: Call, run: Run, expression: str) -> str:
    target = run.model.signature.target.type
    has = "double precision" if call.kind == "probability" or not run.model.signature.classes else "text"
    wanted = "double precision" if call.kind == "probability" else target
    return expression if wanted == has else f"({expression})::{type_name(wanted)}"
