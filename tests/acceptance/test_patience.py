"""A long PREDICT over all flights is ended by its user, or loses the runtime; the session lives on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgpredict.server import Cluster
from pgpredict.server.runtime import runtime_process, start_runtime
from tests.fix_flights import Flights, rewritten, rows
from tests.fix_runtime import eventually
from tests.fix_server import Server
from tests.killing import kill, predicting_worker

#: seconds; the promise is 200 ms, this machine may be busy
PATIENCE = 60.0
#: two million predictions, each of another row; PostgreSQL gathers rows for some seconds before the first
LONG = """
INSERT INTO sink SELECT PROBABILITY(late_arrival FOR 'yes' USING *, dep_delay + again AS dep_delay)
    + PREDICT(arrival_delay USING *, dep_delay + again AS dep_delay)
FROM departures CROSS JOIN generate_series(1, 3) AS again
"""
SHORT = "SELECT PREDICT(late_arrival) FROM departures WHERE id = 1000"


@pytest.fixture
def connection(own_flights: Flights) -> Iterator[psycopg.Connection[Any]]:
    with own_flights.connect() as connection:
        connection.execute("CREATE TABLE sink (x float8)")
        yield connection


class Running:
    """The long statement, in a thread; ``outcome`` is its error."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.outcome: BaseException | None = None
        self._statement = rewritten(connection, LONG)
        self._thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
        self._thread.start()

    def _run(self, connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute(self._statement)
        except psycopg.Error as error:
            self.outcome = error

    def ended(self) -> BaseException | None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it does not end"
        return self.outcome


@pytest.fixture
def cluster(server: Server) -> Cluster:
    assert server.cluster is not None
    return server.cluster


def assert_lives(connection: psycopg.Connection[Any], process: int) -> None:
    assert connection.info.backend_pid == process
    short = rewritten(connection, SHORT)
    assert eventually(lambda: connection.execute(short).fetchall() in ([("no",)], [("yes",)]), psycopg.Error)
    assert rows(connection, "SELECT count(*) FROM sink") == [(0,)]


def test_cancel(connection: psycopg.Connection[Any], cluster: Cluster) -> None:
    process = connection.info.backend_pid
    running = Running(connection)
    predicting_worker(cluster)
    connection.cancel()
    assert isinstance(running.ended(), psycopg.errors.QueryCanceled)
    assert_lives(connection, process)


def test_statement_timeout(connection: psycopg.Connection[Any]) -> None:
    process = connection.info.backend_pid
    statement = rewritten(connection, LONG)
    connection.execute("SET statement_timeout = '3s'")
    started = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
        connection.execute(statement)
    assert time.monotonic() - started < 3 + PATIENCE
    connection.execute("SET statement_timeout = 0")
    assert_lives(connection, process)


def test_a_closed_client(connection: psycopg.Connection[Any], own_flights: Flights, cluster: Cluster) -> None:
    client = own_flights.connect()
    process = client.info.backend_pid
    client.pgconn.send_query(rewritten(connection, LONG))
    predicting_worker(cluster)
    client.close()
    present = f"SELECT FROM pg_stat_activity WHERE pid = {process}"
    assert eventually(lambda: rows(connection, present) == [], seconds=PATIENCE)
    assert rows(connection, "SELECT count(*) FROM sink") == [(0,)]


def test_a_killed_worker_does_not_matter(connection: psycopg.Connection[Any], cluster: Cluster) -> None:
    """One reconnect: the statement goes on with the next worker."""
    process = connection.info.backend_pid
    running = Running(connection)
    worker = predicting_worker(cluster)
    kill(worker)
    predicting_worker(cluster, other_than=worker)
    assert running.outcome is None
    connection.cancel()
    assert isinstance(running.ended(), psycopg.errors.QueryCanceled)
    assert_lives(connection, process)


def test_a_killed_runtime(connection: psycopg.Connection[Any], cluster: Cluster) -> None:
    process = connection.info.backend_pid
    running = Running(connection)
    predicting_worker(cluster)
    runtime = runtime_process(cluster)
    assert runtime is not None
    try:
        kill(runtime.pid)
        outcome = running.ended()
        assert isinstance(outcome, psycopg.Error)
        assert outcome.sqlstate == "08001"
        assert "inference runtime" in str(outcome)
        assert rows(connection, "SELECT 1") == [(1,)]
    finally:
        start_runtime(cluster)
    assert_lives(connection, process)
