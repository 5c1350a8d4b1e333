"""ON MISSING: what comes of NULL features when the model is not to impute them."""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.names import literal
from rewriter.plan import Run
from rewriter.splice import Piece

from .convert import converted

#: stands between names that travel as one text; no name holds it
_BETWEEN = r"E'\x1f'"


def guard(run: Run, values: Sequence[str]) -> str:
    """Return a condition that is true where every feature is there; with ``ERROR`` it raises elsewhere.

    :param values: SQL of each feature, in the order of the run's inputs
    """
    # no function takes more than 100 arguments
    complete = " AND ".join(f"{value} IS NOT NULL" for value in values)
    if run.missing != "error":
        return f"({complete})"
    names = ", ".join(literal(input_.feature.name) for input_ in run.inputs)
    missing = ", ".join(f"{value} IS NULL" for value in values)
    return f"(({complete}) OR ml.missing({literal(run.model.name)}, ARRAY[{names}], ARRAY[{missing}]))"


def missing_names(run: Run, p: str) -> list[Piece]:
    """Return SQL of the names of a row's missing features as one text, NULL where all are there."""
    nulls = [f"{p}f.{p}f{place} IS NULL" for place in range(1, len(run.inputs) + 1)]
    cases = ", ".join(
        f"CASE WHEN {null} THEN {literal(input_.feature.name)} END"
        for null, input_ in zip(nulls, run.inputs, strict=True)
    )
    listed = f"pg_catalog.array_to_string(ARRAY[{cases}], {_BETWEEN})"
    pieces: list[Piece] = [f"(SELECT CASE WHEN {' OR '.join(nulls)} THEN {listed} END FROM (SELECT "]  # noqa: S608
    for place, input_ in enumerate(run.inputs, 1):
        pieces += [", " if place > 1 else "", *converted(input_), f" AS {p}f{place}"]
    return [*pieces, f") AS {p}f)"]


def guarded(run: Run, names: str, value: str) -> str:
    """Return a value where nothing is missing; elsewhere NULL, or an error as soon as it is looked at.

    :param names: what :func:`missing_names` gave
    """
    condition = f"{names} IS NULL"
    if run.missing == "error":
        listed = f"pg_catalog.string_to_array({names}, {_BETWEEN})"
        every = f"pg_catalog.array_fill(true, ARRAY[pg_catalog.cardinality({listed})])"
        condition += f" OR ml.missing({literal(run.model.name)}, {listed}, {every})"
    return f"CASE WHEN {condition} THEN {value} END"
