"""Kill -9 of whoever takes part, at every point of train, deploy, rollback, drop, and of a prediction.

What was committed is there afterwards, what was not is not, nothing is in between, and the same thing done
again works. The most delicate points are reached by holding up writers of one table.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql

from onnx_models.scoring import Model
from onnx_models.storing import register
from pgpredict.server import Cluster, ServerInstall
from pgpredict.server.local import up
from pgpredict.server.proxy import stop_proxy
from pgpredict.server.runtime import runtime_process, stop_runtime
from tests import graphs, summing
from tests.fix_runtime import eventually
from tests.fix_server import temporary_home
from tests.killing import PATIENCE, Program, assert_sound, held_up, kill, predicting_worker, waiting_backend

SETUP = """
CREATE TABLE customers AS SELECT i AS id, i % 50 AS visits, (i % 50 + i % 3 * 10) > 35 AS churned
FROM generate_series(1, 300) AS i
"""
TRAIN = (
    "train",
    "churn",
    "--target",
    "churned",
    "--table",
    "customers",
    "--exclude",
    "id",
    "--algorithm",
    "decision_tree",
)
EXPECTED = "SELECT prediction FROM models.churn WHERE visits = 49"
WORDS = {
    "deploy": ("deploy", "churn", "3"),
    "rollback": ("rollback", "churn"),
    "drop": ("drop", "churn", "--yes"),
}
STEPS = ("loading scikit-learn", "reading", "fitting", "converting", "verifying", "certifying", "storing")


_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(install: ServerInstall) -> Iterator[Cluster]:
    """A local server of this module's own: it is killed many times."""
    with temporary_home() as home:
        home.remember(server=install.to_json(), run=str(home.run))
        cluster = up(home).cluster
        try:
            yield cluster
        finally:
            stop_proxy(cluster)
            stop_runtime(cluster)
            cluster.stop()


class Place:
    """A fresh database of the cluster, in which models are made and killed."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.dsn = cluster, cluster.dsn(name)

    def program(self, *words: str) -> Program:
        return Program(*words, environment={"PGPREDICT_DSN": self.dsn})

    def succeed(self, *words: str) -> None:
        with self.program(*words) as program:
            assert program.end() == 0, program.output

    @contextlib.contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            yield connection

    def versions(self) -> list[tuple[int, bool]]:
        """Number and whether it is deployed, of each version of ``churn``; checks everything besides."""
        with self.connect() as connection:
            assert_sound(connection)
            query = "SELECT version, deployed FROM ml.versions WHERE model = 'churn' ORDER BY 1"
            return connection.execute(query).fetchall()

    def wait_alone(self) -> None:
        """Wait until the sessions of programs that were killed are over."""
        query = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
        """
        with self.connect() as connection:
            eventually(lambda: connection.execute(query).fetchone() == (0,), seconds=PATIENCE)

    def recover(self) -> None:
        """Start again what was killed, as a user would."""
        up(self.cluster.home)
        with self.connect() as connection:
            assert connection.execute("SELECT count(*) FROM customers").fetchone() == (300,)


