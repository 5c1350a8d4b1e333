"""Features without influence on the model are not read.

A model may have learnt that a feature does not matter; which these are is found when a version is stored.
Their inputs become NULL, so that nothing of FROM feeds them any more, and PostgreSQL removes a LEFT JOIN to a
unique key that was only there for them. A model that cannot take NULL, or a form that looks for missing
features, still gets their values.
"""

from __future__ import annotations

import dataclasses

from rewriter.plan import Note, Plan, Run


def prune_features(plan: Plan) -> None:
    """Let NULL stand for features that the model does not use."""
    for run in plan.runs:
        prune(run)
        if run.pruned:
            plan.notes.append(Note("prune_features", f"{', '.join(run.pruned)} not read"))


def prune(run: Run) -> None:
    """Do so for one run."""
    unused = [
        input_.feature.name
        for input_ in run.inputs
        if input_.feature.name in run.model.unused and not input_.has_parameter
    ]
    if not unused or run.missing != "impute" or run.model.signature.on_missing != "impute":
        return
    run.pruned = tuple(unused)
    run.inputs = tuple(
        dataclasses.replace(input_, pieces=("NULL",), type=None, column=None)
        if input_.feature.name in unused
        else input_
        for input_ in run.inputs
    )
