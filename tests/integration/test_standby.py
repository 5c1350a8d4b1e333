"""A primary and a streaming standby, each with a runtime and a proxy of its own, as on two hosts."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgpredict.server import Cluster, Home, ServerInstall
from pgpredict.server.account import run
from pgpredict.server.doctor import examine
from pgpredict.server.local import up
from pgpredict.server.proxy import proxy_port, start_proxy, stop_proxy
from pgpredict.server.runtime import ask, start_runtime, stop_runtime
from tests import summing
from tests.fix_runtime import eventually
from tests.fix_server import temporary_home

DATABASE = "pgpredict"
ROW = "SELECT prediction FROM models.m WHERE a = 1"
#: four rows in one batch, through the proxy
BATCH = "SELECT PREDICT(m) FROM generate_series(1, 4) AS a"


@dataclasses.dataclass
class Pair:
    """Both servers.

    :ivar primary: that the standby was made of
    """

    primary: Cluster
    standby: Cluster

    def caught_up(self) -> bool:
        """Tell whether the standby has replayed all that the primary has written."""
        with self.primary.connect("postgres") as connection:
            row = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        with self.standby.connect("postgres") as connection:
            found = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone()
        return found == (True,)

    def deploy(self, offset: float) -> int:
        """Deploy a new version of ``m``, which adds a number, and wait for the standby."""
        with self.primary.connect(DATABASE, autocommit=True) as connection:
            version = summing.store(connection, "m", summing.regression({"a": "integer"}, offset=offset))
        eventually(self.caught_up)
        return version


@pytest.fixture(scope="module")
def pair(install: ServerInstall) -> Iterator[Pair]:
    """A pair for tests that leave it as it is, but for the versions of ``m``."""
    with running_pair(install) as pair:
        yield pair


@pytest.fixture
def own_pair(install: ServerInstall) -> Iterator[Pair]:
    """A pair whose primary may be lost."""
    with running_pair(install) as pair:
        yield pair


@contextlib.contextmanager
def running_pair(install: ServerInstall) -> Iterator[Pair]:
    """Primary and standby, with the model ``m`` that adds 10."""
    with temporary_home() as first, temporary_home() as second, contextlib.ExitStack() as stack:
        primary, standby = (Cluster(home, install, durable=False) for home in (first, second))
        for cluster in (primary, standby):
            cluster.home.remember(server=install.to_json(), run=str(cluster.home.run))
            for stop in (cluster.stop, lambda c=cluster: stop_runtime(c), lambda c=cluster: stop_proxy(c)):
                stack.callback(stop)
        up(first, durable=False)
        with primary.connect("postgres", autocommit=True) as connection:
            # what it cleans up on the primary would wait for a transaction on the standby, or end it
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        standby.prepare()
        copy(primary, standby)
        # it is a server like any other, but for its making
        up(second, durable=False)
        pair = Pair(primary, standby)
        pair.deploy(10.0)
        yield pair


def copy(primary: Cluster, standby: Cluster) -> None:
    """Make the standby's data directory of the running primary."""
    words: list[str | Path] = [
        "-D",
        standby.data,
        "-d",
        primary.dsn("postgres"),
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
    ]
    words += ["-C", "-S", "standby"]
    program = primary.install.bindir / "pg_basebackup"
    environment = {**os.environ, **primary.install.environment}
    os.chown(standby.home.path, standby.account.uid, standby.account.gid)
    run([program, *words], env=environment, account=standby.account)


def through(*clusters: Cluster, **parameters: Any) -> psycopg.Connection[Any]:
    """Return a connection through the proxies of servers, which libpq tries one by one."""
    known = {
        "host": ",".join(str(cluster.home.run) for cluster in clusters),
        "port": ",".join(str(proxy_port(cluster)) for cluster in clusters),
        "user": "pgpredict",
        "dbname": DATABASE,
    }
    return psycopg.connect(make_conninfo(**known, **parameters), autocommit=True)


def rows(cluster: Cluster, statement: str = ROW) -> list[Any]:
    with through(cluster) as connection:
        return connection.execute(statement.encode()).fetchall()


