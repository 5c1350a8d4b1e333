"""UPDATE and DELETE of many rows: their forms are answered in batches by a query over the same table.

``UPDATE t SET p = PREDICT(m) WHERE c`` becomes::

    UPDATE t SET p = CASE WHEN t.ctid = _p_u.c THEN _p_u.o ELSE (one row) END
    FROM (SELECT id, ctid AS c, PREDICT(m) AS o FROM t WHERE c) AS _p_u WHERE t.id = _p_u.id AND (c)

A row that another transaction changes before the UPDATE reaches it is looked at again by PostgreSQL, with
its new values but the old ones of the query: then it lies elsewhere, and is predicted anew. So the rows
are those of the plain statement. Only a primary key that is changed meanwhile would be missed.

RETURNING of an UPDATE sees the new row, which always lies elsewhere: there the features are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .conjuncts import conjuncts
from .dml import Dml
from .emit.convert import converted, is_text
from .forms import Call
from .names import quote
from .plan import Run
from .scan import Token
from .scope import Clause, is_word
from .sources import FromClause
from .splice import Piece, Span

#: with fewer rows a request for each is no slower
LEAST_ROWS = 300
#: words in a condition that may make it differ from one look to the next, or hold a query
_UNSTEADY = ("select", "current")


@dataclasses.dataclass
class Modification:
    """An UPDATE or DELETE whose forms can be answered in batches.

    :ivar alias: of the table that changes
    :ivar key: columns of its primary key
    :ivar where: its WHERE, with and without the word
    :ivar steady: conjuncts that give the same whenever they are evaluated
    :ivar returning_stars: ``*`` in RETURNING
    :ivar at: offset behind what WHERE would follow
    :ivar after: offset from which on a form sees the row as it has become
    """

    dml: Dml
    alias: str
    key: Sequence[str]
    table: Span
    where: tuple[Span, Span] | None
    steady: list[Span]
    returning_stars: list[Span]
    at: int
    after: int

    def rows(self) -> list[Piece]:
        """Return a query with one row for each that the statement is expected to change."""
        return ["SELECT 1 FROM ", self.table, *self._condition()]

    def query(self, runs: Sequence[Run], p: str) -> list[Piece]:
        """Return the query, with its forms: keys, places, and what each run's forms give."""
        items: list[Piece] = []
        for place, name in enumerate(self.key, 1):
            items += [f"{quote(self.alias)}.{quote(name)} AS {p}k{place}, "]
        items.append(f"{quote(self.alias)}.ctid AS {p}c, ")
        for number, run in enumerate(runs, 1):
            compared = run.inputs if any(map(self._is_after, run.outputs[0].calls)) else ()
            for place, input_ in enumerate(compared, 1):
                items += [*converted(input_), f" AS {p}f{number}_{place}, "]
            items += [run.call.span, f" AS {p}o{number}{', ' if number < len(runs) else ''}"]
        return ["SELECT ", *items, " FROM ", self.table, *self._condition()]

    def join(self, query: Sequence[Piece], p: str) -> list[tuple[Span, list[Piece]]]:
        """Return the edits that join the query, as rewritten, to the statement."""
        word = " FROM " if self.dml.kind == "update" else " USING "
        matches = " AND ".join(
            f"{quote(self.alias)}.{quote(name)} = {p}u.{p}k{place}" for place, name in enumerate(self.key, 1)
        )
        joined: list[Piece] = [f"{word}(", *query, f"\n) AS {p}u WHERE {matches}"]
        edits: list[tuple[Span, list[Piece]]] = []
        if self.where is None:
            edits.append((Span(self.at, self.at), joined))
        else:
            whole, inside = self.where
            edits.append((whole, [*joined, " AND (", inside, ")"]))
        edits += [(star, [f"{quote(self.alias)}.*"]) for star in self.returning_stars]
        return edits

    def answer(self, call: Call, run: Run, number: int, otherwise: Sequence[Piece], p: str) -> list[Piece]:
        """Return what stands for a form.

        :param otherwise: the form answered in its place
        """
        same = self._same_features(run, number, p) if self._is_after(call) else self._same_place(p)
        return ["(CASE WHEN ", *same, f" THEN {p}u.{p}o{number} ELSE ", *otherwise, " END)"]

    def _is_after(self, call: Call) -> bool:
        return call.span.start >= self.after

    def _same_place(self, p: str) -> list[Piece]:
        return [f"{quote(self.alias)}.ctid OPERATOR(pg_catalog.=) {p}u.{p}c"]

    def _same_features(self, run: Run, number: int, p: str) -> list[Piece]:
        own: list[Piece] = []
        theirs: list[Piece] = []
        for place, input_ in enumerate(run.inputs, 1):
            comma = ", " if place > 1 else ""
            collation = ' COLLATE "C"' if is_text(input_) else ""
            own += [comma, "(", *converted(input_), f"){collation}"]
            theirs.append(f"{comma}{p}u.{p}f{number}_{place}")
        return ["ROW(", *own, ") IS NOT DISTINCT FROM ROW(", *theirs, ")"]

    def _condition(self) -> list[Piece]:
        pieces: list[Piece] = []
        for span in self.steady:
            pieces += [" AND " if pieces else " WHERE ", span]
        return pieces


