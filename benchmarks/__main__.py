"""``make bench``: PREDICT in SQL against what people do without it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import rich_click as click

from pgpredict.cli.app import is_expected, report
from pgpredict.cli.examples import examples
from pgpredict.cli.progress import showing_progress
from pgpredict.connection import connect
from pgpredict.errors import InvalidInput
from pgpredict.server import Home
from pgpredict.server.local import up

from . import batch, hooks, memory, models, planning, rewriting, single, suite
from .flights import flights
from .report import DOCUMENT, Finding, console, markdown, occasion, setting, show, write
from .workspace import deployed, rewritten, workspace

PARTS = ("batch", "single", "memory", "hooks", "suite", "planning", "rewriting")
#: those that the tables of ``workspace`` are needed for, and those that the flights are needed for
_TABLES, _FLIGHTS = PARTS[:4], PARTS[4:]
#: rows that the backend's peak is measured on, in tables' rows: 10 million by default
MANY = 10

Say = Callable[[str], None]
#: findings by title
Tables = dict[str, list[Finding]]


@click.command(
    epilog=examples(
        "python -m benchmarks",
        "python -m benchmarks --rows 100000 --runs 1 --only batch",
        "python -m benchmarks --write",
    )
)
@click.option(
    "--rows", type=click.IntRange(1000), default=1_000_000, show_default=True, help="Rows of the tables."
)
@click.option(
    "--runs", type=click.IntRange(1), default=3, show_default=True, help="Counted runs of each way."
)
@click.option("--only", metavar="PART,...", help=f"Some of: {', '.join(PARTS)}.")
@click.option(
    "--write",
    "into_docs",
    is_flag=True,
    help="Put the results into docs/benchmarks.md, those of other parts stay.",
)
@click.option("--keep", is_flag=True, help="Leave the schemas and models in the database.")
@click.option(
    "--dsn", metavar="CONNINFO", help="The database; by default the local server, which is started."
)
@click.option("--socket", type=Path, help="The runtime's socket; by default the local server's.")
def bench(
    rows: int, runs: int, only: str | None, into_docs: bool, keep: bool, dsn: str | None, socket: Path | None
) -> None:
    """Measure PREDICT in SQL against the alternatives, in the same run, and print the ratios.

    Makes its own tables (schemas bench and bench_flights) and models, and removes them at the end.
    """
    parts = chosen(only)
    with showing_progress() as say:
        if dsn is None:
            say("starting the local server")
            dsn = up(Home.default(), say).cluster.dsn()
        with connect(dsn, autocommit=True) as connection:
            found: Tables = {}
            when: dict[str, str] = {}
            if ours := [part for part in parts if part in _TABLES]:
                with workspace(connection, rows, say, keep=keep):
                    for part in ours:
                        measured = measure(part, connection, dsn, socket, rows, runs, say)
                        found, when = found | measured, when | dict.fromkeys(measured, occasion())
            if theirs := [part for part in parts if part in _FLIGHTS]:
                with flights(connection, say, keep=keep):
                    for part in theirs:
                        measured = measure_flights(part, connection, runs, say)
                        found, when = found | measured, when | dict.fromkeys(measured, occasion())
            where = setting(connection, rows, runs)
    for title, findings in found.items():
        show(title, findings)
    console.print(where, highlight=False)
    if into_docs:
        tables = {title: markdown(title, findings, when[title]) for title, findings in found.items()}
        write(DOCUMENT, where, tables)


def chosen(only: str | None) -> list[str]:
    """Return the parts to run, in their order.

    :raises InvalidInput: for a part that there is not
    """
    names = [name.strip() for name in only.split(",")] if only else list(PARTS)
    for name in names:
        if name not in PARTS:
            raise InvalidInput(f"there is no part {name!r}", hint=f"parts are {', '.join(PARTS)}")
    return [part for part in PARTS if part in names]


def measure(
    part: str,
    connection: psycopg.Connection[Any],
    dsn: str,
    socket: Path | None,
    rows: int,
    runs: int,
    say: Say,
) -> Tables:
    """Run one part."""
    if part == "batch":
        return measure_batch(connection, rows, runs, say)
    if part == "single":
        say("point predictions")
        points = single.rewritten_points(connection)
        findings = single.point(dsn, rows, points)
        say("first predictions of new connections")
        return {"One row": findings + single.first_prediction(dsn, points)}
    if part == "hooks":
        say("hooks of drivers")
        statement = rewritten(connection, hooks.PREDICT.format("$1"))
        return {"What a driver's hook adds to a query": hooks.measure(dsn, statement, rows)}
    try:
        return measure_memory(connection, dsn, socket or Home.default().runtime_socket, rows, say)
    except psutil.Error as error:
        # the server is on another machine, or runs as an account that we may not look into
        console.print(f"memory is not measured: {error}", markup=False, highlight=False)
        return {}


def measure_flights(part: str, connection: psycopg.Connection[Any], runs: int, say: Say) -> Tables:
    """Run one part of those that need the flights."""
    if part == "suite":
        findings = []
        for statement in suite.statements():
            say(f"{statement.name}, by hand and with PREDICT")
            findings.append(suite.measure(connection, statement, runs))
        return {"Statements on the flights, against what one would write by hand": findings}
    if part == "planning":
        say("ways and rules")
        inline = planning.ways(connection, runs)
        found = {"Rules, against the same without the rule": planning.rules(connection, runs)}
        return {"Inline, against batches": inline, **found} if inline else found
    say("the rewriter itself")
    return {"The rewriter": rewriting.measure(connection)}


def measure_batch(connection: psycopg.Connection[Any], rows: int, runs: int, say: Say) -> Tables:
    """Compare the ways to predict whole tables."""
    found = {}
    for case in batch.CASES:
        say(f"{case.title}, {runs + 1} times each way")
        statement = rewritten(connection, batch.predict_sql(case), "batch")
        model = deployed(connection, case.model)
        found[f"{rows:,} rows: {case.title}"] = batch.compare(connection, case, statement, model, rows, runs)
    return found


def measure_memory(
    connection: psycopg.Connection[Any], dsn: str, socket: Path, rows: int, say: Say
) -> Tables:
    """Measure what predictions cost in memory."""
    say("memory of a backend")
    findings = [memory.backend_memory(dsn)]
    say(f"{memory.SHARING_CONNECTIONS} connections with one model")
    findings.append(memory.sharing(dsn, socket))
    for case in (batch.LINEAR, batch.MIXED):
        say(f"memory for {rows * MANY:,} rows ({case.title})")
        statement = rewritten(connection, batch.predict_sql(case, times=MANY), "batch")
        findings.append(
            memory.many_rows(
                dsn, statement, batch.scan_sql(case, times=MANY), f"{rows * MANY:,} rows, {case.title}"
            )
        )
    say("memory of a model, by algorithm")
    return {"Memory": findings, "Memory of a model in the runtime": models.measure(connection)}


def main() -> None:
    """Run the command; a user's mistake ends in a message."""
    try:
        bench()
    except Exception as error:
        if not is_expected(error):
            raise
        report(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
