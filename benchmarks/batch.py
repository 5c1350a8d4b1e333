"""Many rows: PREDICT in SQL against fetching the rows into a client that runs ONNX Runtime."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from onnx_models.scoring import Model

from .report import Finding, interleaved

#: rows that are fetched or predicted at a time, by every way that is compared
CHUNK_ROWS = 20_000
#: the ways of a client are measured on this many rows at the most and compared by rows per second
CLIENT_ROWS = 250_000
#: the row-at-a-time join is measured on this many rows at the most and compared by rows per second
ROW_FORM_ROWS = 5_000
#: rows per second that linear models are to reach
FAST = 600_000
#: psycopg's binary COPY starts with an 11-byte signature, 4 bytes of flags and 4 of extension length
COPY_HEADER_BYTES = 19

Column = NDArray[np.float64] | list[str | None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model on a table.

    :ivar algorithm: and its hyperparameters, as in ``pgpredict train``
    :ivar numbers: names of its float8 features
    :ivar texts: names of its text features
    """

    title: str
    model: str
    algorithm: str
    parameters: Mapping[str, int]
    table: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """All features, numbers first."""
        return self.numbers + self.texts

    @property
    def relation(self) -> sql.Identifier:
        """The table, quoted."""
        return sql.Identifier("bench", self.table)


NUMBERS = tuple(f"x{index}" for index in range(10))
TEXTS = tuple(f"c{index}" for index in range(5))
_TREES = {"n_estimators": 100}
LINEAR = Case("linear, 10 numbers", "bench_linear", "linear", {}, "numbers", NUMBERS)
MIXED = Case("linear, 5 numbers + 5 texts", "bench_mixed_linear", "linear", {}, "mixed", NUMBERS[:5], TEXTS)
CASES = (
    LINEAR,
    Case(
        "boosting of 100 trees, 10 numbers",
        "bench_boosting",
        "gradient_boosting",
        _TREES,
        "numbers",
        NUMBERS,
    ),
    MIXED,
    Case(
        "boosting of 100 trees, 5 numbers + 5 texts",
        "bench_mixed_boosting",
        "gradient_boosting",
        _TREES,
        "mixed",
        NUMBERS[:5],
        TEXTS,
    ),
)


def predict_sql(case: Case, times: int = 1) -> str:
    """Return the statement with PREDICT that a user would write.

    :param times: how often the table is repeated
    """
    return f"SELECT count(*), sum(p) FROM (SELECT PREDICT({case.model}) AS p FROM {repeated(case, times)}) s"


def scan_sql(case: Case, times: int = 1) -> str:
    """Return a statement that reads the same columns in the database and adds them up."""
    parts = [f"sum({name})" for name in case.numbers] + [f"sum(length({name}))" for name in case.texts]
    return f"SELECT {' + '.join(parts)} FROM {repeated(case, times)}"


def repeated(case: Case, times: int) -> str:
    """Return a FROM item with every row of the case's table several times."""
    table = f"bench.{case.table}"
    return table if times == 1 else f"{table} CROSS JOIN generate_series(1, {times}) AS copy"


def by_fetch(
    connection: psycopg.Connection[Any], case: Case, model: Model, *, binary: bool, rows: int | None = None
) -> float:
    """Fetch rows (a) with psycopg through a server-side cursor and predict in the client.

    :param binary: in PostgreSQL's binary format, which psycopg uses when asked to
    :param rows: how many; None is all
    """
    total = 0.0
    with connection.transaction(), connection.cursor(name="bench", binary=binary) as cursor:
        cursor.execute(select(case, rows))
        while chunk := cursor.fetchmany(CHUNK_ROWS):
            total += float(model.predict(columns_of_rows(case, chunk), len(chunk)).value.sum())
    return total


def by_copy(connection: psycopg.Connection[Any], case: Case, model: Model, rows: int | None = None) -> float:
    """Read rows (b) with binary COPY and predict in the client.

    Rows of numbers alone have a fixed width and are read by NumPy without a Python object per value; rows
    with texts are parsed by psycopg.

    :param rows: how many; None is all
    """
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(select(case, rows))
    total = 0.0
    with connection.cursor().copy(statement) as copy:
        if case.texts:
            copy.set_types(["float8"] * len(case.numbers) + ["text"] * len(case.texts))
            parsed = copy.rows()
            while chunk := list(itertools.islice(parsed, CHUNK_ROWS)):
                total += float(model.predict(columns_of_rows(case, chunk), len(chunk)).value.sum())
        else:
            for matrix in fixed_width(copy, len(case.numbers)):
                columns: Mapping[str, Column] = dict(zip(case.numbers, matrix.T, strict=True))
                total += float(model.predict(columns, len(matrix)).value.sum())
    return total


def fixed_width(copy: psycopg.Copy, width: int) -> Iterator[NDArray[np.float64]]:
    """Yield (rows, width) matrices from binary COPY data of float8 columns without NULL."""
    row = np.dtype([("count", ">i2"), ("fields", [("length", ">i4"), ("value", ">f8")], (width,))])
    buffer = bytearray()
    header = True
    for data in copy:
        buffer += data
        if header and len(buffer) >= COPY_HEADER_BYTES:
            del buffer[:COPY_HEADER_BYTES]
            header = False
        whole = len(buffer) // row.itemsize
        if whole >= CHUNK_ROWS:
            yield np.frombuffer(bytes(buffer[: whole * row.itemsize]), row)["fields"]["value"].astype(
                np.float64
            )
            del buffer[: whole * row.itemsize]
    # What is left ends with the trailer, a count of -1.
    whole = (len(buffer) - 2) // row.itemsize
    if whole:
        yield np.frombuffer(bytes(buffer[: whole * row.itemsize]), row)["fields"]["value"].astype(np.float64)


