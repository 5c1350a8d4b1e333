"""A running prediction ends when PostgreSQL wants it to, with PostgreSQL's own error."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from onnx_models.scoring import Model
from onnx_models.storing import deploy, register
from tests import graphs, summing
from tests.fix_server import Database

#: seconds; the promise is 200 ms, this machine may be busy, and what is ended would take hours
PATIENCE = 60.0

ROW = "SELECT prediction FROM models.endless WHERE x = 1"
BATCH = """
    SELECT m.prediction FROM (
        SELECT '{"v":1,"rows":1,"numbers":["x"],"texts":[]}' || E'\\n'
            || encode(ml.raw(ARRAY[ARRAY[1]]::float8[]), 'base64') AS batch OFFSET 0
    ) b JOIN models.endless__batch m ON m.batch = b.batch
"""
JOIN = "SELECT m.prediction FROM numbers n JOIN models.endless m ON m.x = n.x"
COUNT = "SELECT count(*) FROM numbers n JOIN models.endless m ON m.x = n.x WHERE m.prediction > 0"
INSERT = "INSERT INTO sink " + JOIN
FORMS = pytest.mark.parametrize(
    "query",
    [ROW, BATCH, JOIN, COUNT, INSERT],
    ids=["row", "batch", "join", "count", "insert"],
)


@pytest.fixture
def endless(database: Database) -> Database:
    """A database with a model that predicts for hours."""
    with database.connect() as connection:
        artifact = graphs.endless()
        version = register(connection, "endless", Model.load(artifact).signature, artifact, {})
        deploy(connection, "endless", version)
        summing.store(connection, "quick", summing.regression({"a": "integer"}))
        connection.execute("CREATE TABLE numbers AS SELECT i::float8 AS x FROM generate_series(1, 5) i")
        connection.execute("CREATE TABLE sink (y float8)")
    return database


def wait_running(database: Database, process: int) -> None:
    """Wait until a backend has been inside its statement for a moment."""
    with database.connect() as observer:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            row = observer.execute(
                "SELECT state = 'active' AND now() - query_start > '200ms'"
                " FROM pg_stat_activity WHERE pid = %s",
                (process,),
            ).fetchone()
            if row and row[0]:
                return
            time.sleep(0.02)
    pytest.fail("the statement does not run")


def in_background(connection: psycopg.Connection, query: str) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(connection.execute(query).fetchall())
        except psycopg.Error as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, outcome


@contextlib.contextmanager
def limited(connection: psycopg.Connection, limit: str) -> Iterator[None]:
    """Set a statement_timeout that ends with the transaction, before a statement could reset it too late."""
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{limit}'")
        yield


def assert_healthy(connection: psycopg.Connection) -> None:
    assert connection.execute("SELECT prediction FROM models.quick WHERE a = 5").fetchall() == [(5.0,)]
    assert connection.execute("SELECT count(*) FROM sink").fetchone() == (0,)


@FORMS
def test_statement_timeout(endless: Database, query: str) -> None:
    with endless.connect() as connection:
        started = time.monotonic()
        with (
            pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"),
            limited(connection, "300ms"),
        ):
            connection.execute(query)
        assert time.monotonic() - started < PATIENCE
        assert_healthy(connection)


@FORMS
def test_cancel(endless: Database, query: str) -> None:
    with endless.connect() as connection:
        thread, outcome = in_background(connection, query)
        wait_running(endless, connection.info.backend_pid)
        started = time.monotonic()
        connection.cancel()
        thread.join(PATIENCE)
        assert time.monotonic() - started < PATIENCE
        assert isinstance(outcome[0], psycopg.errors.QueryCanceled)
        assert_healthy(connection)


def test_cancel_inside_plpgsql_that_catches_everything(endless: Database) -> None:
    with endless.connect() as connection:
        with pytest.raises(psycopg.errors.QueryCanceled), limited(connection, "300ms"):
            connection.execute(
                """
                DO $$ BEGIN
                    INSERT INTO sink SELECT prediction FROM models.endless WHERE x = 1;
                EXCEPTION WHEN OTHERS THEN
                    INSERT INTO sink VALUES (1);
                END $$
                """
            )
        assert_healthy(connection)


def test_terminate(endless: Database) -> None:
    with endless.connect() as connection, endless.connect() as other:
        thread, outcome = in_background(connection, INSERT)
        wait_running(endless, connection.info.backend_pid)
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        thread.join(PATIENCE)
        assert isinstance(outcome[0], psycopg.OperationalError)
        assert outcome[0].sqlstate == "57P01"
        assert_healthy(other)


@pytest.mark.parametrize("query", [ROW, INSERT], ids=["row", "insert"])
def test_client_that_goes_away(endless: Database, query: str) -> None:
    connection = endless.connect()
    process = connection.info.backend_pid
    connection.pgconn.send_query(query.encode())
    wait_running(endless, process)
    connection.close()
    with endless.connect() as other:
        deadline = time.monotonic() + PATIENCE
        while other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (process,)).fetchone() is not None:
            assert time.monotonic() < deadline, "the backend outlives its client"
            time.sleep(0.05)
        assert_healthy(other)


def test_many_cancels_in_one_session(endless: Database) -> None:
    with endless.connect() as connection:
        process = connection.info.backend_pid
        for _ in range(20):
            with pytest.raises(psycopg.errors.QueryCanceled), limited(connection, "30ms"):
                connection.execute(ROW)
            assert_healthy(connection)
        assert connection.info.backend_pid == process
