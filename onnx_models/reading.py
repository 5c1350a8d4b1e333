"""Reading training data: one snapshot, streamed, straight into NumPy columns.

The training query runs inside ``COPY ... TO STDOUT (FORMAT binary)``. Numbers are cast by the server to
float8 with NaN for NULL, so they have a fixed width and whole blocks of rows are reinterpreted at once;
texts are interned on the way. No Python object is made for a number, and none twice for a text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.resources
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from .errors import InvalidParameter, InvalidTrainingData
from .reserved import MAX_FEATURES, RESERVED
from .signature import KINDS, NULL_TEXT, Feature, Kind
from .table import Column, Texts, TrainingTable
from .training_query import check, inner, no_select, out_of_range

#: bytes that are gathered before they are parsed
_BLOCK = 1 << 22
_COPY_END: LiteralString = ") q) TO STDOUT (FORMAT binary)"
_HEADER = 19  # signature, flags and an empty extension area
_EPOCH_KINDS: tuple[Kind, ...] = ("date", "timestamp", "timestamptz", "time")
_HINTS = {
    "interval": "cast it in the training query: extract(epoch from {column})::float8 AS {column}",
    "json": "take the fields that matter out of it in the training query: {column} ->> 'field'",
    "jsonb": "take the fields that matter out of it in the training query: {column} ->> 'field'",
    "time with time zone": "cast it in the training query: {column}::time AS {column}",
    "money": "cast it in the training query: {column}::numeric AS {column}",
}
_ARRAY_HINT = "take elements out of it in the training query: {column}[1] AS {column}_1, or --exclude it"
_ANY_HINT = (
    "cast it in the training query ({column}::text or {column}::float8), or leave it out with --exclude"
)


@dataclasses.dataclass(frozen=True)
class Source:
    """What to train on.

    :ivar query: a SELECT; its columns are the features and the target
    :ivar target: the target column
    :ivar exclude: columns that are read by nobody: keys, and what is known too late
    :ivar time: the column that says which rows are the newest
    """

    query: str
    target: str
    exclude: tuple[str, ...] = ()
    time: str | None = None


def table_query(connection: psycopg.Connection, name: str) -> str:
    """Return the query for a whole table or view.

    :param name: as in SQL, with or without schema
    :raises psycopg.errors.UndefinedTable: if there is none
    """
    with connection.transaction():
        row = connection.execute("SELECT %s::pg_catalog.regclass::text", (name,)).fetchone()
    # regclass gives the name back quoted
    return f"TABLE {row[0] if row else name}"


def read(
    connection: psycopg.Connection, source: Source, progress: Callable[[int], None] | None = None
) -> TrainingTable:
    """Run the training query and return its rows.

    :param connection: outside a transaction
    :param progress: called with the number of rows read so far
    :raises InvalidParameter: if the target or another named column is not in the query's result
    :raises InvalidTrainingData: for a column that cannot be a feature
    """
    with _snapshot(connection):
        features = describe(connection, source.query)
        target, time, chosen = _choose_columns(features, source)
        wanted = [*chosen, *([target] if target not in chosen else [])]
        if time is not None and time not in wanted:
            wanted.append(time)
        columns = _copy(connection, source.query, wanted, progress or (lambda rows: None))
    return _table(columns, chosen, target, time)


def describe(connection: psycopg.Connection, query: str) -> list[Feature]:
    """Return the columns of a query as features, read from its result description.

    Columns of types that cannot be features have the kind of text and a type that is not in
    :data:`~onnx_models.signature.KINDS`; :func:`check_type` refuses them.

    :raises InvalidTrainingData: if it is no SELECT, for columns without a name or with the same one
    """
    check(connection, query)
    try:
        cursor = connection.execute(
            sql.Composed([sql.SQL("SELECT * FROM ("), inner(query), sql.SQL(") q LIMIT 0")])
        )
    except psycopg.errors.SyntaxError as error:
        raise no_select(error) from error
    described = [(column.name, column.type_code) for column in cursor.description or ()]
    names = [name for name, _ in described]
    for position, name in enumerate(names, 1):
        if name == "?column?":
            raise InvalidTrainingData(
                f"column {position} of the training query has no name", hint="give it an alias with AS"
            )
        if names.count(name) > 1:
            raise InvalidTrainingData(
                f"the training query returns two columns {name!r}", hint="give one an alias, or leave it out"
            )
    types_query = importlib.resources.files(__package__ or "").joinpath("reading.sql").read_text("utf-8")
    found = connection.execute(types_query, ([oid for _, oid in described],)).fetchall()
    types = {oid: (name, is_enum) for oid, name, is_enum in found}
    features = []
    for name, oid in described:
        type_name, is_enum = types[oid]
        kind: Kind = "text" if is_enum else KINDS.get(type_name, "text")
        features.append(Feature(name, type_name, kind, categories=() if is_enum else None))
    return features


def check_type(feature: Feature, role: str = "column") -> None:
    """Refuse a column whose type cannot be used.

    :raises InvalidTrainingData: naming column and type, with what to do
    """
    if feature.type in KINDS or feature.categories is not None:
        return
    hint = _ARRAY_HINT if feature.type.endswith("[]") else _HINTS.get(feature.type, _ANY_HINT)
    raise InvalidTrainingData(
        f"{role} {feature.name!r} is of type {feature.type}, which cannot be used",
        hint=hint.format(column=feature.name),
    )


def _choose_columns(
    features: Sequence[Feature], source: Source
) -> tuple[Feature, Feature | None, tuple[Feature, ...]]:
    by_name = {feature.name: feature for feature in features}
    named = [("target", source.target), *(("excluded", name) for name in source.exclude)]
    if source.time is not None:
        named.append(("time", source.time))
    for role, name in named:
        if name not in by_name:
            raise InvalidParameter(
                f"{role} column {name!r} is not in the training query's result",
                hint=f"it has {', '.join(by_name)}",
            )
    if source.target in source.exclude:
        raise InvalidParameter(f"target column {source.target!r} is excluded")
    target = by_name[source.target]
    time = by_name[source.time] if source.time is not None else None
    chosen = tuple(f for f in features if f.name != source.target and f.name not in source.exclude)
    if len(chosen) > MAX_FEATURES:
        raise InvalidTrainingData(
            f"{len(chosen)} features are too many for a table, the limit is {MAX_FEATURES}",
            hint="leave columns out with --exclude, or sum them up in the training query",
        )
    for feature in (*chosen, target, *([time] if time else [])):
        check_type(feature, "target" if feature is target else "column")
    for feature in chosen:
        if feature.name in RESERVED:
            raise InvalidTrainingData(
                f"column {feature.name!r} is named like a column of every model table",
                hint="give it another name in the training query with AS, or --exclude it",
            )
    if time is not None and time.kind == "text":
        raise InvalidParameter(f"time column {time.name!r} is a {time.type}, which has no order in time")
    return target, time, chosen


def _copy(
    connection: psycopg.Connection, query: str, wanted: Sequence[Feature], progress: Callable[[int], None]
) -> dict[str, Column]:
    numbers = [feature for feature in wanted if feature.kind != "text"]
    texts = [feature for feature in wanted if feature.kind == "text"]
    items = sql.SQL(", ").join([_expression(feature) for feature in (*numbers, *texts)])
    statement = sql.Composed(
        [sql.SQL("COPY (SELECT "), items, sql.SQL(" FROM ("), inner(query), sql.SQL(_COPY_END)]
    )
    parser = _Parser(len(numbers), len(texts))
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            waiting = bytearray()
            for part in copy:
                waiting += part
                if len(waiting) >= _BLOCK:
                    waiting = parser.parse(waiting)
                    progress(parser.rows)
            parser.parse(waiting)
    except psycopg.errors.NumericValueOutOfRange as error:
        numeric = [feature.name for feature in numbers if feature.kind == "number"]
        raise out_of_range(error, numeric) from error
    progress(parser.rows)
    columns: dict[str, Column] = {}
    for position, feature in enumerate(numbers):
        columns[feature.name] = np.concatenate(
            [block[:, position] for block in parser.blocks] or [np.empty(0)]
        )
    for feature, codes, words in zip(texts, parser.codes, parser.words, strict=True):
        columns[feature.name] = Texts(np.array(codes, np.int32), tuple(word.decode() for word in words))
        if NULL_TEXT.encode() in words:
            raise InvalidTrainingData(f"column {feature.name!r} contains the text that stands for NULL")
    return columns


class _Parser:
    """Rows of COPY's binary format: numbers of fixed width first, then texts.

    :ivar blocks: arrays of shape (rows, numbers)
    :ivar codes, words: per text column
    """

    def __init__(self, numbers: int, texts: int) -> None:
        self.blocks: list[NDArray[np.float64]] = []
        self.codes = [array("i") for _ in range(texts)]
        self.words: list[dict[bytes, int]] = [{} for _ in range(texts)]
        self.rows = 0
        self._numbers, self._fixed = numbers, 2 + 12 * numbers
        self._header_seen = False

    def parse(self, data: bytearray) -> bytearray:
        """Parse the whole rows at the beginning and return the rest."""
        start = 0
        if not self._header_seen and len(data) >= _HEADER:
            start, self._header_seen = _HEADER, True
        starts, end = (self._with_texts if self.codes else self._without_texts)(data, start)
        if len(starts):
            self.rows += len(starts)
            if self._numbers:
                view = np.frombuffer(data, np.uint8)
                self.blocks.append(self._numbers_at(view, starts))
                del view  # a view keeps the buffer from being resized
        return data[end:]

    def _numbers_at(self, view: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.float64]:
        if not self.codes:
            rows = view[starts[0] : starts[0] + len(starts) * self._fixed].reshape(-1, self._fixed)
        else:
            rows = np.lib.stride_tricks.sliding_window_view(view, self._fixed)[starts]
        fields = rows[:, 2:].reshape(len(starts), self._numbers, 12)[:, :, 4:]
        values = np.ascontiguousarray(fields).view(">f8")[:, :, 0]
        return values.astype(np.float64)

    def _without_texts(self, data: bytearray, start: int) -> tuple[NDArray[np.int64], int]:
        # the trailer has two bytes, too few for a row
        rows = (len(data) - start) // self._fixed
        starts = start + np.arange(rows, dtype=np.int64) * self._fixed
        return starts, start + rows * self._fixed

    def _with_texts(self, data: bytearray, start: int) -> tuple[NDArray[np.int64], int]:
        starts, fixed, size = array("q"), self._fixed, len(data)
        raw = bytes(data)
        from_bytes = int.from_bytes
        columns = list(zip(self.codes, self.words, strict=True))
        found: list[bytes | None] = [None] * len(columns)
        while start + fixed <= size:
            position = start + fixed
            complete = True
            for number in range(len(columns)):
                if position + 4 > size:
                    complete = False
                    break
                length = from_bytes(raw[position : position + 4], "big", signed=True)
                position += 4
                if length < 0:
                    found[number] = None
                    continue
                if position + length > size:
                    complete = False
                    break
                found[number] = raw[position : position + length]
                position += length
            if not complete:
                break
            for (codes, words), text in zip(columns, found, strict=True):
                codes.append(-1 if text is None else words.setdefault(text, len(words)))
            starts.append(start)
            start = position
        return np.array(starts, np.int64), start


def _table(
    columns: dict[str, Column], chosen: tuple[Feature, ...], target: Feature, time: Feature | None
) -> TrainingTable:
    goal = columns[target.name]
    known = goal.codes >= 0 if isinstance(goal, Texts) else ~np.isnan(goal)
    dropped = int(len(known) - known.sum())
    if dropped:
        rows = np.flatnonzero(known)
        for name in list(columns):
            column = columns[name]
            columns[name] = column.take(rows) if isinstance(column, Texts) else column[rows]
    order = None
    if time is not None:
        order = np.asarray(columns[time.name])
        # rows without a time are the oldest: they are not what is to be predicted
        order = np.where(np.isnan(order), -np.inf, order)
    features = tuple(
        dataclasses.replace(feature, nullable=_has_null(columns[feature.name]), categories=None)
        for feature in chosen
    )
    return TrainingTable(
        features,
        {feature.name: columns[feature.name] for feature in features},
        columns[target.name],
        dataclasses.replace(target, nullable=bool(dropped), categories=None),
        dropped,
        order,
    )


def _has_null(column: Column) -> bool:
    return bool((column.codes < 0).any() if isinstance(column, Texts) else np.isnan(column).any())


def _expression(feature: Feature) -> sql.Composable:
    column = sql.SQL("q.{}").format(sql.Identifier(feature.name))
    if feature.kind == "text":
        return sql.SQL("{}::text").format(column)
    if feature.kind == "boolean":
        number = sql.SQL("{}::int::float8").format(column)
    elif feature.kind in _EPOCH_KINDS:
        number = sql.SQL("extract(epoch FROM {})::float8").format(column)
    else:
        number = sql.SQL("{}::float8").format(column)
    return sql.SQL("coalesce({}, 'NaN')").format(number)


@contextlib.contextmanager
def _snapshot(connection: psycopg.Connection) -> Iterator[None]:
    """Read in one consistent snapshot that cannot write."""
    isolation, read_only = connection.isolation_level, connection.read_only
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    try:
        with connection.transaction():
            connection.execute("SET LOCAL client_encoding TO 'UTF8'")
            yield
    finally:
        if not connection.closed:
            connection.isolation_level, connection.read_only = isolation, read_only
