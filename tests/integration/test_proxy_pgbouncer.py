"""PgBouncer in front of the proxy and behind it, in session and transaction mode, set up as docs/ says."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgpredict.server.account import server_account
from tests.fix_clients import INSTALLED, PASSWORD, Address, Place, found
from tests.fix_proxy import RunningProxy, free_port, running_proxy
from tests.fix_runtime import eventually
from tests.killing import PATIENCE, canceling, waiting_backend
from tests.pages import ROOT

pytestmark = pytest.mark.one_server

PREDICT = "SELECT PREDICT(weight USING %s::float8 AS a)"
MODES = ("session", "transaction")


def program() -> tuple[str, dict[str, str]]:
    """PgBouncer's path, and the environment that it needs."""
    unpacked = INSTALLED / "debian"
    path = unpacked / "usr/sbin/pgbouncer"
    if not path.exists():
        return found("pgbouncer"), dict(os.environ)
    libraries = ":".join(map(str, unpacked.glob("usr/lib/*-linux-gnu*")))
    return str(path), {**os.environ, "LD_LIBRARY_PATH": libraries}


def documented() -> dict[str, Any]:
    """PgBouncer's settings as the documentation recommends them."""
    blocks = re.findall(r"```ini\n(.*?)```", (ROOT / "docs/pgbouncer.md").read_text(), re.DOTALL)
    parser = configparser.ConfigParser()
    parser.read_string(blocks[0])
    return dict(parser["pgbouncer"])


def keeps_prepared_statements() -> bool:
    """Whether it carries prepared statements from connection to connection, as 1.21 does."""
    command, environment = program()
    said = subprocess.run([command, "--version"], env=environment, capture_output=True, text=True, check=True)
    version = re.search(r"PgBouncer (\d+)\.(\d+)", said.stdout)
    assert version is not None, said.stdout
    return (int(version[1]), int(version[2])) >= (1, 21)


