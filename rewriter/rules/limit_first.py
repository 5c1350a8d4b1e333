"""ORDER BY and LIMIT that need no prediction are applied before inference.

``SELECT *, PREDICT(m) FROM flights LIMIT 10`` must not predict a million rows. It is only right where nothing
between the rows and LIMIT can change how many rows there are: a filter on predictions, DISTINCT, grouping, an
aggregate, a set-returning function, and window functions, which see all rows.
"""

from __future__ import annotations

from rewriter.plan import Note, Plan
from rewriter.scope import Clause, is_word

_FUNCTION_NAMES = """
    coalesce nullif greatest least round floor ceil ceiling abs upper lower length to_char date_trunc
    date_part extract cast row format concat substring trim predict probability
"""
#: functions in the select list that neither aggregate nor return sets, under any argument types
_PLAIN_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
#: words of FETCH FIRST ROW ONLY behind the first
_FETCH_ONE = 3
_BARRIERS = ("group", "having", "window", "for", "into")


def limit_first(plan: Plan) -> None:
    """Limit the rows that are predicted, in their order, where that gives the same rows."""
    clauses = plan.block.clauses
    limits = [clauses[name] for name in ("limit", "offset", "fetch") if name in clauses]
    if not any(clause.name != "offset" for clause in limits) or plan.outer or not plan.runs:
        return
    if any(name in clauses for name in _BARRIERS) or not _keeps_rows(plan, clauses["select"]):
        return
    if any(is_word(plan.tokens, clause.end - 1, "ties") for clause in limits):
        return
    order = clauses.get("order")
    if order is not None and not _orders_by_columns(plan, order):
        return
    kept = [] if order is None else [order]
    plan.limited = [*kept, *_in_order(limits)]
    written = [plan.text(plan.span(clause.word, clause.end)) for clause in plan.limited]
    plan.notes.append(Note("limit_first", " ".join(written)))


def _in_order(clauses: list[Clause]) -> list[Clause]:
    return sorted(clauses, key=lambda clause: clause.word)


def _keeps_rows(plan: Plan, select: Clause) -> bool:
    tokens = plan.tokens
    if is_word(tokens, select.start, "distinct"):
        return False
    for index in range(select.start, select.end - 1):
        token = tokens[index]
        called = tokens[index + 1].text == "(" and tokens[index + 1].kind == "punct"
        if called and token.kind == "quoted":
            return False
        if called and token.kind == "word":
            qualified = tokens[index - 1].text == "."
            keyword = token.text in (
                "in",
                "and",
                "or",
                "not",
                "as",
                "then",
                "else",
                "when",
                "any",
                "all",
                "exists",
            )
            if qualified or not (token.text in _PLAIN_FUNCTIONS or keyword):
                return False
        if is_word(tokens, index, "over"):
            return False
    return True


def _orders_by_columns(plan: Plan, order: Clause) -> bool:
    """Tell whether each entry is a plain column of FROM, and no output of the same name hides it."""
    tokens = plan.tokens
    if plan.predicts(plan.span(order.start, order.end)):
        return False
    start = order.start
    for index in range(order.start, order.end + 1):
        if index < order.end and not (tokens[index].text == "," and tokens[index].depth == plan.block.depth):
            continue
        end = index
        while end > start and is_word(tokens, end - 1, "asc", "desc", "nulls", "first", "last"):
            end -= 1
        path = tokens[start:end]
        if len(path) == 1 and path[0].is_name:
            name = path[0].text
            owners = sum(column.name == name for column in plan.clause.star)
            if owners != 1 or plan.clause.merges or _is_hidden(plan, name):
                return False
        elif len(path) == 3 and path[0].is_name and path[1].text == "." and path[2].is_name:
            source = plan.clause.source(path[0].text)
            if source is None or source.column(path[2].text) is None:
                return False
        else:
            return False
        start = index + 1
    return True


def _is_hidden(plan: Plan, name: str) -> bool:
    """Tell whether an output may have this name without being the column itself."""
    select = plan.block.clauses["select"]
    tokens = plan.tokens
    if name in ("predict", "probability"):
        return True
    inside = {
        index
        for run in (*plan.runs, *plan.inline)
        for output in run.outputs
        for call in output.calls
        for index in range(call.first, call.last)
    }
    for index in range(select.start, select.end):
        if index in inside or not (tokens[index].is_name and tokens[index].text == name):
            continue
        first = index
        while first - 2 >= select.start and tokens[first - 1].text == "." and tokens[first - 2].is_name:
            first -= 2
        before = first == select.start or tokens[first - 1].text == ","
        after = index + 1 == select.end or tokens[index + 1].text == ","
        if not (before and after and tokens[index].depth == plan.block.depth):
            return True
    return False


def limit_of(plan: Plan) -> int | None:
    """Return the constant number of rows that are predicted; None without a LIMIT before inference."""
    for clause in plan.limited:
        if clause.name not in ("limit", "fetch"):
            continue
        tokens = plan.tokens[clause.start : clause.end]
        if clause.name == "limit":
            constant = len(tokens) == 1 and tokens[0].text.isdecimal()
            return int(tokens[0].text) if constant else None
        # FETCH FIRST [n] ROWS ONLY
        if len(tokens) == _FETCH_ONE:
            return 1
        return int(tokens[1].text) if tokens[1].text.isdecimal() and len(tokens) == _FETCH_ONE + 1 else None
    return None