def modification(
    dml: Dml, clause: FromClause, key: Sequence[str], tokens: Sequence[Token], calls: Sequence[Span]
) -> Modification | None:
    """Return how a statement's forms can be answered in batches; None if they cannot.

    :param clause: the table that changes
    :param key: its primary key
    :param calls: the statement's forms
    """
    if dml.kind not in ("update", "delete") or dml.source or not key or len(clause.sources) != 1:
        return None
    own = [index for index in range(dml.first, dml.end) if tokens[index].depth == dml.depth]
    where_at = next((index for index in own if is_word(tokens, index, "where")), None)
    stop = dml.returning if dml.returning >= 0 else dml.end
    where, steady = None, list[Span]()
    if where_at is not None:
        where = (
            Span(tokens[where_at].start, tokens[stop - 1].end),
            Span(tokens[where_at + 1].start, tokens[stop - 1].end),
        )
        if any(is_word(tokens, index, "current") for index in range(where_at, stop)):
            return None
        for start, end in conjuncts(tokens, Clause("where", where_at, where_at + 1, stop)):
            span = Span(tokens[start].start, tokens[end - 1].end)
            if _is_steady(tokens[start:end]) and not any(span.holds(call) for call in calls):
                steady.append(span)
    stars = []
    if dml.returning >= 0:
        stars = [
            Span(tokens[index].start, tokens[index].end)
            for index in own
            if index > dml.returning
            and tokens[index].text == "*"
            and tokens[index - 1].text in (",", "returning")
        ]
    table = Span(tokens[dml.target.start].start, tokens[dml.target.stop - 1].end)
    sees_new = dml.kind == "update" and dml.returning >= 0
    after = tokens[dml.returning].start if sees_new else tokens[dml.end - 1].end
    at = tokens[stop - 1].end
    return Modification(dml, clause.sources[0].alias, key, table, where, steady, stars, at, after)


def _is_steady(tokens: Sequence[Token]) -> bool:
    """Tell whether a condition calls nothing and asks nothing, so that it cannot change its mind."""
    for index, token in enumerate(tokens):
        if token.kind == "word" and token.text in _UNSTEADY:
            return False
        follows = tokens[index + 1].text if index + 1 < len(tokens) else ""
        called = token.is_name and follows == "("
        if called and not (token.kind == "word" and token.text in ("in", "and", "or", "not", "any", "all")):
            return False
    return True


def table_name(sql: str, tokens: Sequence[Token], target: range) -> str:
    """Return the name of the table that changes, as it is written."""
    start = target.start + is_word(tokens, target.start, "only")
    end = start + 1
    while end + 1 < target.stop and tokens[end].text == ".":
        end += 2
    return sql[tokens[start].start : tokens[end - 1].end]