@contextlib.contextmanager
def running_pgbouncer(to: Address, mode: str, port: int) -> Iterator[None]:
    """Run a PgBouncer in front of an address, with two connections to it."""
    command, environment = program()
    given = documented() | {
        "listen_port": port,
        "unix_socket_dir": "",
        "pool_mode": mode,
        "default_pool_size": 2,
        # a test that waits longer for a connection has failed; one client of a session waits for others
        "query_wait_timeout": PATIENCE,
        **({"max_prepared_statements": 100} if keeps_prepared_statements() else {}),
    }
    with tempfile.TemporaryDirectory(prefix="pgp-bouncer-") as name:
        directory = Path(name)
        users, ini, log = (directory / part for part in ("users.txt", "pgbouncer.ini", "log"))
        users.write_text(f'"{to.user}" "{PASSWORD}"\n')
        given |= {"auth_file": users, "logfile": log}
        ini.write_text(
            f"[databases]\n* = host={to.host} port={to.port}\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in given.items())
        )
        # it refuses to run as root
        account = server_account()
        for path in (directory, users, ini):
            os.chown(path, account.uid, account.gid)
        root = os.geteuid() == 0
        process = subprocess.Popen(
            [command, "-q", str(ini)],
            env=environment,
            user=account.uid if root else None,
            group=account.gid if root else None,
            extra_groups=[] if root else None,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not can_connect(replace(to, port=port)):
                assert process.poll() is None, log.read_text() if log.exists() else "no log"
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


def can_connect(address: Address) -> bool:
    try:
        address.connect().close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[tuple[RunningProxy, int]]:
    """A proxy, and the port at which it looks for PgBouncer."""
    port = free_port()
    with running_proxy(f"host=127.0.0.1 port={port}") as proxy:
        yield proxy, port


@pytest.fixture(params=[f"{where} {mode}" for mode in MODES for where in ("in front", "behind")])
def chain(
    request: pytest.FixtureRequest, place: Place, behind_proxy: tuple[RunningProxy, int]
) -> Iterator[tuple[Address, str]]:
    """The address of client -> PgBouncer -> proxy -> server, or of client -> proxy -> PgBouncer -> server."""
    where, mode = request.param.rsplit(" ", 1)
    if where == "in front":
        port = free_port()
        with running_pgbouncer(place.through, mode, port):
            yield replace(place.direct, port=port), mode
        return
    proxy, port = behind_proxy
    with running_pgbouncer(place.direct, mode, port):
        yield replace(place.direct, port=proxy.port), mode
    assert "event=defect" not in proxy.logged(), proxy.logged()


def failing_pipeline(connection: psycopg.Connection[Any]) -> None:
    """Messages without a Sync between them, of which one fails for a question of ours."""
    with connection.pipeline():
        connection.execute("INSERT INTO done VALUES (-1, -1)")
        connection.execute("SELECT PREDICT(weight) FROM nowhere")
        connection.execute(PREDICT, (1.0,))


def half_done(connection: psycopg.Connection[Any], number: int, table: str = "done") -> None:
    """A transaction, or a savepoint within one, that fails at a form."""
    with connection.transaction():
        connection.execute("INSERT INTO done VALUES (%s, -1)", (number,))
        connection.execute(f"SELECT PREDICT(weight USING nothing) FROM {table}")


def work(address: Address, number: int) -> None:
    """What one client does, beside others, without prepared statements of its own."""
    with address.connect(prepare_threshold=None) as connection:
        for value in range(5):
            expected = (10.0 * (number + value),)
            assert connection.execute(PREDICT, (float(number + value),)).fetchone() == expected
            simple = connection.pgconn.exec_(PREDICT.replace("%s", str(number + value)).encode())
            assert float(simple.get_value(0, 0) or b"") == expected[0]
            with connection.transaction():
                connection.execute("INSERT INTO done VALUES (%s, %s)", (number, value))
                query = "UPDATE done SET v = PREDICT(weight USING v AS a) WHERE n = %s AND v = %s RETURNING v"
                assert connection.execute(query, (number, value)).fetchone() == (10.0 * value,)
                connection.execute("DELETE FROM done WHERE n = %s", (number,))
            with pytest.raises(psycopg.errors.UndefinedObject):
                connection.execute("SELECT PREDICT(weihgt USING 1.0 AS a)")
            with pytest.raises(psycopg.errors.UndefinedTable):  # the server's answer to a question of ours
                connection.execute("SELECT PREDICT(weight) FROM nowhere")
            with pytest.raises(psycopg.Error):
                half_done(connection, number)
        with connection.pipeline():
            cursors = [connection.execute(PREDICT, (float(value),)) for value in range(10)]
            assert [cursor.fetchone() for cursor in cursors] == [(10.0 * value,) for value in range(10)]
        with pytest.raises(psycopg.errors.UndefinedTable):
            failing_pipeline(connection)
        with connection.transaction():
            with pytest.raises(psycopg.errors.UndefinedTable):
                half_done(connection, number, "nowhere")
            assert connection.execute(PREDICT, (1.0,)).fetchone() == (10.0,)


def test_more_clients_than_connections(chain: tuple[Address, str], place: Place) -> None:
    address, _ = chain
    with place.direct.connect() as connection:
        connection.execute("CREATE TABLE done (n int, v float8)")
    # each waits for the other's end in session mode
    with ThreadPoolExecutor(8) as clients:
        for outcome in [clients.submit(work, address, number) for number in range(8)]:
            outcome.result(2 * PATIENCE)
    with place.direct.connect() as connection:
        assert connection.execute("SELECT count(*) FROM done").fetchone() == (0,)
        # nothing of ours stays behind in the connections that PgBouncer keeps, once it has reset them
        count = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND state <> 'idle'
        """
        eventually(lambda: connection.execute(count).fetchone() == (1,))
    with address.connect(prepare_threshold=None) as one, address.connect(prepare_threshold=None) as other:
        for connection in (one, other):
            statements = "SELECT name FROM pg_prepared_statements WHERE name LIKE '%predict%'"
            assert connection.execute(statements).fetchall() == []


def test_sessions_keep_what_the_mode_lets_them_keep(chain: tuple[Address, str], place: Place) -> None:
    address, mode = chain
    if mode == "transaction":
        # prepared within one transaction and executed there is all that PgBouncer before 1.21 allows
        with address.connect() as connection, connection.transaction():
            assert connection.execute(PREDICT, (1.0,), prepare=True).fetchone() == (10.0,)
            assert connection.execute(PREDICT, (2.0,), prepare=True).fetchone() == (20.0,)
            connection.execute("DEALLOCATE ALL")
            connection.execute("CREATE TEMPORARY TABLE mine ON COMMIT DROP AS SELECT 3.0::float8 AS a")
            assert connection.execute("SELECT PREDICT(weight) FROM mine").fetchone() == (30.0,)
            connection.execute("CREATE SCHEMA s; SET LOCAL search_path = s, public")
            connection.execute("CREATE TABLE mine AS SELECT 4.0::float8 AS a")
            assert connection.execute("SELECT PREDICT(weight) FROM s.mine").fetchone() == (40.0,)
        return
    with address.connect() as connection:
        for number in range(20):
            assert connection.execute(PREDICT, (float(number),), prepare=True).fetchone() == (10.0 * number,)
        connection.execute("CREATE TEMPORARY TABLE mine AS SELECT 3.0::float8 AS a")
        assert connection.execute("SELECT PREDICT(weight) FROM mine").fetchone() == (30.0,)
        connection.execute("LISTEN channel; NOTIFY channel, 'hello'")
        assert [note.payload for note in connection.notifies(timeout=60, stop_after=1)] == ["hello"]
    with address.connect() as connection:  # PgBouncer has cleaned up behind the first
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT PREDICT(weight) FROM mine")
        assert connection.execute(PREDICT, (1.0,), prepare=True).fetchone() == (10.0,)


def test_prepared_in_transaction_mode(chain: tuple[Address, str]) -> None:
    address, mode = chain
    if mode == "transaction" and not keeps_prepared_statements():
        pytest.skip("PgBouncer before 1.21 knows no prepared statements in transaction mode")

    def many(number: int) -> None:
        with address.connect() as connection:
            for value in range(20):
                expected = (10.0 * (number + value),)
                row = connection.execute(PREDICT, (float(number + value),), prepare=True).fetchone()
                assert row == expected

    with ThreadPoolExecutor(6) as clients:
        for outcome in [clients.submit(many, number) for number in range(6)]:
            outcome.result(2 * PATIENCE)


def test_cancels_reach_the_right_backend(chain: tuple[Address, str], place: Place) -> None:
    address, _ = chain
    held, waits = "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_xact_lock(1), 'PREDICT'"
    with (
        address.connect() as victim,
        address.connect() as bystander,
        ThreadPoolExecutor(1) as other,
        place.database.connect() as direct,
    ):
        direct.execute(held)
        outcome = other.submit(lambda: bystander.execute(waits).fetchone())
        waiting_backend(place.database.dsn)
        with canceling(victim, place.database.dsn), pytest.raises(psycopg.errors.QueryCanceled):
            victim.execute("SELECT pg_sleep(120), 'PREDICT'")
        assert not outcome.done()
        direct.execute("SELECT pg_advisory_unlock(1)")
        assert outcome.result(PATIENCE) == ("", "PREDICT")
        assert victim.execute(PREDICT, (2.0,)).fetchone() == (20.0,)
