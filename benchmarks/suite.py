"""Statements of everyday work with PREDICT, each against what a careful engineer would write by hand.

The statements are in ``statements/*.sql``, one file each. By hand means the forms that the documentation
gives for a model's tables, set at a time wherever that can be. ``{batch}`` stands for the batch text of the
24 features of the demo's models, ``{few}`` for that of the linear model's.
"""

from __future__ import annotations

import dataclasses
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import psycopg

from .report import Finding
from .workspace import rewritten

#: how much slower than by hand PREDICT may be
GOAL = 1.1
#: each statement is run for about so long each way
SECONDS = 1.5
MOST_RUNS = 40
#: tables that statements write to; each run is rolled back, and what it leaves is cleared away
WRITTEN = "VACUUM scores, forecasts"

_TEXTS = ("carrier", "origin", "dest", "manufacturer")
_NUMBERS = (
    "distance", "weekday", "dep_delay", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust",
    "precip", "pressure", "visib", "built", "engines", "seats", "lat", "lon", "alt",
)  # fmt: skip
_TIMES = ("departs", "arrives")


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to write it.

    :ivar made: what is made before the clock starts; empty for nothing
    """

    statement: str
    made: str = ""


@dataclasses.dataclass(frozen=True)
class Statement:
    """A statement of the suite.

    :ivar shows: a query for what the statement has done; empty where its rows tell
    """

    name: str
    title: str
    predict: Way
    hand: Way
    shows: str = ""


@dataclasses.dataclass(frozen=True)
class Compared:
    """What was measured of a statement, in seconds, and the median of the ratios of adjacent runs."""

    ours: float
    hand: float
    ratio: float


def statements() -> list[Statement]:
    """Return the suite, in the order of the files' names."""
    folder = files(__package__).joinpath("statements")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [_parse(name, folder.joinpath(name).read_text(encoding="utf-8")) for name in names]


def _parse(name: str, text: str) -> Statement:
    title, *parts = re.split(r"^--> (.*)\n", text, flags=re.MULTILINE)
    found = {key: _filled(body.strip()) for key, body in zip(parts[::2], parts[1::2], strict=True)}
    return Statement(
        name.removesuffix(".sql"),
        title.strip().removeprefix("-- "),
        Way(found["with PREDICT"], found.get("made with PREDICT", "")),
        Way(found["by hand"], found.get("made by hand", "")),
        found.get("shows", ""),
    )


def _filled(text: str) -> str:
    few = ("distance", "weekday", "dep_delay")
    return text.replace("{batch}", _batch(_NUMBERS, _TIMES, _TEXTS)).replace(
        "{few}", _batch(few, (), ("carrier",))
    )


def _batch(numbers: Sequence[str], times: Sequence[str], texts: Sequence[str]) -> str:
    """Return a batch text as docs/batch.md has it."""

    def listed(names: Sequence[str]) -> str:
        return ",".join(f'"{name}"' for name in names)

    values = [*numbers, *(f"extract(epoch FROM {name})" for name in times)]
    parts = [f'\'{{"v":1,"rows":\' || count(*) || \',"numbers":[{listed((*numbers, *times))}]\'']
    parts.append(f"',\"texts\":[{listed(texts)}]}}' || E'\\n'")
    parts += [f"array_to_json(array_agg({name}::text))::text || E'\\n'" for name in texts]
    parts.append(f"encode(ml.raw(array_agg(ARRAY[{', '.join(values)}]::float8[])), 'base64')")
    return "\n|| ".join(parts)


def measure(connection: psycopg.Connection[Any], statement: Statement, least: int) -> Finding:
    """Compare the two ways of a statement, after proving that they give the same.

    :param least: runs of each way at the least
    :raises AssertionError: if the two ways differ
    """
    ours, hand = _ready(connection, statement.predict), statement.hand
    same(connection, statement, ours, hand)
    compared = compare(connection, statement, ours, hand, least)
    return Finding(
        statement.title,
        milliseconds(compared.ours),
        milliseconds(compared.hand),
        compared.ratio,
        "times as long as by hand",
        f"≤ {GOAL}",
        compared.ratio <= GOAL,
    )


def _ready(connection: psycopg.Connection[Any], way: Way) -> Way:
    """Return a way after the rewriter, which must see what is made before it."""
    made = rewritten(connection, way.made) if way.made else ""
    with connection.transaction(force_rollback=True):
        if made:
            connection.execute(made.encode())
        return Way(rewritten(connection, way.statement), made)


def same(connection: psycopg.Connection[Any], statement: Statement, ours: Way, hand: Way) -> None:
    """Run both ways and compare what they give.

    :raises AssertionError: if they differ
    """
    left, right = (Counter(_result(connection, way, statement.shows)) for way in (ours, hand))
    if left != right or not left:
        raise AssertionError(f"{statement.name}: {len(left - right)} rows differ of {sum(right.values())}")


def _result(connection: psycopg.Connection[Any], way: Way, shows: str) -> Iterator[str]:
    with connection.transaction(force_rollback=True):
        if way.made:
            connection.execute(way.made.encode())
        cursor = connection.execute(way.statement.encode())
        if shows:
            cursor = connection.execute(shows.encode())
        rows = cursor.fetchall()
    for row in rows:
        yield repr(tuple(float(f"{value:.9g}") if isinstance(value, float) else value for value in row))


def compare(
    connection: psycopg.Connection[Any], statement: Statement, ours: Way, hand: Way, least: int
) -> Compared:
    """Run both ways in turn, who begins in turn as well."""
    once = [run(connection, way, statement) for way in (ours, hand)]
    runs = min(max(least, round(SECONDS / max(once))), MOST_RUNS)
    pairs: list[tuple[float, float]] = []
    for number in range(runs):
        if number % 2:
            second = run(connection, hand, statement)
            pairs.append((run(connection, ours, statement), second))
        else:
            pairs.append((run(connection, ours, statement), run(connection, hand, statement)))
    return Compared(
        statistics.median(first for first, _ in pairs),
        statistics.median(second for _, second in pairs),
        statistics.median(first / second for first, second in pairs),
    )


def run(connection: psycopg.Connection[Any], way: Way, statement: Statement) -> float:
    """Return the seconds that a statement takes, rows fetched; what it does is rolled back."""
    with connection.transaction(force_rollback=True):
        if way.made:
            connection.execute(way.made.encode())
        text = way.statement.encode()
        start = time.perf_counter()
        cursor = connection.execute(text)
        if cursor.description is not None:
            cursor.fetchall()
        seconds = time.perf_counter() - start
    if statement.shows:
        connection.execute(WRITTEN)
    return seconds


def milliseconds(seconds: float) -> str:
    """Return a time as text."""
    return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
