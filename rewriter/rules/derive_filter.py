"""A filter on the prediction of an inlined model becomes a filter on the data, which an index can serve.

``WHERE PREDICT(m) > 60`` of a tree is true in some boxes of its features, of a weighted sum of one number on
one side of a threshold. The filter on the data stands beside the one on the prediction: it is made such that
all rows of that meet it, and a row too many does no harm.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from decimal import Decimal

from onnx_models.inline import Bounds, Box, InlineForm, Wanted, regions, threshold
from onnx_models.inline.nodes import Linear
from rewriter.comparisons import Comparison, Operator, comparison_of, constant_at
from rewriter.conjuncts import conjuncts
from rewriter.emit.inline import wanted_of
from rewriter.forms import Call
from rewriter.plan import Derived, Note, Plan, Run
from rewriter.ranges import condition, source_of
from rewriter.scan import scan
from rewriter.splice import Span

from .prune_tree import known_of

#: boxes that are worth a condition
_MOST_BOXES = 6
_WHOLE = ("smallint", "integer", "bigint")
#: types that a double is rounded to, and by which part of it at the most: 15 and 7 digits are kept, or more
_ROUNDED = {"numeric": 1e-14, "real": 1e-6}
#: whole numbers up to here have halves among the doubles
_LARGEST = 2**50


def derive_filter(plan: Plan) -> None:
    """Put filters on the data beside filters on predictions."""
    where = plan.block.clauses.get("where")
    forms = {
        call.first: (run, call) for run in plan.inline for output in run.outputs for call in output.calls
    }
    if where is None or not forms:
        return

    def operand(index: int) -> int | None:
        return forms[index][1].last + 1 if index in forms else None

    for start, end in conjuncts(plan.tokens, where):
        found = comparison_of(plan.tokens, start, end, operand) if start < end else None
        if found is None or not _stays(plan, start):
            continue
        run, call = forms[found[0]]
        boxes = None if run.missing != "impute" else _boxes(plan, run, call, found[1])
        text = None if boxes is None else _condition(plan, run, boxes)
        if text is not None:
            plan.derived.append(Derived(run, plan.tokens[end - 1].end, text))
            plan.notes.append(Note("derive_filter", text))


def _stays(plan: Plan, start: int) -> bool:
    """Tell whether a conjunct is applied where the columns of FROM are to be had."""
    at = plan.tokens[start].start
    return not plan.runs or any(span.start <= at < span.end for span in plan.inner)


def _condition(plan: Plan, run: Run, boxes: list[Box]) -> str | None:
    """Return SQL that all rows in boxes meet; None where it would be all rows."""
    sources = {input_.feature.name: source_of(input_, plan) for input_ in run.inputs}
    alternatives: list[str] = []
    for box in boxes:
        parts = []
        for name, bounds in box.items():
            source = sources[name]
            part = None if source is None else condition(source, bounds)
            parts += [] if part is None else [part]
        if not parts:
            return None
        alternatives.append(parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})")
    alternatives = list(dict.fromkeys(alternatives))
    if not alternatives:
        return "false"
    return alternatives[0] if len(alternatives) == 1 else f"({' OR '.join(alternatives)})"


def _boxes(plan: Plan, run: Run, call: Call, said: Comparison) -> list[Box] | None:
    """Return boxes of features outside of which the comparison is not true; None where none are known."""
    form = run.form or run.model.inline
    if form is None:
        return None
    wanted = wanted_of(call, run, plan.sql)
    if said.operator == "between":
        low = _boxes(plan, run, call, Comparison(">=", said.constants[:1]))
        high = _boxes(plan, run, call, Comparison("<=", said.constants[1:]))
        if low is None or high is None:
            return low if high is None else high
        return [both for one in low for other in high if (both := _both(one, other)) is not None]
    if said.operator == "in":
        found: list[Box] = []
        for constant in said.constants:
            boxes = _boxes(plan, run, call, Comparison("=", (constant,)))
            if boxes is None:
                return None
            found += boxes
        return found if len(found) <= _MOST_BOXES else None
    operator = said.simple
    if operator is None:
        return None
    if wanted.kind == "label":
        return _of_label(plan, run, form, wanted, said)
    number = said.constants[0]
    if not isinstance(number, Decimal):
        return None
    border = float(number)
    if wanted.kind == "value" and run.model.signature.target.type != "double precision":
        if operator == "=":
            return _boxes(plan, run, call, Comparison("between", (number, number)))
        rounded = _before_rounding(run.model.signature.target.type, operator, number)
        if rounded is None:
            return None
        operator, border = rounded
    return _of_number(plan, run, form, wanted, operator, border)


def _both(one: Box, other: Box) -> Box | None:
    both = dict(one)
    for name, bounds in other.items():
        both[name] = both.get(name, Bounds()).within(bounds)
    return None if any(bounds.is_empty for bounds in both.values()) else both


def _before_rounding(type_: str, operator: Operator, number: Decimal) -> tuple[Operator, float] | None:
    """Return what holds of a double if a comparison holds of what it becomes in the target's type."""
    if operator in ("=", "<>") or abs(number) > _LARGEST:
        return None
    below = operator in ("<", "<=")
    if type_ in _WHOLE:
        if below:
            most = math.ceil(number) - 1 if operator == "<" else math.floor(number)
            # halves are rounded to even numbers
            return ("<=" if most % 2 == 0 else "<"), most + 0.5
        least = math.floor(number) + 1 if operator == ">" else math.ceil(number)
        return (">=" if least % 2 == 0 else ">"), least - 0.5
    if type_ not in _ROUNDED:
        return None
    border = float(number)
    apart = abs(border) * _ROUNDED[type_] + sys.float_info.min
    return ("<=", border + apart) if below else (">=", border - apart)


