"""What is decided about one block before anything is written: the shapes that all steps share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from onnx_models.inline import InlineForm
from onnx_models.signature import Feature

from .catalog import ModelInfo
from .forms import Call, Missing
from .scan import Token
from .scope import Block, Clause, Cte
from .sources import FromClause
from .splice import Piece, Span

if TYPE_CHECKING:
    from .asking import Asks

#: ``inline``: the model's SQL form; ``row``: one row, in the form's place; ``batch``: a join in chunks
Way = Literal["inline", "row", "batch"]


@dataclasses.dataclass(frozen=True)
class Note:
    """What a rule did, in a few words: EXPLAIN (PREDICT) shows it."""

    rule: str
    text: str


@dataclasses.dataclass(frozen=True)
class Input:
    """A feature and the SQL expression that gives it, not converted yet.

    :ivar pieces: an expression that is valid in the scope of the block's FROM
    :ivar type: the expression's type where it is a plain column, else None
    :ivar column: alias and name of a column that was bound by name; the alias is empty for a merged column
    :ivar at: offset in the statement that errors about it point to
    :ivar has_parameter: whether the expression holds a parameter. Such a feature is never left out:
        PostgreSQL finds the type of every number up to the highest one where it is used
    """

    feature: Feature
    pieces: tuple[Piece, ...]
    type: str | None = None
    column: tuple[str, str] | None = None
    at: int = 0
    has_parameter: bool = False


@dataclasses.dataclass
class Output:
    """What a form wants of its run, and where it stands in the statement.

    :ivar columns: (alias, column) pairs of the block's sources that are this output, where the forms
        themselves stand in a source
    """

    calls: list[Call]
    columns: tuple[tuple[str, str], ...] = ()

    @property
    def call(self) -> Call:
        """The first of the equal forms."""
        return self.calls[0]


@dataclasses.dataclass
class Run:
    """One inference: a model over inputs, and everything that is wanted of it.

    :ivar missing: what is to come of NULL features; ``impute`` leaves it to the model
    :ivar way: how it is answered
    :ivar reason: why so, in a few words
    :ivar pruned: features that are not read, because they have no influence
    :ivar fenced: whether an SQL form must compute its features once, not in each place that looks at them
    :ivar volatile: whether a feature may be another at each look, ``random()`` say: each row needs its own
    :ivar tie: columns of the rows, which make PostgreSQL evaluate a subquery anew for each row
    :ivar form: the SQL form that gives the same for the rows at hand; None is the model's own
    :ivar shrunk: what that has left of it, in a few words
    :ivar origins: the inputs as they are where the forms stand, if that is in another SELECT
    """

    model: ModelInfo
    inputs: tuple[Input, ...]
    outputs: list[Output]
    missing: Missing = "impute"
    way: Way = "batch"
    reason: str = ""
    pruned: tuple[str, ...] = ()
    fenced: bool = False
    volatile: bool = False
    tie: str = ""
    form: InlineForm | None = None
    shrunk: str = ""
    origins: tuple[Input, ...] = ()

    def key(self, sql: str) -> tuple[str, ...]:
        """Return what tells runs apart: the model, its version, and each input as text."""
        version = str(self.model.version) if self.model.pinned else ""
        inputs = (as_written(input_.pieces, sql) for input_ in self.inputs)
        return (self.model.name, version, self.missing, *inputs)

    @property
    def call(self) -> Call:
        """The first form of the run."""
        return self.outputs[0].call


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
        parts = tuple(part and as_written([part], sql) for part in (call.label, call.top, call.cutoff))
        known = distinct.setdefault((run.key(sql), call.name, parts), run)
        if known is not run:
            known.outputs[0].calls.append(call)
    return list(distinct.values())


@dataclasses.dataclass(frozen=True)
class Gathered:
    """A SELECT in LATERAL whose forms the SELECT around it can answer, for all its rows at once.

    :ivar parent: that SELECT
    :ivar alias: of the source that it is there
    :ivar columns: name of the output that each form is, by the form's first token
    :ivar outer: whether its rows may be missing there
    """

    parent: Block
    alias: str
    columns: dict[int, str]
    outer: bool


@dataclasses.dataclass(frozen=True)
class Derived:
    """A filter on the data that a filter on a prediction implies.

    :ivar at: offset behind that filter, where it is put
    """

    run: Run
    at: int
    text: str


def _unknown() -> bool:
    return False


@dataclasses.dataclass
class Plan:
    """A block that predicts. The rules change it; every state of it gives the same rows.

    :ivar calls: the forms that are answered by joins, not those of blocks nested in the block
    :ivar runs: those that are answered in batches
    :ivar inline: those that are answered by SQL over the sources
    :ivar single: those that are answered in their place, one row each
    :ivar kept: (alias, column) pairs that forms answered in their place still need
    :ivar inner: conjuncts of WHERE that are applied before inference
    :ivar outer: conjuncts of WHERE that are applied after it
    :ivar limited: the clauses that are applied before inference (ORDER BY, LIMIT, OFFSET, FETCH);
        ORDER BY is repeated outside, the others are not
    :ivar bound: names of all columns that some form of the statement takes a feature from by name
    :ivar ctes: the statement's
    :ivar unread: forms whose answer nobody reads
    :ivar derived: filters on the data beside those on predictions
    :ivar texts_are_bytes: asks whether texts that are equal are so byte by byte
    :ivar notes: what the rules did
    :ivar rows: how many rows are predicted, as far as that was asked for and could be told
    :ivar asks: questions about parts of the block; None once the plan is made
    :ivar once: whether what is predicted is kept for all runs of the block
    :ivar apart: token range of the one source that is predicted, before it is joined to the others
    :ivar gathered: how the block's forms can be answered by the SELECT around it
    :ivar marker: our column of a source that is NULL where an outer join found no row of it
    """

    sql: str
    tokens: Sequence[Token]
    blocks: Sequence[Block]
    block: Block
    clause: FromClause
    calls: Sequence[Call]
    runs: list[Run]
    inline: list[Run] = dataclasses.field(default_factory=list)
    kept: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    inner: list[Span] = dataclasses.field(default_factory=list)
    outer: list[Span] = dataclasses.field(default_factory=list)
    limited: list[Clause] = dataclasses.field(default_factory=list)
    bound: frozenset[str] = frozenset()
    ctes: Sequence[Cte] = ()
    unread: list[Call] = dataclasses.field(default_factory=list)
    derived: list[Derived] = dataclasses.field(default_factory=list)
    texts_are_bytes: Callable[[], bool] = dataclasses.field(default=_unknown, compare=False, repr=False)
    notes: list[Note] = dataclasses.field(default_factory=list)
    rows: float | None = None
    single: list[Run] = dataclasses.field(default_factory=list)
    asks: Asks | None = dataclasses.field(default=None, compare=False, repr=False)
    once: bool = False
    apart: range | None = None
    gathered: Gathered | None = None
    marker: tuple[str, str] | None = None

    def span(self, start: int, end: int) -> Span:
        """Return the text of the tokens ``[start, end)``, with the comments behind the last of them."""
        until = self.tokens[end].start if end < len(self.tokens) else len(self.sql)
        text = self.sql[self.tokens[start].start : until]
        behind = self.tokens[end - 1].end
        if not self.sql[behind:until].strip():
            return Span(self.tokens[start].start, behind)
        return Span(self.tokens[start].start, self.tokens[start].start + len(text.rstrip(" ")))

    def tokens_of(self, input_: Input) -> list[tuple[int, Token]]:
        """Return the user's tokens in an input, with their indexes."""
        spans = [piece for piece in input_.pieces if isinstance(piece, Span)]
        return [
            (index, token)
            for index, token in enumerate(self.tokens)
            if any(span.start <= token.start < span.end for span in spans)
        ]

    def close(self) -> None:
        """Let go of the catalog: a statement may be kept for longer."""
        self.texts_are_bytes = _unknown
        self.asks = None

    def text(self, span: Span) -> str:
        """Return a part of the statement on one line."""
        return " ".join(self.sql[span.start : span.end].split())

    def predicts(self, span: Span) -> bool:
        """Tell whether a form that is answered in batches stands in a span, or is mentioned as a column."""
        outputs = [output for run in self.runs for output in run.outputs]
        if any(span.holds(call.span) for output in outputs for call in output.calls):
            return True
        names = {name for output in outputs for _, name in output.columns}
        return bool(names) and any(
            token.text in names for token in self.tokens if span.start <= token.start < span.end
        )

    @property
    def columns(self) -> dict[tuple[str, str], Output]:
        """Columns of sources that are outputs of runs."""
        outputs = [output for run in self.runs for output in run.outputs]
        return {column: output for output in outputs for column in output.columns}
