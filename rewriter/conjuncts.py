"""Splits a WHERE clause at its top-level ANDs."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import Plan
from .scan import Token
from .scope import Clause, is_word, matching
from .splice import Span


def conjuncts(tokens: Sequence[Token], where: Clause) -> list[tuple[int, int]]:
    """Return token ranges that, joined by AND, are the clause.

    An OR beside them binds looser than AND, so the clause stays whole then.
    """
    if where.start >= where.end:
        return []
    found: list[tuple[int, int]] = []
    for start, end in _split(tokens, where):
        # what stands in parentheses as a whole is split as well
        if start + 1 < end and tokens[start].text == "(" and matching(tokens, start) == end - 1:
            is_query = is_word(tokens, start + 1, "select", "with", "values", "table")
            inside = [(start, end)] if is_query else conjuncts(tokens, Clause("", start, start + 1, end - 1))
            found += inside if len(inside) > 1 else [(start, end)]
        else:
            found.append((start, end))
    return found


def _split(tokens: Sequence[Token], where: Clause) -> list[tuple[int, int]]:
    depth = tokens[where.start].depth
    cuts: list[int] = []
    between = cases = 0
    for index in range(where.start, where.end):
        if tokens[index].depth != depth:
            continue
        if is_word(tokens, index, "case"):
            cases += 1
        elif is_word(tokens, index, "end") and cases:
            cases -= 1
        elif cases:
            continue
        elif is_word(tokens, index, "or"):
            return [(where.start, where.end)]
        elif is_word(tokens, index, "between"):
            between += 1
        elif is_word(tokens, index, "and"):
            if between:
                between -= 1
            else:
                cuts.append(index)
    starts = [where.start, *(cut + 1 for cut in cuts)]
    return list(zip(starts, [*cuts, where.end], strict=True))


def conjunct_spans(plan: Plan, where: Clause) -> list[Span]:
    """Return the same as text, with the comments behind each."""
    return [plan.span(start, end) for start, end in conjuncts(plan.tokens, where) if start < end]