def pgpredict(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgpredict", *words],
        env={**os.environ, "PGPREDICT_HOME": str(home.path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_model_deployed_on_the_primary_predicts_on_the_standby(pair: Pair) -> None:
    pair.deploy(10.0)
    for cluster in (pair.primary, pair.standby):
        assert rows(cluster) == [(11.0,)]
        assert rows(cluster, BATCH) == [(11.0,), (12.0,), (13.0,), (14.0,)]
    # each by a runtime of its own, from the artifact that its own server has
    assert ask(pair.primary)["pid"] != ask(pair.standby)["pid"]
    with pair.standby.connect(DATABASE) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        source = connection.execute("SELECT conninfo FROM pg_stat_wal_receiver").fetchone()
    assert source is not None
    # and the next version, and the way back
    pair.deploy(100.0)
    assert rows(pair.standby, BATCH)[0] == (101.0,)
    with pair.primary.connect(DATABASE, autocommit=True) as connection:
        connection.execute("SELECT ml.rollback('m')")
    eventually(pair.caught_up)
    assert rows(pair.standby) == [(11.0,)]


def test_a_prepared_statement_and_a_transaction_on_the_standby(pair: Pair) -> None:
    pair.deploy(10.0)
    with through(pair.standby) as connection:
        for number in range(10):
            found = connection.execute("SELECT PREDICT(m USING %s::int AS a)", [number], prepare=True)
            assert found.fetchone() == (10.0 + number,)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert connection.execute(ROW).fetchall() == [(11.0,)]
            pair.deploy(100.0)
            # its snapshot has the version that it began with
            assert connection.execute(ROW).fetchall() == [(11.0,)]
            assert connection.execute(BATCH).fetchone() == (11.0,)
        assert connection.execute(ROW).fetchall() == [(101.0,)]


def test_what_writes_is_refused_with_a_reason(pair: Pair) -> None:
    pair.deploy(10.0)
    with pair.standby.connect(DATABASE, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("SELECT ml.deploy('m', 1)")
        assert connection.execute(ROW).fetchall() == [(11.0,)]
    query = "SELECT i AS a, i * 2 AS y FROM generate_series(1, 100) i"
    trained = pgpredict(pair.standby.home, "train", "other", "--target", "y", "--query", query)
    assert trained.returncode == 1
    assert "Traceback" not in trained.stderr
    assert "read-only" in trained.stderr
    assert pgpredict(pair.standby.home, "query", f"SELECT * FROM ({ROW}) s").returncode == 0


def test_doctor_finds_nothing_wrong(pair: Pair) -> None:
    for cluster in (pair.primary, pair.standby):
        assert [check for check in examine(cluster.home) if check.state == "fail"] == []
    pair.standby.stop()
    # brought up again it is a standby again, and nothing is asked of it that a standby cannot do
    up(pair.standby.home, durable=False)
    pair.deploy(50.0)
    assert rows(pair.standby) == [(51.0,)]


def test_the_runtime_of_a_standby_waits_quietly_until_it_is_a_primary(own_pair: Pair) -> None:
    pair = own_pair
    assert rows(pair.standby) == [(11.0,)]
    log = pair.standby.home.log / "runtime.log"
    eventually(lambda: "event=listen_standby" in log.read_text())
    assert "listen_failed" not in log.read_text()
    assert "LISTEN" not in pair.standby.log.read_text()
    with pair.standby.connect("postgres", autocommit=True) as connection:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgpredict runtime'"
        # asked again now and then, and not held on to meanwhile
        eventually(lambda: connection.execute(waiting).fetchone() == (0,))
    promote(pair)
    eventually(lambda: "event=listen database" in log.read_text())
    loaded = log.read_text().count("event=load ")
    with pair.standby.connect(DATABASE, autocommit=True) as connection:
        summing.store(connection, "m", summing.regression({"a": "integer"}, offset=1000.0))
    # warmed by the deployment, before anybody asks
    eventually(lambda: log.read_text().count("event=load ") == loaded + 1)
    assert rows(pair.standby) == [(1001.0,)]


def promote(pair: Pair) -> None:
    """Lose the primary, and make the standby one."""
    pid = pair.primary.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pair.standby.connect("postgres") as connection:
        assert connection.execute("SELECT pg_promote()").fetchone() == (True,)


def test_clients_fail_over_with_all_proxies_in_their_connection_string(own_pair: Pair) -> None:
    pair = own_pair
    both = (pair.standby, pair.primary)
    with through(*both, target_session_attrs="read-write") as writing:
        assert int(writing.info.port) == proxy_port(pair.primary)
        with through(*both[::-1], target_session_attrs="standby") as reading:
            assert int(reading.info.port) == proxy_port(pair.standby)
            promote(pair)
            with pytest.raises(psycopg.OperationalError):
                writing.execute("SELECT 1")
            # the standby's sessions live through it
            assert reading.execute(BATCH).fetchone() == (11.0,)
    with through(*both[::-1], target_session_attrs="read-write") as writing:
        assert int(writing.info.port) == proxy_port(pair.standby)
        summing.store(writing, "m", summing.regression({"a": "integer"}, offset=7.0))
        assert writing.execute(BATCH).fetchone() == (8.0,)
        writing.execute("SELECT ml.drop_model('m')")


def test_a_standby_without_a_runtime_says_so(pair: Pair) -> None:
    pair.deploy(10.0)
    stop_runtime(pair.standby)
    with through(pair.standby) as connection:
        with pytest.raises(psycopg.OperationalError, match="does not answer"):
            connection.execute(ROW)
        start_runtime(pair.standby)
        assert connection.execute(ROW).fetchall() == [(11.0,)]
    assert start_proxy(pair.standby) is False


def test_a_copy_of_the_data_directory_is_a_server_like_any_other(pair: Pair) -> None:
    """pg_basebackup as a backup: what it has copied comes up by itself, and predicts."""
    pair.deploy(10.0)
    with temporary_home() as home:
        restored = Cluster(home, pair.primary.install, durable=False)
        home.remember(server=restored.install.to_json(), run=str(home.run))
        restored.prepare()
        program = restored.install.bindir / "pg_basebackup"
        environment = {**os.environ, **restored.install.environment}
        os.chown(home.path, restored.account.uid, restored.account.gid)
        words: list[str | Path] = [
            "-D",
            restored.data,
            "-d",
            pair.primary.dsn("postgres"),
            "-X",
            "stream",
            "-c",
            "fast",
        ]
        run([program, *words], env=environment, account=restored.account)
        try:
            up(home, durable=False)
            assert rows(restored) == [(11.0,)]
            with restored.connect(DATABASE, autocommit=True) as connection:
                summing.store(connection, "m", summing.regression({"a": "integer"}, offset=3.0))
            assert rows(restored) == [(4.0,)]
            assert rows(pair.primary) == [(11.0,)]
        finally:
            stop_proxy(restored)
            stop_runtime(restored)
            restored.stop()
