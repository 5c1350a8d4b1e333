"""The flights of the demo, loaded and trained once for each server, and a copy for tests that write."""

from __future__ import annotations

import dataclasses
import itertools
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options, Trained
from pgpredict.catalog import ConnectionCatalog
from pgpredict.demo import data, steps
from rewriter import rewrite
from tests.fix_server import TEMPLATE, Database, Server, alone

#: the join that the models of the demo are trained on and predict
SOURCES = """
flights f
JOIN airports d ON d.faa = f.dest
LEFT JOIN weather w USING (origin, time_hour)
LEFT JOIN planes p USING (tailnum)
"""
#: a part of the flights; all of them take a minute on a busy machine
TRAINED_ON = "f.id % 5 = 0"
_copies = itertools.count(1)


@dataclasses.dataclass
class Flights:
    """A database with the flights and two deployed models.

    :ivar trained: what training returned, by model: the scikit-learn pipelines are in it
    """

    database: Database
    trained: dict[str, Trained]

    def connect(self, **kwargs: Any) -> psycopg.Connection[Any]:
        return self.database.connect(**kwargs)


def copy_database(server: Server, template: str, prefix: str) -> Database:
    """Make a copy of a database that nobody is connected to."""
    name = f"{prefix}_{next(_copies)}_{secrets.token_hex(3)}"
    with server.admin() as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        alone(connection, statement.format(sql.Identifier(name), sql.Identifier(template)))
    return Database(name, server.dsn(name), server)


def close_database(database: Database) -> None:
    """Let nobody in, so that it can be copied: the runtime listens in databases that it predicts for."""
    with database.server.admin() as connection:
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false")
        connection.execute(statement.format(sql.Identifier(database.name)))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,)
        )


@pytest.fixture(scope="session")
def flights_template(server: Server) -> Iterator[Flights]:
    """The five tables, and both models, trained as the demo does it but on a part of the flights."""
    database = copy_database(server, TEMPLATE, "flights_template")
    try:
        trained = {}
        with database.connect() as connection:
            data.load(connection)
            for plan in steps.MODELS:
                query = plan.query.strip() + f" AND {TRAINED_ON}"
                source = Source(query, plan.target, exclude=("day",), time="day")
                options = Options(algorithm=plan.algorithm, test_size=0.1)
                trained[plan.name] = train(connection, plan.name, source, options).trained
        close_database(database)
        yield Flights(database, trained)
    finally:
        database.drop()


@pytest.fixture(scope="session")
def flights(server: Server, flights_template: Flights) -> Iterator[Flights]:
    """A database for tests that leave it as it is."""
    database = copy_database(server, flights_template.database.name, "flights")
    yield Flights(database, flights_template.trained)
    database.drop()


@pytest.fixture
def own_flights(server: Server, flights_template: Flights) -> Iterator[Flights]:
    """A database for one test, which may change it."""
    database = copy_database(server, flights_template.database.name, "own_flights")
    yield Flights(database, flights_template.trained)
    database.drop()


def predict(
    connection: psycopg.Connection[Any], statement: str, parameters: Sequence[Any] | None = None
) -> list[dict[str, Any]]:
    """Run a statement with PREDICT and return its rows."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(rewritten(connection, statement), parameters).fetchall()


def rewritten(connection: psycopg.Connection[Any], statement: str) -> bytes:
    """Return the SQL of a statement with PREDICT."""
    return rewrite(statement, ConnectionCatalog(connection)).sql.encode()


def rows(connection: psycopg.Connection[Any], statement: str) -> list[Any]:
    """Run an ordinary statement and return its rows."""
    return connection.execute(statement.encode()).fetchall()
