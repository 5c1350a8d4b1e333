"""The entry point of the database's container, with a PostgreSQL of this machine (tests/boxes.py)."""

from __future__ import annotations

import pwd
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgpredict.server import find_servers
from tests.boxes import Box, Running, make_box, why_not
from tests.compose import read
from tests.fix_runtime import eventually

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def box() -> Iterator[Box]:
    """A box with the newest server of this machine."""
    if reason := why_not():
        pytest.skip(reason)
    install = next((install for install in find_servers() if not install.private), None)
    if install is None:
        pytest.skip("no PostgreSQL with Multicorn is installed here")
    with make_box(install) as box:
        yield box


@pytest.fixture
def running(box: Box) -> Running:
    """One that runs."""
    running = box.start()
    running.wait_ready()
    return running


def test_an_orphan_that_fails_is_none_of_the_servers(running: Running) -> None:
    """A session lives on; so it does not if PostgreSQL is process 1."""
    words = ["psql", "-XqAt", "-h", "/run/postgresql", "-d", "postgres", "-c", "SELECT 7 FROM pg_sleep(3)"]
    with running.popen(*words) as waiting:
        time.sleep(0.5)
        # its parent ends first, so that it is process 1 that hears of it
        assert running.execute("sh", "-c", "(sleep 0.5; exit 3) &").returncode == 0
        assert waiting.communicate(timeout=240)[0] == "7\n"
    assert "terminating any other active server processes" not in running.said()
    # and it was waited for, as was the session's backend
    zombies = "cat /proc/[0-9]*/stat | grep -c ' Z '"
    eventually(lambda: running.execute("sh", "-c", zombies).stdout == "0\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_signals_reach_the_server(running: Running, number: signal.Signals) -> None:
    running.query("ALTER SYSTEM SET work_mem = '99MB'")
    running.signal(signal.SIGHUP)
    eventually(lambda: running.query("SHOW work_mem") == "99MB")
    running.signal(number)
    assert running.process.wait(240) == 0
    kinds = {signal.SIGINT: "fast", signal.SIGTERM: "smart", signal.SIGQUIT: "immediate"}
    assert f"received {kinds[number]} shutdown request" in running.said()


def test_the_exit_code_is_the_servers(running: Running) -> None:
    postmaster = Path(running.box.data / "postmaster.pid").read_text().split()[0]
    assert running.execute("kill", "-KILL", postmaster).returncode == 0
    assert running.process.wait(240) == 128 + signal.SIGKILL


def test_a_wrong_setting_ends_it(box: Box) -> None:
    assert box.start("postgres", "-c", "work_mem=nonsense").process.wait(240) == 1


def test_a_start_waits_for_no_standby(running: Running) -> None:
    """There is something to write, and nobody who could confirm it."""
    box = running.box
    running.query("ALTER SYSTEM SET synchronous_standby_names = 'other'")
    running.stop()
    again = box.start(PGPREDICT_RUNTIME_PASSWORD="another")
    again.wait_ready()
    assert again.query("SHOW synchronous_standby_names") == "other"
    assert again.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'pgpredict_runtime'") == "t"


def test_a_statement_that_hangs_is_told(running: Running) -> None:
    box = running.box
    running.stop()
    what = "import database.server as s; from pathlib import Path; s.TIMEOUT = 1; "
    what += (
        f"programs = s.Programs.load(); opened = s.inside(programs, Path({str(box.data)!r}), 'postgres'); "
    )
    what += "opened.__enter__().psql('postgres', 'SELECT pg_sleep(60);')"
    hanging = box.start(what=what)
    assert hanging.process.wait(240) == 1
    assert "a statement in the database 'postgres' has not ended within 1 s" in hanging.said()


def test_a_recovery_is_left_alone(running: Running) -> None:
    """To a point in time: nothing can be written before it has come to its end."""
    box = running.box
    archive = box.volume / "archive"
    running.execute("mkdir", str(archive))
    running.query("ALTER SYSTEM SET archive_mode = 'on'")
    running.query(f"ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'")
    running.stop()
    running = box.start()
    running.wait_ready()
    backup = box.volume / "15/restored"
    done = running.execute(
        "pg_basebackup", "-h", "/run/postgresql", "-D", str(backup), "-X", "none", "-c", "fast"
    )
    assert done.returncode == 0, done.stderr
    running.query("CREATE TABLE after AS SELECT 1 AS one")
    running.query("SELECT pg_switch_wal()")
    running.execute("touch", str(backup / "recovery.signal"))
    running.stop()
    settings = (f"restore_command=cp {archive}/%f %p", "archive_mode=off", "recovery_target=immediate")
    words = [word for text in settings for word in ("-c", text)]
    restored = box.start("postgres", *words, PGDATA=str(backup), PGPREDICT_RUNTIME_PASSWORD="another")
    restored.wait_ready()
    assert restored.query("SELECT pg_is_in_recovery()") == "t"
    assert "this is a recovery: extension and the runtime's password stay what they are" in restored.said()
    # it lets sessions in before it stands still; resumed too early, it would wait for ever
    eventually(lambda: restored.query("SELECT pg_is_wal_replay_paused()") == "t")
    assert restored.query("SELECT pg_wal_replay_resume()") == ""
    eventually(lambda: restored.query("SELECT pg_is_in_recovery()") == "f")
    restored.stop()
    again = box.start(PGDATA=str(backup), PGPREDICT_RUNTIME_PASSWORD="another")
    again.wait_ready()
    assert again.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'pgpredict_runtime'") == "t"


@pytest.mark.parametrize("what", ["directory", "file"])
def test_data_of_another_account_is_refused_with_a_hint(running: Running, what: str) -> None:
    box = running.box
    running.stop()
    path = box.data if what == "directory" else box.data / "PG_VERSION"
    path.chmod(0o700 if what == "directory" else 0o600)
    shutil.chown(path, "root")
    said = box.refused()
    account = pwd.getpwnam("postgres")
    if what == "directory":
        assert f"'{path}' belongs to the uid 0, and this container's is {account.pw_uid}" in said
    else:
        assert f"'{path}': Permission denied" in said
    assert f"chown -R {account.pw_uid}:{account.pw_gid}" in said


@pytest.mark.parametrize("what", ["database", "rule"])
def test_a_cluster_that_does_not_let_it_in_is_refused_with_a_hint(running: Running, what: str) -> None:
    box = running.box
    if what == "database":
        running.query("CREATE DATABASE other")
        running.query("ALTER DATABASE postgres RENAME TO renamed", "other")
    running.stop()
    if what == "rule":
        (box.data / "pg_hba.conf").write_text("local all all reject\n")
    said = box.refused()
    assert "the container cannot reach its own database 'postgres'" in said
    assert "hint: at each start it works in the database 'postgres' as 'postgres'" in said


def test_the_health_check_is_one_process(running: Running) -> None:
    health = str(running.box.place / "lib/database/health")
    # it gives up before the engine ends it
    (patience,) = re.findall(r"PGCONNECT_TIMEOUT=(\d+)", Path(health).read_text())
    told = read()["database"].health
    assert told is not None
    assert int(patience) < told.timeout
    assert running.execute(health).returncode == 0
    assert running.execute(health, POSTGRES_USER="nobody").returncode != 0
    # of the tests of the images: all but process 1, which nothing inside can stop
    running.execute("sh", "-c", "kill -STOP -1")
    listed: list[str] = []
    while "psql" not in listed:
        with running.popen(health) as check:
            while "psql" not in listed and check.poll() is None:
                listed = running.execute("sh", "-c", "cat /proc/[0-9]*/comm").stdout.split()
            assert check.wait(240) == 2
    # the one that an engine kills is the one that waits
    assert listed.count("psql") == 1
    assert not {"health", "pg_isready"} & set(listed)
    running.execute("sh", "-c", "kill -CONT -1")
    assert running.execute(health).returncode == 0


@pytest.mark.parametrize("name", ["data", "with a space"])
def test_a_volume_at_the_data_directory_itself_is_refused(box: Box, name: str) -> None:
    """Its lock would be no other container's; within one file system os.path.ismount sees nothing."""
    volume, data = box.place / "other", box.volume / name
    volume.mkdir(mode=0o700)
    shutil.chown(volume, "postgres", "postgres")
    data.mkdir()
    (volume / "postmaster.pid").touch()
    box.mounts.append(f"mount --bind '{volume}' '{data}'")
    said = box.refused(PGDATA=str(data))
    assert f"a volume is mounted at '{data}', the data directory itself" in said
    assert "hint: mount it above: at /var/lib/postgresql" in said
    # not one file is another than before
    assert [path.name for path in volume.iterdir()] == ["postmaster.pid"]
    assert [path.name for path in box.volume.iterdir()] == [name]
