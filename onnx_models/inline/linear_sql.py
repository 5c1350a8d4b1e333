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


def distances(body: Linear, form: InlineForm, columns: Mapping[int, str], stages: Stages) -> dict[int, str]:
    """Compute each limited distance from the center once a row, where there are several scores."""
    if len(body.start) == 1:
        return {}
    level, found = stages.next_level, {}
    for position, term in enumerate(body.terms):
        value = columns[term.column]
        if any(term.weights):
            distance = _distance(term, value)
            limited = distance if math.isinf(term.high) else _limited(term, form, value, distance)
            found[position] = value if limited == value else stages.add(limited, level)
    return found


def summands(
    body: Linear,
    score: int,
    form: InlineForm,
    columns: Mapping[int, str],
    inputs: Mapping[str, str],
    codes: Mapping[int, str],
    far: Mapping[int, str],
) -> Sequence[str]:
    """Return what is added up to a score.

    :param codes: from :func:`lookup_codes`
    :param far: from :func:`distances`
    """
    pieces = [sql.number(body.start[score])]
    for position, term in enumerate(body.terms):
        if position in far and term.weights[score]:
            product = sql.op(far[position], "*", sql.bare(term.weights[score]))
            pieces.append(f"COALESCE({product}, {sql.number(term.missing[score])})")
        elif term.weights[score] or term.missing[score]:
            pieces.append(_term(term, score, form, columns[term.column]))
    for position, lookup in enumerate(body.lookups):
        if position in codes:
            pieces.append(_by_code(lookup, score, codes[position]))
        else:
            pieces.append(_by_text(lookup, score, inputs[lookup.feature]))
    return pieces


def _distance(term: Term, value: str) -> str:
    return f"({sql.op(value, '-', sql.bare(term.center))})" if term.center else value


def _between(value: str, low: str, high: str) -> str:
    return f"{sql.op(value, '>=', low)} AND {sql.op(value, '<=', high)}"


def _there(term: Term, form: InlineForm, value: str) -> str:
    return sql.is_no_nan(value) if _may_be_nan(term, form) else f"{value} IS NOT NULL"


def _may_be_nan(term: Term, form: InlineForm) -> bool:
    feature = form.columns[term.column].feature
    return next(item.nan for item in form.inputs if item.name == feature)


def _term(term: Term, score: int, form: InlineForm, value: str) -> str:
    weight, missing = term.weights[score], sql.number(term.missing[score])
    if not weight:
        return sql.case(_there(term, form, value), sql.number(0.0), missing)
    product = sql.op(_distance(term, value), "*", sql.bare(weight))
    if math.isinf(term.high):
        return f"COALESCE({product}, {missing})"
    return _limited(term, form, value, product, weight, missing)


def _limited(
    term: Term, form: InlineForm, value: str, inside: str, weight: float = 1.0, missing: str | None = None
) -> str:
    """Return what a number is worth: the first test finds it in nearly every row, the others do in the rest.

    :param inside: what it is within the limits
    :param weight: of the limits' distances
    :param missing: what it is where it is missing, by default NULL
    """
    low, high = sql.bare(term.low), sql.bare(term.high)
    arms = [(_between(value, low, high), inside)]
    if not term.center and _may_be_nan(term, form):
        # most numbers are on one side of 0, and those on it are no products
        near, sides = sql.number(0.0), [(sql.bare(TINY), high), (low, sql.bare(-TINY))]
        if term.low + term.high < 0.0:
            sides.reverse()
        around = f"{sql.op(value, '>', sql.bare(-TINY))} AND {sql.op(value, '<', sql.bare(TINY))}"
        arms = [(_between(value, *sides[0]), inside), (around, near), (_between(value, *sides[1]), inside)]
    arms += [
        (sql.op(value, "<", low), sql.number((term.low - term.center) * weight)),
        # only NaN and NULL are left then
        (
            f"{sql.op(value, '>', high)} AND {_there(term, form, value)}",
            sql.number((term.high - term.center) * weight),
        ),
    ]
    otherwise = f" ELSE {missing}" if missing is not None else ""
    return f"CASE {' '.join(f'WHEN {condition} THEN {then}' for condition, then in arms)}{otherwise} END"


def _by_text(lookup: Lookup, score: int, text: str) -> str:
    values = [(word, sql.number(numbers[score])) for word, numbers in lookup.values]
    return sql.choose_text(text, values, sql.number(lookup.null[score]), sql.number(lookup.other[score]))


def _by_code(lookup: Lookup, score: int, code: str) -> str:
    numbers = [row[score] for _, row in lookup.values] + [lookup.null[score], lookup.other[score]]
    items = ", ".join(sql.bare(number) for number in numbers)
    return f"(ARRAY[{items}]::double precision[])[{code}]"
