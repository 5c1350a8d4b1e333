"""Which columns a form can take its features from, wherever it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from .catalog import Catalog
from .describe import Context, describe
from .dml import Dml, is_values
from .forms import Call
from .scan import Token
from .scope import Block, Cte, is_word
from .sources import FromClause, Source, parse_from
from .splice import Piece, Span, Splicer

Container = Block | Dml


@dataclasses.dataclass(frozen=True)
class Scope:
    """What a form sees.

    :ivar clause: sources of its own level, which names without qualifier are looked up in
    :ivar nested: whether there are queries around it whose columns it may see too
    :ivar outer: finds a source of the queries around by its alias
    :ivar context: what its features can be tried in
    """

    clause: FromClause
    nested: bool
    outer: Callable[[str], Source | None]
    context: Context


class Scopes:
    """Finds the scope of each form of a statement; each FROM is described once.

    :param probe: the statement with a typed NULL in the place of each form, which PostgreSQL can describe
    """

    def __init__(
        self,
        tokens: Sequence[Token],
        blocks: Sequence[Block],
        dmls: Sequence[Dml],
        ctes: Sequence[Cte],
        probe: Splicer,
        catalog: Catalog,
    ) -> None:
        self.tokens, self.blocks, self.dmls, self.ctes = tokens, blocks, dmls, ctes
        self.probe, self.catalog = probe, catalog
        self._described: dict[object, tuple[FromClause, Context]] = {}

    def container(self, index: int) -> Container | None:
        """Return the innermost SELECT or data-modifying statement that holds a token."""
        return next(iter(self._around(index)), None)

    def container_of(self, block: Block) -> Container | None:
        """Return the SELECT or data-modifying statement that a SELECT is nested in."""
        around = (holder for holder in self._around(block.first) if holder is not block)
        return next(around, None)

    def beginning(self, call: Call) -> int:
        """Return the index that what holds a form begins at; greater ones are not around smaller ones."""
        container = self.container(call.first)
        return 0 if container is None else container.first

    def decides_levels(self, call: Call) -> bool:
        """Tell whether a form's features may tell PostgreSQL whether an aggregate is of the query around."""
        around = self._around(call.first)
        if len(around) < 2 or not isinstance(around[0], Block):
            return False
        grouped = "group" in around[0].clauses or "having" in around[0].clauses
        # a subquery knows the columns that rows are grouped by, but not the expressions
        known = not grouped or all(item.path is not None for item in call.items or ())
        return known and around[0].clause_of(call.first) in ("select", "having", "order")

    def in_from(self, index: int) -> bool:
        """Tell whether a token stands among the sources of a SELECT or a data-modifying statement."""
        container = self.container(index)
        if isinstance(container, Block):
            return container.clause_of(index) == "from"
        return container is not None and (index in container.target or index in container.source)

    def of(self, call: Call) -> Scope:
        """Return the scope of a form.

        :raises InvalidSource: with PostgreSQL's complaint about its FROM
        """
        around = self._around(call.first)
        if not around:
            return Scope(FromClause([]), False, lambda _: None, Context([], [], self.probe, self.catalog))
        clause, context = self._clause(around[0], call.first)
        nested = len(around) > 1
        visible = self._visible(around[0], call.first, clause)

        def outer(alias: str) -> Source | None:
            for holder in around[1:]:
                found = self._clause(holder, call.first)[0].source(alias)
                if found is not None:
                    return found
            return None

        return Scope(visible, nested or visible is not clause, outer, context)

    def clause(self, block: Block) -> FromClause:
        """Return the described FROM of a block."""
        return self._clause(block, block.first)[0]

    def context(self, block: Block) -> Context:
        """Return what the block's own text can be tried in."""
        return self._clause(block, block.first)[1]

    def context_for(self, body: list[Piece], index: int) -> Context:
        """Return what a part of a FROM can be tried in, with the CTEs and queries around a token."""
        container = self.container(index)
        first = index if container is None else container.first
        around = [] if container is None else self._bodies_around(container)
        return Context(body, self.ctes_at(first), self.probe, self.catalog, around)

    def _around(self, index: int) -> list[Container]:
        """Return what holds a token, innermost first."""
        holders: list[Container] = [holder for holder in self.blocks if holder.holds(index)]
        holders += [holder for holder in self.dmls if holder.holds(index)]
        return sorted(holders, key=lambda holder: -holder.first)

    def _clause(self, container: Container, index: int) -> tuple[FromClause, Context]:
        reads = container.reads(self.tokens, index) if isinstance(container, Dml) else None
        key = (id(container), reads)
        if key not in self._described:
            clause, body = self._parse(container, reads)
            context = Context(
                body, self.ctes_at(container.first), self.probe, self.catalog, self._bodies_around(container)
            )
            if body:
                describe(clause, context)
            self._described[key] = clause, context
        return self._described[key]

    def _parse(
        self, container: Container, reads: tuple[bool, bool, bool] | None
    ) -> tuple[FromClause, list[Piece]]:
        if isinstance(container, Block):
            from_ = container.clauses.get("from")
            if from_ is None or from_.start >= from_.end:
                return FromClause([]), []
            return parse_from(self.tokens, from_.start, from_.end), [self._span(from_.start, from_.end)]
        target, source, excluded = reads or (True, True, False)
        clause = FromClause([])
        bodies: list[list[Piece]] = []
        for wanted, part in ((target, container.target), (source, container.source)):
            if wanted and part:
                parsed = parse_from(self.tokens, part.start, part.stop)
                clause.sources += parsed.sources
                clause.merges |= parsed.merges
                bodies.append([self._span(part.start, part.stop)])
        if excluded:
            clause.sources.append(Source("excluded"))
            name = container.target.start
            while self.tokens[name + 1].text == ".":
                name += 2
            bodies.append([self._span(container.target.start, name + 1), " AS excluded"])
        body: list[Piece] = []
        for number, pieces in enumerate(bodies):
            body += [", ", *pieces] if number else pieces
        return clause, body

    def _visible(self, container: Container, index: int, clause: FromClause) -> FromClause:
        """Return what a form within FROM sees: what its JOIN joins, or what stands before it."""
        if not isinstance(container, Block) or container.clause_of(index) != "from":
            return clause
        start, stop = container.clauses["from"].start, index
        if is_values(self.tokens, index, start):
            return FromClause([])
        on = self._on(start, index)
        if on is not None:
            depth = self.tokens[on].depth
            opening = on
            while opening > start and self.tokens[opening - 1].depth >= depth:
                if self.tokens[opening - 1].text == "," and self.tokens[opening - 1].depth == depth:
                    break
                opening -= 1
            start, stop = opening, on
        sources = [source for source in clause.sources if start <= source.at < stop]
        names = {column.name for source in sources for column in source.columns}
        star = tuple(column for column in clause.star if column.name in names)
        return FromClause(sources, clause.merges, clause.join_aliases, star)

    def _on(self, start: int, index: int) -> int | None:
        """Return the ON whose condition holds a token, if it stands in one."""
        depth = self.tokens[index].depth
        for at in range(index, start, -1):
            token = self.tokens[at]
            depth = min(depth, token.depth)
            if token.depth != depth:
                continue
            if is_word(self.tokens, at, "on"):
                return at
            if is_word(self.tokens, at, "join") or (token.text == "," and at < index and self._in_from(at)):
                return None
        return None

    def _in_from(self, comma: int) -> bool:
        container = self.container(comma)
        return isinstance(container, Block) and self.tokens[comma].depth == container.depth

    def _bodies_around(self, container: Container) -> list[list[Piece]]:
        around = [holder for holder in self._around(container.first) if holder is not container]
        bodies = []
        for holder in around:
            try:
                body = self._parse(holder, (True, True, False) if isinstance(holder, Dml) else None)[1]
            except Exception:  # noqa: BLE001, S112 - what is around is only asked for when needed
                continue
            if body:
                bodies.append(body)
        return bodies

    def ctes_at(self, index: int) -> list[tuple[list[Piece], bool]]:
        """Return the definitions of the CTEs that a token sees, of several with one name the innermost.

        Within a recursive CTE its own name means what its first arm gives.
        """
        start = self.tokens[index].start
        seen: dict[str, tuple[Span, list[Piece], bool]] = {}
        for cte in self.ctes:
            if cte.span.end <= start and index < cte.visible.stop:
                seen[cte.name] = (cte.span, [cte.span], cte.recursive)
            elif cte.arm is not None and cte.arm.end <= start < cte.span.end:
                seen[cte.name] = (cte.span, list(cte.by_arm), False)
        return [(pieces, recursive) for _, pieces, recursive in sorted(seen.values(), key=lambda cte: cte[0])]

    def in_recursion(self, block: Block) -> bool:
        """Tell whether a block is the repeated arm of a recursive CTE, where PostgreSQL allows little."""
        start, end = self.tokens[block.first].start, self.tokens[block.end - 1].end
        for cte in self.ctes:
            if cte.arm is not None and cte.arm.end <= start and end <= cte.span.end:
                words = self.tokens[block.first : block.end]
                if any(token.is_name and token.text == cte.name for token in words):
                    return True
        return False

    def _span(self, start: int, end: int) -> Span:
        return Span(self.tokens[start].start, self.tokens[end - 1].end)
