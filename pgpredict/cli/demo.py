"""``pgpredict demo``: from an empty machine to PREDICT on live relational data."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import rich_click as click

from pgpredict.connection import connect
from pgpredict.demo import steps
from pgpredict.demo.data import CUTOFF, statement
from pgpredict.demo.story import Story
from pgpredict.errors import ServerError
from pgpredict.server import Cluster
from pgpredict.server.database import extension_version
from pgpredict.server.home import Home
from pgpredict.server.local import up

from .console import make_console
from .examples import examples
from .progress import showing_progress

STEPS = 6


@click.command(
    epilog=examples(
        "pgpredict demo",
        "PGPREDICT_HOME=/data/pgpredict pgpredict demo",
        "pgpredict demo --dsn 'host=db.internal user=postgres dbname=flights'",
    )
)
@click.option(
    "--dsn",
    help="Use this database, which has the extension, and not the local server. PGPREDICT_DSN is not read.",
)
def demo(dsn: str | None) -> None:
    """Train on real flights and predict the ones that depart now.

    Brings the local server up, loads five related tables, trains two models on their join, lets flights
    of "the future" depart, predicts them with SQL, lets the outcomes arrive and compares. What is already
    there is kept: a run that was interrupted carries on, a second run is short.
    """
    console = make_console()
    story = Story(console, STEPS)
    start = time.monotonic()
    with showing_progress() as progress:
        story.begin("A server with Multicorn, and the inference runtime")
        cluster = None if dsn else local(story, progress)
        with opened(cluster, dsn) as connection:
            if cluster is None:
                story.say(f"PostgreSQL {server_version(connection)} at {connection.info.host}")
            tell(story, connection, progress)
        story.begin(f"Done in {time.monotonic() - start:.0f} s")
        story.how_to_go_on(cluster)


def local(story: Story, progress: Callable[[str], None]) -> Cluster:
    """Bring the local server up."""
    home = Home.default()
    cluster = up(home, progress).cluster
    private = " (private)" if cluster.install.private else ""
    story.say(f"PostgreSQL {cluster.install.version}{private}, port {cluster.port} on loopback")
    story.say(f"everything is under {home.path}")
    return cluster


def opened(cluster: Cluster | None, dsn: str | None) -> psycopg.Connection:
    """Open a connection to the local server, or to the user's.

    :raises ServerError: if that has no extension
    """
    if cluster is not None:
        return cluster.connect(autocommit=True)
    connection = connect(dsn, autocommit=True)
    if extension_version(connection) is None:
        name = connection.info.dbname
        connection.close()
        raise ServerError(
            f"the database {name!r} does not have the extension 'pgpredict'",
            hint="CREATE EXTENSION pgpredict CASCADE, or pgpredict install",
        )
    return connection


def server_version(connection: psycopg.Connection) -> str:
    """Return the server's version, without what its packagers add."""
    return str(connection.info.parameter_status("server_version")).split()[0]


def tell(story: Story, connection: psycopg.Connection, progress: Callable[[str], None]) -> None:
    """Load, train, predict and compare."""
    story.begin("A relational database: flights, weather, planes, airports, airlines")
    counts = steps.load(connection, progress)
    if counts is None:
        story.say("loaded before")
    else:
        story.say(", ".join(f"{rows:,} {table}" for table, rows in counts.items()))
    story.say(f"flights from {CUTOFF} on are held back: they are the future")
    story.begin("Two models on a join of four tables, features with NULLs, known at departure")
    for plan in steps.MODELS:
        trained = steps.train(connection, plan, progress)
        story.say(f"{plan.name}: {'trained, verified, deployed' if trained else 'trained before'}")
    story.models(steps.metrics(connection))
    story.begin("Flights depart: PREDICT before the outcome is known")
    departed = steps.depart(connection, progress)
    story.say(f"{departed:,} flights of the future are in the table, without an arrival")
    story.statement(statement("board"))
    story.board(steps.board(connection))
    rows, seconds = steps.forecast(connection, progress)
    story.say(
        f"all {rows:,} departed flights predicted by both models and stored in {seconds:.1f} s: "
        f"{2 * rows / seconds:,.0f} predictions per second"
    )
    story.begin("Outcomes arrive: how good were the predictions?")
    story.say(f"{steps.arrive(connection, progress):,} flights have arrived")
    story.outcome(steps.score(connection), steps.calibration(connection))
