"""The demo, killed again and again, and each run carries on from there; then a run that finds all done.

On one server: what differs between servers is tested in test_kill and test_server_local.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgpredict.demo.data import CUTOFF
from pgpredict.server import Cluster, Home
from pgpredict.server.local import current_cluster
from pgpredict.server.proxy import stop_proxy
from pgpredict.server.runtime import runtime_process, stop_runtime
from tests.fix_runtime import eventually
from tests.fix_server import Server, find_server, installed_names, temporary_home
from tests.killing import Program, assert_sound, kill

#: what the demo says when it is killed, and who is killed then
MOMENTS = [
    ("making a database cluster", "demo"),
    ("starting PostgreSQL", "demo"),
    ("making the database", "demo"),
    ("starting the inference runtime", "demo"),
    ("loading flights", "demo"),
    ("loading flights", "server"),
    ("late_arrival", "server"),
    ("late_arrival", "runtime"),
    ("arrival_delay", "demo"),
    ("flights of the future depart", "demo"),
    ("predicting every departed flight", "worker"),
    ("predicting every departed flight", "demo"),
    ("outcomes arrive", "server"),
]
TABLES = ("airlines", "airports", "planes", "weather", "flights")


@pytest.fixture
def home() -> Iterator[Home]:
    """A home with nothing in it, for the newest server found."""
    names = installed_names()
    if not names:
        pytest.fail("no PostgreSQL with Multicorn was found, and none can be fetched")
    with temporary_home() as home:
        install = find_server(names[-1])
        home.remember(server=install.to_json(), run=str(home.run))
        cluster = Cluster(home, install)
        try:
            yield home
        finally:
            stop_proxy(cluster)
            stop_runtime(cluster)
            cluster.stop()


def run_demo(home: Home) -> Program:
    return Program("demo", environment={"PGPREDICT_HOME": str(home.path)})


@pytest.mark.timeout(1200)
def test_killed_at_every_step_the_next_run_carries_on(home: Home) -> None:
    for moment, victim in MOMENTS:
        with run_demo(home) as program:
            assert program.wait_for(moment), f"{moment}: {program.output}"
            kill_one(home, program, victim)
        check(home, moment)
    with run_demo(home) as program:
        assert program.end() == 0, program.output
        for text in ("loaded before", "late_arrival: trained before", "19,746 flights", "How to go on"):
            assert text in program.output, program.output
    check(home, "the end")
    with run_demo(home) as program:
        assert program.end() == 0, program.output
        assert "starting PostgreSQL" not in program.output
        assert "fitting" not in program.output
    with connection(home) as database:
        query = "SELECT count(*), count(arr_delay) FROM flights WHERE day >= %s"
        assert database.execute(query, [CUTOFF]).fetchone() == (19_746, 19_049)
        assert database.execute("SELECT count(*) FROM forecasts").fetchone() == (19_096,)


@pytest.mark.one_server
def test_a_server_that_is_there_needs_the_extension(server: Server) -> None:
    """With it, the demo runs against another server in the containers' tests."""
    with Program("demo", "--dsn", server.admin_dsn, environment={}) as program:
        assert program.end() == 1
        assert "does not have the extension 'pgpredict'" in program.output
        assert "CREATE EXTENSION pgpredict CASCADE" in program.output


def kill_one(home: Home, program: Program, victim: str) -> None:
    """Kill the demo, the server, the runtime, or its worker; the demo may survive the last two."""
    if victim == "demo":
        program.kill()
        return
    cluster = current_cluster(home)
    assert cluster is not None
    runtime = runtime_process(cluster)
    pid = cluster.pid()
    assert runtime is not None
    assert pid is not None
    if victim == "worker":
        # the supervisor may be starting one at the moment
        kill(eventually(lambda: runtime.children()[0].pid, IndexError))
    else:
        kill({"server": pid, "runtime": runtime.pid}[victim])
    status = program.end()
    assert status in ((1,) if victim == "server" else (0, 1)), program.output


def check(home: Home, moment: str) -> None:
    """Nothing is half done in a server that runs; the tables are there all or none."""
    cluster = current_cluster(home)
    if cluster is None or cluster.pid() is None or not has_database(cluster):
        return
    with connection(home) as database:
        query = "SELECT count(to_regclass('public.' || name)) FROM unnest(%s::text[]) AS name"
        row = database.execute(query, [list(TABLES)]).fetchone()
        assert row in ((0,), (len(TABLES),)), moment
        if row != (0,):
            row = database.execute("SELECT count(*) FROM flights WHERE day < %s", [CUTOFF]).fetchone()
            assert row == (317_030,), moment
        query = "SELECT FROM pg_extension WHERE extname = 'pgpredict'"
        if database.execute(query).fetchone() and runtime_process(cluster):
            assert_sound(database)


def has_database(cluster: Cluster) -> bool:
    try:
        cluster.connect().close()
    except psycopg.OperationalError:
        return False
    return True


def connection(home: Home) -> psycopg.Connection[Any]:
    cluster = current_cluster(home)
    assert cluster is not None
    return cluster.connect(autocommit=True)
