"""What the rewriter itself costs: a statement without our words, a rewrite, and a statement that is kept."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Hashable
from typing import Any

import psycopg

from pgpredict.catalog import ConnectionCatalog
from rewriter import CachedRewriter, rewrite

from .report import Finding, timed

#: rewrites that are timed
CALLS = 300
#: calls at a time of what takes microseconds
MANY = 50
_QUESTIONS = (
    "model",
    "settings",
    "model_names",
    "has_function",
    "describe",
    "primary_key",
    "estimate",
    "is_volatile",
    "is_steady",
)

#: 1 kB with three forms, over the tables of :mod:`benchmarks.flights`
STATEMENT = """\
-- the riskiest flights of the coming days, and how many of their airline left before each
SELECT f.id, a.name AS airline, f.flight, f.origin, f.dest, to_char(f.day + f.departs, 'DD HH24:MI') AS at,
       CASE WHEN f.visib < 1 THEN 'fog' WHEN f.precip > 0 THEN 'rain' ELSE 'clear' END AS weather,
       PREDICT(bench_late USING f.*) AS late, PROBABILITY(bench_late FOR 'yes' USING f.*) AS risk,
       round(PREDICT(bench_arrival USING f.*)::numeric, 1) AS minutes,
       count(*) OVER (PARTITION BY f.carrier ORDER BY f.day, f.departs ROWS UNBOUNDED PRECEDING) AS before
FROM departures AS f
JOIN airlines AS a ON a.carrier = f.carrier
WHERE f.day >= DATE '2013-12-20' AND f.day < DATE '2013-12-20' + interval '3 days'
  AND f.carrier IN ('UA', 'AA', 'B6', 'DL', 'EV') AND f.distance > 250
  AND EXISTS (SELECT FROM planes AS p WHERE p.manufacturer = f.manufacturer AND p.built > 1990)
  AND (f.flight % 2 = 0 OR f.flight < 1000) AND f.dep_delay BETWEEN -30 AND 120
ORDER BY f.day, f.departs, f.id
LIMIT 100
"""
WITHOUT_FORMS = STATEMENT.replace("PREDICT", "UPPER").replace("PROBABILITY", "LOWER")


class Answered(ConnectionCatalog):
    """A catalog that asks each question once and then knows the answer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        for name in _QUESTIONS:
            setattr(self, name, functools.cache(getattr(self, name)))

    def generation(self) -> Hashable:
        """Return what says that nothing changes."""
        return 1


def measure(connection: psycopg.Connection[Any], calls: int = CALLS) -> list[Finding]:
    """Measure the rewriter beside a round trip to PostgreSQL.

    :param connection: finds the flights without a schema
    :param calls: rewrites that are timed
    """
    catalog = Answered(connection)
    cached = CachedRewriter()
    changed = rewrite(STATEMENT, catalog).changed
    if not changed or rewrite(WITHOUT_FORMS, catalog).changed:
        raise AssertionError("the statement with forms is to be rewritten, the other one is not")
    trip = median(lambda: connection.execute("SELECT 1").fetchone(), calls)
    size = f"{len(STATEMENT) / 1e3:.1f} kB"
    live = median(lambda: rewrite(STATEMENT, ConnectionCatalog(connection)), max(calls // 3, 1))
    # the rest waits for nothing: processor time, which is the same beside other work
    keyword = processor(lambda: rewrite(WITHOUT_FORMS, catalog), calls, MANY)
    known = processor(lambda: rewrite(STATEMENT, catalog), calls)
    # a text that comes from outside is a new object each time
    kept = processor(lambda: cached.rewrite(STATEMENT[:1] + STATEMENT[1:], catalog), calls, MANY)
    return [
        finding(f"{size} without our words", keyword, trip, 5),
        finding(f"{size} with three forms, answers known", known, trip, 3_000),
        finding("the same, the connection asked", live, trip),
        finding("the same, kept", kept, trip, 50),
    ]


def median(function: Callable[[], Any], calls: int) -> float:
    """Return the median seconds of a call."""
    return statistics.median(timed(function) for _ in range(calls))


def processor(function: Callable[[], Any], samples: int, each: int = 1) -> float:
    """Return the median processor seconds of a call.

    :param each: calls of a sample; reading the clock takes a microsecond
    """
    seconds = []
    for _ in range(samples):
        start = time.thread_time()
        for _ in range(each):
            function()
        seconds.append((time.thread_time() - start) / each)
    return statistics.median(seconds)


def finding(subject: str, seconds: float, trip: float, goal: float | None = None) -> Finding:
    """Return a comparison with a round trip.

    :param goal: microseconds at the most
    """
    return Finding(
        subject,
        text(seconds),
        f"{text(trip)} (SELECT 1)",
        seconds / trip,
        "of a round trip to PostgreSQL",
        "" if goal is None else f"≤ {text(goal / 1e6)}",
        None if goal is None else seconds <= goal / 1e6,
    )


def text(seconds: float) -> str:
    """Return a short time as text."""
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2g} µs"
