"""What stands in the place of FROM: rows in chunks, their batch texts, and the predictions beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rewriter.plan import Plan, Run, as_written
from rewriter.scope import Clause
from rewriter.splice import Piece, Span

from .batch import batch_text
from .carry import Carry
from .convert import converted, is_text
from .missing import guarded, missing_names
from .outputs import arrays, join

#: rows of a chunk: small enough for the cache and for a quick cancel, large enough to be worth the call
CHUNK_ROWS = 20_000
#: models in one list of joins; each is three tables of it, and PostgreSQL plans eight together
_MOST_JOINED = 2


@dataclasses.dataclass
class Result:
    """One output of a run: our column, and the name that the form goes by.

    :ivar value: SQL of the output over the rows that come out of the chunks
    :ivar lateral: alias that the output comes back under
    """

    column: str
    value: str
    array: list[Piece]
    cast: str | None
    lateral: str
    name: str
    spans: list[Span]


class Chunks:
    """Makes the SELECT that predicts.

    :param locals_: subqueries that stand behind FROM, for forms written out as SQL
    """

    def __init__(self, plan: Plan, carry: Carry, p: str, locals_: Sequence[list[Piece]]) -> None:
        self.plan, self.carry, self.p, self.sql = plan, carry, p, plan.sql
        self.locals = locals_
        self.results: list[Result] = []
        #: columns of sources that are results -> SQL of the value
        self.columns: dict[tuple[str, str], str] = {}
        #: converted expression as text -> (our column, its pieces)
        self.features: dict[str, tuple[str, list[Piece]]] = {}
        #: a run's features of numbers, as our columns -> our column of the array of them
        self.matrices: dict[str, str] = {}
        self._guards()

    def _guards(self) -> None:
        """Let each row carry whether its features are there, for runs that want to know."""
        self.guards: dict[int, str] = {}
        for number, run in enumerate(self.plan.runs, 1):
            if run.missing != "impute":
                self.guards[number] = f"{self.p}g{number}"

    def select(self) -> list[Piece]:
        """Return the SELECT; fills in :attr:`results`."""
        select = self._predicted(self._models())
        if not self.plan.once:
            return select
        # not read by name where it stands: a subquery with a CTE of its own could not become a join
        return [f"WITH {self.p}c AS MATERIALIZED (", *select, f") SELECT * FROM {self.p}c"]  # noqa: S608 - our own names

    def _models(self) -> list[Piece]:
        pieces: list[Piece] = []
        for number, run in enumerate(self.plan.runs, 1):
            alias = f"{self.p}m{number}"
            batch = f"{self.p}b.{self.p}b{number}"
            fenced = len(self.plan.runs) > _MOST_JOINED
            pieces.append(f"\n  {join(run.model, alias, batch, fenced=fenced)}")
            for output in run.outputs:
                count = len(self.results) + 1
                array, cast = arrays(output.call, run.model, alias)
                spans = [call.span for call in output.calls]
                column, value = f"{self.p}o{count}", f"{self.p}p.{self.p}o{count}"
                if number in self.guards:
                    value = guarded(run, f"{self.p}p.{self.guards[number]}", value)
                for source in output.columns:
                    self.columns[source] = value
                spans = [] if output.columns else spans
                self.results.append(
                    Result(column, value, array, cast, f"{self.p}{count}", output.call.name, spans)
                )
        return pieces

    def _predicted(self, models: list[Piece]) -> list[Piece]:
        batches = ["\n  FROM (", *self._batches(), f") AS {self.p}b", *models]
        if self.carry.boxed:
            return [*self._unboxed(), *batches, *self._rows_from()]
        columns: list[list[Piece]] = [
            [f"pg_catalog.unnest({self.p}b.{name}) AS {name}"] for name in self._plain()
        ]
        columns += [
            ["pg_catalog.unnest(", *result.array, ")", _cast(result.cast), f" AS {result.column}"]
            for result in self.results
        ]
        return ["SELECT ", *joined(columns, ", "), *batches]

    def _unboxed(self) -> list[Piece]:
        columns = [f"{self.p}u.{value.name}" for value in self.carry.values]
        columns += [f"{self.p}u.{name}" for name in self.guards.values()]
        columns += [
            f"{self.p}u.{result.column}{_cast(result.cast)} AS {result.column}" for result in self.results
        ]
        return ["SELECT ", ", ".join(columns)]

    def _rows_from(self) -> list[Piece]:
        """Unnest in step in FROM, where a record may be given its fields' types."""
        fields = ", ".join(f"{value.name} {value.record_type}" for value in self.carry.boxed)
        functions: list[list[Piece]] = [[f"pg_catalog.unnest({self.p}b.{name})"] for name in self._plain()]
        functions.append([f"pg_catalog.unnest({self.p}b.{self.p}r) AS ({fields})"])
        functions += [["pg_catalog.unnest(", *result.array, ")"] for result in self.results]
        names = [*self._plain(), *(value.name for value in self.carry.boxed)]
        names += [result.column for result in self.results]
        listed = joined(functions, ", ")
        return ["\n  CROSS JOIN LATERAL ROWS FROM (", *listed, f") AS {self.p}u({', '.join(names)})"]

    def _batches(self) -> list[Piece]:
        columns = [f"pg_catalog.array_agg({name}) AS {name}" for name in self._plain()]
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

    def _plain(self) -> list[str]:
        return [*(value.name for value in self.carry.plain), *self.guards.values()]

    def _batch_of(self, run: Run) -> str:
        numbers: list[tuple[str, str]] = []
        texts: list[tuple[str, str]] = []
        for input_ in run.inputs:
            kind, letter = (texts, "t") if is_text(input_) else (numbers, "n")
            pieces = converted(input_)
            if run.missing != "impute":
                # what is predicted for such a row is not looked at, but the model may refuse NULL
                pieces = ["COALESCE(", *pieces, ", '')" if is_text(input_) else ", 0)"]
            kind.append((input_.feature.name, self._feature(pieces, letter)))
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
        carried: list[list[Piece]] = [[f"{value.expression} AS {value.name}"] for value in self.carry.values]
        features = {name: [*pieces, f" AS {name}"] for name, pieces in self.features.values()}
        guards = [
            [*missing_names(self.plan.runs[number - 1], self.p), f" AS {name}"]
            for number, name in self.guards.items()
        ]
        columns = [*carried, *features.values(), *guards]
        chunk = (
            "(pg_catalog.row_number() OVER () OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog./) "
            f"{CHUNK_ROWS} AS {self.p}chunk"
        )
        names = [*(value.name for value in self.carry.values), *(name for name, _ in self.features.values())]
        names += self.guards.values()
        inner = ["SELECT ", *joined(columns, ", "), *self._source()]
        # numbered after the limit: before it, few rows would lie scattered over many chunks
        inner += [piece for clause in self.plan.limited for piece in self._clause(clause)]
        if not self.matrices:
            if not self.plan.limited:
                return ["SELECT ", *joined([*columns, [chunk]], ", "), *self._source()]
            return [f"SELECT {', '.join(names)}, {chunk} FROM (", *inner, f") AS {self.p}l"]  # noqa: S608 - our own names
        # One array goes through the window function and the aggregate for half the price of its numbers
        # (measured: 1 M rows of 10 in 0.46 s rather than 0.7 s); OFFSET 0 makes PostgreSQL build it before.
        used = {name for columns in self.matrices for name in columns.split(", ")}
        others = [name for name in names if name not in used]
        if not self.plan.limited and len(used) == sum(len(columns.split(", ")) for columns in self.matrices):
            texts = [feature for name, feature in features.items() if name not in used]
            return self._short_rows([*carried, *texts, *guards], [*others, *self.matrices.values(), chunk])
        arrays = [
            f"ARRAY[{columns}]::double precision[] AS {name}" for columns, name in self.matrices.items()
        ]
        outside = ", ".join([*others, *self.matrices.values(), chunk])
        return [
            f"SELECT {outside}\n    FROM (SELECT {', '.join([*others, *arrays])}\n    FROM (",  # noqa: S608 - our own names
            *inner,
            f") AS {self.p}v OFFSET 0) AS {self.p}l",
        ]

    def _short_rows(self, columns: Sequence[Sequence[Piece]], outside: Sequence[str]) -> list[Piece]:
        """Return the same where no number goes into two arrays: each is written once, less text to plan."""
        numbers = dict(self.features.values())
        arrays: list[list[Piece]] = []
        for listed, name in self.matrices.items():
            elements = joined([numbers[number] for number in listed.split(", ")], ", ")
            arrays.append(["ARRAY[", *elements, f"]::double precision[] AS {name}"])
        return [
            f"SELECT {', '.join(outside)}\n    FROM (SELECT ",  # noqa: S608 - our own names
            *joined([*columns, *arrays], ", "),
            *self._source(),
            f" OFFSET 0) AS {self.p}l",
        ]

    def _source(self) -> list[Piece]:
        pieces: list[Piece] = []
        from_ = self.plan.block.clauses.get("from")
        if self.plan.apart is not None:
            pieces += ["\n      FROM ", self.plan.span(self.plan.apart.start, self.plan.apart.stop)]
        elif from_ is not None:
            pieces += ["\n      FROM ", self.plan.span(from_.start, from_.end)]
        for place, lateral in enumerate(self.locals):
            pieces += [", LATERAL " if place or from_ is not None else "\n      FROM ", *lateral]
        if self.plan.inner:
            pieces += ["\n      WHERE ", *conjunction(self.plan.inner)]
            pieces += [f" AND {derived.text}" for derived in self.plan.derived]
        return pieces

    def _clause(self, clause: Clause) -> list[Piece]:
        words = " ".join(token.text.upper() for token in self.plan.tokens[clause.word : clause.start])
        return [f" {words} ", self.plan.span(clause.start, clause.end)]


def _cast(type_: str | None) -> str:
    return "" if type_ is None else f"::{type_}"


def joined(lists: Sequence[Sequence[Piece]], separator: str) -> list[Piece]:
    """Return pieces with a separator between them."""
    pieces: list[Piece] = []
    for number, part in enumerate(lists):
        pieces += [separator, *part] if number else part
    return pieces


def conjunction(spans: Sequence[Span]) -> list[Piece]:
    """Return conditions joined by AND."""
    return joined([[span] for span in spans], " AND ")
