"""The units' command lines run as the units say, by hand; and what the command refuses on this machine.

Under systemd itself: tests/acceptance/test_operate.py.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgpredict.errors import ServerError
from pgpredict.server.account import Account, make_directory, server_account
from pgpredict.server.daemon import interpreter
from pgpredict.server.database import RUNTIME_ROLE
from pgpredict.server.foreign import set_socket
from pgpredict.service import SERVICES, Settings, render, surroundings, systemd
from pgpredict.service.surroundings import find_account, server_uids, usable_interpreter
from tests import summing
from tests.fix_proxy import PREDICT, free_port, store_weight
from tests.fix_runtime import eventually
from tests.fix_server import Database
from tests.fix_unit import UnitProcess, running_unit
from tests.killing import waiting_backend


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that the services' accounts can enter, with a short name for sockets."""
    with tempfile.TemporaryDirectory(prefix="pgp-unit-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "etc").mkdir()
        yield path


def text(service: str) -> str:
    account = server_account()
    return render(SERVICES[service], Settings(interpreter(), account.name, 512 << 20))


def proxy_account() -> Account:
    """An account without rights; root takes one that no file belongs to."""
    account = server_account()
    return Account("nobody", 65534, 65534, switch=True) if account.switch else account


@pytest.fixture
def runtime(database: Database, directory: Path) -> Iterator[UnitProcess]:
    """The runtime as its unit says, for a database with the model ``m``."""
    cluster = database.server.cluster
    if cluster is None:
        pytest.skip("the runtime has to be the server's account, and that of this server is not known")
    dsn = make_conninfo(host=str(cluster.home.run), port=cluster.port, user=RUNTIME_ROLE)
    (directory / "etc/runtime.env").write_text(f'PGPREDICT_DSN="{dsn}"\nPGPREDICT_MEMORY=512MB\n')
    make_directory(directory / "run", cluster.account)
    replaced = {"/run/pgpredict": str(directory / "run"), "/etc/pgpredict": str(directory / "etc")}
    with database.connect() as connection:
        set_socket(connection, str(directory / "run/runtime.sock"))
        summing.store(connection, "m", summing.regression({"a": "integer"}))
    with running_unit(text("runtime"), directory, cluster.account, replaced) as unit:
        yield unit


def predicted(database: Database) -> float:
    with database.connect() as connection:
        row = connection.execute("SELECT prediction FROM models.m WHERE a = 41").fetchone()
    assert row is not None
    return float(row[0])


def test_runtime_serves_tells_and_drains(runtime: UnitProcess, database: Database, directory: Path) -> None:
    assert predicted(database) == 41
    runtime.wait_for("WATCHDOG=1")
    said = next(line for line in runtime.told() if line.startswith("STATUS=worker "))
    assert int(said.split()[1].strip(",")) != runtime.process.pid
    assert (directory / "run/runtime.sock").stat().st_mode & 0o777 == 0o600
    assert runtime.stop() == 0
    assert "STOPPING=1" in runtime.told()
    assert "event=drain" in runtime.log.read_text()
    assert not (directory / "run/runtime.sock").exists()


def test_watchdog_hears_of_a_runtime_whose_worker_dies(runtime: UnitProcess, database: Database) -> None:
    worker = int(next(line for line in runtime.told() if line.startswith("STATUS")).split()[1].strip(","))
    os.kill(worker, 9)
    eventually(lambda: predicted(database) == 41, psycopg.Error)
    # told once for each worker, and alive all the time
    eventually(lambda: any(line.endswith(", 1 before it") for line in runtime.told()))
    before = runtime.told().count("WATCHDOG=1")
    eventually(lambda: runtime.told().count("WATCHDOG=1") > before + 1)
    assert runtime.process.poll() is None


@pytest.fixture
def proxy(database: Database, directory: Path) -> Iterator[tuple[UnitProcess, int]]:
    """The proxy as its unit says, before a server that trusts it, and its port."""
    cluster = database.server.cluster
    if cluster is None:
        pytest.skip("the tests do not know how to reach this server over TCP")
    port = free_port()
    (directory / "etc/proxy.toml").write_text(
        f'listen = "127.0.0.1:{port}"\nserver = "host=127.0.0.1 port={cluster.port}"\nconnections = 7\n'
    )
    replaced = {"/run/pgpredict": str(directory / "run"), "/etc/pgpredict": str(directory / "etc")}
    with running_unit(text("proxy"), directory, proxy_account(), replaced) as unit:
        yield unit, port


def test_proxy_serves_reloads_and_drains(
    proxy: tuple[UnitProcess, int], database: Database, directory: Path
) -> None:
    unit, port = proxy
    role = database.role("client", "PASSWORD 'pass word' SUPERUSER")
    with database.connect() as connection:
        store_weight(connection, 10.0)
    dsn = make_conninfo(host="127.0.0.1", port=port, user=role, password="pass word", dbname=database.name)
    with contextlib.closing(psycopg.connect(dsn, autocommit=True)) as connection:
        assert connection.execute(PREDICT).fetchone() == (20.0,)
        unit.wait_for("WATCHDOG=1")
        settings = directory / "etc/proxy.toml"
        settings.write_text(settings.read_text().replace("connections = 7", "connections = 1"))
        unit.reload()
        eventually(lambda: "event=reloaded" in unit.log.read_text())
        with pytest.raises(psycopg.OperationalError, match="the proxy takes 1"):
            psycopg.connect(dsn)
        # what runs may finish
        connection.pgconn.send_query(b"SELECT 'done', pg_sleep(3)")
        connection.pgconn.flush()
        waiting_backend(database.dsn, "PgSleep")
        unit.process.terminate()
        eventually(lambda: "event=drain" in unit.log.read_text())
        while connection.pgconn.is_busy():
            connection.pgconn.consume_input()
        result = connection.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"done"
    # it was told once, and systemd says no more
    assert unit.process.wait(60) == 0


def test_settings_that_are_wrong_end_it_with_a_message(directory: Path) -> None:
    (directory / "etc/proxy.toml").write_text("connection = 7\n")
    with (
        pytest.raises(AssertionError, match="a setting 'connection' that there is not"),
        running_unit(text("proxy"), directory, proxy_account(), {"/etc/pgpredict": str(directory / "etc")}),
    ):
        pass


def pgpredict(*words: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(interpreter()), "-m", "pgpredict", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "COLUMNS": "200", "HOME": "/nonexistent"},
        user=user,
        extra_groups=None if user is None else [],
        timeout=240,
    )