def by_row(connection: psycopg.Connection[Any], case: Case, rows: int) -> float:
    """Run (c), the row-at-a-time join with the model table."""
    statement = sql.SQL(
        "SELECT sum(m.prediction) FROM (SELECT {columns} FROM {table} LIMIT {rows} OFFSET 0) t "
        "JOIN {model} m ON {condition}"
    ).format(
        columns=names(case),
        table=case.relation,
        rows=sql.Literal(rows),
        model=sql.Identifier("models", case.model),
        condition=sql.SQL(" AND ").join(
            sql.SQL("m.{0} = t.{0}").format(sql.Identifier(name)) for name in case.features
        ),
    )
    return single(connection, statement.as_string(connection))


def in_memory(case: Case, model: Model, columns: Mapping[str, Column], rows: int) -> float:
    """Run ONNX Runtime alone (the other half of d) on arrays that are in memory already."""
    total = 0.0
    for start in range(0, rows, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, rows)
        part = {name: column[start:stop] for name, column in columns.items()}
        total += float(model.predict(part, stop - start).value.sum())
    return total


def compare(
    connection: psycopg.Connection[Any], case: Case, rewritten: str, model: Model, rows: int, runs: int
) -> list[Finding]:
    """Measure one case all ways and return what was found.

    :param rewritten: :func:`predict_sql` after the rewriter
    :param rows: rows of the table
    :param runs: counted runs of each way
    """
    client, row_form = min(rows, CLIENT_ROWS), min(rows, ROW_FORM_ROWS)
    columns = read_all(connection, case, client)
    run = functools.partial(single, connection)
    ours, fetch, binary, copy, row, bare, alone = interleaved(
        [
            lambda: run(rewritten),
            lambda: by_fetch(connection, case, model, binary=False, rows=client),
            lambda: by_fetch(connection, case, model, binary=True, rows=client),
            lambda: by_copy(connection, case, model, client),
            lambda: by_row(connection, case, row_form),
            lambda: run(scan_sql(case)),
            lambda: in_memory(case, model, columns, client),
        ],
        runs,
    )
    alone *= rows / client
    speed, floor = rows / ours, bare + alone
    # the goals: linear against the client, boosting against the floor
    linear, near = (True, False) if case is LINEAR else (False, case.algorithm != LINEAR.algorithm)

    def finding(name: str, seconds: float, count: int, goal: str = "", met: bool | None = None) -> Finding:
        other = count / seconds
        return Finding(name, rate(speed), rate(other), speed / other, "times as fast", goal, met)

    return [
        finding("(a) psycopg fetch + ONNX Runtime", fetch, client),
        finding(
            "(a) psycopg fetch in binary + ONNX Runtime",
            binary,
            client,
            "≥ 3 of the faster (a)" if linear else "",
            min(fetch, binary) / client >= 3 * ours / rows if linear else None,
        ),
        finding("(b) binary COPY + ONNX Runtime", copy, client),
        finding("(c) row-at-a-time join", row, row_form),
        Finding(
            "(d) floor, bare scan and sum + ONNX Runtime alone",
            f"{ours:.2f} s",
            f"{bare:.2f} + {alone:.2f} s",
            ours / floor,
            "times the floor's time",
            "≥ 600,000 rows/s" if linear else "≤ 1.5" if near else "",
            speed >= FAST if linear else ours <= 1.5 * floor if near else None,
        ),
    ]


def read_all(connection: psycopg.Connection[Any], case: Case, rows: int | None = None) -> dict[str, Column]:
    """Return a case's whole table as columns, or so many of its rows."""
    parts: list[dict[str, Column]] = []
    with connection.transaction(), connection.cursor(name="bench", binary=True) as cursor:
        cursor.execute(select(case, rows))
        while chunk := cursor.fetchmany(CHUNK_ROWS):
            parts.append(columns_of_rows(case, chunk))
    return {
        name: list(itertools.chain.from_iterable(part[name] for part in parts))
        if name in case.texts
        else np.concatenate([part[name] for part in parts])
        for name in case.features
    }


def select(case: Case, rows: int | None = None) -> sql.Composed:
    """Return the statement that reads a case's features, of all rows or so many."""
    limit = sql.Literal(rows) if rows is not None else sql.SQL("ALL")
    return sql.SQL("SELECT {} FROM {} LIMIT {}").format(names(case), case.relation, limit)


def names(case: Case) -> sql.Composed:
    """Return a case's features as a list of columns."""
    return sql.SQL(", ").join(map(sql.Identifier, case.features))


def columns_of_rows(case: Case, rows: list[tuple[Any, ...]]) -> dict[str, Column]:
    """Return rows as columns: float64 arrays and lists of text."""
    columns: dict[str, Column] = {}
    for name, values in zip(case.features, zip(*rows, strict=True), strict=True):
        columns[name] = list(values) if name in case.texts else np.array(values, np.float64)
    return columns


def single(connection: psycopg.Connection[Any], statement: str) -> float:
    """Run a statement and return the last value of its one row."""
    row = connection.execute(statement.encode()).fetchone()
    return float(row[-1]) if row else 0.0


def rate(rows_per_second: float) -> str:
    """Return a speed as text."""
    return f"{rows_per_second:,.0f} rows/s"
