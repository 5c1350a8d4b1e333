"""Where the local server lives, and the pieces of it that need no server."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from pgpredict.connection import resolve_dsn
from pgpredict.errors import InvalidInput, ServerError
from pgpredict.server import Cluster, Home, ServerInstall, default_home
from pgpredict.server.account import Account, make_directory, run, server_account
from pgpredict.server.cluster import open_log
from pgpredict.server.configuration import render, settings
from pgpredict.server.daemon import ticks_at_start
from pgpredict.server.home import MARKER, MAX_RUN_PATH, write_atomically
from pgpredict.server.install import find_system_servers
from pgpredict.server.queries import query
from pgpredict.server.runtime import runtime_process


@pytest.fixture(autouse=True)
def no_servers_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPREDICT_DSN", "PGPREDICT_HOME", "PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)


def test_home_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPREDICT_HOME", "/somewhere/else")
    assert default_home() == Path("/somewhere/else")


def test_relative_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPREDICT_HOME", "here")
    with pytest.raises(InvalidInput, match="'here'"):
        default_home()


def test_foreign_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ServerError, match="other contents"):
        Home(tmp_path).create()
    assert not (tmp_path / MARKER).exists()


def test_sockets_of_a_long_home_are_elsewhere(tmp_path: Path) -> None:
    home = Home(tmp_path / ("x" * 100))
    assert len(os.fsencode(home.run)) <= MAX_RUN_PATH
    assert home.run != Home(tmp_path / ("y" * 100)).run


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make directories of others")
def test_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.run.mkdir()
    os.chown(home.run, 12345, 12345)
    with pytest.raises(ServerError, match="somebody else"):
        home.make_run_directory(server_account())


def test_socket_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "target").mkdir()
    home.run.symlink_to(tmp_path / "target")
    with pytest.raises(ServerError, match="somebody else"):
        home.make_run_directory(server_account())


def test_state_adds_up(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.read_state() == {}
    home.remember(a=1)
    home.remember(b=2)
    assert home.read_state() == {"a": 1, "b": 2}


def test_broken_state_is_no_state(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"a": ')
    assert Home(tmp_path).read_state() == {}


def test_write_keeps_mode_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_atomically(path, "one", 0o600)
    write_atomically(path, "two", 0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_lock_lets_one_in(tmp_path: Path) -> None:
    home, order = Home(tmp_path), []

    def second() -> None:
        with home.lock():
            order.append("second")

    with home.lock():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_dsn_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGPREDICT_HOME", str(tmp_path))
    with pytest.raises(ServerError, match="no local server") as caught:
        resolve_dsn()
    assert caught.value.hint is not None
    assert "pgpredict up" in caught.value.hint
    monkeypatch.setenv("PGHOST", "db.example")
    assert resolve_dsn() == ""
    monkeypatch.setenv("PGPREDICT_DSN", "dbname=b")
    assert resolve_dsn() == "dbname=b"
    assert resolve_dsn("dbname=a") == "dbname=a"


def test_settings_are_quoted() -> None:
    text = render({"unix_socket_directories": "/it's here"})
    assert "unix_socket_directories = '/it''s here'" in text


def test_interval_only_where_it_exists() -> None:
    assert "client_connection_check_interval" not in settings(13, 5432, Path("/run"), durable=True)
    assert settings(14, 5432, Path("/run"), durable=True)["client_connection_check_interval"] == "100ms"


def test_data_is_durable() -> None:
    assert "fsync" not in settings(15, 5432, Path("/run"), durable=True)


def test_install_is_remembered() -> None:
    install = ServerInstall("13.23", Path("/b"), Path("/s"), Path("/l"), Path("/r"), (Path("/r/lib"),))
    assert ServerInstall.from_json(install.to_json()) == install
    assert (install.major, install.name, install.private) == (13, "pg13", True)


def test_server_without_multicorn_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for version, multicorn in (("14.1", True), ("16.2", True), ("17.3", False), ("not a version", True)):
        base = tmp_path / "usr/lib/postgresql" / version.split(".")[0]
        (base / "bin").mkdir(parents=True)
        (base / "share/extension").mkdir(parents=True)
        (base / "bin/postgres").touch()
        if multicorn:
            (base / "share/extension/multicorn.control").write_text("default_version = '3.2'\n")
        script = (
            f"#!/bin/sh\nprintf '%s\\n' 'PostgreSQL {version}' '{base}/bin' '{base}/share' '{base}/lib'\n"
        )
        (base / "bin/pg_config").write_text(script)
        (base / "bin/pg_config").chmod(0o755)
    found = [install for install in find_system_servers(tmp_path) if tmp_path in install.bindir.parents]
    assert [install.version for install in found] == ["16.2", "14.1"]
    assert found[0].multicorn_version == "3.2"


def test_failed_program_says_its_last_words() -> None:
    with pytest.raises(ServerError, match=r"exit code 3: .*too bad"):
        run(["sh", "-c", "echo too bad >&2; exit 3"])


def test_missing_program_is_named() -> None:
    with pytest.raises(ServerError, match="'no-such-program' does not exist"):
        run(["no-such-program"])


def test_queries_are_found() -> None:
    assert query("artifacts").startswith("SELECT count(*)")
    with pytest.raises(KeyError):
        query("none")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights that the account lacks")
def test_log_is_no_way_to_files_of_roots() -> None:
    """The account owns the directory of the logs and may put links there; root starts the server."""
    account = server_account()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        log = make_directory(top / "log", account) / "postgres.log"
        open_log(log, account).close()
        assert log.stat().st_uid == account.uid
        secret = top / "secret"
        secret.touch(0o600)
        log.unlink()
        log.symlink_to(secret)
        with pytest.raises(ServerError, match="cannot write the log"):
            open_log(log, account)
        assert secret.stat().st_uid == 0


def test_runtimes_record_is_no_way_to_end_processes_of_others(tmp_path: Path) -> None:
    """The record lies in a directory of the account's: it counts only for processes of the account."""
    home = Home(tmp_path)
    home.run.mkdir()
    cluster = Cluster(home, ServerInstall("15.0", tmp_path, tmp_path, tmp_path))
    process = psutil.Process()
    ours = process.uids().real == cluster.account.uid
    for record in (
        {"pid": process.pid, "started": ticks_at_start(process.pid)},
        # of an older version
        {"pid": process.pid, "created": process.create_time()},
    ):
        (home.run / "runtime.json").write_text(json.dumps(record))
        assert (runtime_process(cluster) is not None) == ours


def test_processes_are_known_when_the_clock_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which moves the time of day at which every process was started."""
    home = Home(tmp_path)
    home.run.mkdir()
    cluster = Cluster(home, ServerInstall("15.0", tmp_path, tmp_path, tmp_path))
    monkeypatch.setattr(cluster, "account", Account("ours", os.getuid(), os.getgid(), switch=False))
    started = ticks_at_start(os.getpid())
    moved = psutil.Process().create_time() - 60
    record = {"pid": os.getpid(), "started": started, "created": moved}
    (home.run / "runtime.json").write_text(json.dumps(record))
    assert runtime_process(cluster) is not None
    (home.run / "runtime.json").write_text(json.dumps({**record, "started": started + 1}))
    assert runtime_process(cluster) is None
