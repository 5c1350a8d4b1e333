"""Statements with PREDICT beside their plain meaning, and a database to run both in."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.catalog import ConnectionCatalog
from tests.fix_server import TEMPLATE, Database, Server

FIXTURES = Path(__file__).parent / "fixtures" / "rewriter"
TRAINING = """
SELECT (ARRAY['UA', 'AA', 'B6', NULL])[1 + i % 4] AS carrier,
    CASE WHEN i % 13 > 0 THEN (i * 7919) % 1000 END AS distance,
    CASE WHEN i % 5 > 0 THEN (i * 31) % 97 + i % 10 / 10.0 END::float8 AS temp,
    {target} AS y
FROM generate_series(1, 600) AS i
"""
LATE = "(i * 7919) % 1000 + (i % 4) * 200 > 700"
DELAY = "(i * 7919) % 1000 / 3 + (i % 4) * 40"


@dataclasses.dataclass(frozen=True)
class Case:
    """A statement and what it means without PREDICT."""

    file: str
    number: int
    statement: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.file} {self.number}"


def cases(name: str) -> list[Case]:
    """The cases of ``tests/fixtures/rewriter/<name>.sql``."""
    text = (FIXTURES / f"{name}.sql").read_text(encoding="utf-8")
    parts = text.split("\n--> statement\n")[1:]
    found = []
    for number, part in enumerate(parts, 1):
        statement, _, meaning = part.partition("\n--> means\n")
        found.append(Case(name, number, statement.strip("\n"), meaning.strip()))
    return found


@dataclasses.dataclass
class Bench:
    """A connection to the database of the statements."""

    connection: psycopg.Connection[Any]
    catalog: ConnectionCatalog

    def run(self, statement: str) -> tuple[list[tuple[str, str]], list[Any]]:
        """Output columns (name, type with modifiers) and rows; whatever it does is rolled back."""
        with self.connection.transaction(force_rollback=True):
            cursor = self.connection.execute(statement.encode())
            columns = [(column.name, column.type_display) for column in cursor.description or ()]
            return columns, cursor.fetchall() if columns else []

    def alive(self) -> bool:
        """Whether the server still answers."""
        return not self.connection.closed and self.run("SELECT 1")[1] == [(1,)]


def differs(rows: list[Any], expected: list[Any], ordered: bool) -> bool:
    """Whether two results differ; probabilities are compared to nine digits."""
    left, right = [_comparable(row) for row in rows], [_comparable(row) for row in expected]
    return left != right if ordered else Counter(left) != Counter(right)


def _comparable(row: Any) -> str:
    return repr(tuple(float(f"{value:.9g}") if isinstance(value, float) else value for value in row))


@pytest.fixture(scope="session")
def statements_database(server: Server) -> Iterator[Database]:
    """A database with two trained models and tables of every sort; tests leave it as it is."""
    name = "rewriter_statements"
    with server.admin() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        )
    database = Database(name, server.dsn(name), server)
    try:
        with database.connect() as connection:
            query = TRAINING.format(target=LATE)
            train(connection, "late", Source(query, "y"), Options(algorithm="decision_tree"))
            query = TRAINING.format(target=DELAY).replace(" AS temp", " AS ignored")
            query = f"SELECT carrier, distance, y FROM ({query}) AS rows"
            train(connection, "delay", Source(query, "y"), Options(algorithm="ridge", task="regression"))
            connection.execute((FIXTURES / "schema.sql").read_bytes())
        yield database
    finally:
        database.drop()


@pytest.fixture
def bench(statements_database: Database) -> Iterator[Bench]:
    """A connection of its own, in the schema of the statements."""
    with statements_database.connect(options="-csearch_path=d,public") as connection:
        yield Bench(connection, ConnectionCatalog(connection))