def ordinary() -> int | None:
    """The uid of an ordinary account, None if we are one."""
    return None if os.geteuid() else server_account().uid


@pytest.mark.parametrize("words", [["install"], ["install", "proxy"], ["uninstall"]])
def test_ordinary_user_is_refused(words: list[str]) -> None:
    ended = pgpredict("service", *words, user=ordinary())
    assert ended.returncode == 1
    assert "services takes root" in ended.stderr
    assert "pgpredict up" in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user is refused before")
@pytest.mark.skipif(systemd.is_running(), reason="systemd runs this machine")
def test_machine_without_systemd_is_refused() -> None:
    before = {path: path.exists() for path in (Path("/etc/pgpredict"), Path("/usr/local/lib/systemd"))}
    ended = pgpredict("service", "install")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "systemd does not run this machine" in ended.stderr
    assert {path: path.exists() for path in before} == before


def test_an_ordinary_user_sees_what_would_be_written() -> None:
    ended = pgpredict("service", "install", "--print", "--account", "postgres", user=ordinary())
    assert ended.returncode == 0, ended.stderr
    for part in ("# /etc/pgpredict/proxy.toml", "User=postgres", "ExecStart=", "u pgpredict -"):
        assert part in ended.stdout
    only = pgpredict("service", "install", "--print", "runtime", "--account", "postgres", user=ordinary())
    assert "proxy.toml" not in only.stdout.replace("of proxy.toml", "")


def test_services_refuse_an_interpreter_that_they_cannot_see(monkeypatch: pytest.MonkeyPatch) -> None:
    account = server_account()
    monkeypatch.setattr(surroundings, "interpreter", lambda: Path("/home/somebody/venv/bin/python"))
    with pytest.raises(ServerError, match="services see nothing of") as caught:
        usable_interpreter(account)
    assert "/opt/pgpredict" in (caught.value.hint or "")
    # one that is elsewhere, and has not our packages
    monkeypatch.setattr(surroundings, "HIDDEN", ())
    bare = Path("/usr/bin/python3")
    if bare.exists():
        monkeypatch.setattr(surroundings, "interpreter", lambda: bare)
        with pytest.raises(ServerError, match="cannot use '/usr/bin/python3'"):
            usable_interpreter(account)


def test_an_account_is_found_by_its_number() -> None:
    nobody = find_account("nobody")
    assert find_account(str(nobody.uid)) == nobody
    for name in ("4000000001", "99999999999999999999", "no-such-account"):
        with pytest.raises(ServerError, match=f"there is no account '{name}'"):
            find_account(name)
    for name in ("root", "0"):
        with pytest.raises(ServerError, match="does not run as root"):
            find_account(name)


def test_the_servers_account_is_found(database: Database) -> None:
    cluster = database.server.cluster
    assert cluster is None or cluster.account.uid in server_uids()
