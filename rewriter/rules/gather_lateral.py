"""What a SELECT in LATERAL predicts for each row beside it is predicted for all of them at once.

``FROM airlines a CROSS JOIN LATERAL (SELECT f.id, PREDICT(m) AS minutes FROM flights f WHERE f.carrier =
a.carrier ORDER BY ... LIMIT 5) t`` would ask for five rows at a time. The subquery gives the features
instead, and the SELECT around it predicts over all its rows: there the prediction is the column ``t.minutes``
again. The rule finds such forms; :mod:`rewriter.gathering` answers them.
"""

from __future__ import annotations

from rewriter.forms import Call
from rewriter.plan import Gathered, Plan
from rewriter.scope import Block, innermost, is_word
from rewriter.splice import Piece

from .drop_unread import Reader, is_used, is_whole

_NEVER = ("group", "having", "window", "for", "into")


def gather_lateral(plan: Plan) -> None:
    """Note how the SELECT around can answer all forms of one in LATERAL, if it can."""
    tokens, block, asks = plan.tokens, plan.block, plan.asks
    if asks is None or not plan.runs or not is_whole(plan) or not is_word(tokens, block.first - 2, "lateral"):
        return
    if any(run.volatile for run in plan.runs):
        return
    parent = innermost(plan.blocks, block.first - 1)
    if parent is None or parent.clause_of(block.first - 1) != "from":
        return
    if any(name in block.clauses for name in _NEVER) or "for" in parent.clauses:
        return
    columns = _columns(plan)
    alias = _alias(plan, parent)
    if columns is None or alias is None or any(is_used(plan, name) for name in columns.values()):
        return
    kind = _join(plan, parent, alias)
    if kind is None or _is_read(plan, parent, alias, set(columns.values())):
        return
    # a query that needs nothing beside it is run once anyhow; its text is asked about without its forms
    if asks.stands_alone([plan.span(block.first, block.end)]) and asks.stands_alone(_features(plan)):
        return
    plan.gathered = Gathered(parent, tokens[alias].text, columns, kind == "left")


def _features(plan: Plan) -> list[Piece]:
    from_, pieces = plan.block.clauses.get("from"), list[Piece]()
    for run in plan.runs:
        for input_ in run.inputs:
            pieces += [", " if pieces else "SELECT ", *input_.pieces]
    return [*pieces, " FROM ", plan.span(from_.start, from_.end)] if from_ is not None else pieces


def _columns(plan: Plan) -> dict[int, str] | None:
    """Return the name of the output that each form is; None if one is only part of an output."""
    tokens, select = plan.tokens, plan.block.clauses["select"]
    calls = [call for run in plan.runs for output in run.outputs for call in output.calls]
    columns = {call.first: _name(plan, call) for call in calls}
    found = {first: name for first, name in columns.items() if name is not None}
    if len(found) != len(calls) or len(set(found.values())) != len(found):
        return None
    return None if is_word(tokens, select.start, "distinct") else found


def _name(plan: Plan, call: Call) -> str | None:
    tokens, select = plan.tokens, plan.block.clauses["select"]
    if not select.start <= call.first < select.end:
        return None
    before = call.first == select.start or tokens[call.first - 1].text in (",", "all")
    after = call.last + 1
    if after < select.end and tokens[after].kind == "word" and tokens[after].text == "as":
        after += 1
    name = call.name
    if after < select.end and tokens[after].is_name:
        name, after = tokens[after].text, after + 1
    ends = after == select.end or (tokens[after].text == "," and tokens[after].depth == plan.block.depth)
    return name if before and ends and tokens[call.first].depth == plan.block.depth else None


def _alias(plan: Plan, parent: Block) -> int | None:
    """Return the index of the alias behind the subquery, if no names of columns follow it."""
    tokens, index = plan.tokens, plan.block.end + 1
    if index < parent.end and tokens[index].kind == "word" and tokens[index].text == "as":
        index += 1
    if index >= parent.end or not tokens[index].is_name:
        return None
    return None if index + 1 < len(tokens) and tokens[index + 1].text == "(" else index


def _join(plan: Plan, parent: Block, alias: int) -> str | None:
    """Return ``inner`` or ``left`` for the join that the subquery is the last of; None for another."""
    tokens, from_ = plan.tokens, parent.clauses["from"]
    before = plan.block.first - 3
    own = [index for index in range(from_.start, from_.end) if tokens[index].depth == parent.depth]
    if before not in own:
        return None
    behind = [index for index in own if index > alias]
    if any(tokens[index].text == "," or is_word(tokens, index, "join", "using") for index in behind):
        return None
    if any(is_word(tokens, index, "natural", "using") for index in own):
        return None
    # another ON would be that of a join around: a LEFT JOIN b CROSS JOIN LATERAL (...) t ON ...
    ons = sum(is_word(tokens, index, "on") for index in behind)
    if tokens[before].text == "," or is_word(tokens, before - 1, "cross"):
        return None if ons else "inner"
    if not is_word(tokens, before, "join") or ons != 1:
        return None
    kind = before - 1 - is_word(tokens, before - 1, "outer")
    if is_word(tokens, kind, "left"):
        return "left"
    return None if is_word(tokens, kind, "right", "full") else "inner"


def _is_read(plan: Plan, parent: Block, alias: int, names: set[str]) -> bool:
    """Tell whether FROM may read the outputs, or anything the subquery's rows as a whole."""
    tokens, from_ = plan.tokens, parent.clauses["from"]
    outside = [index for index in range(from_.start, from_.end) if not plan.block.holds(index)]
    reader = Reader(plan, outside, {tokens[alias].text}, {alias})
    if any(reader.mentions(name) for name in names):
        return True
    for index in range(parent.first, parent.end):
        if plan.block.holds(index) or index == alias or tokens[index].text != tokens[alias].text:
            continue
        if not tokens[index].is_name or tokens[index - 1].text == ".":
            continue
        follows = tokens[index + 1].text if index + 1 < len(tokens) else ""
        star = follows == "." and tokens[index + 2].text == "*"
        own = tokens[index].depth == parent.depth and parent.clause_of(index) == "select"
        if follows != "." or (star and not own):
            return True
    return False
