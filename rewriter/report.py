"""What is predicted in a statement and how, for people and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from .emit.chunks import CHUNK_ROWS
from .forms import Call
from .plan import Input, Plan, Run, as_written

#: characters of an expression that a line shows
_LONGEST = 60
#: what is told as the rule has noted it
_NOTES = {
    "Predicted Once": "predict_once",
    "Predicted Before Join": "before_join",
    "Gathered": "gather_lateral",
}
_MORE = {"once": "Predicted Once", "apart": "Predicted Before Join", "gathered": "Gathered"}


@dataclasses.dataclass(frozen=True)
class Report:
    """What there is to tell.

    :ivar sql: the statement that spans are parts of
    :ivar runs: in the order in which they were answered
    :ivar plans: the SELECTs that were planned; a run that is in none was answered in its place
    :ivar without: rules that are switched off
    """

    sql: str
    runs: Sequence[Run]
    plans: Sequence[Plan]
    without: frozenset[str]

    def plan_of(self, run: Run) -> Plan | None:
        """Return the plan of a run."""
        for plan in self.plans:
            if any(run is other for other in (*plan.runs, *plan.inline, *plan.single)):
                return plan
        return None


def to_lines(report: Report) -> list[str]:
    """Return the report as lines, an empty one at the end."""
    lines: list[str] = []
    runs = sorted(report.runs, key=lambda run: run.call.first)
    for number, facts in enumerate(_facts(report, run) for run in runs):
        lines += ["", *_of_run(facts)] if number else _of_run(facts)
    lines += [f"{text}: not made, nobody reads it" for text in _unread(report)]
    if not lines:
        lines.append("No PREDICT in this statement.")
    if report.without:
        lines += ["", f"Rules switched off: {', '.join(sorted(report.without))}"]
    return [*lines, ""]


def _of_run(facts: dict[str, Any]) -> list[str]:
    lines = [f"{', '.join(facts['Forms'])} of {facts['Model']}, version {facts['Version']}"]

    def line(label: str, text: str) -> None:
        lines.append(f"  {label:<10}{text}")

    line("way", f"{facts['Way']}: {facts['Reason']}")
    line("features", "; ".join(_by_source(facts["Features"])) or "none")
    if facts["Features Not Read"]:
        line("not read", f"{', '.join(facts['Features Not Read'])} (no influence)")
    for condition in facts["Filters Derived"]:
        line("derived", _short(condition))
    if facts["Conditions Before Inference"]:
        line("before", " AND ".join(map(_short, facts["Conditions Before Inference"])))
    if facts["Order and Limit Before Inference"]:
        line("limited", facts["Order and Limit Before Inference"])
    for label, rule in _MORE.items():
        if facts[rule]:
            line(label, facts[rule])
    if facts["Shrunk"]:
        line("shrunk", f"to {facts['Shrunk']}, by filters on features")
    if facts["Estimated Rows"] is not None:
        rows, batches = facts["Estimated Rows"], facts["Estimated Batches"]
        text = f"{rows:,} estimated"
        if batches is not None:
            text += f", {batches:,} {'batch' if batches == 1 else 'batches'}"
        line("rows", text)
    return lines


def to_json(report: Report) -> str:
    """Return the report as JSON."""
    runs = [_facts(report, run) for run in sorted(report.runs, key=lambda run: run.call.first)]
    value = {"Runs": runs, "Unread": _unread(report), "Rules Off": sorted(report.without)}
    return json.dumps(value, ensure_ascii=False)


def _facts(report: Report, run: Run) -> dict[str, Any]:
    plan = report.plan_of(run)
    rows = plan.rows if plan is not None else None
    inputs = run.origins or run.inputs
    read = [input_ for input_ in inputs if input_.feature.name not in run.pruned]
    if run.way == "inline" and run.model.inline is not None and run.missing == "impute":
        read = [input_ for input_ in read if input_.feature.name in run.model.inline.features]
    names = {input_.feature.name for input_ in read}
    is_batch = run.way == "batch" and rows is not None
    return {
        "Model": run.model.name,
        "Version": run.model.version,
        "Forms": list(dict.fromkeys(_form(report.sql, output.call) for output in run.outputs)),
        "Way": run.way,
        "Reason": run.reason,
        "Features": {input_.feature.name: _source(report.sql, input_) for input_ in read},
        "Features Not Read": [input_.feature.name for input_ in inputs if input_.feature.name not in names],
        "Filters Derived": []
        if plan is None
        else [_plain(item.text) for item in plan.derived if item.run is run],
        "Conditions Before Inference": [] if plan is None else [plan.text(span) for span in plan.inner],
        "Order and Limit Before Inference": None
        if plan is None or not plan.limited
        else " ".join(plan.text(plan.span(clause.word, clause.end)) for clause in plan.limited),
        **{name: _note(plan, rule) for name, rule in _NOTES.items()},
        "Shrunk": run.shrunk or None,
        "Estimated Rows": None if rows is None else round(rows),
        "Estimated Batches": max(math.ceil(rows / CHUNK_ROWS), 1) if is_batch and rows is not None else None,
    }


def _note(plan: Plan | None, rule: str) -> str | None:
    notes = () if plan is None else plan.notes
    return next((note.text for note in notes if note.rule == rule), None)


def _form(sql: str, call: Call) -> str:
    name = call.name.upper()
    if call.label is not None:
        return f"{name} FOR {sql[call.label.start : call.label.end]}"
    return name


def _source(sql: str, input_: Input) -> str:
    if input_.column is not None and input_.column[0]:
        return ".".join(input_.column)
    return " ".join(as_written(input_.pieces, sql).split())


def _by_source(features: dict[str, str]) -> list[str]:
    """Return features by the source of the column of their name, and the others beside their expressions."""
    sources: dict[str, list[str]] = {}
    others = []
    for name, source in features.items():
        alias, dot, column = source.rpartition(".")
        if dot and column == name and "(" not in alias:
            sources.setdefault(alias, []).append(name)
        elif source == name:
            sources.setdefault("", []).append(name)
        else:
            others.append(f"{name} = {_short(source)}")
    named = [", ".join(names) + (f" of {alias}" if alias else "") for alias, names in sources.items()]
    return [*named, *others]


def _plain(text: str) -> str:
    """Return SQL of ours as a person would write it."""
    return re.sub(r"OPERATOR\(pg_catalog\.([<>=]+)\)|::pg_catalog\.\w+", lambda match: match[1] or "", text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _unread(report: Report) -> list[str]:
    return [
        " ".join(plan.sql[call.span.start : call.span.end].split())
        for plan in report.plans
        for call in plan.unread
    ]
