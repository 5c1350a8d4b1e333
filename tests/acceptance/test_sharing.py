"""A user's story: a model is shared with colleagues, and moves to another database."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from rewriter import RewriteError
from tests.fix_flights import Flights, predict, rewritten, rows
from tests.fix_server import Database, Server

QUERY = """
SELECT id, PREDICT(late_arrival) AS late, PROBABILITY(late_arrival FOR 'yes') AS p,
    PREDICT(arrival_delay) AS delay
FROM departures WHERE id < 3000 ORDER BY id
"""
ROW = """
SELECT prediction FROM models.{} WHERE features = (SELECT ml.features(d) FROM departures d WHERE id = 7)
"""
BATCH = "SELECT PREDICT({}) AS x FROM departures WHERE id = 7"
Denied = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def colleagues(own_flights: Flights) -> Iterator[tuple[Flights, str, str]]:
    """The flights, a role that was granted one model, and a stranger who may read the data only."""
    friend, stranger = own_flights.database.role("friend"), own_flights.database.role("stranger")
    with own_flights.connect() as connection:
        for role in (friend, stranger):
            connection.execute(sql.SQL("GRANT SELECT ON departures TO {}").format(sql.Identifier(role)))
        grant = sql.SQL("GRANT SELECT ON models.late_arrival TO {}")
        connection.execute(grant.format(sql.Identifier(friend)))
    yield own_flights, friend, stranger
    with own_flights.connect() as connection:
        for role in (friend, stranger):
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))


def test_who_was_granted_a_model_may_use_it_in_every_form(colleagues: tuple[Flights, str, str]) -> None:
    flights, friend, _ = colleagues
    with flights.connect() as owner, flights.connect(user=friend) as connection:
        (batch,) = predict(connection, BATCH.format("late_arrival"))
        assert rows(connection, ROW.format("late_arrival")) == [(batch["x"],)]
        assert [batch] == predict(owner, BATCH.format("late_arrival"))
        assert rows(connection, "SELECT name FROM ml.models") == [("late_arrival",)]


def test_and_no_other_model(colleagues: tuple[Flights, str, str]) -> None:
    flights, friend, _ = colleagues
    with flights.connect() as owner, flights.connect(user=friend) as connection:
        with pytest.raises(Denied):
            connection.execute(ROW.format("arrival_delay"))
        with pytest.raises(RewriteError, match="arrival_delay"):
            predict(connection, BATCH.format("arrival_delay"))
        # with the SQL of somebody who may
        with pytest.raises(Denied):
            connection.execute(rewritten(owner, BATCH.format("arrival_delay")))
        with pytest.raises(psycopg.Error, match="must be owner"):
            connection.execute("SELECT ml.deploy('late_arrival')")


def test_a_stranger_is_denied(colleagues: tuple[Flights, str, str]) -> None:
    flights, _, stranger = colleagues
    with flights.connect() as owner, flights.connect(user=stranger) as connection:
        for model in ("late_arrival", "arrival_delay"):
            with pytest.raises(Denied, match=model):
                connection.execute(ROW.format(model))
            with pytest.raises(Denied, match=model):
                connection.execute(rewritten(owner, BATCH.format(model)))
        assert rows(connection, "SELECT name FROM ml.models") == []


def test_a_revoked_grant_ends_both_forms(colleagues: tuple[Flights, str, str]) -> None:
    flights, friend, _ = colleagues
    with flights.connect() as owner, flights.connect(user=friend) as connection:
        batch = rewritten(connection, BATCH.format("late_arrival"))
        assert connection.execute(batch).fetchall()
        owner.execute(sql.SQL("REVOKE SELECT ON models.late_arrival FROM {}").format(sql.Identifier(friend)))
        for statement in (batch, ROW.format("late_arrival").encode()):
            with pytest.raises(Denied):
                connection.execute(statement)


def tool(server: Server, name: str) -> str:
    """Return a client program of the server's own version."""
    if server.cluster is not None:
        beside = Path(server.cluster.install.bindir) / name
        if beside.exists():
            return str(beside)
    return shutil.which(name) or name


def test_dumped_and_restored_models_predict(flights: Flights, server: Server, tmp_path: Path) -> None:
    with flights.connect() as connection:
        before = predict(connection, QUERY)
        ((grants,),) = rows(connection, "SELECT relacl::text FROM pg_class WHERE relname = 'late_arrival'")
    file = tmp_path / "dump"
    run(server, "pg_dump", "--format=custom", f"--file={file}", flights.database.dsn)
    name = f"restored_{os.getpid()}"
    with server.admin() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    restored = Database(name, server.dsn(name), server)
    try:
        run(server, "pg_restore", "--exit-on-error", f"--dbname={restored.dsn}", str(file))
        with restored.connect() as connection:
            assert predict(connection, QUERY) == before
            assert rows(connection, "SELECT relacl::text FROM pg_class WHERE relname = 'late_arrival'") == [
                (grants,)
            ]
            assert rows(connection, "SELECT ml.deploy('late_arrival', 1)") == [(1,)]
    finally:
        restored.drop()


def run(server: Server, name: str, *words: str) -> None:
    environment = dict(os.environ)
    if server.cluster is not None:
        environment.update(server.cluster.install.environment)
        environment.pop("PYTHONHOME", None)
    done = subprocess.run(
        [tool(server, name), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_copied_database_predicts_at_once(own_flights: Flights, flights: Flights) -> None:
    """CREATE DATABASE ... TEMPLATE copies artifacts: nothing is registered anywhere else."""
    with own_flights.connect() as copy, flights.connect() as original:
        assert predict(copy, QUERY) == predict(original, QUERY)


def test_models_of_one_name_in_two_databases(own_flights: Flights, flights: Flights) -> None:
    with own_flights.connect() as connection, flights.connect() as other:
        connection.execute("SELECT ml.drop_model('late_arrival')")
        with pytest.raises(RewriteError, match="late_arrival"):
            predict(connection, QUERY)
        assert len(predict(other, QUERY)) > 1000
