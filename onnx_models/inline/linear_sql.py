"""Weighted sums as arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from . import sql
from .form import InlineForm
from .nodes import Linear, Lookup, Term
from .staging import Stages

#: nearer to 0 than this a product may be too small for a float, which is an error in PostgreSQL
TINY = 1e-100


def lookup_codes(body: Linear, inputs: Mapping[str, str], stages: Stages) -> dict[int, str]:
    """Find the row of each text's numbers once a row, where there are several scores."""
    if len(body.start) == 1:
        return {}
    codes = {}
    for position, lookup in enumerate(body.lookups):
        count = len(lookup.values)
        values = [(word, str(row)) for row, (word, _) in enumerate(lookup.values, 1)]
        text = inputs[lookup.feature]
        codes[position] = stages.add(sql.choose_text(text, values, str(count + 1), str(count + 2)))
    return codes


def summands(
    body: Linear,
    score: int,
    form: InlineForm,
    columns: Mapping[int, str],
    inputs: Mapping[str, str],
    codes: Mapping[int, str],
) -> Sequence[str]:
    """Return what is added up to a score."""
    pieces = [sql.number(body.start[score])]
    for term in body.terms:
        if term.weights[score] or term.missing[score]:
            pieces.append(_term(term, score, form, columns[term.column]))
    for position, lookup in enumerate(body.lookups):
        if position in codes:
            pieces.append(_by_code(lookup, score, codes[position]))
        else:
            pieces.append(_by_text(lookup, score, inputs[lookup.feature]))
    return pieces


def _term(term: Term, score: int, form: InlineForm, value: str) -> str:
    """Return a product; the first test finds it in nearly every row, the others are for the rest."""
    weight, center, missing = term.weights[score], term.center, sql.number(term.missing[score])
    feature = form.columns[term.column].feature
    nan = next(item.nan for item in form.inputs if item.name == feature)
    there = sql.is_no_nan(value) if nan else f"{value} IS NOT NULL"
    if not weight:
        return sql.case(there, sql.number(0.0), missing)
    distance = f"({sql.op(value, '-', sql.bare(center))})" if center else value
    product = sql.op(distance, "*", sql.bare(weight))
    if math.isinf(term.high):
        return f"COALESCE({product}, {missing})"
    low, high = sql.bare(term.low), sql.bare(term.high)
    arms = [
        (f"{sql.op(value, '>=', low)} AND {sql.op(value, '<=', high)}", product),
        (sql.op(value, "<", low), sql.number((term.low - center) * weight)),
        # only NaN and NULL are left then
        (f"{sql.op(value, '>', high)} AND {there}", sql.number((term.high - center) * weight)),
    ]
    if not center and nan:
        arms.insert(0, (sql.op(f"pg_catalog.abs({value})", "<", sql.bare(TINY)), sql.number(0.0)))
    return f"CASE {' '.join(f'WHEN {condition} THEN {then}' for condition, then in arms)} ELSE {missing} END"


def _by_text(lookup: Lookup, score: int, text: str) -> str:
    values = [(word, sql.number(numbers[score])) for word, numbers in lookup.values]
    return sql.choose_text(text, values, sql.number(lookup.null[score]), sql.number(lookup.other[score]))


def _by_code(lookup: Lookup, score: int, code: str) -> str:
    numbers = [row[score] for _, row in lookup.values] + [lookup.null[score], lookup.other[score]]
    items = ", ".join(sql.bare(number) for number in numbers)
    return f"(ARRAY[{items}]::double precision[])[{code}]"
