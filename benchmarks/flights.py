"""The demo's flights in a schema of their own, and models on them, for the suite of statements."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.demo import data

SCHEMA = "bench_flights"
#: of the flights, one in so many is trained on: predictions cost the same however well a model has learnt
TRAINING_SHARE = 10

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class FlightModel:
    """A model of the suite.

    :ivar query: training query, to which a condition can be added
    """

    name: str
    query: str
    target: str
    algorithm: str
    parameters: Mapping[str, int] = dataclasses.field(default_factory=dict)


_MINUTES = """
SELECT f.day, carrier, f.distance, f.weekday, f.dep_delay, f.arr_delay::double precision AS delay
FROM flights f WHERE f.arr_delay IS NOT NULL AND f.day < '2013-12-10'
"""
MODELS = (
    FlightModel("bench_late", data.statement("late_arrival"), "late", "hist_gradient_boosting"),
    FlightModel("bench_arrival", data.statement("arrival_delay"), "delay", "hist_gradient_boosting"),
    FlightModel("bench_minutes", _MINUTES, "delay", "ridge"),
    FlightModel("bench_tree", data.statement("arrival_delay"), "delay", "decision_tree", {"max_depth": 4}),
)

_TABLES = """
CREATE TABLE scores AS
    SELECT d.*, NULL::text AS late FROM departures d WHERE d.day >= '2013-12-20';
ALTER TABLE scores ADD PRIMARY KEY (id);
CREATE TABLE classes (name text, least double precision, below double precision);
INSERT INTO classes VALUES ('early', '-infinity', 0), ('in time', 0, 15), ('late', 15, 60),
    ('very late', 60, 'infinity');
"""


@contextlib.contextmanager
def flights(connection: psycopg.Connection[Any], report: Report, *, keep: bool = False) -> Iterator[None]:
    """Load the flights and train the models; remove all of it at the end, whatever happens.

    Within, the connection finds the tables without their schema's name.

    :param connection: in autocommit; its role makes the schema
    :param keep: leave everything where it is
    """
    remove(connection)
    try:
        report("loading the flights")
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
        connection.execute(sql.SQL("SET search_path TO {}, pg_temp").format(sql.Identifier(SCHEMA)))
        fill(connection)
        for model in MODELS:
            report(f"training {model.name}")
            query = f"{model.query.strip()} AND f.id % {TRAINING_SHARE} = 0"
            source = Source(query, model.target, exclude=("day",), time="day")
            options = Options(algorithm=model.algorithm, parameters=model.parameters, test_size=0.1)
            train(connection, model.name, source, options)
        yield
    finally:
        if not keep:
            remove(connection)
        connection.execute("RESET search_path")


def fill(connection: psycopg.Connection[Any]) -> None:
    """Make the demo's tables and those of the suite, with the flights of the future departed."""
    with connection.transaction():
        data.run_script(connection, "schema")
        data.stage(connection, *data.SOURCES)
        data.run_script(connection, "load")
        data.run_script(connection, "departures")
        data.run_script(connection, "depart")
        data.run_script(connection, "forecasts")
        connection.execute(_TABLES)
    # hint bits are set by the first reader of a row: VACUUM, so that no measurement pays for them
    connection.execute("VACUUM (ANALYZE) airlines, airports, planes, weather, flights, scores, classes")


def remove(connection: psycopg.Connection[Any]) -> None:
    """Remove tables and models, as far as they are there."""
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA)))
    names = [model.name for model in MODELS]
    connection.execute("SELECT ml.drop_model(name) FROM ml.models WHERE name = ANY (%s)", [names])
