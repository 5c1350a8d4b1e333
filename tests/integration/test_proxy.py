"""The proxy between real clients and a real server: protocol, transactions, catalog, cancels, limits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from tests.fix_proxy import PREDICT, RunningProxy, store_weight
from tests.fix_server import Database, Server
from tests.killing import canceling

ROWS = "SELECT i, PREDICT(weight USING i::float8 AS a) FROM generate_series(1, 3) AS t(i) ORDER BY i"


@pytest.fixture
def connection(proxy: RunningProxy, database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as direct:
        store_weight(direct, 10.0)
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


@pytest.mark.parametrize("prepare", [False, True])
def test_columns_keep_the_tables_that_they_come_from(
    connection: psycopg.Connection[Any], prepare: bool
) -> None:
    connection.execute("CREATE TABLE t (note text, a float8); INSERT INTO t VALUES ('x', 2), ('y', 3)")
    connection.execute("SET pgpredict.way = 'batch'")
    query = "SELECT PREDICT(weight), t.*, a + 1 AS more FROM t ORDER BY 1"
    cursor = connection.execute(query, prepare=prepare)
    assert cursor.fetchall() == [(20.0, "x", 2.0, 3.0), (30.0, "y", 3.0, 4.0)]
    row = connection.execute("SELECT 't'::regclass::oid").fetchone()
    assert row is not None
    result = cursor.pgresult
    assert result is not None
    origins = [(result.ftable(index), result.ftablecol(index)) for index in range(4)]
    assert origins == [(0, 0), (row[0], 1), (row[0], 2), (0, 0)]


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
        store_weight(other, 100.0)
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
        store_weight(direct, 10.0)
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


def test_names_that_the_statement_needs_and_the_client_s_encoding_lacks(
    connection: psycopg.Connection[Any],
) -> None:
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


def test_a_cancel_reaches_the_statement(connection: psycopg.Connection[Any], database: Database) -> None:
    with canceling(connection, database.dsn), pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(120)")
    assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_a_cancel_ends_rewriting_that_waits_for_a_lock(
    connection: psycopg.Connection[Any], database: Database
) -> None:
    connection.execute("CREATE TABLE t (a float8)")
    with database.connect(autocommit=False) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with (
            canceling(connection, database.dsn, "Lock"),
            pytest.raises(psycopg.errors.QueryCanceled, match="user request"),
        ):
            connection.execute("SELECT PREDICT(weight) FROM t")
        connection.execute("SET statement_timeout = '1s'")
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            connection.execute("SELECT PREDICT(weight) FROM t")
        connection.execute("SET statement_timeout = 0")
        assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_one_cancel_ends_one_statement(connection: psycopg.Connection[Any]) -> None:
    """Also where both the proxy and the server could take it: the statement behind it runs.

    PostgreSQL before 17 signals twice, with a pause between if other work gets in: one with our words waits
    until the request is over, any other one has to be sent after that, as to the server itself.
    """
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
            assert connection.execute(f"{PREDICT} FROM pg_sleep(0.01)").fetchone() == (20.0,)
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
    assert next(iter(connection.notifies(timeout=60, stop_after=1))).payload == "hello"
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
