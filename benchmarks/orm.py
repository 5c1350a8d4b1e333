"""``make bench-orm``: what PREDICT costs in the libraries that people query with, and what it saves them.

A library is a module with two functions: ``hooks`` measures what its hook adds to a query, ``batch`` compares
the prediction of a table with fetching the rows and asking scikit-learn. ``OLDEST`` is the first version of
PostgreSQL that the library takes.
"""

from __future__ import annotations

from typing import Any

import psycopg
import rich_click as click

from pgpredict.cli.examples import examples
from pgpredict.cli.progress import showing_progress
from pgpredict.connection import connect
from pgpredict.server import Home
from pgpredict.server.local import up

from . import orm_django, orm_sqlalchemy
from .library import PREDICT, Say, contenders
from .report import DOCUMENT, Finding, console, markdown, occasion, setting, show, write
from .workspace import rewritten

LIBRARIES = (orm_sqlalchemy, orm_django)
HOOKS = "What a library's hook adds to a query"
BATCH = "Predictions of a table by an ORM, against scikit-learn in Python"


def compare(
    connection: psycopg.Connection[Any], dsn: str, rows: int, runs: int, queries: int, say: Say
) -> dict[str, list[Finding]]:
    """Measure every library that the server is new enough for.

    :param connection: to the database of ``dsn``, in autocommit
    :param runs: of each way of a batch
    :param queries: of each way of a hook
    """
    found: dict[str, list[Finding]] = {HOOKS: [], BATCH: []}
    with contenders(connection, rows, say) as models:
        statement = rewritten(connection, PREDICT.format("$1"))
        for library in LIBRARIES:
            if connection.info.server_version < library.OLDEST:
                say(f"{library.NAME} needs PostgreSQL {library.OLDEST // 10_000}: not measured")
                continue
            say(f"{library.NAME}: one row")
            found[HOOKS] += library.hooks(dsn, statement, rows, queries)
            for contender in models:
                say(f"{library.NAME}: {contender.title}")
                found[BATCH] += library.batch(dsn, contender, rows, runs)
    return found


@click.command(epilog=examples("python -m benchmarks.orm --runs 5 --write"))
@click.option("--rows", type=click.IntRange(1000), default=100_000, show_default=True, help="Rows predicted.")
@click.option(
    "--runs", type=click.IntRange(1), default=3, show_default=True, help="Counted runs of each way."
)
@click.option("--queries", type=click.IntRange(100), default=3_000, show_default=True, help="Of one row.")
@click.option("--write", "into_docs", is_flag=True, help="Put the results into docs/benchmarks.md.")
def bench_orm(rows: int, runs: int, queries: int, into_docs: bool) -> None:
    """Measure libraries with their hooks and without, on the local server."""
    with showing_progress() as say:
        dsn = up(Home.default(), say).cluster.dsn()
        with connect(dsn, autocommit=True) as connection:
            found = compare(connection, dsn, rows, runs, queries, say)
            # of the page as a whole; what is of this many rows says so
            where = setting(connection, 1_000_000, runs)
    for title, findings in found.items():
        show(title, findings)
    console.print(where, highlight=False)
    if into_docs:
        write(DOCUMENT, where, {title: markdown(title, rows, occasion()) for title, rows in found.items()})


if __name__ == "__main__":
    bench_orm()
