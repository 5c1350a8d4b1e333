"""Filters without predictions are applied before inference."""

from __future__ import annotations

from rewriter.conjuncts import conjunct_spans
from rewriter.plan import Note, Plan


def filter_first(plan: Plan) -> None:
    """Move the conjuncts of WHERE that do not predict to the rows that are predicted."""
    where = plan.block.clauses.get("where")
    if where is None or len(plan.outer) != 1 or not plan.runs:
        return
    spans = conjunct_spans(plan, where)
    plan.outer = [span for span in spans if plan.predicts(span)]
    plan.inner = [span for span in spans if not plan.predicts(span)]
    if plan.inner:
        plan.notes.append(Note("filter_first", " AND ".join(plan.text(span) for span in plan.inner)))
