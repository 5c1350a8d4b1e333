"""All services together, as docker/compose.yaml describes them: used, stopped, killed, upgraded, restored."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.compose import FILE, TLS
from tests.fix_containers import RUNTIME_PASSWORD, SUPERUSER_PASSWORD, Project
from tests.fix_runtime import eventually

from .test_database import make_certificate

pytestmark = pytest.mark.timeout(1200)

SERVICES = ("database", "runtime", "proxy")
#: where each may write, and what for
WRITABLE = {
    "database": {"/var/lib/postgresql", "/run/pgpredict", "/run/postgresql", "/tmp"},
    "runtime": {"/run/pgpredict", "/tmp"},
    "proxy": {"/tmp"},
}
#: files that belong to root in spite of that
ENGINES_OWN = r"/(dev|proc|sys)(/|$)|/etc/(hosts|hostname|resolv.conf)$|/run/\.containerenv$"
TABLE = """
    CREATE TABLE points AS
    SELECT i AS id, (i % 17)::float8 AS a, (i % 23)::float8 AS b, sin(i % 17) * 10 + (i % 23) AS y
    FROM generate_series(1, 2000) i"""
PREDICT = "SELECT PREDICT(wave) FROM points WHERE id < 50 ORDER BY id"


@pytest.fixture(scope="module")
def stack(make_project: Callable[..., Project]) -> Project:
    """Everything running, with a model that only the runtime computes."""
    project = make_project()
    project.up()
    with contextlib.closing(project.connect()) as connection:
        connection.execute(TABLE)
    options = ["--algorithm", "random_forest", "--param", "n_estimators=20"]
    project.train("wave", "SELECT a, b, y FROM points", *options)
    return project


@pytest.fixture(scope="module")
def predicted(stack: Project) -> list[tuple[object, ...]]:
    """What the model predicts while all is well."""
    rows = stack.query(PREDICT)
    truth = stack.query("SELECT y FROM points WHERE id < 50 ORDER BY id")
    errors = [abs(float(ours) - float(y)) for (ours,), (y,) in zip(rows, truth, strict=True)]
    assert sum(errors) / len(errors) < 2
    return rows


def test_predicts_through_the_proxy(stack: Project, predicted: list[tuple[object, ...]]) -> None:
    assert len(predicted) == 49
    assert stack.query("SELECT count(*), count(PREDICT(wave)) FROM points") == [(2000, 2000)]


def test_wrong_password(stack: Project) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        stack.query("SELECT 1", password="wrong")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        stack.query("SELECT 1", password="")


@pytest.mark.parametrize("name", SERVICES)
def test_a_restart(stack: Project, predicted: list[tuple[object, ...]], name: str) -> None:
    code, seconds = stack.engine.stop(stack.services[name])
    assert code == 0
    # nobody had to kill it
    assert seconds < stack.services[name].grace
    stack.restart(name)
    stack.wait_well("proxy")
    assert stack.query(PREDICT) == predicted


@pytest.mark.parametrize("name", SERVICES)
def test_a_kill(stack: Project, predicted: list[tuple[object, ...]], name: str) -> None:
    with contextlib.closing(stack.connect()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (who text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [name])
    stack.engine.kill(name)
    with pytest.raises(psycopg.Error) as failure:
        stack.query(PREDICT, connect_timeout=5)
    if name == "runtime":
        assert failure.value.sqlstate == "08001"
    stack.restart(name)
    stack.wait_well("proxy")
    assert stack.query(PREDICT) == predicted
    assert (name,) in stack.query("SELECT who FROM kept")


def takes_nobody(stack: Project) -> bool:
    """Tell whether new clients are turned away."""
    try:
        stack.query("SELECT 1", connect_timeout=3)
    except psycopg.OperationalError:
        return True
    return False


def test_sigterm_lets_statements_of_the_proxy_finish(stack: Project) -> None:
    with contextlib.closing(stack.connect()) as connection:
        results: list[object] = []
        thread = threading.Thread(
            target=lambda: results.append(connection.execute("SELECT 7 FROM pg_sleep(10)").fetchone())
        )
        thread.start()
        sleeps = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        eventually(lambda: stack.psql("-c", sleeps).output.strip() == "1")
        stack.engine.signal("proxy", "SIGTERM")
        eventually(lambda: takes_nobody(stack))
        thread.join()
        assert results == [(7,)]
    assert stack.engine.wait("proxy", 60) == 0
    stack.restart("proxy")


def test_sigterm_lets_predictions_of_the_runtime_finish(stack: Project) -> None:
    """One batch of many rows is one request, which takes seconds."""
    statement = """
        SELECT cardinality(ml.float8s(m.prediction))
        FROM (SELECT '{"v":1,"rows":' || count(*) || ',"numbers":["a","b"],"texts":[]}' || E'\\n'
                     || encode(ml.raw(array_agg(ARRAY[i % 17, i % 23]::float8[])), 'base64') AS batch
              FROM generate_series(1, 3000000) i) b
        JOIN models.wave__batch m ON m.batch = b.batch"""
    results: list[object] = []

    def predict() -> None:
        with contextlib.closing(stack.connect()) as connection:
            results.append(connection.execute(statement).fetchone())

    def busy() -> bool:
        """Whether the worker computes: it uses a processor."""
        script = "import psutil; print(max(p.cpu_percent(0.3) for p in psutil.process_iter()))"
        return float(stack.engine.execute("runtime", ["python", "-c", script]).output) > 20

    thread = threading.Thread(target=predict)
    thread.start()
    deadline = time.monotonic() + 60
    while not busy() and time.monotonic() < deadline and thread.is_alive():
        pass
    assert thread.is_alive(), results
    stack.engine.signal("runtime", "SIGTERM")
    assert stack.engine.wait("runtime", 60) == 0
    thread.join()
    assert results == [(3_000_000,)]
    assert "event=drain" in stack.engine.logs("runtime")
    stack.restart("runtime")


def test_sigterm_of_the_database_waits_for_its_sessions(
    stack: Project, predicted: list[tuple[object, ...]]
) -> None:
    with contextlib.closing(stack.connect()) as connection:
        stack.engine.signal("database", "SIGTERM")
        assert connection.execute("SELECT 7 FROM pg_sleep(1)").fetchone() == (7,)
        with pytest.raises(psycopg.OperationalError, match="shutting down"):
            stack.query("SELECT 1")
    assert stack.engine.wait("database", 120) == 0
    stack.restart("database")
    stack.wait_well("proxy")
    assert stack.query(PREDICT) == predicted


@pytest.mark.parametrize("name", SERVICES)
def test_health_sees_what_is_frozen(stack: Project, name: str) -> None:
    for service in SERVICES:
        assert stack.well(service)
    stack.engine.execute(name, ["sh", "-c", "kill -STOP -1"])
    try:
        stack.wait_sick(name)
    finally:
        stack.engine.execute(name, ["sh", "-c", "kill -CONT -1"])
    stack.wait_well(name)
    stack.wait_well("proxy")


def test_health_of_the_proxy_is_that_of_the_way_to_the_server(stack: Project) -> None:
    stack.engine.stop(stack.services["database"])
    assert stack.wait_sick("proxy").output
    # the runtime has nothing to do meanwhile, and is well
    assert stack.well("runtime")
    stack.restart("database")
    stack.wait_well("proxy")


@pytest.mark.parametrize("name", SERVICES)
def test_it_is_confined(stack: Project, name: str) -> None:
    status = stack.engine.execute(name, ["cat", "/proc/1/status"]).output
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {"10432"}
    assert int(fields["CapPrm"], 16) == int(fields["CapBnd"], 16) == int(fields["CapInh"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    script = (
        "for d in / /etc /usr /opt /var /var/lib /run /home /root; do touch $d/x 2>/dev/null && echo $d; done"
    )
    assert stack.engine.execute(name, ["sh", "-c", script]).output == ""
    mounts = stack.engine.execute(name, ["cat", "/proc/mounts"]).output
    writable = {
        place
        for _, place, kind, options, *_ in map(str.split, mounts.splitlines())
        if "rw" in options.split(",") and not re.match(ENGINES_OWN, place)
    }
    assert writable == WRITABLE[name]


def test_passwords_are_nowhere(stack: Project) -> None:
    """Neither in the environment of a process, nor in its command line, nor in a log."""
    secrets = (SUPERUSER_PASSWORD, RUNTIME_PASSWORD)
    for name in SERVICES:
        script = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
        seen = stack.engine.execute(name, ["sh", "-c", script]).output
        assert "PATH=" in seen
        seen += stack.engine.logs(name)
        assert not [secret for secret in secrets if secret in seen], name


def test_the_runtime_reaches_the_server_as_its_role_only(stack: Project) -> None:
    stack.query(PREDICT)
    who = stack.query(
        "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'pgpredict runtime'"
    )
    assert who in ([], [("pgpredict_runtime",)])
    # the server's socket is not where the runtime could see it
    assert stack.engine.execute("runtime", ["ls", "-A", "/run/pgpredict"]).output.split() == [
        "runtime.sock",
        "runtime.sock.lock",
    ]


def test_another_password_for_the_runtime(stack: Project, predicted: list[tuple[object, ...]]) -> None:
    path = stack.write_secret("runtime_password", "an other one")
    for name in ("database", "runtime"):
        stack.engine.stop(stack.services[name])
        stack.restart(name)
    stack.wait_well("proxy")
    assert stack.query(PREDICT) == predicted
    old = f"host=database user=pgpredict_runtime dbname=pgpredict password='{RUNTIME_PASSWORD}'"
    assert path.read_text() == "an other one\n"
    assert (
        "password authentication failed"
        in stack.psql(old.replace("\\", "\\\\").replace(" 'too'", " \\'too\\'"), "-c", "SELECT 1").output
    )


def test_dump_and_restore(stack: Project, predicted: list[tuple[object, ...]]) -> None:
    script = "pg_dump -Fc -f /tmp/dump pgpredict && createdb copy && pg_restore -e -d copy /tmp/dump"
    done = stack.engine.execute("database", ["sh", "-c", script], timeout=120)
    assert done.code == 0, done.output
    assert stack.query(PREDICT, dbname="copy") == predicted


def test_dump_all_and_restore_elsewhere(
    stack: Project, predicted: list[tuple[object, ...]], make_project: Callable[..., Project]
) -> None:
    """The way from one major version to another."""
    done = stack.engine.execute("database", ["pg_dumpall", "--clean", "--if-exists"], timeout=120)
    assert done.code == 0, done.output[:500]
    other = make_project()
    other.up("database")
    restored = other.engine.execute(
        "database", ["psql", "-Xq", "-d", "postgres"], timeout=120, stdin=done.output
    )
    # the roles of the new cluster are in use
    errors = [
        line
        for line in restored.output.splitlines()
        if "ERROR" in line and "current user cannot be dropped" not in line and "already exists" not in line
    ]
    assert errors == []
    other.engine.stop(other.services["database"])
    other.restart("database")
    other.up()
    assert other.query(PREDICT) == predicted


def test_tls_between_clients_and_the_proxy(make_project: Callable[..., Project]) -> None:
    project = make_project(FILE, TLS)
    certificate = make_certificate(project.secrets)
    project.up()
    over_tls = {"sslmode": "verify-full", "sslrootcert": str(certificate)}
    assert project.query("SELECT 1", **over_tls) == [(1,)]
    with pytest.raises(psycopg.OperationalError):
        project.query("SELECT 1", sslmode="disable")
    assert dataclasses.replace(project.services["proxy"]).environment == {}
