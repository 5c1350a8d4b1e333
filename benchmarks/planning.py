"""What the rewriter's choices are worth: inline against batch, and each rule against the same without it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import psycopg

from pgpredict.catalog import ConnectionCatalog
from rewriter import RULES, RewriteError, Setting, rewrite

from .report import Finding
from .suite import Statement, Way, compare, milliseconds, same

#: how much faster a linear model is to be inline than in batches
LINEAR_GOAL = 3.0


@dataclasses.dataclass(frozen=True)
class Choice:
    """A statement that a rule makes cheaper.

    :ivar rule: name of the rule
    :ivar batch: whether batches are asked for, because inline the rule would have nothing to do
    """

    rule: str
    title: str
    sql: str
    batch: bool = False


#: a rule that is not there (yet) is left out
CHOICES = (
    Choice(
        "filter_first",
        "a filter on a column beside one on the prediction: one day of twelve",
        "SELECT id, PREDICT(bench_late) AS late FROM scores "
        "WHERE day = '2013-12-30' AND PREDICT(bench_late) = 'yes'",
    ),
    Choice(
        "limit_first",
        "ORDER BY a column, LIMIT 10",
        "SELECT id, PREDICT(bench_late) AS late FROM scores ORDER BY dep_delay DESC, id LIMIT 10",
    ),
    Choice(
        "share_runs",
        "the prediction and two probabilities of the same inputs",
        "SELECT id, PREDICT(bench_late) AS late, PROBABILITY(bench_late) AS certainty, "
        "PROBABILITY(bench_late FOR 'yes') AS risk FROM scores",
    ),
    Choice(
        "drop_unread",
        "a prediction in a subquery that nobody reads",
        "SELECT carrier, count(*) FROM (SELECT carrier, PREDICT(bench_late) AS late FROM scores) s "
        "GROUP BY carrier",
    ),
    Choice(
        "prune_features",
        "a tree that looks at few of 24 features, which come from four tables",
        "SELECT id, PREDICT(bench_tree) AS minutes FROM departures WHERE day >= '2013-12-01'",
        batch=True,
    ),
)
_INLINE = (
    (
        "linear, 4 features",
        "SELECT count(*), round(sum(p)::numeric, 4) AS minutes "
        "FROM (SELECT PREDICT(bench_minutes) AS p FROM flights WHERE dep_delay IS NOT NULL) s",
        LINEAR_GOAL,
    ),
    (
        "a tree of depth 4, 24 features",
        "SELECT count(*), round(sum(p)::numeric, 4) AS minutes "
        "FROM (SELECT PREDICT(bench_tree) AS p FROM departures WHERE day >= '2013-10-01') s",
        None,
    ),
)


def ways(connection: psycopg.Connection[Any], least: int) -> list[Finding]:
    """Compare inline with batch, for models that are certified.

    :param connection: finds the flights without a schema
    :param least: runs of each way at the least
    """
    catalog = ConnectionCatalog(connection)
    written = functools.partial(_written, catalog)
    found = []
    for title, sql, goal in _INLINE:
        try:
            inline = written(sql, setting=Setting(way="inline"))
        except RewriteError:
            continue  # not certified
        batch = written(sql, setting=Setting(way="batch"))
        found.append(_compared(connection, title, inline, batch, least, goal))
    return found


def rules(connection: psycopg.Connection[Any], least: int) -> list[Finding]:
    """Compare each rule with the same without it.

    :param connection: finds the flights without a schema
    :param least: runs of each way at the least
    """
    catalog = ConnectionCatalog(connection)
    found = []
    for choice in CHOICES:
        others = tuple(rule for rule in RULES if rule.__name__ != choice.rule)
        if len(others) == len(RULES):
            continue
        setting = Setting(way="batch") if choice.batch else None
        ours = _written(catalog, choice.sql, setting=setting)
        without = _written(catalog, choice.sql, setting=setting, rules=others)
        title = f"{choice.rule}: {choice.title}"
        found.append(_compared(connection, title, ours, without, least))
    return found


def _written(catalog: ConnectionCatalog, sql: str, **how: Any) -> Way:
    return Way(rewrite(sql, catalog, **how).sql)


def _compared(
    connection: psycopg.Connection[Any],
    title: str,
    ours: Way,
    other: Way,
    least: int,
    goal: float | None = None,
) -> Finding:
    statement = Statement(title, title, ours, other)
    same(connection, statement, ours, other)
    compared = compare(connection, statement, ours, other, least)
    times = 1 / compared.ratio
    return Finding(
        title,
        milliseconds(compared.ours),
        milliseconds(compared.hand),
        times,
        "times as fast",
        "" if goal is None else f"≥ {goal:g}",
        None if goal is None else times >= goal,
    )
