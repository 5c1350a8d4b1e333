"""Filters on features take branches from an inlined tree.

With ``WHERE age > 60`` no row reaches what a tree says of the young. Only conditions are used that every row
meets whose prediction counts: the conjuncts of WHERE.
"""

from __future__ import annotations

from onnx_models.inline import Bounds, InlineForm, bounded
from onnx_models.inline.nodes import Leaf, Trees, nodes_of
from rewriter.conjuncts import conjuncts
from rewriter.plan import Note, Plan, Run
from rewriter.ranges import bounds_of, conditions, source_of


def prune_tree(plan: Plan) -> None:
    """Leave out what rows that meet the filters do not reach."""
    for run in plan.inline:
        form = run.form or run.model.inline
        known = known_of(plan, run)
        if form is None or not known:
            continue
        smaller = bounded(form, known)
        if smaller != form:
            run.form = smaller
            is_tree = isinstance(form.body, Trees)
            run.shrunk = f"{_leaves(smaller)} of {_leaves(form)} leaves" if is_tree else "fewer categories"
            plan.notes.append(Note("prune_tree", run.shrunk))


def _leaves(form: InlineForm) -> int:
    trees = form.body.trees if isinstance(form.body, Trees) else ()
    return sum(isinstance(node, Leaf) for tree in trees for node in nodes_of(tree))


def known_of(plan: Plan, run: Run) -> dict[str, Bounds]:
    """Return what the filters on columns say of a run's features."""
    where = plan.block.clauses.get("where")
    form = run.model.inline
    if where is None or form is None:
        return {}
    said = conditions(plan, conjuncts(plan.tokens, where))
    known: dict[str, Bounds] = {}
    for input_ in run.inputs:
        source = source_of(input_, plan)
        if source is None or input_.feature.name not in form.features:
            continue
        of_column = said.get((source.alias, source.name))
        if not of_column:
            continue
        bytewise = input_.feature.kind == "text" and plan.texts_are_bytes()
        bounds = bounds_of(source, of_column, texts_are_bytes=bytewise)
        if bounds != Bounds():
            known[input_.feature.name] = bounds
    return known
