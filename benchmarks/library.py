"""What the measurements of libraries have in common: turns, goals, and models that scikit-learn has, too."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
import psycopg
from psycopg import sql
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from onnx_models import fitted
from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options

from .batch import LINEAR, MIXED, Case
from .report import Finding, interleaved, timed
from .workspace import fill, remove, train_model

#: microseconds that a hook may add to a query: to one without our words, to one that was rewritten before
FOREIGN, REWRITTEN = 10, 60
#: queries of each way before any is counted
_WARM = 100
#: how many times as fast a batch is to be as what people do today
GOAL = 5
#: rows that the pipelines are fitted on
_FITTED = 10_000
#: of :data:`benchmarks.batch.LINEAR`, for the hooks: one row by its key
BARE = "SELECT id FROM bench.numbers WHERE id = {}"
PREDICT = "SELECT PREDICT(bench_linear) FROM bench.numbers WHERE id = {}"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Contender:
    """A pipeline of scikit-learn, and the model that was made of it.

    :ivar title: for people
    :ivar case: its table and features
    :ivar agreeing: share of the predictions that have to be the same
    """

    title: str
    case: Case
    model: str
    pipeline: Any
    agreeing: float = 1.0


@contextlib.contextmanager
def contenders(connection: psycopg.Connection[Any], rows: int, say: Say) -> Iterator[list[Contender]]:
    """Make tables, the hooks' model and the pipelines with their models; remove all of it at the end.

    :param connection: in autocommit
    """
    remove(connection)
    made: list[Contender] = []
    try:
        say(f"filling tables of {rows:,} rows")
        fill(connection, rows)
        train_model(connection, LINEAR, rows)
        encode = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), list(MIXED.texts)),
            (StandardScaler(), list(MIXED.numbers)),
        )
        for title, case, pipeline in (
            ("linear regression of 10 numbers", LINEAR, make_pipeline(StandardScaler(), LinearRegression())),
            (
                "logistic regression of 5 numbers and 5 texts",
                MIXED,
                make_pipeline(encode, LogisticRegression()),
            ),
            (
                "boosting of 100 trees, the same",
                MIXED,
                make_pipeline(encode, GradientBoostingClassifier(random_state=0)),
            ),
        ):
            say(f"fitting scikit-learn's {title}")
            query = sql.SQL("SELECT {}, y FROM {} WHERE id <= {}").format(
                sql.SQL(", ").join(map(sql.Identifier, case.features)), case.relation, _FITTED
            )
            frame = pd.DataFrame(connection.execute(query).fetchall(), columns=[*case.features, "y"])
            target = frame.pop("y")
            if case is MIXED:
                target = (target > frame["x0"] * 3).map({True: "yes", False: "no"})
            model = f"bench_pipeline_{len(made)}"
            fitted.store(connection, model, pipeline.fit(frame, target), frame.head(1000))
            made.append(Contender(title, case, model, pipeline))
        made.append(_trained_here(connection, made[1]))
        yield made
    finally:
        remove(connection)
        names = [contender.model for contender in made]
        connection.execute("SELECT ml.drop_model(name) FROM ml.models WHERE name = ANY (%s)", [names])


def _trained_here(connection: psycopg.Connection[Any], like: Contender) -> Contender:
    """Have ``pgpredict train`` make a logistic regression of the rows that scikit-learn's was fitted on."""
    model = f"{like.model}_trained"
    query = sql.SQL(
        "SELECT {}, CASE WHEN y > 3 * x0 THEN 'yes' ELSE 'no' END AS y FROM {} WHERE id <= {}"
    ).format(sql.SQL(", ").join(map(sql.Identifier, like.case.features)), like.case.relation, _FITTED)
    train(connection, model, Source(query.as_string(connection), "y"), Options(algorithm="logistic"))
    # its preparation of the features is another one
    return Contender(f"{like.title}, trained in the database", like.case, model, like.pipeline, 0.98)


def predicted(contender: Contender, frame: pd.DataFrame) -> list[tuple[int, Any]]:
    """Return keys and scikit-learn's predictions, in the order of the keys.

    :param frame: of ``id`` and the features
    """
    values = contender.pipeline.predict(frame[list(contender.case.features)])
    return sorted(zip(frame["id"].tolist(), values.tolist(), strict=True))


