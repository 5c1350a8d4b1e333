"""Predictions that nobody reads are not made.

``SELECT count(*) FROM (SELECT flight, PREDICT(m) AS p FROM flights) AS s`` needs no prediction: the form
becomes NULL of its type. That nobody reads a column of a derived table or CTE is told from the words,
generously: every word that could mean it counts, and so does every ``*`` but that of ``count(*)``, every use
of a whole row, and every place where columns go by their position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rewriter.forms import Call
from rewriter.plan import Note, Plan
from rewriter.scan import Token
from rewriter.scope import Cte, innermost, is_word, matching
from rewriter.splice import Span


def drop_unread(plan: Plan) -> None:
    """Leave out forms in outputs that the query around does not mention."""
    outputs = list(_outputs(plan))
    if not outputs or not is_whole(plan):
        return
    reader = _reader(plan)
    if reader is None:
        return
    # PostgreSQL evaluates what has an effect, nextval() say, even where nobody reads it, and it wants to see
    # all parameters
    kept = {
        call
        for run in plan.runs
        if run.volatile or any(input_.has_parameter for input_ in run.inputs)
        for output in run.outputs
        for call in output.calls
    }
    for name, start, end in outputs:
        held = [call for call in _calls(plan) if start <= call.first < end]
        if held and kept.isdisjoint(held) and not reader.reads(name) and not is_used(plan, name):
            plan.unread += held
            plan.notes.append(Note("drop_unread", f"{name} is not read"))
    for run in plan.runs:
        for output in run.outputs:
            output.calls = [call for call in output.calls if call not in plan.unread]
        run.outputs = [output for output in run.outputs if output.calls]
    plan.runs = [run for run in plan.runs if run.outputs]


def _calls(plan: Plan) -> list[Call]:
    return [call for run in plan.runs for output in run.outputs for call in output.calls]


def _outputs(plan: Plan) -> Iterator[tuple[str, int, int]]:
    """Yield (name, token range) of each output with a name that the words tell."""
    tokens, depth = plan.tokens, plan.block.depth
    select = plan.block.clauses["select"]
    whole = {(call.first, call.last): call.name for call in _calls(plan)}
    start = select.start
    if is_word(tokens, start, "distinct"):
        return
    for index in range(select.start, select.end + 1):
        if index < select.end and not (tokens[index].text == "," and tokens[index].depth == depth):
            continue
        if index - start > 2 and tokens[index - 2].kind == "word" and tokens[index - 2].text == "as":
            yield tokens[index - 1].text, start, index
        elif (start, index - 1) in whole:
            yield whole[start, index - 1], start, index
        start = index + 1


def is_whole(plan: Plan) -> bool:
    """Tell whether the block is all that stands between parentheses: no set operation, no WITH of its own."""
    tokens, block = plan.tokens, plan.block
    opens = (
        block.first > 0 and tokens[block.first - 1].text == "(" and tokens[block.first - 1].kind == "punct"
    )
    return opens and block.end < len(tokens) and tokens[block.end].text == ")" and not block.is_arm


def is_used(plan: Plan, name: str) -> bool:
    """Tell whether the block itself may mean an output in GROUP BY or ORDER BY, by name or by position."""
    for clause in plan.block.clauses.values():
        if clause.name not in ("group", "order"):
            continue
        for index in range(clause.start, clause.end):
            token = plan.tokens[index]
            if (token.is_name and token.text == name) or token.kind in ("number", "param"):
                return True
    return False


class Reader:
    """What reads the columns of a derived table or CTE.

    :param outside: indexes of the tokens that may mention them
    :param aliases: the names that the table has there
    :param definitions: where these are given to it
    """

    def __init__(self, plan: Plan, outside: Sequence[int], aliases: set[str], definitions: set[int]) -> None:
        self.plan, self.outside = plan, outside
        self.aliases, self.definitions = aliases, definitions

    def reads(self, name: str) -> bool:
        """Tell whether anything may read a column."""
        return name in self.plan.bound or self.mentions(name)

    def mentions(self, name: str) -> bool:
        """Tell whether a word may mean a column."""
        return any(self._may_read(index, name) for index in self.outside)

    def _may_read(self, index: int, name: str) -> bool:
        tokens, token = self.plan.tokens, self.plan.tokens[index]
        if token.kind == "operator" and "*" in token.text:
            return self._is_star(index)
        if not token.is_name:
            return False
        if is_word(tokens, index, "natural", "table"):
            return True
        if token.text == name and not _is_called(tokens, index):
            return True
        return token.text in self.aliases and index not in self.definitions and not self._qualifies(index)

    def _is_star(self, index: int) -> bool:
        tokens = self.plan.tokens
        before = tokens[index - 1]
        if before.text == "." and before.kind == "punct":
            return tokens[index - 2].text in self.aliases or not tokens[index - 2].is_name
        if before.text == "(" and tokens[index + 1].text == ")":
            return not is_word(tokens, index - 2, "count")
        follows = tokens[index + 1]
        # a product has an operand on both sides
        operand = before.kind in ("number", "string", "param", "quoted") or before.text in (")", "]")
        column = before.kind == "word" and tokens[index - 2].text == "."
        return not ((operand or column) and (follows.kind in ("number", "string", "param")))

    def _qualifies(self, index: int) -> bool:
        """Tell whether a name stands before a dot, so that one column is meant."""
        tokens = self.plan.tokens
        return index + 1 < len(tokens) and tokens[index + 1].text == "." and tokens[index + 1].kind == "punct"


def _is_called(tokens: Sequence[Token], index: int) -> bool:
    return index + 1 < len(tokens) and tokens[index + 1].text == "(" and tokens[index + 1].kind == "punct"


def _reader(plan: Plan) -> Reader | None:
    opening = plan.block.first - 1
    start = Span(plan.tokens[plan.block.first].start, plan.tokens[plan.block.first].end)
    ctes = [cte for cte in plan.ctes if cte.span.holds(start)]
    if ctes:
        cte = max(ctes, key=lambda cte: cte.span.start)
        if _opens(plan, cte, opening):
            return _reader_of_cte(plan, cte)
    return _reader_of_derived(plan, opening)


def _opens(plan: Plan, cte: Cte, opening: int) -> bool:
    """Tell whether a parenthesis opens the definition of a CTE without a list of columns."""
    tokens = plan.tokens
    index = opening - 1
    while tokens[index].kind == "word" and tokens[index].text in ("not", "materialized"):
        index -= 1
    named = tokens[index].text == "as" and tokens[index - 1].start == cte.span.start
    return named and not cte.recursive and matching(tokens, opening) == plan.block.end


def _reader_of_cte(plan: Plan, cte: Cte) -> Reader | None:
    tokens, block = plan.tokens, plan.block
    outside = [index for index in range(len(tokens)) if not block.holds(index)]
    aliases = {cte.name}
    definitions = {next(index for index in outside if tokens[index].start == cte.span.start)}
    for index in outside:
        if tokens[index].text != cte.name or not tokens[index].is_name or not _is_source(plan, index):
            continue
        definitions.add(index)
        behind = index + 1
        if behind < len(tokens) and tokens[behind].kind == "word" and tokens[behind].text == "as":
            behind += 1
        if behind < len(tokens) and tokens[behind].is_name:
            if _is_called(tokens, behind):
                return None
            # at worst a keyword, which then counts as a use of the row
            aliases.add(tokens[behind].text)
            definitions.add(behind)
    return Reader(plan, outside, aliases, definitions)


def _is_source(plan: Plan, index: int) -> bool:
    """Tell whether a name is that of a table in FROM."""
    tokens, owner = plan.tokens, innermost(plan.blocks, index)
    if owner is None or owner.clause_of(index) != "from" or _is_called(tokens, index):
        return False
    if is_word(tokens, index - 1, "only"):
        index -= 1
    if is_word(tokens, index - 1, "join") or index - 1 == owner.clauses["from"].word:
        return True
    return tokens[index - 1].text == "," and tokens[index].depth == owner.depth


def _reader_of_derived(plan: Plan, opening: int) -> Reader | None:
    """Return the reader of a derived table: the SELECT in whose FROM it stands."""
    tokens, block = plan.tokens, plan.block
    parent = innermost(plan.blocks, opening)
    if parent is None or parent.clause_of(opening) != "from":
        return None
    before = opening - is_word(tokens, opening - 1, "lateral") - 1
    begins = before == parent.clauses["from"].word or is_word(tokens, before, "join")
    if not begins and not (tokens[before].text == "," and tokens[before].depth == parent.depth):
        return None
    alias = block.end + 1
    if alias < len(tokens) and tokens[alias].kind == "word" and tokens[alias].text == "as":
        alias += 1
    if not (alias < parent.end and tokens[alias].is_name) or _is_called(tokens, alias):
        return None
    # what is around that SELECT sees its outputs only, which are mentioned in it
    outside = [index for index in range(parent.first, parent.end) if not block.holds(index)]
    return Reader(plan, outside, {tokens[alias].text}, {alias})
