"""What is decided about one block before anything is written: the shapes that all steps share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from onnx_models.signature import Feature

from .catalog import ModelInfo
from .forms import Call
from .scan import Token
from .scope import Block, Clause
from .sources import FromClause
from .splice import Piece, Span


@dataclasses.dataclass(frozen=True)
class Input:
    """A feature and the SQL expression that gives it, not converted yet.

    :ivar pieces: an expression that is valid in the scope of the block's FROM
    :ivar type: the expression's type where it is a plain column, else None
    """

    feature: Feature
    pieces: tuple[Piece, ...]
    type: str | None = None


@dataclasses.dataclass
class Output:
    """What a form wants of its run, and where it stands in the statement."""

    calls: list[Call]

    @property
    def call(self) -> Call:
        """The first of the equal forms."""
        return self.calls[0]


@dataclasses.dataclass
class Run:
    """One inference: a model over inputs, and everything that is wanted of it."""

    model: ModelInfo
    inputs: tuple[Input, ...]
    outputs: list[Output]

    def key(self, sql: str) -> tuple[str, ...]:
        """Return what tells runs apart: the model, and each input as text."""
        return (self.model.name, *(as_written(input_.pieces, sql) for input_ in self.inputs))


def as_written(pieces: Sequence[Piece], sql: str) -> str:
    """Return pieces as text, the user's part as it stands in the statement."""
    return "".join(piece if isinstance(piece, str) else sql[piece.start : piece.end] for piece in pieces)


def join_equal(runs: Sequence[Run], sql: str) -> list[Run]:
    """Return one run for equal forms.

    That is no matter of cost alone: in GROUP BY or SELECT DISTINCT equal forms must be one expression.
    """
    distinct: dict[object, Run] = {}
    for run in runs:
        call = run.outputs[0].call
        label = None if call.label is None else as_written([call.label], sql)
        known = distinct.setdefault((run.key(sql), call.name, label), run)
        if known is not run:
            known.outputs[0].calls.append(call)
    return list(distinct.values())


@dataclasses.dataclass
class Plan:
    """A block that predicts. The rules change it; every state of it gives the same rows.

    :ivar calls: the block's own forms, not those of blocks nested in it
    :ivar inner: conjuncts of WHERE that are applied before inference
    :ivar outer: conjuncts of WHERE that are applied after it
    :ivar limited: the clauses that are applied before inference (ORDER BY, LIMIT, OFFSET, FETCH);
        ORDER BY is repeated outside, the others are not
    """

    sql: str
    tokens: Sequence[Token]
    blocks: Sequence[Block]
    block: Block
    clause: FromClause
    calls: Sequence[Call]
    runs: list[Run]
    inner: list[Span] = dataclasses.field(default_factory=list)
    outer: list[Span] = dataclasses.field(default_factory=list)
    limited: list[Clause] = dataclasses.field(default_factory=list)

    def span(self, start: int, end: int) -> Span:
        """Return the text of the tokens ``[start, end)``, with the comments behind the last of them."""
        until = self.tokens[end].start if end < len(self.tokens) else len(self.sql)
        text = self.sql[self.tokens[start].start : until]
        behind = self.tokens[end - 1].end
        if not self.sql[behind:until].strip():
            return Span(self.tokens[start].start, behind)
        return Span(self.tokens[start].start, self.tokens[start].start + len(text.rstrip(" ")))

    def predicts(self, span: Span) -> bool:
        """Tell whether one of the block's own forms stands in a span."""
        return any(span.holds(call.span) for call in self.calls)
