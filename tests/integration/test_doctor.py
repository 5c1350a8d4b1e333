"""Doctor in the worlds beside the local server's: containers, servers elsewhere, hosts without systemd.

The local server: test_server_local.py. Services under systemd: tests/acceptance/test_operate.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from psycopg.conninfo import make_conninfo

from pgpredict import doctor
from pgpredict.doctor import examine
from pgpredict.server import Home, container
from pgpredict.server.account import acting_as, server_account
from pgpredict.server.checks import Check
from pgpredict.server.daemon import interpreter
from pgpredict.server.home import write_atomically
from pgpredict.service import Host, Settings
from pgpredict.service import doctor as services
from pgpredict.service.doctor import check_access, check_file
from pgpredict.service.host import write
from tests import summing
from tests.fix_proxy import RunningProxy, free_port, running_proxy
from tests.fix_runtime import RunningRuntime
from tests.fix_server import Database


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Home, Host]:
    """A home and a host with nothing in them, outside of containers."""
    for name in container.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(container, "MARKERS", ())
    return Home(tmp_path / "home"), Host(tmp_path / "root")


def named(checks: list[Check], name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


def test_without_anything_it_says_how_to_begin(nowhere: tuple[Home, Host]) -> None:
    checks = list(examine(nowhere[0], None, nowhere[1]))
    assert named(checks, "deployment") == []
    assert named(checks, "server")[0].mend == "run 'pgpredict up'"


@pytest.fixture
def inside(nowhere: tuple[Home, Host], monkeypatch: pytest.MonkeyPatch) -> tuple[Home, Host]:
    """The inside of a container, as its engine's variable tells."""
    monkeypatch.setenv("container", "oci")
    monkeypatch.setenv("PGPREDICT_SOCKET", "/nonexistent/runtime.sock")
    # in a container nothing but the engine starts services
    monkeypatch.setattr(container, "SYSTEMD", Path("/nonexistent"))
    everywhere = container.running

    def ours(command: str) -> list[psutil.Process]:
        # this machine has others' proxies as well, which come and go
        children = {process.pid for process in psutil.Process().children()}
        return [process for process in everywhere(command) if process.pid in children]

    monkeypatch.setattr(container, "running", ours)
    return nowhere


