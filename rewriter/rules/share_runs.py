"""All that is wanted of a model over the same inputs is made in one run."""

from __future__ import annotations

from rewriter.plan import Plan, Run


def share_runs(plan: Plan) -> None:
    """Join runs of the same model over the same inputs: a prediction and its probabilities, say."""
    shared: dict[object, Run] = {}
    for run in plan.runs:
        known = shared.setdefault(run.key(plan.sql), run)
        if known is not run:
            known.outputs.extend(run.outputs)
    plan.runs = list(shared.values())
