"""The local server as a whole: up, down, crashes, and what doctor says about each."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal

import psutil
import psycopg
import pytest

from onnx_models import storing
from onnx_models.artifact import with_signature
from onnx_models.scoring import Model
from pgpredict.errors import InvalidInput
from pgpredict.server import Cluster, Home, ServerInstall, proxy
from pgpredict.server.account import make_directory, server_account
from pgpredict.server.checks import Check
from pgpredict.server.cluster import is_free
from pgpredict.server.doctor import examine
from pgpredict.server.local import Started, choose_server, current_cluster, down
from pgpredict.server.local import up as bring_up
from pgpredict.server.overview import overview
from pgpredict.server.private import find_servers
from pgpredict.server.proxy import proxy_port, proxy_process, proxy_tcp_dsn
from pgpredict.server.runtime import ask, runtime_process, stop_runtime
from pgpredict.server.shadow import extension_files
from tests import summing
from tests.fix_runtime import eventually, served


def up(home: Home) -> Started:
    # the crash of a process loses nothing without fsync either; only the machine's would
    return bring_up(home, durable=False)


def failures(home: Home) -> list[Check]:
    return [check for check in examine(home) if check.state == "fail"]


def pgpredict(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgpredict", *arguments],
        env={**os.environ, "PGPREDICT_HOME": str(home.path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def wait_for_end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(120)


def test_up_and_down_can_be_repeated(local_home: Home) -> None:
    first = up(local_home)
    assert (first.server_started, first.runtime_started) == (True, True)
    pid, runtime = first.cluster.pid(), runtime_process(first.cluster)
    second = up(local_home)
    assert (second.server_started, second.runtime_started) == (False, False)
    assert second.cluster.pid() == pid
    assert runtime_process(second.cluster) == runtime
    assert failures(local_home) == []
    assert down(local_home)
    assert not down(local_home)
    assert runtime_process(first.cluster) is None


def test_system_is_not_touched(local_home: Home, install: ServerInstall) -> None:
    before = sorted(path.name for path in (install.sharedir / "extension").iterdir())
    cluster = up(local_home).cluster
    assert sorted(path.name for path in (install.sharedir / "extension").iterdir()) == before
    with cluster.connect() as connection:
        row = connection.execute("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'").fetchone()
    assert row is not None
    directory = Path(row[0]) / "extension"
    assert local_home.path in directory.parents
    assert {name: (directory / name).read_text() for name in extension_files()} == extension_files()
    assert (directory / "multicorn.control").is_symlink()


def test_server_runs_as_an_ordinary_account(local_home: Home) -> None:
    cluster = up(local_home).cluster
    for process in (psutil.Process(cluster.pid()), runtime_process(cluster)):
        assert process is not None
        assert process.uids().effective == cluster.account.uid != 0
    assert local_home.run.stat().st_mode & 0o777 == 0o700
    assert local_home.password_file.stat().st_mode & 0o777 == 0o600


def test_tcp_wants_the_password(local_home: Home) -> None:
    cluster = up(local_home).cluster
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(cluster.tcp_dsn(), passfile="/dev/null")
    with psycopg.connect(cluster.tcp_dsn(), password=cluster.password) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_killed_server_recovers(local_home: Home) -> None:
    cluster = up(local_home).cluster
    with cluster.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    pid = cluster.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    assert "the server does not run" in [check.message for check in failures(local_home)]
    assert up(local_home).server_started
    with cluster.connect() as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert failures(local_home) == []


def test_killed_runtime_comes_back(local_home: Home) -> None:
    cluster = up(local_home).cluster
    process = runtime_process(cluster)
    assert process is not None
    process.kill()
    process.wait(120)
    assert [check.name for check in failures(local_home)] == ["runtime"]
    assert pgpredict(local_home, "status").returncode == 1
    started = up(local_home)
    assert (started.server_started, started.runtime_started) == (False, True)
    assert ask(cluster)["ok"]


def test_killed_or_frozen_proxy_comes_back(local_home: Home) -> None:
    cluster = up(local_home).cluster
    assert "through 42" in pgpredict(local_home, "psql", "-Atc", "SELECT 'through ' || 42").stdout
    for harm in (psutil.Process.kill, psutil.Process.suspend):
        process = proxy_process(cluster)
        assert process is not None
        port = proxy_port(cluster)
        harm(process)
        if harm is psutil.Process.kill:
            process.wait(120)
            assert pgpredict(local_home, "status").returncode == 1
            said = pgpredict(local_home, "psql", "-Atc", "SELECT 42")
            assert said.stdout == "42\n"
            assert "the proxy does not run" in said.stderr
        assert [check.name for check in failures(local_home)] == ["proxy"]
        up(local_home)
        assert failures(local_home) == []
        assert proxy_process(cluster) not in (None, process)
        assert proxy_port(cluster) == port


def test_a_port_that_somebody_takes_while_the_proxy_starts(
    local_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken: int = other.getsockname()[1]
        ports = iter([taken])
        choose = Cluster.choose_port
        monkeypatch.setattr(
            Cluster,
            "choose_port",
            lambda self, key: (key == proxy.NAME and next(ports, 0)) or choose(self, key),
        )
        cluster = up(local_home).cluster
        assert next(ports, None) is None
        assert proxy_port(cluster) not in (0, taken)
        with psycopg.connect(proxy_tcp_dsn(cluster), password=cluster.password) as connection:
            assert connection.execute("SELECT 42").fetchone() == (42,)


def test_the_proxy_asks_for_the_password_over_tcp_and_predicts(local_home: Home) -> None:
    cluster = up(local_home).cluster
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(proxy_tcp_dsn(cluster), passfile="/dev/null")
    with (
        psycopg.connect(proxy_tcp_dsn(cluster), password=cluster.password) as connection,
        pytest.raises(psycopg.errors.UndefinedObject, match='model "nothing" does not exist'),
    ):
        connection.execute("SELECT PREDICT(nothing USING 1 AS a)")


def test_frozen_runtime_is_replaced(local_home: Home) -> None:
    cluster = up(local_home).cluster
    process = runtime_process(cluster)
    assert process is not None
    for member in (process, *process.children(recursive=True)):
        member.suspend()
    assert up(local_home).runtime_started
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert ask(cluster)["ok"]


def test_a_runtime_whose_places_are_all_taken_is_left_alone(
    local_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPREDICT_CONNECTIONS", "1")
    process = runtime_process(up(local_home).cluster)
    with eventually(lambda: served(local_home.runtime_socket)) as client:
        assert not up(local_home).runtime_started
        assert client.status()["ok"]
    assert runtime_process(current_cluster_of(local_home)) == process


def test_two_at_once(local_home: Home) -> None:
    results: list[subprocess.CompletedProcess[str]] = []

    def start() -> None:
        results.append(pgpredict(local_home, "up", "--json"))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results] == [0, 0], [result.stderr for result in results]
    assert len({json.loads(result.stdout)["server"]["pid"] for result in results}) == 1


@pytest.mark.parametrize("moment", ["initdb", "shadow", "library"])
def test_interrupted_first_start_is_finished(local_home: Home, install: ServerInstall, moment: str) -> None:
    local_home.create()
    leftovers = {
        "initdb": local_home.data(install.major).with_name(f"data-{install.major}.new"),
        "shadow": local_home.path / f"server-{install.name}.new",
        "library": local_home.path / "lib-0123456789abcdef.new",
    }
    leftovers[moment].mkdir()
    (leftovers[moment] / "half").write_text("done")
    up(local_home)
    assert failures(local_home) == []


def test_taken_port_is_changed(local_home: Home) -> None:
    cluster = up(local_home).cluster
    port = cluster.port
    down(local_home)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        cluster = up(local_home).cluster
        assert cluster.port != port
    assert ask(cluster)["ok"]
    down(local_home)
    kept = cluster.port
    assert is_free(kept)
    assert up(local_home).cluster.port == kept


def test_stale_pid_file_does_not_name_somebody_else(local_home: Home) -> None:
    cluster = up(local_home).cluster
    lines = (cluster.data / "postmaster.pid").read_text().split("\n")
    down(local_home)
    # as after a crash and a reboot: the process id belongs to this process now
    (cluster.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert cluster.pid() is None
    assert not down(local_home)
    cluster.data.joinpath("postmaster.pid").unlink()


def test_killed_server_that_nobody_reaps_recovers(local_home: Home) -> None:
    cluster = up(local_home).cluster
    locks = [cluster.data / "postmaster.pid", local_home.run / f".s.PGSQL.{cluster.port}.lock"]
    texts = [lock.read_text() for lock in locks]
    down(local_home)
    # as in a container whose first process reaps nobody: a child of ours that has ended stays until we wait
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    try:
        for lock, text in zip(locks, texts, strict=True):
            lock.write_text("\n".join([str(zombie.pid), *text.split("\n")[1:]]))
            lock.chmod(0o600)
            os.chown(lock, cluster.account.uid, cluster.account.gid)
        assert up(local_home).server_started
    finally:
        zombie.wait()
    assert failures(local_home) == []


def test_what_was_remembered_may_get_lost(local_home: Home) -> None:
    cluster = up(local_home).cluster
    port = cluster.port
    server = local_home.read_state()["server"]
    (local_home.path / "state.json").write_text("{")
    local_home.remember(server=server)
    local_home.password_file.unlink()
    again = up(local_home)
    assert (again.server_started, again.cluster.port) == (False, port)
    with psycopg.connect(cluster.tcp_dsn(), password=cluster.password) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert "SCRAM" not in cluster.log.read_text()
    assert failures(local_home) == []


def test_damaged_data_directory_is_told_of(local_home: Home) -> None:
    cluster = up(local_home).cluster
    down(local_home)
    (cluster.data / "PG_VERSION").rename(cluster.data / "kept")
    result = pgpredict(local_home, "up")
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "is no database cluster" in result.stderr
    (cluster.data / "kept").rename(cluster.data / "PG_VERSION")
    # any other trouble with files: a message, too
    (local_home.path / "state.json").rename(local_home.path / "kept")
    (local_home.path / "state.json").mkdir()
    result = pgpredict(local_home, "up")
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "Is a directory" in result.stderr
    (local_home.path / "state.json").rmdir()
    (local_home.path / "kept").rename(local_home.path / "state.json")


def test_the_server_may_be_named(
    local_home: Home, install: ServerInstall, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_home = Home(local_home.path / "empty")
    other = "pg13" if install.name != "pg13" else "pg15"
    up(local_home)
    monkeypatch.setenv("PGPREDICT_SERVER", other)
    with pytest.raises(InvalidInput, match=f"PGPREDICT_SERVER is '{other}'"):
        up(local_home)
    for name in {found.name for found in find_servers(empty_home)}:
        monkeypatch.setenv("PGPREDICT_SERVER", name)
        assert choose_server(empty_home)[0].name == name
    monkeypatch.setenv("PGPREDICT_SERVER", install.name)
    assert not up(local_home).server_started
    monkeypatch.setenv("PGPREDICT_SERVER", "pg99")
    with pytest.raises(InvalidInput, match="no server with Multicorn here"):
        choose_server(empty_home)


def test_home_with_a_long_path(local_home: Home, install: ServerInstall) -> None:
    # a space and a quote in it, too
    home = Home(local_home.path / ("it's a long path " + "x" * 100))
    local_home.path.chmod(0o755)
    home.path.mkdir()
    home.create()
    home.remember(server=install.to_json())
    if install.private:
        assert install.root is not None
        (home.path / install.root.parent.name).symlink_to(install.root.parent)
    try:
        cluster = up(home).cluster
        with cluster.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert ask(cluster)["ok"]
    finally:
        down(home)


def test_changed_packages_reach_the_server(local_home: Home, install: ServerInstall) -> None:
    cluster = up(local_home).cluster
    library, runtime = local_home.lib.resolve(), runtime_process(cluster)
    # what an upgrade of ours looks like: the copies differ from the packages
    other = library.with_name("lib-0000000000000000")
    library.rename(other)
    local_home.lib.unlink()
    local_home.lib.symlink_to(other.name)
    record = json.loads((local_home.run / "runtime.json").read_text())
    (local_home.run / "runtime.json").write_text(json.dumps({**record, "library": str(other)}))
    control = next(local_home.path.glob("server-*/**/extension/pgpredict.control"))
    control.write_text("default_version = 'none'\n")
    started = up(local_home)
    assert local_home.lib.resolve() == library
    assert started.runtime_started
    assert runtime_process(cluster) != runtime
    assert control.read_text() == extension_files()["pgpredict.control"]


def test_doctor_finds_a_removed_artifact(local_home: Home) -> None:
    cluster = up(local_home).cluster
    insert_model = """
        INSERT INTO ml.artifact (sha256, onnx) VALUES (encode(sha256('x'), 'hex'), 'x');
        INSERT INTO ml.model (name, owner, task) VALUES ('m', 'pgpredict', 'binary');
        INSERT INTO ml.model_version (model, version, artifact, signature, created_by)
        VALUES ('m', 1, encode(sha256('x'), 'hex'), '{"features": []}', 'pgpredict');
    """
    with cluster.connect(autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(insert_model)
        assert failures(local_home) == []
        connection.execute("ALTER TABLE ml.artifact DROP CONSTRAINT artifact_check")
        connection.execute("UPDATE ml.artifact SET onnx = 'y'")
        assert [check.message for check in failures(local_home)] == [
            "version 1: its artifact does not fit its hash"
        ]
        connection.execute("DELETE FROM ml.artifact")
    assert [check.message for check in failures(local_home)] == ["version 1: its artifact is missing"]
    result = pgpredict(local_home, "doctor", "--json")
    assert result.returncode == 1
    assert [line["state"] for line in json.loads(result.stdout)].count("fail") == 1


@pytest.mark.parametrize("on_missing", ["error", "impute"])
def test_doctor_asks_models_of_every_type(local_home: Home, on_missing: Literal["error", "impute"]) -> None:
    cluster = up(local_home).cluster
    artifact = summing.classifier(summing.TYPES, ("false", "true"), "boolean")
    signature = dataclasses.replace(Model.load(artifact).signature, on_missing=on_missing)
    with cluster.connect(autocommit=True) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad')")
        version = storing.register(connection, "m", signature, with_signature(artifact, signature), {})
        storing.deploy(connection, "m", version)
    found = [check for check in examine(local_home) if check.name.endswith(": m")]
    assert [check.state for check in found] == ["ok"], found
    given = "a sample row" if on_missing == "error" else "all features NULL"
    assert found[0].message == f"predicts ({given}: true)"


def test_doctor_finds_an_open_socket_directory(local_home: Home) -> None:
    up(local_home)
    local_home.run.chmod(0o755)
    assert [check.mend for check in failures(local_home)] == [f"chmod 0700 {local_home.run}"]
    up(local_home)
    assert failures(local_home) == []


def test_doctor_without_a_server(empty_home: Home) -> None:
    assert [check.mend for check in failures(empty_home)] == ["run 'pgpredict up'"]


def test_status_and_psql(local_home: Home) -> None:
    assert pgpredict(local_home, "status").returncode == 1
    assert "pgpredict up" in pgpredict(local_home, "psql").stderr
    up(local_home)
    state = json.loads(pgpredict(local_home, "status", "--json").stdout)
    assert state["running"]
    assert [database["name"] for database in state["databases"]] == ["pgpredict", "postgres"]
    result = pgpredict(local_home, "psql", "-At", "-c", "SELECT current_user, current_database()")
    assert result.stdout.strip() == "pgpredict|pgpredict", result.stderr
    assert pgpredict(local_home, "psql", "-c", "SELECT nonsense").returncode == 1


def test_overview_of_a_stopped_server(local_home: Home) -> None:
    up(local_home)
    down(local_home)
    state = overview(local_home)
    assert not state["running"]
    assert state["runtime"]["pid"] is None


def test_server_that_went_away_is_named(local_home: Home, install: ServerInstall) -> None:
    gone = {**install.to_json(), "version": "12.1", "bindir": "/nowhere/bin"}
    local_home.remember(server=gone)
    assert any("PostgreSQL 12 with Multicorn is gone" in check.message for check in failures(local_home))


def test_current_cluster_is_the_one_brought_up(local_home: Home, install: ServerInstall) -> None:
    cluster = up(local_home).cluster
    assert isinstance(cluster, Cluster)
    found = current_cluster(local_home)
    assert found is not None
    assert found.install.bindir == install.bindir or install.private
    stop_runtime(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("command", ["status", "doctor", "down", "up"])
def test_home_of_another_account_is_told_of(local_home: Home, command: str) -> None:
    """Never "it does not run", nor the advice to give the files of a running server away."""
    local_home.create()
    make_directory(local_home.data(current_cluster_of(local_home).install.major), server_account())
    done = subprocess.run(
        [sys.executable, "-m", "pgpredict", command],
        capture_output=True,
        text=True,
        env={**os.environ, "PGPREDICT_HOME": str(local_home.path)},
        user="nobody",
        group="nogroup",
        extra_groups=[],
        check=False,
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "a directory of your own" in said
    assert "Traceback" not in said
    assert "chown" not in said


def current_cluster_of(home: Home) -> Cluster:
    cluster = current_cluster(home)
    assert cluster is not None
    return cluster
