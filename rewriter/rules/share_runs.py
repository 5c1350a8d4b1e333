"""All that is wanted of a model over the same inputs is made in one run."""

from __future__ import annotations

from rewriter.plan import Note, Plan, Run


def share_runs(plan: Plan) -> None:
    """Join runs of the same model over the same inputs: a prediction and its probabilities, say."""
    plan.runs = _shared(plan, plan.runs)
    plan.inline = _shared(plan, plan.inline)


def _shared(plan: Plan, runs: list[Run]) -> list[Run]:
    shared: dict[object, Run] = {}
    for run in runs:
        known = shared.setdefault(run.key(plan.sql), run)
        if known is not run:
            known.outputs.extend(run.outputs)
            plan.notes.append(Note("share_runs", f"{run.call.name.upper()} of {run.model.name} shares a run"))
    return list(shared.values())