def _of_label(plan: Plan, run: Run, form: InlineForm, wanted: Wanted, said: Comparison) -> list[Box] | None:
    label = _label(said, run.model.signature.target.type)
    if label is None or said.operator not in ("=", "<>"):
        return None
    if not isinstance(form.body, Linear):
        return regions(form, wanted, said.operator, label, _MOST_BOXES)
    if form.link != "logistic" or form.rule == "half" or label not in form.classes:
        return None
    second = (label == form.classes[1]) == (said.operator == "=")
    if form.rule == "above":
        return _of_number(plan, run, form, wanted, ">" if second else "<=", 0.0)
    return _of_number(plan, run, form, wanted, ">=" if second else "<", 0.0)


def _label(said: Comparison, target: str) -> str | None:
    """Return the label that a constant is, as the signature writes it."""
    constant = said.constants[0]
    if isinstance(constant, bool):
        return str(constant).lower() if target == "boolean" else None
    if isinstance(constant, str):
        return constant if target in ("text", "character varying") else None
    whole = target in _WHOLE and constant == constant.to_integral_value()
    return str(int(constant)) if whole else None


def _of_number(
    plan: Plan, run: Run, form: InlineForm, wanted: Wanted, operator: Operator, border: float
) -> list[Box] | None:
    if not math.isfinite(border):
        return None
    if not isinstance(form.body, Linear):
        return regions(form, wanted, operator, border, _MOST_BOXES)
    if wanted.kind == "probability":
        return None
    fixed = _fixed(plan, run)
    left = [name for name in form.features if name not in fixed]
    if len(left) != 1:
        return None
    bounds = threshold(form, operator, border, fixed)
    if bounds is None:
        return None
    return [] if bounds.is_empty else [{left[0]: bounds}]


def _fixed(plan: Plan, run: Run) -> Mapping[str, float | str | None]:
    """Return the features that are the same in all rows that pass the filters."""
    fixed: dict[str, float | str | None] = {}
    for name, bounds in known_of(plan, run).items():
        if bounds.missing:
            continue
        if bounds.texts is not None and len(bounds.texts) == 1:
            fixed[name] = next(iter(bounds.texts))
        elif bounds.low == bounds.high:
            fixed[name] = bounds.low
    for input_ in run.inputs:
        spans = [piece for piece in input_.pieces if isinstance(piece, Span)]
        if len(spans) != 1 or input_.type is not None:
            continue
        tokens = scan(plan.sql[spans[0].start : spans[0].end])
        found = constant_at(tokens, 0, len(tokens))
        value = found[0] if found is not None and found[1] == len(tokens) else None
        feature = input_.feature
        if isinstance(value, str) and feature.type in ("text", "character varying"):
            fixed[feature.name] = value
        elif isinstance(value, Decimal) and (
            feature.type in ("double precision", "numeric")
            or (feature.type in _WHOLE and value == value.to_integral_value())
        ):
            fixed[feature.name] = float(value)
    return fixed
