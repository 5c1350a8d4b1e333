"""Which columns of its sources a block still needs after inference.

Decided by name from the words alone: every word that could mean a column of a source counts as a use of it,
so that at worst a column is carried in vain. Where the words are not enough, because a place must be changed
to keep its meaning (a merged column of a USING join), sqlglot's tree tells (:mod:`rewriter.tree`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from .errors import NotSupported
from .plan import Plan
from .scan import Token
from .scope import innermost, is_word
from .sources import Source
from .splice import Span
from .stars import BEFORE_OPERANDS, is_output_star, is_spread, opening_of, opens_operand

SYSTEM_COLUMNS = frozenset(("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"))
#: tokens that end an operand, so that a name right behind them is an alias and no column
_KEYWORD_VALUES = frozenset(("end", "null", "true", "false", "current_date", "current_timestamp"))


@dataclasses.dataclass
class References:
    """What the text outside of the inner select refers to.

    :ivar columns: (alias, column) pairs, system columns too
    :ivar merged: merged columns of USING and NATURAL joins that are used without qualifier
    :ivar merged_at: where such a use stands
    :ivar stars: ``*`` and ``t.*`` among the outputs, with the alias of the latter
    :ivar rows: whole rows used as a value, by alias
    :ivar prefixes: schema names in front of a table's name, which have to go
    :ivar bare: sources that something is asked of that is no column of theirs
    :ivar unqualified: all names without qualifier
    """

    columns: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    merged: set[str] = dataclasses.field(default_factory=set)
    merged_at: list[Token] = dataclasses.field(default_factory=list)
    stars: list[tuple[Span, str | None]] = dataclasses.field(default_factory=list)
    rows: dict[str, list[Span]] = dataclasses.field(default_factory=dict)
    prefixes: list[Span] = dataclasses.field(default_factory=list)
    bare: set[str] = dataclasses.field(default_factory=set)
    unqualified: set[str] = dataclasses.field(default_factory=set)


class _Collector:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.tokens, self.blocks = plan, plan.tokens, plan.blocks
        self.found = References()

    def collect(self) -> References:
        for index in _outer_tokens(self.plan):
            token = self.tokens[index]
            if token.kind == "operator" and token.text == "*":
                self._star(index)
            elif token.is_name and not (index and self.tokens[index - 1].text == "."):
                self._name(index)
        return self.found

    def _text(self, index: int) -> str:
        return self.tokens[index].text if index < len(self.tokens) else ""

    def _star(self, index: int) -> None:
        select = self.plan.block.clauses["select"]
        ends = index + 1 == select.end or self._text(index + 1) == ","
        own = self.tokens[index].depth == self.plan.block.depth and select.start <= index < select.end
        if own and ends and self._text(index - 1) != ".":
            self.found.stars.append((Span(self.tokens[index].start, self.tokens[index].end), None))
            for source in self.plan.clause.sources:
                self._all_columns(source)

    def _all_columns(self, source: Source) -> None:
        doubled = source.doubled()
        if doubled is not None:
            raise NotSupported(
                f"source {source.alias!r} has two columns {doubled!r}, which * cannot tell apart",
                position=self.plan.tokens[self.plan.block.first].start + 1,
            )
        self.found.columns |= {(source.alias, column.name) for column in source.columns}

    def _name(self, index: int) -> None:
        path, end = [self.tokens[index].text], index + 1
        while self._text(end) == "." and end + 1 < len(self.tokens) and self.tokens[end + 1].is_name:
            path.append(self.tokens[end + 1].text)
            end += 2
        star = self._text(end) == "." and self._text(end + 1) == "*"
        if star:
            self._qualified_star(index, end + 1, path)
        elif self._text(end) == "(" and self.tokens[end].kind == "punct":
            return
        elif len(path) == 1:
            self._unqualified(index)
        elif len(path) == 2:
            self._qualified(path[0], path[1])
        else:
            self._schema_qualified(index, path)

    def _qualified(self, alias: str, name: str) -> None:
        if alias in self.plan.clause.join_aliases:
            raise NotSupported(f"alias {alias!r} of a join beside batches")
        source = self.plan.clause.source(alias)
        if source is not None and (source.column(name) is not None or name in SYSTEM_COLUMNS):
            self.found.columns.add((alias, name))
        elif source is not None:
            # PostgreSQL is to say that there is no such column, not that there is no such table
            self.found.bare.add(alias)

    def _qualified_star(self, index: int, star: int, path: list[str]) -> None:
        source = self.plan.clause.source(path[-1])
        if source is None:
            if path[-1] in self.plan.clause.join_aliases:
                raise NotSupported(f"alias {path[-1]!r} of a join beside batches")
            return
        if len(path) > 1:
            self._schema_qualified(index, [*path, "*"])
        if is_output_star(self.tokens, self.blocks, index, star) or is_spread(self.plan, index):
            self._all_columns(source)
            self.found.stars.append((Span(self.tokens[index].start, self.tokens[star].end), source.alias))
        else:
            self._row(index, star, source)

    def _schema_qualified(self, index: int, path: list[str]) -> None:
        source = self.plan.clause.source(path[-2])
        if source is None or not source.is_table or source.schema not in (None, path[-3]):
            return
        if innermost(self.blocks, index) is not self.plan.block:
            raise NotSupported(
                f"{'.'.join(path)} inside of a subquery beside PREDICT",
                hint=f"write {'.'.join(path[-2:])}, or give the table an alias",
                position=self.tokens[index].start + 1,
            )
        table = index + 2 * (len(path) - 2)
        self.found.prefixes.append(Span(self.tokens[index].start, self.tokens[table].start))
        if path[-1] != "*":
            self._qualified(path[-2], path[-1])

    def _unqualified(self, index: int) -> None:
        name = self.tokens[index].text
        before = self.tokens[index - 1]
        if not (before.kind == "word" and before.text == "as"):
            self.found.unqualified.add(name)
        clause = self.plan.clause
        owners = [source for source in clause.sources if source.column(name) is not None]
        if name in clause.merged:
            if self._is_operand(index):
                self.found.merged.add(name)
                self.found.merged_at.append(self.tokens[index])
            return
        for source in owners:
            self.found.columns.add((source.alias, name))
        if owners:
            return
        if name in SYSTEM_COLUMNS and clause.sources and self._is_operand(index):
            if len(clause.sources) > 1:
                raise NotSupported(
                    f"system column {name!r} without its table's name beside PREDICT",
                    hint=f"write {clause.sources[0].alias}.{name}",
                    position=self.tokens[index].start + 1,
                )
            self.found.columns.add((clause.sources[0].alias, name))
            return
        whole = clause.source(name)
        if whole is None or not self._is_operand(index) or self._is_source_name(index):
            return
        if not (self._is_entry(index) and self._is_output(name)):
            self._row(index, index, whole)

    def _is_entry(self, index: int) -> bool:
        """Tell whether a name is in GROUP BY, ORDER BY or DISTINCT ON, where outputs come first."""
        depth = self.plan.block.depth
        clause = self.plan.block.clause_of(index)
        if clause == "select":
            opening = opening_of(self.tokens, index, depth)
            distinct = is_word(self.tokens, opening - 1, "on") and is_word(
                self.tokens, opening - 2, "distinct"
            )
            return distinct and self.tokens[index].depth == depth + 1
        return clause in ("group", "order") and self.tokens[index].depth == depth

    def _is_output(self, name: str) -> bool:
        """Tell whether an output ends in this name, so that it is called so."""
        select = self.plan.block.clauses["select"]
        return any(
            self.tokens[index].is_name
            and self.tokens[index].text == name
            and self.tokens[index].depth == self.plan.block.depth
            and (index + 1 == select.end or self.tokens[index + 1].text == ",")
            for index in range(select.start, select.end)
        )

    def _row(self, index: int, end: int, source: Source) -> None:
        self.found.rows.setdefault(source.alias, []).append(
            Span(self.tokens[index].start, self.tokens[end].end)
        )

    def _is_operand(self, index: int) -> bool:
        """Tell whether a name stands where a value can stand, and is no alias, type or label."""
        before = self.tokens[index - 1]
        after = self.tokens[index + 1] if index + 1 < len(self.tokens) else None
        if before.text == "(" and self._opens_window(index - 1):
            # the name of another window
            return False
        if before.text == ")" and opens_operand(self.tokens, index - 1):
            return True
        if before.text in ("::", ")", "]") or before.kind in ("quoted", "string", "number", "param"):
            return False
        if before.kind == "word":
            if before.text in ("as", "collate", "over", "of", "window") or before.text in _KEYWORD_VALUES:
                return False
            known = any(source.column(before.text) for source in self.plan.clause.sources)
            if (known and before.text not in BEFORE_OPERANDS) or (
                index > 1 and self.tokens[index - 2].text == "."
            ):
                return False
        if after is not None and (after.kind == "string" or after.text in ("=>", ":=")):
            return False
        # EXTRACT(year FROM ...)
        return not (before.text == "(" and after is not None and after.text == "from")

    def _opens_window(self, opening: int) -> bool:
        """Tell whether a parenthesis is that of OVER (...) or WINDOW name AS (...)."""
        if is_word(self.tokens, opening - 1, "over"):
            return True
        in_clause = self.plan.block.clause_of(opening) == "window"
        return in_clause and self.tokens[opening].depth == self.plan.block.depth

    def _is_source_name(self, index: int) -> bool:
        """Tell whether a name in the FROM of a nested query is a table or an alias there, and no value."""
        owner = innermost(self.blocks, index)
        if owner is None or owner is self.plan.block or owner.clause_of(index) != "from":
            return False
        depth = self.tokens[index].depth
        if depth > owner.depth:
            opening = opening_of(self.tokens, index, depth - 1)
            is_call = self.tokens[opening - 1].is_name and not is_word(
                self.tokens, opening - 1, "from", "join", "lateral", "only", "on", "and", "or", "not"
            )
            if is_call:
                return False
        before = self.tokens[index - 1]
        return before.text in (",", "(") or is_word(self.tokens, index - 1, "from", "join", "lateral", "only")


def _outer_tokens(plan: Plan) -> Iterator[int]:
    """Yield the tokens that stay outside of the inner select."""
    clauses = plan.block.clauses
    gone = {"from", *(clause.name for clause in plan.limited if clause.name != "order")}
    index = plan.block.first + 1
    ends = {call.first: call.last + 1 for call in plan.calls}
    while index < plan.block.end:
        if index in ends:
            index = ends[index]
            continue
        clause = clauses[plan.block.clause_of(index)]
        if clause.name == "from" and plan.apart is not None:
            if index not in plan.apart and (
                plan.tokens[index].depth > plan.block.depth or _in_condition(plan, index)
            ):
                yield index
            index += 1
            continue
        if clause.name in gone:
            index = clause.end
            continue
        if clause.name == "where":
            token = plan.tokens[index]
            if not any(span.start <= token.start < span.end for span in plan.outer):
                index += 1
                continue
        yield index
        index += 1


def _in_condition(plan: Plan, index: int) -> bool:
    """Tell whether a token of FROM stands in the condition of a join, and not among the tables."""
    for at in range(index, plan.block.clauses["from"].start, -1):
        if plan.tokens[at].depth == plan.block.depth:
            if is_word(plan.tokens, at, "on"):
                return at < index
            if plan.tokens[at].text == "," or is_word(plan.tokens, at, "join", "inner", "cross"):
                return False
    return False


def collect(plan: Plan) -> References:
    """Return what the block refers to outside of its inner select.

    :raises NotSupported: for references that cannot keep their meaning
    """
    return _Collector(plan).collect()
