"""``pgpredict demo``: from an empty machine to PREDICT on live relational data."""

from __future__ import annotations

import time

import rich_click as click

from pgpredict.demo import steps
from pgpredict.demo.data import CUTOFF, statement
from pgpredict.demo.story import Story
from pgpredict.server.home import Home
from pgpredict.server.local import up

from .console import make_console
from .examples import examples
from .progress import showing_progress

STEPS = 6


@click.command(epilog=examples("pgpredict demo", "PGPREDICT_HOME=/data/pgpredict pgpredict demo"))
def demo() -> None:
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
        home = Home.default()
        cluster = up(home, progress).cluster
        private = " (private)" if cluster.install.private else ""
        story.say(f"PostgreSQL {cluster.install.version}{private}, port {cluster.port} on loopback")
        story.say(f"everything is under {home.path}")
        with cluster.connect(autocommit=True) as connection:
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
            story.begin(f"Done in {time.monotonic() - start:.0f} s")
            story.how_to_go_on(cluster)