def test_a_container_is_told_by_its_evidence(
    inside: tuple[Home, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPREDICT_DSN", raising=False)
    checks = list(examine(inside[0], None, inside[1]))
    assert checks[0].message == "inside of a container ($container)"
    # nobody's but the deployment's: no word of 'pgpredict up'
    assert {check.name for check in checks} <= {"deployment", "runtime", "proxy"}
    monkeypatch.delenv("container")
    assert container.evidence() == ""
    monkeypatch.setenv("container", "oci")
    monkeypatch.delenv("PGPREDICT_SOCKET")
    assert container.evidence() == "" or Path("/run/pgpredict").exists()
    monkeypatch.setenv("PGPREDICT_SOCKET", "/nonexistent/runtime.sock")
    monkeypatch.delenv("container")
    marker = inside[0].path.parent / ".dockerenv"
    marker.touch()
    monkeypatch.setattr(container, "MARKERS", (marker,))
    assert container.evidence() == str(marker)


def test_a_runtime_in_containers(inside: tuple[Home, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    # other tests have proxies, and a container with nothing but a proxy needs no runtime
    monkeypatch.setattr(container, "running", lambda command: [])
    with RunningRuntime("host=/nonexistent") as runtime:
        monkeypatch.setenv("PGPREDICT_SOCKET", str(runtime.path))
        [found] = named(list(examine(inside[0], None, inside[1])), "runtime")
        assert (found.state, found.mend) == ("ok", "")
        runtime.process.terminate()
        runtime.process.wait(60)
        [gone] = named(list(examine(inside[0], None, inside[1])), "runtime")
        assert gone.state == "fail"
        assert "docker compose up -d runtime" in gone.mend


@pytest.mark.skipif(os.geteuid() != 0, reason="a directory of another account takes root")
def test_another_uid_in_containers(
    inside: tuple[Home, Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "running", lambda command: [])
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 4321, 4321)
    monkeypatch.setenv("PGPREDICT_SOCKET", str(volume / "runtime.sock"))
    [found] = named(list(examine(inside[0], None, inside[1])), "runtime")
    assert found.state == "fail"
    assert "belongs to the uid 4321" in found.message
    assert "the same uid" in found.mend


def test_server_and_proxy_in_containers(
    inside: tuple[Home, Host], database: Database, proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPREDICT_DSN", database.dsn)
    checks = list(examine(inside[0], None, inside[1]))
    assert [check.state for check in named(checks, "server")] == ["ok"]
    found = [check for check in named(checks, "proxy") if f"process {proxy.process.pid}" in check.message]
    assert [check.state for check in found] == ["ok"]
    monkeypatch.setenv("PGPREDICT_DSN", "host=127.0.0.1 port=1")
    [gone] = named(list(examine(inside[0], None, inside[1])), "server")
    assert "does not lead to the server" in gone.message
    assert "docker compose up -d database" in gone.mend


def test_the_server_is_asked_as_the_runtime_asks_in_containers(
    inside: tuple[Home, Host], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection string names no database, and there is none of its role's name."""
    cluster = database.server.cluster
    if cluster is None:
        pytest.skip("the tests do not know how to reach this server over TCP")
    role = database.role("runtime", "PASSWORD 'pass word'")
    write_atomically(tmp_path / ".pgpass", "*:*:*:*:pass word\n", 0o600)
    monkeypatch.setenv("PGPREDICT_DSN", f"host=127.0.0.1 port={cluster.port} user={role}")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / ".pgpass"))
    [found] = named(list(examine(inside[0], None, inside[1])), "server")
    assert (found.state, found.message) == ("ok", "PGPREDICT_DSN leads to the server")


def test_a_container_that_comes_to_an_end_needs_no_runtime(
    inside: tuple[Home, Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images have /run/pgpredict; where the volume is not mounted there, the runtime is elsewhere."""
    (tmp_path / "pgpredict").mkdir()
    monkeypatch.setattr(container, "default_socket", lambda: tmp_path / "pgpredict/runtime.sock")
    monkeypatch.setattr(container, "running", lambda command: [])
    monkeypatch.delenv("PGPREDICT_SOCKET")
    monkeypatch.delenv("PGPREDICT_DSN", raising=False)
    checks = list(examine(inside[0], None, inside[1]))
    assert [check.state for check in checks] == ["ok", "ok"]
    assert checks[0].message.startswith("inside of a container")
    # this one is mounted wherever tests run
    monkeypatch.setattr(container, "default_socket", lambda: Path("/proc/runtime.sock"))
    [found] = named(list(examine(inside[0], None, inside[1])), "runtime")
    assert found.state == "fail"


@pytest.mark.parametrize("told_by", ["options", "file"])
def test_a_proxy_is_asked_over_http_where_it_serves_it(
    inside: tuple[Home, Host], database: Database, tmp_path: Path, told_by: str
) -> None:
    # the clients' port was asked first when it was the lower one
    port, http = sorted((free_port(), free_port()))
    options = ["--http", f"127.0.0.1:{http}"]
    if told_by == "file":
        (tmp_path / "proxy.toml").write_text(f'http = "127.0.0.1:{http}"\n')
        options = [f"--config={tmp_path}/proxy.toml"]
    with running_proxy(database.dsn, *options, port=port) as proxy:
        checks = named(list(examine(inside[0], None, inside[1])), "proxy")
        [found] = [check for check in checks if f"process {proxy.process.pid}," in check.message]
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=60) as answer:
            metrics = answer.read().decode()
        proxy.process.send_signal(signal.SIGTERM)
        proxy.process.wait(60)
        assert "08P01" not in proxy.logged()
    assert (found.state, found.message) == ("ok", f"the proxy, process {proxy.process.pid}, answers")
    assert 'pgpredict_refused_connections_total{sqlstate="08P01"}' not in metrics


def test_a_proxy_without_its_server_in_containers(
    inside: tuple[Home, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPREDICT_DSN", raising=False)
    with running_proxy("host=127.0.0.1 port=1", "--http", f"127.0.0.1:{free_port()}") as proxy:
        checks = named(list(examine(inside[0], None, inside[1])), "proxy")
        [found] = [check for check in checks if f"process {proxy.process.pid}" in check.message]
    assert found.state == "fail"
    assert "server: 127.0.0.1:1" in found.message
    assert "docker compose logs proxy" in found.mend


def test_a_proxy_that_has_just_ended_is_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        found = psutil.Process(ended.pid)
    assert list(container.check_proxy(found)) == []


def test_a_local_server_makes_a_machine_of_a_container(inside: tuple[Home, Host]) -> None:
    home, host = inside
    home.path.mkdir()
    home.remember(server={"version": "15.1"} | dict.fromkeys(("bindir", "sharedir", "pkglibdir"), "/none"))
    checks = list(doctor_lines(home, host))
    assert checks[0].message == f"local server in {home.path}"


def doctor_lines(home: Home, host: Host) -> Iterator[Check]:
    """The report up to where it looks at the server that is not there."""
    with contextlib.suppress(KeyError):
        yield from examine(home, None, host)


def test_a_server_by_its_connection_string(
    nowhere: tuple[Home, Host], database: Database, proxy: RunningProxy
) -> None:
    home, host = nowhere
    with database.connect() as connection:
        summing.store(connection, "m", summing.regression({"a": "integer"}))
    direct = list(examine(home, database.dsn, host))
    assert [check for check in direct if check.state != "ok"] == []
    assert "directly, where PREDICT is not known" in named(direct, "server")[0].message
    title = f"database {database.name}"
    assert named(direct, f"{title}: m")[0].message.startswith("predicts")
    through = list(examine(home, proxy.dsn(database.dsn), host))
    assert "through the proxy" in named(through, "server")[0].message
    assert named(through, f"{title}: m")


def test_a_server_elsewhere_is_told(
    nowhere: tuple[Home, Host], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "local_install", lambda connection: None)
    checks = named(list(examine(nowhere[0], database.dsn, nowhere[1])), "server")
    assert "another machine or in a container" in checks[1].message
    assert "docker compose exec runtime pgpredict doctor" in checks[1].mend


def test_what_is_wrong_with_a_server_is_told(nowhere: tuple[Home, Host], database: Database) -> None:
    home, host = nowhere
    role = database.role()
    ordinary = list(examine(home, make_conninfo(database.dsn, user=role), host))
    assert [check.message for check in ordinary if check.state == "fail"] == [
        f"the role {role!r} is not a superuser"
    ]
    [refused] = examine(home, "host=127.0.0.1 port=1", host)
    assert (refused.name, refused.state) == ("server", "fail")
    without = list(examine(home, database.server.dsn("postgres"), host))
    assert [check.message for check in without if check.state == "fail"] == [
        "the extension pgpredict is missing"
    ]
    with database.connect() as connection:
        summing.store(connection, "m", summing.regression({"a": "integer"}))
        connection.execute("ALTER SERVER pgpredict OPTIONS (ADD socket '/nonexistent/runtime.sock')")
    [silent] = [check for check in examine(home, database.dsn, host) if check.state == "fail"]
    assert "does not answer" in silent.message
    assert "restart" in silent.mend


def test_units_on_a_machine_that_systemd_does_not_run(nowhere: tuple[Home, Host]) -> None:
    home, host = nowhere
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs this machine")
    write(host, ["proxy"], Settings(Path(sys.executable), "postgres", 1 << 30))
    checks = list(examine(home, None, host))
    assert checks[0].message == "services under systemd: proxy"
    assert (checks[1].state, checks[1].name) == ("warn", "unit proxy")
    assert "systemd does not run this machine" in checks[1].message
    # none of the local server's business
    assert not [check for check in checks if "pgpredict up" in check.mend]


def test_the_runtimes_access_is_tried_as_the_runtime_comes(
    nowhere: tuple[Home, Host], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its account's ~/.pgpass, or with what runtime.env says; not with a password of ours."""
    cluster, host = database.server.cluster, nowhere[1]
    if cluster is None:
        pytest.skip("the tests do not know how to reach this server over TCP")
    role = database.role("runtime", "PASSWORD 'pass word'")
    write(host, ["runtime"], Settings(Path(sys.executable), server_account().name, 1 << 30))
    dsn = f'PGPREDICT_DSN="host=127.0.0.1 port={cluster.port} user={role}"\n'

    def access(variables: str) -> Check:
        (host.configuration / "runtime.env").write_text(dsn + variables)
        with database.server.admin() as connection:
            [found] = check_access(connection, host)
        return found

    with directory_of_the_account() as home:
        write_atomically(home / ".pgpass", "127.0.0.1:*:*:*:pass word\n", 0o600, server_account())
        monkeypatch.setenv("PGPASSWORD", "wrong")
        assert access(f"HOME={home}\n").state == "ok"
        assert access(f"PGPASSFILE={home}/.pgpass\n").state == "ok"
        assert access("PGPASSWORD=pass word\n").state == "ok"
        monkeypatch.setenv("PGPASSWORD", "pass word")
        refused = access("PGPASSFILE=/nonexistent\n")
        assert refused.state == "fail"
        assert "no password supplied" in refused.message
        assert "Traceback" not in refused.message
        assert "pg_hba.conf" in refused.mend


@pytest.mark.skipif(os.geteuid() != 0, reason="a file that another account cannot use takes root")
def test_access_that_cannot_be_tried_is_no_failure(
    nowhere: tuple[Home, Host], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's own pgpredict, in a directory that the services see nothing of, says so."""
    write(nowhere[1], ["runtime"], Settings(Path(sys.executable), server_account().name, 1 << 30))
    (tmp_path / "python").symlink_to(sys.executable)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(services, "interpreter", lambda: tmp_path / "python")
    with database.server.admin() as connection:
        [found] = check_access(connection, nowhere[1])
    assert found.state == "warn"
    assert "Permission denied" in found.message
    assert "systemctl cat pgpredict-runtime" in found.mend


def test_a_unit_with_an_account_of_its_own_is_of_this_version(nowhere: tuple[Home, Host]) -> None:
    """Whatever the operator's drop-in says."""
    host = nowhere[1]
    write(host, ["runtime", "proxy"], Settings(interpreter(), "www-data", 2 << 30))
    assert list(check_file(host, "runtime")) == list(check_file(host, "proxy")) == []
    write(host, ["runtime"], Settings(Path("/opt/other/bin/python"), "www-data", 2 << 30))
    [found] = check_file(host, "runtime")
    assert "another version" in found.message


@contextlib.contextmanager
def directory_of_the_account() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pgp-doctor-") as name:
        os.chown(name, server_account().uid, server_account().gid)
        yield Path(name)


def test_the_command_as_the_servers_account(database: Database) -> None:
    """An ordinary user sees the report, and its exit code."""
    with directory_of_the_account() as directory, acting_as(server_account()):
        command = [sys.executable, "-m", "pgpredict", "doctor", "--dsn", database.dsn]
        ended = subprocess.run(
            command,
            env={**os.environ, "PGPREDICT_HOME": str(directory / "home"), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all is well" in ended.stdout
