"""Puts a planned block into its statement.

The block keeps its text. In the place of FROM and WHERE come the rows with their predictions, once as
``_p_p``, and each source of the user's under its own alias, so that every name still means what it meant::

    FROM (SELECT unnest(carried columns and results) FROM (batches) JOIN models.m__batch ...) AS _p_p
    CROSS JOIN LATERAL (SELECT _p_p._p_k1 AS id, ...) AS f
    CROSS JOIN LATERAL (SELECT _p_p._p_o1 AS predict) AS _p_1

Where all forms are written out as SQL, FROM stays and their LATERAL subqueries follow it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewriter.names import quote
from rewriter.plan import Plan, Run
from rewriter.references import References, collect
from rewriter.scan import Token
from rewriter.sources import Source
from rewriter.splice import Piece, Span, Splicer
from rewriter.tree import merged_uses

from .carry import Carried, Carry, carry
from .chunks import Chunks, Result, conjunction
from .inline import inline_steps


class _Emitter:
    def __init__(self, plan: Plan, splicer: Splicer, p: str) -> None:
        self.plan, self.splicer, self.sql, self.p = plan, splicer, plan.sql, p
        self.found: References = collect(plan)
        self.found.columns |= {pair for pair in plan.kept if pair[0]}
        self.found.merged |= {name for alias, name in plan.kept if not alias}
        self.laterals: list[list[Piece]] = []
        self.results: list[Result] = []

    def emit(self) -> None:
        for number, run in enumerate(self.plan.inline, 1):
            self._write_out(run, number)
        if self.plan.runs:
            self._emit_batches()
        else:
            self._emit_locals()
        self._replace_calls()
        # with batches they stand in the inner select
        for derived in () if self.plan.runs else self.plan.derived:
            self.splicer.replace(Span(derived.at, derived.at), [f" AND {derived.text}"])

    def _write_out(self, run: Run, number: int) -> None:
        steps = inline_steps(run, number, self.p, self.sql)
        self.laterals += steps.laterals
        for place, (output, value) in enumerate(zip(run.outputs, steps.outputs, strict=True), 1):
            alias = f"{self.p}i{number}_{place}"
            spans = [call.span for call in output.calls]
            result = Result(f"{self.p}o{number}_{place}", value, [], None, alias, output.call.name, spans)
            self.results.append(result)
            self.laterals.append([f"(SELECT {value} AS {quote(self._output_name(result))}) AS {alias}"])

    def _emit_locals(self) -> None:
        clauses, tokens = self.plan.block.clauses, self.plan.tokens
        from_ = clauses.get("from")
        present = from_ is not None and from_.start < from_.end
        at = tokens[(from_ if present and from_ else clauses["select"]).end - 1].end
        pieces: list[Piece] = []
        for place, lateral in enumerate(self.laterals):
            pieces += [", LATERAL " if place or present else " FROM ", *lateral]
        self.splicer.replace(Span(at, at), pieces)
        for span, alias in self.found.stars:
            if alias is None:
                self.splicer.replace(span, [self._written_star()])

    def _written_star(self) -> str:
        """Return ``*`` without our subqueries; FROM is still there, so merged columns go by their names."""
        clause = self.plan.clause
        if not clause.merged:
            return ", ".join(f"{quote(source.alias)}.*" for source in clause.sources if source.columns)
        return self._star("")

    # batches

    def _emit_batches(self) -> None:
        self.qualified_merged = self._qualify_merged()
        self.carry: Carry = carry(self.plan, self.found, self.p)
        self._carry_results()
        chunks = Chunks(self.plan, self.carry, self.p, self.laterals)
        pieces: list[Piece] = ["(", *chunks.select(), f") AS {self.p}p"]
        with_results = {alias for alias, _ in chunks.columns}
        # a table without columns has nothing to carry, but t.* wants to find it
        empty = self.found.bare | {alias for _, alias in self.found.stars if alias}
        if self.plan.apart is not None:
            # the others stay where they are
            empty &= {source.alias for source in self.plan.clause.sources if source.at in self.plan.apart}
        for alias in (*self.carry.sources, *sorted((empty | with_results).difference(self.carry.sources))):
            columns = self.carry.sources.get(alias, [])
            if alias in with_results:
                pieces.append(self._lateral_with_results(alias, columns, chunks))
            else:
                pieces.append(self._lateral(columns, quote(alias)))
        if self.carry.merged:
            pieces.append(self._lateral(self.carry.merged, f"{self.p}j"))
        for alias, name in self.carry.rows.items():
            pieces.append(self._lateral([(alias, name)], f"{self.p}w_{len(pieces)}"))
        self._replace_rows(pieces)
        for result in chunks.results:
            if result.spans:
                output = f"{result.value} AS {quote(self._output_name(result))}"
                pieces.append(f"\nCROSS JOIN LATERAL (SELECT {output}) AS {result.lateral}")
        self.results += chunks.results
        self._replace_from(["FROM ", *self._joined(pieces), *self._where()])
        self._replace_stars()
        for span in self.found.prefixes:
            self.splicer.replace(span, [])
        for start in self.qualified_merged:
            self.splicer.replace(Span(start, start), [f"{self.p}j."])
        for clause in self.plan.limited:
            if clause.name != "order":
                self.splicer.replace(self.plan.span(clause.word, clause.end), [])

    def _joined(self, pieces: list[Piece]) -> list[Piece]:
        """Return FROM with predicted rows in the place of the source that was predicted apart."""
        apart, from_ = self.plan.apart, self.plan.block.clauses.get("from")
        if apart is None or from_ is None:
            return pieces
        before = [self.plan.span(from_.start, apart.start)] if from_.start < apart.start else []
        after = [self.plan.span(apart.stop, from_.end)] if apart.stop < from_.end else []
        return [*before, " (", *pieces, ") ", *after]

    def _lateral_with_results(self, alias: str, columns: Sequence[tuple[str, str]], chunks: Chunks) -> str:
        """Return a source of which some columns are results, in the order of its columns."""
        ours, marker = dict(columns), self.plan.marker
        listed = []
        for column in next(s for s in self.plan.clause.sources if s.alias == alias).columns:
            value = chunks.columns.get((alias, column.name))
            if value is not None and marker is not None:
                # an outer join found no row, so there is nothing to predict
                value = f"CASE WHEN {self.p}p.{ours[marker[1]]} THEN {value} END"
            if value is None and column.name in ours:
                our = ours[column.name]
                value = f"{self.p}p.{our}{_cast(self.carry.modified.get(our))}"
            if value is not None:
                listed.append(f"{value} AS {quote(column.name)}")
        return f"\nCROSS JOIN LATERAL (SELECT {', '.join(listed)}) AS {quote(alias)}"

    def _carry_results(self) -> None:
        """Let what was written out as SQL before the batches come back under its alias."""
        for number, result in enumerate(self.results, 1):
            name = quote(self._output_name(result))
            our = f"{self.p}h{number}"
            self.carry.values.append(Carried(our, f"{result.lateral}.{name}"))
            self.carry.sources.setdefault(result.lateral, []).append((self._output_name(result), our))

    def _qualify_merged(self) -> list[int]:
        """Find the uses of merged columns that would be ambiguous beside the same column of a source."""
        if any(alias is None for _, alias in self.found.stars):
            self.found.merged |= self.plan.clause.merged
        both = {name for name in self.found.merged if any(column == name for _, column in self.found.columns)}
        if not both or not self.found.merged_at:
            return []
        # others stand in what has moved to the rows before inference, where they are what they were
        outside = {token.start for token in self.found.merged_at}
        return [start for start in merged_uses(self.sql, self._block_span(), both) if start in outside]

    def _block_span(self) -> Span:
        block, tokens = self.plan.block, self.plan.tokens
        return Span(tokens[block.first].start, tokens[block.end - 1].end)

    def _lateral(self, columns: Sequence[tuple[str, str]], alias: str) -> str:
        outputs = ", ".join(
            f"{self.p}p.{our}{_cast(self.carry.modified.get(our))} AS {quote(name)}" for name, our in columns
        )
        return f"\nCROSS JOIN LATERAL (SELECT {outputs}) AS {alias}"

    def _output_name(self, result: Result) -> str:
        """Return the name that PostgreSQL gives a call's column, unless the text uses it for something else.

        With GROUP BY predict, for example, an output of that name may be meant, which a column would hide.
        """
        return result.column if result.name in self.found.unqualified else result.name

    def _where(self) -> list[Piece]:
        return ["\nWHERE ", *conjunction(self.plan.outer)] if self.plan.outer else []

    def _replace_from(self, pieces: list[Piece]) -> None:
        clauses = self.plan.block.clauses
        present = [clauses[name] for name in ("from", "where") if name in clauses]
        if present:
            span = self.plan.span(present[0].word, present[-1].end)
            self.splicer.replace(span, pieces)
        else:
            at = self.plan.tokens[clauses["select"].end - 1].end
            self.splicer.replace(Span(at, at), [" ", *pieces])

    def _replace_calls(self) -> None:
        for result in self.results:
            name = self._output_name(result)
            for span in result.spans:
                value = f"{result.lateral}.{name}"
                if name != result.name and self._is_whole_output(span):
                    value += f" AS {result.name}"
                elif name != result.name and self._is_in_output(span):
                    # PostgreSQL names the output of a cast, say, after what is cast
                    value = f"(SELECT {value} AS {result.name})"
                self.splicer.replace(span, [value])

    def _replace_rows(self, pieces: list[Piece]) -> None:
        for number, alias in enumerate(self.carry.rows, len(pieces) - len(self.carry.rows)):
            for span in self.found.rows[alias]:
                self.splicer.replace(span, [f"{self.p}w_{number}.{quote(alias)}"])

    def _replace_stars(self) -> None:
        for span, alias in self.found.stars:
            if alias is None:
                self.splicer.replace(span, [self._star(f"{self.p}j.")])
            elif (source := self.plan.clause.source(alias)) is not None and self._has_system(source):
                self.splicer.replace(span, [self._all_of(source)])

    def _has_system(self, source: Source) -> bool:
        """Tell whether a system column comes back beside the source's own, which ``*`` would show."""
        return any(source.column(name) is None for name, _ in self.carry.sources.get(source.alias, ()))

    def _all_of(self, source: Source) -> str:
        if not self._has_system(source):
            return f"{quote(source.alias)}.*"
        return ", ".join(f"{quote(source.alias)}.{quote(column.name)}" for column in source.columns)

    def _star(self, merged: str) -> str:
        clause = self.plan.clause
        if not clause.merged:
            return ", ".join(self._all_of(source) for source in clause.sources if source.columns)
        outputs, seen = [], dict.fromkeys(clause.merged, 0)
        left = [(source, column.name) for source in clause.sources for column in source.columns]
        for column in clause.star:
            if column.name in seen:
                outputs.append(f"{merged}{quote(column.name)}")
                continue
            position = next(i for i, (_, name) in enumerate(left) if name == column.name)
            source, name = left.pop(position)
            outputs.append(f"{quote(source.alias)}.{quote(name)}")
        return ", ".join(outputs)

    def _is_in_output(self, span: Span) -> bool:
        select, tokens = self.plan.block.clauses["select"], self.plan.tokens
        return tokens[select.start].start <= span.start < tokens[select.end - 1].end

    def _is_whole_output(self, span: Span) -> bool:
        select, tokens = self.plan.block.clauses["select"], self.plan.tokens
        first = next(i for i in range(select.start, len(tokens)) if tokens[i].start >= span.start)
        last = next(i for i in range(first, len(tokens)) if tokens[i].end >= span.end)
        if last >= select.end or tokens[first].depth != self.plan.block.depth:
            return False
        before: Token = tokens[first - 1]
        return (first == select.start or before.text in (",", "all", "distinct")) and (
            last + 1 == select.end or tokens[last + 1].text == ","
        )


def _cast(type_: str | None) -> str:
    return "" if type_ is None else f"::{type_}"


def emit(plan: Plan, splicer: Splicer, prefix: str) -> None:
    """Register the edits that make a block predict.

    :param prefix: that of our own names
    :raises NotSupported: for what cannot be carried beside a prediction
    """
    _Emitter(plan, splicer, prefix).emit()
