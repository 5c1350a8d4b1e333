"""Puts a planned block into its statement.

The block keeps its text. In the place of FROM and WHERE come the rows with their predictions, once as
``_p_p``, and each source of the user's under its own alias, so that every name still means what it meant::

    FROM (SELECT unnest(carried columns and results) FROM (batches) JOIN models.m__batch ...) AS _p_p
    CROSS JOIN LATERAL (SELECT _p_p._p_k1 AS id, ...) AS f
    CROSS JOIN LATERAL (SELECT _p_p._p_o1 AS predict) AS _p_1
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rewriter.names import prefix_free_of, quote
from rewriter.plan import Plan, Run, as_written
from rewriter.references import References, collect
from rewriter.scan import Token
from rewriter.scope import Clause
from rewriter.sources import Source
from rewriter.splice import Piece, Span, Splicer
from rewriter.tree import merged_uses

from .batch import batch_text
from .carry import Carry, carry
from .convert import converted, is_text
from .outputs import arrays

#: rows of a chunk: small enough for the cache and for a quick cancel, large enough to be worth the call
CHUNK_ROWS = 20_000


@dataclasses.dataclass
class _Result:
    """One output of a run: our column, and the name that the form goes by."""

    column: str
    array: list[Piece]
    cast: str | None
    lateral: str
    kind: str
    spans: list[Span]


class _Emitter:
    def __init__(self, plan: Plan, splicer: Splicer) -> None:
        self.plan, self.splicer, self.sql = plan, splicer, plan.sql
        self.p = prefix_free_of(token.text for token in plan.tokens if token.is_name)
        self.found: References = collect(plan)
        self.qualified_merged = self._qualify_merged()
        self.carry: Carry = carry(plan, self.found, self.p)
        self.results: list[_Result] = []
        #: converted expression as text -> (our column, its pieces)
        self.features: dict[str, tuple[str, list[Piece]]] = {}
        #: a run's features of numbers, as our columns -> our column of the array of them
        self.matrices: dict[str, str] = {}

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

    def emit(self) -> None:
        models = self._models()
        pieces = ["FROM (", *self._predicted(models), f") AS {self.p}p"]
        for alias, columns in self.carry.sources.items():
            pieces.append(self._lateral(columns, quote(alias)))
        if self.carry.merged:
            pieces.append(self._lateral(self.carry.merged, f"{self.p}j"))
        for alias, name in self.carry.rows.items():
            pieces.append(self._lateral([(alias, name)], f"{self.p}w_{len(pieces)}"))
        self._replace_rows(pieces)
        for result in self.results:
            pieces.append(self._lateral([(self._output_name(result), result.column)], result.lateral))
        pieces += self._where()
        self._replace_from(pieces)
        self._replace_calls()
        self._replace_stars()
        for span in self.found.prefixes:
            self.splicer.replace(span, [])
        for start in self.qualified_merged:
            self.splicer.replace(Span(start, start), [f"{self.p}j."])
        for clause in self.plan.limited:
            if clause.name != "order":
                self.splicer.replace(self.plan.span(clause.word, clause.end), [])

    # what is predicted

    def _models(self) -> list[Piece]:
        pieces: list[Piece] = []
        for number, run in enumerate(self.plan.runs, 1):
            alias = f"{self.p}m{number}"
            table = f"{quote(run.model.schema)}.{quote(run.model.name + '__batch')}"
            batch = f"{self.p}b.{self.p}b{number}"
            pieces.append(f"\n  JOIN {table} AS {alias} ON {alias}.batch OPERATOR(pg_catalog.=) {batch}")
            for output in run.outputs:
                count = len(self.results) + 1
                array, cast = arrays(output.call, run.model, alias)
                spans = [call.span for call in output.calls]
                self.results.append(
                    _Result(f"{self.p}o{count}", array, cast, f"{self.p}{count}", output.call.name, spans)
                )
        return pieces

    def _predicted(self, models: list[Piece]) -> list[Piece]:
        batches = ["\n  FROM (", *self._batches(), f") AS {self.p}b", *models]
        if self.carry.boxed:
            return [*self._unboxed(), *batches, *self._rows_from()]
        columns: list[list[Piece]] = [
            [f"pg_catalog.unnest({self.p}b.{value.name}) AS {value.name}"] for value in self.carry.plain
        ]
        columns += [
            ["pg_catalog.unnest(", *result.array, ")", _cast(result.cast), f" AS {result.column}"]
            for result in self.results
        ]
        return ["SELECT ", *_joined(columns, ", "), *batches]

    def _unboxed(self) -> list[Piece]:
        columns = [f"{self.p}u.{value.name}" for value in self.carry.values]
        columns += [
            f"{self.p}u.{result.column}{_cast(result.cast)} AS {result.column}" for result in self.results
        ]
        return ["SELECT ", ", ".join(columns)]

    def _rows_from(self) -> list[Piece]:
        """Unnest in step in FROM, where a record may be given its fields' types."""
        fields = ", ".join(f"{value.name} {value.record_type}" for value in self.carry.boxed)
        functions: list[list[Piece]] = [
            [f"pg_catalog.unnest({self.p}b.{value.name})"] for value in self.carry.plain
        ]
        functions.append([f"pg_catalog.unnest({self.p}b.{self.p}r) AS ({fields})"])
        functions += [["pg_catalog.unnest(", *result.array, ")"] for result in self.results]
        names = [value.name for value in (*self.carry.plain, *self.carry.boxed)]
        names += [result.column for result in self.results]
        joined = _joined(functions, ", ")
        return ["\n  CROSS JOIN LATERAL ROWS FROM (", *joined, f") AS {self.p}u({', '.join(names)})"]

    def _batches(self) -> list[Piece]:
        columns = [f"pg_catalog.array_agg({value.name}) AS {value.name}" for value in self.carry.plain]
        if self.carry.boxed:
            fields = ", ".join(value.name for value in self.carry.boxed)
            columns.append(f"pg_catalog.array_agg(ROW({fields})) AS {self.p}r")
        columns += [
            f"{self._batch_of(run)} AS {self.p}b{number}" for number, run in enumerate(self.plan.runs, 1)
        ]
        return [
            f"SELECT {', '.join(columns)}\n    FROM (",  # noqa: S608 - our own names
            *self._rows(),
            f") AS {self.p}s GROUP BY {self.p}chunk",
        ]

    def _batch_of(self, run: Run) -> str:
        numbers: list[tuple[str, str]] = []
        texts: list[tuple[str, str]] = []
        for input_ in run.inputs:
            kind = texts if is_text(input_) else numbers
            kind.append(
                (input_.feature.name, self._feature(converted(input_), "t" if is_text(input_) else "n"))
            )
        return batch_text(
            [name for name, _ in numbers], self._matrix([column for _, column in numbers]), texts
        )

    def _matrix(self, columns: Sequence[str]) -> str:
        if not columns:
            return ""
        return self.matrices.setdefault(", ".join(columns), f"{self.p}a{len(self.matrices) + 1}")

    def _feature(self, pieces: list[Piece], letter: str) -> str:
        key = as_written(pieces, self.sql)
        if key not in self.features:
            self.features[key] = (f"{self.p}{letter}{len(self.features) + 1}", pieces)
        return self.features[key][0]

    def _rows(self) -> list[Piece]:
        columns: list[list[Piece]] = [[f"{value.expression} AS {value.name}"] for value in self.carry.values]
        columns += [[*pieces, f" AS {name}"] for name, pieces in self.features.values()]
        chunk = (
            "(pg_catalog.row_number() OVER () OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog./) "
            f"{CHUNK_ROWS} AS {self.p}chunk"
        )
        names = [*(value.name for value in self.carry.values), *(name for name, _ in self.features.values())]
        inner = ["SELECT ", *_joined(columns, ", "), *self._source()]
        # numbered after the limit: before it, few rows would lie scattered over many chunks
        inner += [piece for clause in self.plan.limited for piece in self._clause(clause)]
        if not self.matrices:
            if not self.plan.limited:
                return ["SELECT ", *_joined([*columns, [chunk]], ", "), *self._source()]
            return [f"SELECT {', '.join(names)}, {chunk} FROM (", *inner, f") AS {self.p}l"]  # noqa: S608 - our own names
        # One array goes through the window function and the aggregate for half the price of its numbers
        # (measured: 1 M rows of 10 in 0.46 s rather than 0.7 s); OFFSET 0 makes PostgreSQL build it before.
        used = {name for columns in self.matrices for name in columns.split(", ")}
        others = [name for name in names if name not in used]
        arrays = [
            f"ARRAY[{columns}]::double precision[] AS {name}" for columns, name in self.matrices.items()
        ]
        return [
            f"SELECT {', '.join([*others, *self.matrices.values()])}, {chunk}"  # noqa: S608 - our own names
            f"\n    FROM (SELECT {', '.join([*others, *arrays])}\n    FROM (",
            *inner,
            f") AS {self.p}v OFFSET 0) AS {self.p}l",
        ]

    def _source(self) -> list[Piece]:
        pieces: list[Piece] = []
        from_ = self.plan.block.clauses.get("from")
        if from_ is not None:
            pieces += ["\n      FROM ", self.plan.span(from_.start, from_.end)]
        if self.plan.inner:
            pieces += ["\n      WHERE ", *_conjunction(self.plan.inner)]
        return pieces

    # what stays outside

    def _lateral(self, columns: Sequence[tuple[str, str]], alias: str) -> str:
        outputs = ", ".join(
            f"{self.p}p.{our}{_cast(self.carry.modified.get(our))} AS {quote(name)}" for name, our in columns
        )
        return f"\nCROSS JOIN LATERAL (SELECT {outputs}) AS {alias}"

    def _output_name(self, result: _Result) -> str:
        """Return the name that PostgreSQL gives a call's column, unless the text uses it for something else.

        With GROUP BY predict, for example, an output of that name may be meant, which a column would hide.
        """
        return result.column if result.kind in self.found.unqualified else result.kind

    def _where(self) -> list[Piece]:
        return ["\nWHERE ", *_conjunction(self.plan.outer)] if self.plan.outer else []

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
                label = f" AS {result.kind}" if name != result.kind and self._is_whole_output(span) else ""
                self.splicer.replace(span, [f"{result.lateral}.{name}{label}"])

    def _replace_rows(self, pieces: list[Piece]) -> None:
        for number, alias in enumerate(self.carry.rows, len(pieces) - len(self.carry.rows)):
            for span in self.found.rows[alias]:
                self.splicer.replace(span, [f"{self.p}w_{number}.{quote(alias)}"])

    def _replace_stars(self) -> None:
        for span, alias in self.found.stars:
            if alias is None:
                self.splicer.replace(span, [self._star()])
            elif (source := self.plan.clause.source(alias)) is not None and self._has_system(source):
                self.splicer.replace(span, [self._all_of(source)])

    def _has_system(self, source: Source) -> bool:
        """Tell whether a system column comes back beside the source's own, which ``*`` would show."""
        return any(source.column(name) is None for name, _ in self.carry.sources.get(source.alias, ()))

    def _all_of(self, source: Source) -> str:
        if not self._has_system(source):
            return f"{quote(source.alias)}.*"
        return ", ".join(f"{quote(source.alias)}.{quote(column.name)}" for column in source.columns)

    def _star(self) -> str:
        clause = self.plan.clause
        if not clause.merged:
            return ", ".join(self._all_of(source) for source in clause.sources if source.columns)
        outputs, seen = [], dict.fromkeys(clause.merged, 0)
        left = [(source, column.name) for source in clause.sources for column in source.columns]
        for column in clause.star:
            if column.name in seen:
                outputs.append(f"{self.p}j.{quote(column.name)}")
                continue
            position = next(i for i, (_, name) in enumerate(left) if name == column.name)
            source, name = left.pop(position)
            outputs.append(f"{quote(source.alias)}.{quote(name)}")
        return ", ".join(outputs)

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

    def _clause(self, clause: Clause) -> list[Piece]:
        words = " ".join(token.text.upper() for token in self.plan.tokens[clause.word : clause.start])
        return [f" {words} ", self.plan.span(clause.start, clause.end)]


def _cast(type_: str | None) -> str:
    return "" if type_ is None else f"::{type_}"


def _joined(lists: Sequence[Sequence[Piece]], separator: str) -> list[Piece]:
    pieces: list[Piece] = []
    for number, part in enumerate(lists):
        pieces += [separator, *part] if number else part
    return pieces


def _conjunction(spans: Sequence[Span]) -> list[Piece]:
    return _joined([[span] for span in spans], " AND ")


def emit(plan: Plan, splicer: Splicer) -> None:
    """Register the edits that make a block predict.

    :raises NotSupported: for what cannot be carried beside a prediction
    """
    _Emitter(plan, splicer).emit()