@pytest.fixture
def place(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Place]:
    up(cluster.home)
    name = f"kill_{next(_numbers)}"
    with cluster.connect("postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    place = Place(cluster, name)
    with place.connect() as connection:
        connection.execute("CREATE EXTENSION pgpredict CASCADE")
        connection.execute(SETUP)
    yield place
    up(cluster.home)
    with cluster.connect("postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def kill_victim(place: Place, program: Program, victim: str) -> None:
    """Kill the program, or the backend that it waits for, or the whole server."""
    backend = waiting_backend(place.dsn)
    if victim == "client":
        program.kill()
        return
    pid = place.cluster.pid()
    assert pid is not None
    kill(backend if victim == "backend" else pid)
    assert program.end() == 1
    assert "error" in program.output


def test_training_killed_at_every_step(place: Place) -> None:
    """One version serves all the while."""
    place.succeed(*TRAIN)
    with place.connect() as connection:
        before = connection.execute(EXPECTED).fetchall()
    for step in STEPS:
        # killed at its last step, it may have been done before; at all others it must not have come so far
        is_last = step == STEPS[-1]
        with (
            contextlib.nullcontext() if is_last else held_up(place.dsn, "ml.model_version"),
            place.program(*TRAIN) as program,
        ):
            assert program.wait_for(step), program.output
            program.kill()
        place.wait_alone()
        assert place.versions() == [(1, True)] or is_last, step
    with place.connect() as connection:
        assert connection.execute(EXPECTED).fetchall() == before
    number = len(place.versions())
    place.succeed(*TRAIN)
    assert place.versions()[number:] == [(number + 1, True)]


@pytest.mark.parametrize("victim", ["client", "backend", "server"])
def test_killed_while_a_version_is_stored(place: Place, victim: str) -> None:
    with held_up(place.dsn, "ml.model_version"), place.program(*TRAIN) as program:
        kill_victim(place, program, victim)
    place.recover()
    assert eventually(lambda: place.versions() == [])
    place.succeed(*TRAIN)
    assert place.versions() == [(1, True)]


@pytest.mark.parametrize("victim", ["client", "server"])
def test_killed_between_storing_and_deploying(place: Place, victim: str) -> None:
    """The version is committed: it stays, and can be deployed."""
    with held_up(place.dsn, "ml.deployment"), place.program(*TRAIN) as program:
        kill_victim(place, program, victim)
    place.recover()
    assert eventually(lambda: place.versions() == [(1, False)])
    place.succeed("deploy", "churn")
    assert place.versions() == [(1, True)]
    place.succeed(*TRAIN)
    assert place.versions() == [(1, False), (2, True)]


@pytest.mark.parametrize("victim", ["client", "backend", "server"])
@pytest.mark.parametrize("action", ["deploy", "rollback", "drop"])
def test_killed_in_the_middle(place: Place, action: str, victim: str) -> None:
    """With other features, so that views and foreign tables are made anew in the same transaction."""
    with place.connect() as connection:
        for features in ({"a": "integer"}, {"b": "text"}, {"c": "integer"}):
            artifact = summing.regression(features)
            register(connection, "churn", Model.load(artifact).signature, artifact, {})
        connection.execute("SELECT ml.deploy('churn', 1)")
        connection.execute("SELECT ml.deploy('churn', 2)")
    words = WORDS[action]
    with held_up(place.dsn, "ml.deployment"), place.program(*words) as program:
        kill_victim(place, program, victim)
    place.recover()
    assert eventually(lambda: place.versions() == [(1, False), (2, True), (3, False)])
    with place.connect() as connection:
        assert connection.execute("SELECT prediction FROM models.churn WHERE b = 'UA'").fetchall() == [
            (100.0,)
        ]
    place.succeed(*words)
    deployed = {"deploy": 3, "rollback": 1}.get(action)
    assert [version for version, is_deployed in place.versions() if is_deployed] == (
        [deployed] if deployed else []
    )


@pytest.mark.parametrize("victim", ["worker", "runtime", "server"])
def test_killed_while_predicting(place: Place, victim: str) -> None:
    """The session of a killed runtime lives on; the statement had an error, not a wrong answer."""
    with place.connect() as connection:
        artifact = graphs.endless()
        register(connection, "endless", Model.load(artifact).signature, artifact, {})
        connection.execute("SELECT ml.deploy('endless')")
        summing.store(connection, "churn", summing.regression({"a": "integer"}))
        outcome: list[BaseException] = []
        thread = threading.Thread(target=predict_endless, args=(connection, outcome))
        thread.start()
        worker = predicting_worker(place.cluster)
        if victim == "worker":
            # the statement is sent once more, to the next worker
            kill(worker)
            kill(predicting_worker(place.cluster, other_than=worker))
        elif victim == "runtime":
            runtime = runtime_process(place.cluster)
            assert runtime is not None
            kill(runtime.pid)
        else:
            pid = place.cluster.pid()
            assert pid is not None
            kill(pid)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert isinstance(outcome[0], psycopg.Error)
        if victim != "server":
            assert outcome[0].sqlstate is not None
            assert outcome[0].sqlstate != "XX000"
            place.recover()
            query = "SELECT prediction FROM models.churn WHERE a = 5"
            assert eventually(lambda: connection.execute(query).fetchall() == [(5.0,)], psycopg.Error)
            connection.execute("SELECT ml.drop_model('endless')")
    place.recover()
    with place.connect() as connection:
        connection.execute("SELECT ml.drop_model(name) FROM ml.models WHERE name = 'endless'")
    assert place.versions() == [(1, True)]


def predict_endless(connection: psycopg.Connection[Any], outcome: list[BaseException]) -> None:
    try:
        connection.execute("SELECT prediction FROM models.endless WHERE x = 1")
    except psycopg.Error as error:
        outcome.append(error)


def servers(cluster: Cluster) -> list[int]:
    """Main processes of servers in a cluster's directory, and what they have forked just now."""
    data = str(cluster.data.resolve())
    found = ((process.pid, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    return [pid for pid, words in found if data in " ".join(words) and "-D" in words]


def test_nothing_is_left_running(place: Place) -> None:
    """After all of that: one server, one runtime, and nobody waits for anything."""
    eventually(lambda: servers(place.cluster) == [place.cluster.pid()])
    runtime = runtime_process(place.cluster)
    assert runtime is not None
    # a worker that was killed in the last test is replaced after a pause
    eventually(lambda: len(runtime.children(recursive=True)) == 1)
