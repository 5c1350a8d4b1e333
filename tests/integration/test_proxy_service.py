"""The proxy as a service: garbage, limits, lost peers, shutdown, settings, metrics, passwords, log."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import make_conninfo

from pgpredict.proxy import frames
from tests.fix_proxy import PREDICT, RunningProxy, free_port, running_proxy, store_weight
from tests.fix_runtime import eventually
from tests.fix_server import Database, Server
from tests.killing import PATIENCE, waiting_backend


@pytest.fixture
def connection(proxy: RunningProxy, database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as direct:
        store_weight(direct, 10.0)
    with proxy.connect(database) as connection:
        yield connection


def raw(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.settimeout(PATIENCE)
    return sock


def error_of(data: bytes) -> dict[str, str]:
    kind, body = next(frames.messages(data))
    assert kind == ord("E"), data[:50]
    return frames.error_fields(body)


@pytest.mark.parametrize(
    ("data", "sqlstate"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "08P01"),
        (b"\x00\x00\x00\x08\x00\x02\x00\x00", "08P01"),
        (b"\x00\x00\x00\x09\x00\x03\x00\x00x", "08P01"),
        (b"\x00\x00\x00\x10\x00\x03\x00\x00user\x00me\x00", "08P01"),
        (b"\xff\xff\xff\xff", "08P01"),
    ],
)
def test_garbage_gets_an_error_that_a_client_can_read(
    proxy: RunningProxy, connection: psycopg.Connection[Any], data: bytes, sqlstate: str
) -> None:
    with raw(proxy.port) as sock:
        sock.sendall(data)
        assert error_of(sock.recv(10_000))["C"] == sqlstate
        assert sock.recv(1) == b""
    assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_a_client_that_says_nothing_is_let_go(server: Server) -> None:
    with running_proxy(server.admin_dsn, "--login-seconds", "2") as proxy, raw(proxy.port) as sock:
        sock.sendall(b"\x00\x00")
        assert error_of(sock.recv(10_000))["C"] == "08P01"
        assert sock.recv(1) == b""


def test_a_malformed_message_in_a_session_ends_that_session_only(
    proxy: RunningProxy, connection: psycopg.Connection[Any], database: Database
) -> None:
    with proxy.connect(database) as other:
        os.write(other.pgconn.socket, b"Q\x00\x00\x00\x01")
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 1")
    assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_the_limit_of_connections(server: Server) -> None:
    with running_proxy(server.admin_dsn, "--connections", "2") as proxy:
        dsn = proxy.dsn(server.admin_dsn)
        with (
            psycopg.connect(dsn),
            psycopg.connect(dsn),
            pytest.raises(psycopg.OperationalError, match="too many clients"),
        ):
            psycopg.connect(dsn)
        eventually(lambda: can_connect(dsn))


def can_connect(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_server_that_is_not_there() -> None:
    said = r"cannot connect to the server at 127\.0\.0\.1:1"
    with running_proxy("host=127.0.0.1 port=1") as proxy, pytest.raises(psycopg.OperationalError, match=said):
        psycopg.connect(proxy.dsn("user=me dbname=me"))


def test_a_backend_that_is_killed_ends_its_session_only(
    proxy: RunningProxy, connection: psycopg.Connection[Any], database: Database
) -> None:
    with proxy.connect(database) as victim, database.connect() as direct:
        direct.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
        with pytest.raises(psycopg.errors.AdminShutdown):
            victim.execute(PREDICT)
    assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_a_client_that_vanishes_leaves_no_backend(proxy: RunningProxy, database: Database) -> None:
    with contextlib.closing(proxy.connect(database)) as victim:
        pid = victim.info.backend_pid
        victim.pgconn.send_query(b"SELECT pg_sleep(200)")
        victim.pgconn.flush()
        waiting_backend(database.dsn, "PgSleep")
        with socket.socket(fileno=os.dup(victim.pgconn.socket)) as sock:
            sock.shutdown(socket.SHUT_RDWR)
    with database.connect() as direct:
        alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        if direct.info.server_version < 140000:  # older servers look for their client at the end only
            direct.execute("SELECT pg_cancel_backend(%s)", (pid,))
        eventually(lambda: direct.execute(alive, (pid,)).fetchone() == (0,), seconds=PATIENCE)


def test_shutdown_finishes_running_statements_and_refuses_new_ones(
    server: Server, database: Database
) -> None:
    with (
        running_proxy(server.admin_dsn, "--drain-seconds", f"{PATIENCE}") as proxy,
        database.connect() as direct,
    ):
        busy, idle = clients = proxy.connect(database), proxy.connect(database)
        direct.execute("SELECT pg_advisory_lock(1)")
        busy.pgconn.send_query(b"SELECT 'done', pg_advisory_lock(1)")
        busy.pgconn.flush()
        waiting_backend(database.dsn)
        proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: "event=drain" in proxy.logged())
        with pytest.raises(psycopg.errors.AdminShutdown):
            idle.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="shutting down"):
            psycopg.connect(proxy.dsn(database.dsn))
        direct.execute("SELECT pg_advisory_unlock(1)")
        result = busy.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"done"
        # at once: there is nobody left to drain
        assert proxy.process.wait(PATIENCE / 2) == 0
        for client in clients:
            client.close()
        assert not list(proxy.directory.glob(".s.PGSQL.*"))


def test_settings_are_read_again(server: Server, database: Database, tmp_path: Any) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text("connections = 50\n")
    with running_proxy(server.admin_dsn, "--config", str(file)) as proxy:
        file.write_text("connections = 1\n")
        proxy.process.send_signal(signal.SIGHUP)
        eventually(lambda: "event=reloaded" in proxy.logged())
        with proxy.connect(database):
            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                proxy.connect(database)
            file.write_text("connektions = 1\n")
            proxy.process.send_signal(signal.SIGHUP)
            eventually(lambda: "event=reload_failed" in proxy.logged())
            assert "connektions" in proxy.logged()


def fetch(port: int, path: str, patience: float = PATIENCE) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    connection.request("GET", path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def fetch_well(port: int) -> dict[str, Any]:
    """Wait until a proxy is well, and return what it tells: one that has to wait for seconds is not."""

    def well() -> str:
        status, told = fetch(port, "/health")
        return told if status == 200 else ""

    told: dict[str, Any] = json.loads(eventually(well))
    return told


def test_metrics_and_health(server: Server, database: Database) -> None:
    port = free_port()
    with database.connect() as direct:
        store_weight(direct, 10.0)
    with running_proxy(server.admin_dsn, "--http", f"127.0.0.1:{port}") as proxy:
        with proxy.connect(database) as connection:
            for _ in range(3):
                connection.execute(PREDICT)
            with pytest.raises(psycopg.errors.UndefinedObject):
                connection.execute("SELECT PREDICT(nobody USING 1 AS a)")
            assert fetch_well(port) == {"sessions": 1, "draining": False, "server": "ok"}
            status, metrics = fetch(port, "/metrics")
        assert fetch(port, "/else")[0] == 404
    assert status == 200
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert samples["pgpredict_connections_total",] == 1
    assert samples["pgpredict_sessions",] == 1
    assert samples["pgpredict_statements_total", "rewritten"] == 3
    assert samples["pgpredict_rewrite_cache_total", "hit"] == 2
    assert samples["pgpredict_refused_statements_total", "42704"] == 1
    assert samples["pgpredict_rewrite_seconds_count",] == 4
    assert samples["pgpredict_messages_total", "query"] == 4
    assert samples["pgpredict_bytes_total", "server"] > 100


def test_a_client_without_a_word_says_nothing_of_the_server(server: Server) -> None:
    """A scanner that connects and waits is no reason for an alert; a server that is slow is one."""
    port = free_port()
    with running_proxy(server.admin_dsn, "--http", f"127.0.0.1:{port}", "--login-seconds", "2") as proxy:
        with raw(proxy.port) as sock:
            assert sock.recv(1000) == b""
        with raw(proxy.port) as sock:
            sock.sendall(b"\0\0")
            assert error_of(sock.recv(1000))["C"] == "08P01"
        metrics = fetch(port, "/metrics")[1]
    assert 'pgpredict_refused_connections_total{sqlstate="08P01"} 2.0' in metrics
    assert 'pgpredict_refused_connections_total{sqlstate="08006"} 0.0' in metrics


def test_health_of_a_proxy_without_a_server() -> None:
    port = free_port()
    with running_proxy("host=127.0.0.1 port=1", "--http", f"127.0.0.1:{port}"):
        status, health = fetch(port, "/health")
    assert status == 503
    assert "127.0.0.1:1" in json.loads(health)["server"]


def test_who_the_proxy_is_lets_nobody_else_in(server: Server, database: Database) -> None:
    """The server trusts our account over its socket: a client over TCP must not come in with that."""
    with running_proxy(server.admin_dsn) as proxy:
        with pytest.raises(psycopg.OperationalError, match="asks for no password"):
            psycopg.connect(proxy.dsn(database.dsn, tcp=True))
        with proxy.connect(database) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_passwords_pass(server: Server, database: Database) -> None:
    if server.cluster is None:
        pytest.skip("the tests do not know how to reach this server over TCP")
    role = database.role("secret", "PASSWORD 'pass word'")
    with running_proxy(server.cluster.tcp_dsn()) as proxy:
        dsn = make_conninfo(proxy.dsn(database.dsn, tcp=True), user=role)
        with psycopg.connect(dsn, password="pass word") as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(dsn, password="wrong")


def test_no_values_and_no_secrets_in_the_log(
    proxy: RunningProxy, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("SELECT PREDICT(weight USING 2.0::float8 AS a), 'hush-hush'")
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT PREDICT(weight USING b), 'hush-hush' FROM (SELECT 1 AS b) AS s")
    assert "hush" not in proxy.logged()