#: the process of a connection's server. What else is selected has its memory allocator keep what it frees;
#: otherwise it does so or not by chance, which makes 0.1 ms of a long statement
BACKEND = "SELECT pg_backend_pid(), length(repeat('x', 10000000))"


@contextlib.contextmanager
def apart(*backends: int) -> Iterator[None]:
    """Keep this process on one core and server processes on another, where that is possible.

    Otherwise it is chance which of two server processes shares a core with the client, which makes more of a
    difference to one row than what is measured.

    :param backends: their process ids, of :data:`BACKEND`
    """
    before = {0: os.sched_getaffinity(0)}
    try:
        if len(before[0]) > 1:
            first, second, *_ = sorted(before[0])
            for process, core in ((0, first), *((backend, second) for backend in backends)):
                with contextlib.suppress(OSError):  # of another user, or on another machine
                    before[process] = os.sched_getaffinity(process)
                    os.sched_setaffinity(process, {core})
        yield
    finally:
        for process, cores in before.items():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(process, cores)


def in_turn(ways: Sequence[Callable[[int], object]], rows: int, queries: int) -> list[list[float]]:
    """Return the seconds of each query of each way, which take turns with every query.

    :param ways: functions that query the row with a key
    :param rows: of the table
    :param queries: of each way that are counted
    """
    seconds: list[list[float]] = [[] for _ in ways]
    for number in range(_WARM + queries):
        key = 1 + number * 7919 % rows
        # who comes second finds the row at hand
        for way, measured in list(zip(ways, seconds, strict=True))[:: 1 if number % 2 else -1]:
            measured.append(timed(functools.partial(way, key)))
    return [measured[_WARM:] for measured in seconds]


def hook_findings(subject: str, seconds: Sequence[Sequence[float]]) -> list[Finding]:
    """Return what a hook adds.

    :param seconds: as of :func:`in_turn`: of a query without our words, without the hook and with it; of one
        with PREDICT, as the text that it is rewritten to without the hook, and with it
    """
    plain, hooked, sent, predicted = seconds
    return [
        _hook_finding(f"{subject}, without our words", hooked, plain, FOREIGN, "the library as it is"),
        _hook_finding(f"{subject}, PREDICT as before", predicted, sent, REWRITTEN, "the rewritten text sent"),
    ]


def _hook_finding(
    subject: str, ours: Sequence[float], theirs: Sequence[float], most: float, what: str
) -> Finding:
    # of neighbours, so that a machine that is busy for a while is so for both
    added = statistics.median((one - other) * 1e6 for one, other in zip(ours, theirs, strict=True))
    one, other = statistics.median(ours) * 1e6, statistics.median(theirs) * 1e6
    return Finding(
        subject,
        f"{one:.0f} µs",
        f"{other:.0f} µs ({what})",
        one / other,
        f"times as long, {added:+.1f} µs",
        f"≤ {most} µs more",
        added <= most,
    )


def batch_findings(
    subject: str,
    ours: Callable[[], Any],
    others: Sequence[tuple[str, Callable[[], Any]]],
    runs: int,
    agreeing: float = 1.0,
) -> list[Finding]:
    """Compare predictions of a table with other ways to the same rows, the first of which has the goal.

    :param agreeing: share of the rows that have to be the same
    :raises AssertionError: if they are not
    """
    expected = ours()
    for name, other in others:
        found = other()
        different = sum(map(differs, found, expected))
        if different > (1 - agreeing) * len(found) or len(found) != len(expected):
            raise AssertionError(f"{name}: {different} of {len(found)} rows differ, {len(expected)} expected")
    seconds = interleaved([ours, *(other for _, other in others)], runs)
    return [
        Finding(
            subject,
            f"{seconds[0]:.2f} s",
            f"{theirs:.2f} s ({name})",
            theirs / seconds[0],
            "times as fast",
            f"≥ {GOAL}" if not number else "",
            theirs / seconds[0] >= GOAL if not number else None,
        )
        for number, ((name, _), theirs) in enumerate(zip(others, seconds[1:], strict=True))
    ]


def differs(one: tuple[int, Any], other: tuple[int, Any]) -> bool:
    """Tell whether two rows differ; numbers by more than single precision does."""
    if isinstance(one[1], float):
        return one[0] != other[0] or not math.isclose(one[1], other[1], rel_tol=1e-4, abs_tol=1e-4)
    return one != other
