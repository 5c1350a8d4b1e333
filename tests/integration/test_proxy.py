"""The proxy between real clients and a real server: protocol, transactions, catalog, cancels, limits."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import pq
from psycopg.conninfo import make_conninfo

from onnx_models import storing
from pgpredict.proxy import frames
from tests import graphs
from tests.fix_proxy import RunningProxy, free_port, running_proxy
from tests.fix_runtime import eventually
from tests.fix_server import Database, Server

PREDICT = "SELECT PREDICT(weight USING 2.0::float8 AS a)"
ROWS = "SELECT i, PREDICT(weight USING i::float8 AS a) FROM generate_series(1, 3) AS t(i) ORDER BY i"


def store(connection: psycopg.Connection[Any], weight: float, name: str = "weight") -> int:
    """Store and deploy a model that multiplies ``a`` by a number."""
    version = storing.register(connection, name, graphs.regression(["a"]), graphs.linear((weight,)), {})
    storing.deploy(connection, name, version)
    return version


@pytest.fixture
def connection(proxy: RunningProxy, database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as direct:
        store(direct, 10.0)
    with proxy.connect(database) as connection:
        yield connection


def test_simple_and_extended(connection: psycopg.Connection[Any]) -> None:
    assert connection.execute(PREDICT).fetchall() == [(20.0,)]
    query = "SELECT PREDICT(weight USING %s::float8 AS a), %s"
    for _ in range(8):  # psycopg prepares by name at the sixth
        assert connection.execute(query, (3.0, "x")).fetchall() == [(30.0, "x")]
    assert connection.execute(query, (4.0, None), prepare=True).fetchall() == [(40.0, None)]
    with connection.transaction(), connection.cursor("server_side") as cursor:
        assert cursor.execute(ROWS).fetchall() == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_several_statements_in_one_message_are_one_transaction(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE t (v float8)")
    cursor = connection.execute(f"INSERT INTO t {PREDICT}; SELECT count(*) FROM t; {PREDICT} AS p")
    assert cursor.statusmessage == "INSERT 0 1"
    assert cursor.nextset()
    assert cursor.fetchall() == [(1,)]
    assert cursor.nextset()
    assert cursor.fetchall() == [(20.0,)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute(f"INSERT INTO t {PREDICT}; SELECT 1 / 0")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def in_a_pipeline(connection: psycopg.Connection[Any], *statements: str) -> None:
    with connection.pipeline():
        for statement in statements:
            connection.execute(statement)


def test_a_pipeline_is_one_transaction_until_its_sync(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE t (v float8)")
    with pytest.raises(psycopg.errors.UndefinedObject):
        in_a_pipeline(
            connection,
            "INSERT INTO t VALUES (1)",
            "SELECT PREDICT(nobody USING 1.0::float8 AS a)",
            "INSERT INTO t VALUES (2)",
        )
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with connection.pipeline() as pipeline:
        connection.execute("INSERT INTO t VALUES (1)")
        first = connection.execute(PREDICT)
        second = connection.execute("INSERT INTO t SELECT PREDICT(weight USING v AS a) FROM t RETURNING v")
        pipeline.sync()
        third = connection.execute("SELECT v FROM t ORDER BY v")
        assert first.fetchall() == [(20.0,)]
        assert second.fetchall() == [(10.0,)]
        assert third.fetchall() == [(1.0,), (10.0,)]


def test_a_failed_pipeline_skips_what_is_ours_as_well(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        in_a_pipeline(connection, "SELECT 1 / 0", PREDICT, PREDICT)
    assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_an_error_of_ours_fails_the_transaction_like_one_of_the_server(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute("BEGIN")
    with pytest.raises(psycopg.errors.UndefinedObject) as caught:
        connection.execute("SELECT PREDICT(weihgt USING 1 AS a)")
    assert caught.value.diag.message_hint == "did you mean weight?"
    assert caught.value.diag.statement_position == "16"
    assert connection.info.transaction_status == pq.TransactionStatus.INERROR
    for statement in ("SELECT 1", PREDICT):
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute(statement)
    connection.execute("ROLLBACK")
    assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_savepoints_prepared_statements_and_portals_are_the_client_s(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute("BEGIN")
    connection.execute("SAVEPOINT _pgpredict")
    connection.execute("CREATE TABLE t (a float8)")
    connection.execute("DECLARE c CURSOR FOR SELECT generate_series(1, 5)")
    assert connection.execute("FETCH 2 FROM c").fetchall() == [(1,), (2,)]
    assert connection.execute("SELECT count(PREDICT(weight)) FROM t").fetchall() == [(0,)]
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT PREDICT(weight) FROM nowhere")
    connection.execute("ROLLBACK TO SAVEPOINT _pgpredict")
    connection.execute("COMMIT")
    assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
    assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM pg_cursors WHERE name <> ''").fetchone() == (0,)


def test_the_session_s_own_unnamed_statement_survives(connection: psycopg.Connection[Any]) -> None:
    pgconn = connection.pgconn
    pgconn.prepare(b"", b"SELECT 'mine'")
    pgconn.prepare(b"named", PREDICT.encode())
    result = pgconn.exec_prepared(b"", None)
    assert result.get_value(0, 0) == b"mine"
    assert pgconn.exec_prepared(b"named", None).get_value(0, 0) == b"20"


def test_what_the_session_has_not_committed_is_seen(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TEMPORARY TABLE mine (a float8)")
    connection.execute("INSERT INTO mine VALUES (5)")
    assert connection.execute("SELECT PREDICT(weight), * FROM mine").fetchall() == [(50.0, 5.0)]
    connection.execute("BEGIN")
    connection.execute("ALTER TABLE mine ADD COLUMN b int DEFAULT 7")
    assert connection.execute("SELECT PREDICT(weight), * FROM mine").fetchall() == [(50.0, 5.0, 7)]
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT PREDICT(weight), * FROM mine").fetchall() == [(50.0, 5.0)]
    connection.execute(
        "CREATE SCHEMA s; CREATE TABLE s.mine AS SELECT 6::float8 AS a; SET search_path = s, pg_temp"
    )
    assert connection.execute("SELECT PREDICT(weight), * FROM mine").fetchall() == [(60.0, 6.0)]


def test_deployments_are_known_in_the_next_statement(
    connection: psycopg.Connection[Any], database: Database
) -> None:
    prepared = "SELECT PREDICT(weight USING %s::float8 AS a)"
    for _ in range(7):
        assert connection.execute(prepared, (1.0,)).fetchone() == (10.0,)
    with database.connect() as other:
        store(other, 100.0)
        assert connection.execute(PREDICT).fetchone() == (200.0,)
        assert connection.execute(prepared, (1.0,)).fetchone() == (100.0,)
        other.execute("SELECT ml.rollback('weight')")
        assert connection.execute(PREDICT).fetchone() == (20.0,)
        assert connection.execute(prepared, (1.0,)).fetchone() == (10.0,)
        other.execute("SELECT ml.drop_model('weight')")
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute(PREDICT)


def test_grants_are_the_caller_s(proxy: RunningProxy, database: Database) -> None:
    role = database.role("reader")
    with database.connect() as direct:
        store(direct, 10.0)
        with proxy.connect(database, user=role) as connection:
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(PREDICT)
            assert caught.value.sqlstate in ("42501", "42704")
            direct.execute(f"GRANT SELECT ON models.weight TO {role}")
            assert connection.execute(PREDICT).fetchone() == (20.0,)
            direct.execute(f"REVOKE SELECT ON models.weight FROM {role}")
            with pytest.raises(psycopg.Error):
                connection.execute(PREDICT)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252", "EUC_JP"])
def test_encodings_of_the_client(connection: psycopg.Connection[Any], encoding: str) -> None:
    connection.execute('CREATE TABLE "täble" ("spälte" text, a float8)')
    connection.execute("INSERT INTO \"täble\" VALUES ('größe', 3)")
    connection.execute(f"SET client_encoding = '{encoding}'")
    if encoding in ("LATIN1", "WIN1252"):
        query = 'SELECT "spälte", PREDICT(weight) FROM "täble" WHERE "spälte" = \'größe\''
        assert connection.execute(query).fetchall() == [("größe", 30.0)]
        with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
            connection.execute('SELECT "spälte", PREDICT(weight), nö FROM "täble"')
        assert caught.value.diag.statement_position == "35"
    assert connection.execute(PREDICT).fetchone() is not None


def test_names_that_the_client_s_encoding_does_not_have(connection: psycopg.Connection[Any]) -> None:
    connection.execute('CREATE TABLE t AS SELECT 3::float8 AS a, 1 AS "ł"')
    connection.execute("SET client_encoding = 'LATIN1'")
    for _ in range(2):
        with pytest.raises(psycopg.errors.UntranslatableCharacter):
            connection.execute("SELECT PREDICT(weight), * FROM t")
        assert connection.execute(PREDICT).fetchone() == (20.0,)
    connection.execute("BEGIN")
    with pytest.raises(psycopg.errors.UntranslatableCharacter):
        connection.execute("SELECT PREDICT(weight), * FROM t")
    assert connection.info.transaction_status == pq.TransactionStatus.INERROR
    connection.execute("ROLLBACK")


def test_a_cancel_reaches_the_statement(connection: psycopg.Connection[Any]) -> None:
    timer = threading.Timer(0.3, connection.cancel_safe)
    timer.start()
    started = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(30)")
    assert time.monotonic() - started < 10
    timer.join()
    assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_a_cancel_ends_rewriting_that_waits_for_a_lock(
    connection: psycopg.Connection[Any], database: Database
) -> None:
    connection.execute("CREATE TABLE t (a float8)")
    with database.connect(autocommit=False) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT PREDICT(weight) FROM t")
        timer.join()
        connection.execute("SET statement_timeout = '200ms'")
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            connection.execute("SELECT PREDICT(weight) FROM t")
        connection.execute("SET statement_timeout = 0")
        assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_one_cancel_ends_one_statement(connection: psycopg.Connection[Any]) -> None:
    """Also where both the proxy and the server could take it: the statement behind it runs."""
    connection.execute("CREATE TABLE t AS SELECT i::float8 AS a FROM generate_series(1, 10) AS g(i)")
    canceled = 0
    for number in range(150):
        statement = f"SELECT PREDICT(weight), {number} FROM t WHERE a > {number % 7}"
        thread = threading.Timer(number % 10 / 2000, connection.cancel_safe)
        thread.start()
        try:
            connection.execute(statement)
        except psycopg.errors.QueryCanceled:
            canceled += 1
            assert connection.execute("SELECT 1 FROM pg_sleep(0.01)").fetchone() == (1,)
        thread.join()
        assert connection.execute("SELECT 1 FROM pg_sleep(0.001)").fetchone() == (1,)
    assert canceled


def test_notifications_notices_and_copy(connection: psycopg.Connection[Any], database: Database) -> None:
    notices: list[str] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    connection.execute("LISTEN channel")
    with database.connect() as other:
        other.execute("NOTIFY channel, 'hello'")
    connection.execute("DO $$ BEGIN RAISE NOTICE 'predict %', 1; END $$")
    assert notices == ["predict 1"]
    assert next(iter(connection.notifies(timeout=10, stop_after=1))).payload == "hello"
    connection.execute("CREATE TABLE t (a float8)")
    with connection.cursor() as cursor:
        with cursor.copy("COPY t FROM STDIN") as copy:
            for number in range(10_000):
                copy.write_row((number,))
        with cursor.copy("COPY (SELECT PREDICT(weight) FROM t WHERE a < 3 ORDER BY a) TO STDOUT") as copy:
            assert b"".join(copy) == b"0\n10\n20\n"
    assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_a_large_result_and_a_large_statement(connection: psycopg.Connection[Any]) -> None:
    total = 0
    with connection.transaction(), connection.cursor("c") as cursor:
        cursor.itersize = 20_000
        cursor.execute("SELECT repeat('x', 1000) FROM generate_series(1, 50000)")
        for (text,) in cursor:
            total += len(text)
    assert total == 50_000_000
    text = "x" * 20_000_000
    assert connection.execute("SELECT length(%s)", (text,)).fetchone() == (20_000_000,)
    rows = connection.execute(
        "SELECT PREDICT(weight USING i::float8 AS a) FROM generate_series(1, 100000) AS t(i)"
    ).fetchall()
    assert sum(value for (value,) in rows) == pytest.approx(10.0 * 100_000 * 100_001 / 2)


def test_a_user_s_own_function_called_predict(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE FUNCTION predict(x int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1'")
    assert connection.execute(
        "SELECT predict(41), predicted FROM (SELECT 1 AS predicted) AS s"
    ).fetchone() == (42, 1)


def test_a_database_without_pgpredict(proxy: RunningProxy, server: Server) -> None:
    dsn = proxy.dsn(make_conninfo(server.admin_dsn, dbname="postgres"))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE t (predict int)")
        assert connection.execute("SELECT count(predict), 'PREDICT(x)' FROM t").fetchone() == (
            0,
            "PREDICT(x)",
        )
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("SELECT PREDICT(m USING predict AS x) FROM t")
        assert caught.value.diag.message_hint is not None
        assert "CREATE EXTENSION pgpredict" in caught.value.diag.message_hint


def test_an_idle_transaction_is_left_alone_by_plain_statements(
    connection: psycopg.Connection[Any], proxy: RunningProxy
) -> None:
    before = proxy.logged().count("event=rewrite")
    connection.execute("SELECT 'no form of ours: predicted, probability'")
    connection.execute("SELECT 'no form of ours: predicted, probability'")
    sent = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert sent == (connection.info.backend_pid,)
    assert proxy.logged().count("event=rewrite") - before <= 1


# Beyond the protocol --------------------------------------------------------------------------------


def raw(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.settimeout(20)
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
    with running_proxy(server.admin_dsn, "--login-seconds", "0.5") as proxy, raw(proxy.port) as sock:
        sock.sendall(b"\x00\x00")
        assert error_of(sock.recv(10_000))["C"] == "08006"
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
        victim.pgconn.send_query(b"SELECT pg_sleep(60)")
        victim.pgconn.flush()
        time.sleep(0.2)
        with socket.socket(fileno=os.dup(victim.pgconn.socket)) as sock:
            sock.shutdown(socket.SHUT_RDWR)
    with database.connect() as direct:
        alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        if direct.info.server_version < 140000:  # older servers look for their client at the end only
            direct.execute("SELECT pg_cancel_backend(%s)", (pid,))
        eventually(lambda: direct.execute(alive, (pid,)).fetchone() == (0,), seconds=20)


def test_shutdown_finishes_running_statements_and_refuses_new_ones(
    server: Server, database: Database
) -> None:
    with running_proxy(server.admin_dsn) as proxy:
        busy, idle = clients = proxy.connect(database), proxy.connect(database)
        busy.pgconn.send_query(b"SELECT 'done', pg_sleep(1.5)")
        busy.pgconn.flush()
        time.sleep(0.3)
        proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: "event=drain" in proxy.logged())
        with pytest.raises(psycopg.errors.AdminShutdown):
            idle.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="shutting down"):
            psycopg.connect(proxy.dsn(database.dsn))
        result = busy.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"done"
        assert proxy.process.wait(10) == 0
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


def fetch(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_metrics_and_health(server: Server, database: Database) -> None:
    port = free_port()
    with database.connect() as direct:
        store(direct, 10.0)
    with running_proxy(server.admin_dsn, "--http", f"127.0.0.1:{port}") as proxy:
        with proxy.connect(database) as connection:
            for _ in range(3):
                connection.execute(PREDICT)
            with pytest.raises(psycopg.errors.UndefinedObject):
                connection.execute("SELECT PREDICT(nobody USING 1 AS a)")
            status, health = fetch(port, "/health")
            assert (status, json.loads(health)) == (200, {"sessions": 1, "draining": False, "server": "ok"})
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
