"""Corners of the protocol between real clients and a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq

from tests.fix_proxy import PREDICT, RunningProxy, store_weight
from tests.fix_server import Database, Server


@pytest.fixture
def connection(proxy: RunningProxy, database: Database) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as direct:
        store_weight(direct, 10.0)
    with proxy.connect(database) as connection:
        yield connection


@pytest.mark.parametrize("way", ["row", "batch"])
def test_parameters_have_the_types_that_the_client_declares(
    connection: psycopg.Connection[Any], way: str
) -> None:
    connection.execute(f"SET pgpredict.way = '{way}'")
    pgconn = connection.pgconn
    # $2 on purpose: the questions about FROM hold only that one
    query = b"SELECT x, PREDICT(weight USING x AS a), $1 FROM (SELECT $2 AS x OFFSET 0) AS s"
    for declared, value in ((701, b"2.5"), (23, b"3"), (701, b"2.5")):
        pgconn.prepare(b"", query, [25, declared])
        result = pgconn.describe_prepared(b"")
        assert [result.ftype(index) for index in range(3)] == [declared, 701, 25]
        result = pgconn.exec_prepared(b"", [b"t", value])
        assert result.get_value(0, 1) == b"%g" % (10 * float(value)), result.error_message
    assert pgconn.prepare(b"", query, [25]).error_field(pq.DiagnosticField.SQLSTATE) == b"42804"


def test_later_errors_of_a_prepared_statement_point_into_the_client_s_text(
    connection: psycopg.Connection[Any], database: Database
) -> None:
    connection.execute("CREATE TABLE t AS SELECT 1::float8 AS a, 2 AS b")
    query = b"SELECT PREDICT(weight USING 2.0::float8 AS a), b FROM t"
    gathered = b"SELECT b, PREDICT(weight) FROM t"
    pgconn = connection.pgconn
    with database.connect() as other:
        for name in (b"s", b""):
            pgconn.prepare(name, query)
        pgconn.prepare(b"g", gathered)
        assert pgconn.exec_prepared(b"s", None).get_value(0, 0) == b"20"
        other.execute("ALTER TABLE t RENAME COLUMN b TO c")
        # where the plan is made anew: at Bind, and to describe it
        for result in (
            *(pgconn.exec_prepared(name, None) for name in (b"s", b"", b"s")),
            *(pgconn.describe_prepared(name) for name in (b"s", b"")),
        ):
            assert result.error_field(pq.DiagnosticField.SQLSTATE) == b"42703"
            assert position(result) == b"%d" % (query.index(b"b FROM") + 1)
        # what a FROM gives to a batch is told where that stands
        assert position(pgconn.exec_prepared(b"g", None)) == b"%d" % (gathered.index(b"FROM") + 1)
        other.execute("ALTER TABLE t RENAME COLUMN c TO b")
    assert pgconn.exec_prepared(b"s", None).get_value(0, 0) == b"20"
    connection.execute("DEALLOCATE s")
    pgconn.prepare(b"s", b"SELECT a, b FROM t")
    connection.execute("ALTER TABLE t RENAME COLUMN b TO c")
    assert position(pgconn.exec_prepared(b"s", None)) == b"11"


def test_a_prepared_statement_names_the_model_that_is_gone(
    connection: psycopg.Connection[Any], database: Database
) -> None:
    with database.connect() as other:
        store_weight(other, 3.0, "gone")
        other.execute("GRANT SELECT ON models.gone TO PUBLIC")
        query = b"SELECT PREDICT(gone) FROM (VALUES (1.0), (2.0)) AS v (a)"
        pgconn = connection.pgconn
        pgconn.prepare(b"s", query)
        assert pgconn.exec_prepared(b"s", None).get_value(1, 0) == b"6"
        other.execute("SELECT ml.drop_model('gone')")
    result = pgconn.exec_prepared(b"s", None)
    fields = (pq.DiagnosticField.SQLSTATE, pq.DiagnosticField.MESSAGE_PRIMARY)
    told = [(result.error_field(field) or b"").decode() for field in fields]
    assert told == ["42704", 'model "gone" does not exist any more']
    assert b"ml.models" in (result.error_field(pq.DiagnosticField.MESSAGE_HINT) or b"")
    assert position(result) is None
    # what the user has written of a schema called models is PostgreSQL's business
    assert connection.pgconn.exec_(b"SELECT * FROM models.gone").error_field(fields[0]) == b"42P01"


def test_errors_of_a_copy_come_when_it_is_executed(connection: psycopg.Connection[Any]) -> None:
    query = b"COPY (SELECT PREDICT(weight USING 1.0::float8 AS a), 1 + nothing) TO STDOUT"
    pgconn = connection.pgconn
    result = pgconn.prepare(b"", query)
    if result.status == pq.ExecStatus.COMMAND_OK:
        result = pgconn.exec_prepared(b"", None)
    assert position(result) == b"%d" % (query.index(b"nothing") + 1)


def position(result: pq.abc.PGresult) -> bytes | None:
    return result.error_field(pq.DiagnosticField.STATEMENT_POSITION)


def check_other_letters(connection: psycopg.Connection[Any], name: str) -> None:
    """Predict over a table with a column that the client's encoding has no letters for."""
    statement = f'SELECT PREDICT(weight), "{name}" FROM t'
    for _ in range(3):
        assert connection.execute(statement).fetchall() == [(30.0, "größe")]
        assert connection.execute(statement, prepare=True).fetchall() == [(30.0, "größe")]
    with connection.transaction():
        connection.execute("SAVEPOINT _pgpredict")
        assert connection.execute(statement + " WHERE true").fetchall() == [(30.0, "größe")]
        assert connection.execute(statement + " WHERE true").fetchall() == [(30.0, "größe")]
        with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
            connection.execute(f'SELECT PREDICT(weight), "{name}", ö FROM t')
        assert caught.value.diag.statement_position == str(29 + len(name))
        connection.execute("ROLLBACK TO SAVEPOINT _pgpredict")
        assert connection.execute(statement).fetchall() == [(30.0, "größe")]
    with connection.pipeline():
        connection.execute("BEGIN")
        first = connection.execute(statement + " WHERE 1 = 1")
        second = connection.execute(f'SELECT "{name}" FROM t')
        connection.execute("COMMIT")
        assert [*first.fetchall(), *second.fetchall()] == [(30.0, "größe"), ("größe",)]


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "SQL_ASCII"])
def test_letters_that_only_other_columns_have(
    connection: psycopg.Connection[Any], tmp_path: Path, encoding: str
) -> None:
    connection.execute('CREATE TABLE t AS SELECT 3::float8 AS a, 1 AS "ł", \'größe\'::text AS "spälte"')
    connection.execute(f"SET client_encoding = '{encoding}'")
    if encoding == "SQL_ASCII":
        statement = 'SELECT PREDICT(weight), "spälte" FROM t'.encode()
        assert connection.pgconn.exec_(statement).get_value(0, 1) == "größe".encode()
        return
    # nothing is said of what the proxy does with the encoding
    with (tmp_path / "trace").open("w+", encoding="latin-1") as trace:
        connection.pgconn.trace(trace.fileno())
        check_other_letters(connection, "spälte")
        connection.pgconn.untrace()
        trace.seek(0)
        said = trace.read()
    assert "ReadyForQuery" in said
    # but that PostgreSQL 13 says once more what it is when a pipeline ends
    reported = [line for line in said.splitlines() if "ParameterStatus" in line]
    assert all(line.endswith(f'"client_encoding" "{encoding}"') for line in reported)
    assert len(reported) <= (connection.info.server_version < 140000)
    assert connection.execute("SHOW client_encoding").fetchone() == (encoding,)
    connection.execute("BEGIN; SET client_encoding = 'UTF8'")
    assert connection.execute('SELECT PREDICT(weight), "ł" FROM t').fetchall() == [(30.0, 1)]
    connection.execute("ROLLBACK")
    assert connection.execute("SHOW client_encoding").fetchone() == (encoding,)


def test_a_client_without_an_encoding_speaks_the_database_s(proxy: RunningProxy, server: Server) -> None:
    name = "latin_one"
    with server.admin() as admin:
        admin.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        try:
            database = Database(name, server.dsn(name), server)
            with database.connect() as direct:
                direct.execute("CREATE EXTENSION pgpredict CASCADE")
                store_weight(direct, 10.0)
                direct.execute("CREATE TABLE t AS SELECT 3::float8 AS a, 'größe'::text AS \"spälte\"")
            with proxy.connect(database) as connection:
                check_other_letters(connection, "spälte")
                connection.execute("SET client_encoding = 'SQL_ASCII'")
                statement = 'SELECT PREDICT(weight), "spälte", nö FROM t'.encode("latin-1")
                assert position(connection.pgconn.exec_(statement)) == b"35"
                result = connection.pgconn.exec_(statement.replace(", nö".encode("latin-1"), b""))
                assert result.get_value(0, 1) == "größe".encode("latin-1")
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def message_of(result: pq.abc.PGresult) -> str | None:
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
    return None if message is None else message.decode("latin-1")


def everything(connection: psycopg.Connection[Any], message: str) -> list[Any]:
    """Return all that a server says to a message, and the transaction's state behind it."""
    pgconn = connection.pgconn
    found: list[Any] = []
    pgconn.notice_handler = lambda result: found.append(result.error_field(pq.DiagnosticField.SQLSTATE))
    pgconn.send_query(message.encode(connection.info.encoding))
    while (result := pgconn.get_result()) is not None:
        rows = [result.get_value(row, 0) for row in range(result.ntuples)]
        found.append((result.command_status, rows, message_of(result), position(result)))
    return [*found, pgconn.transaction_status]


FAILED = "BEGIN; CREATE TABLE made AS SELECT 1::float8 AS a; SAVEPOINT s; SELECT 1 / 0"
#: {0} is a prediction
LEAVING = [
    "ROLLBACK; SELECT {0}",
    "COMMIT; SELECT {0}",
    "ROLLBACK TO s; SELECT {0} + a FROM made",
    "ROLLBACK WORK TO SAVEPOINT nowhere; SELECT {0}",
    "ROLLBACK AND CHAIN; SELECT {0}; SELECT now() = transaction_timestamp()",
    "COMMIT AND NO CHAIN; SELECT {0}",
    "ABORT; BEGIN; SELECT {0}; SELECT 1 / 0; SELECT {0}",
    "; END WORK; ; SELECT 1; SELECT {0}; SELECT {0}, nothing",
    "/* ; */ ROLLBACK; SELECT {0} FORM kept",
    "ROLLBACK; SELECT {0}; SELEC",
    "ROLLBACK TO s; SELECT {0}; ROLLBACK; SELECT {0}; ROLLBACK",
    "ROLLBACK; SELECT {0}, 'größe' AS \"spälte\", nö",
    "SELECT 1; ROLLBACK; SELECT {0}",
    "SELECT {0}",
    "ROLLBACK PREPARED 'x'; SELECT {0}",
    "PREPARE TRANSACTION 'x'; SELECT {0}",
    "ROLLBACK; INSERT INTO kept SELECT {0} RETURNING a; SELECT count(*) FROM kept; SELECT 1 / 0",
    "ROLLBACK; INSERT INTO kept SELECT {0} RETURNING a; COMMIT; SELECT 1 / 0",
    "ROLLBACK; DECLARE c CURSOR FOR SELECT {0}; FETCH c; SELECT {0}",
    "ROLLBACK; COPY (SELECT {0} WHERE false) TO STDOUT (FORMAT nonsense)",
]


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_a_message_that_ends_a_failed_transaction_goes_on(
    connection: psycopg.Connection[Any], database: Database, encoding: str
) -> None:
    form, plain = "PREDICT(weight USING 2.0::float8 AS a)", "20::float8"
    with database.connect() as direct:
        for each in (connection, direct):
            each.execute(f"SET client_encoding = '{encoding}'")
        for message in [*LEAVING, *LEAVING]:
            found = []
            for each, value in ((connection, form), (direct, plain.ljust(len(form)))):
                direct.execute("CREATE TABLE kept (a float8)")
                everything(each, FAILED)
                assert each.info.transaction_status == pq.TransactionStatus.INERROR
                found.append(everything(each, message.format(value)))
                each.execute("ROLLBACK")
                found[-1].append(direct.execute("SELECT a FROM kept").fetchall())
                direct.execute("DROP TABLE kept")
            assert found[0] == found[1], message


def test_a_message_whose_encoding_ends_with_the_failed_transaction(
    connection: psycopg.Connection[Any], database: Database
) -> None:
    failed = "BEGIN; SAVEPOINT s; SET LOCAL client_encoding = 'LATIN1'; SAVEPOINT t; SELECT 1 / 0"
    form, plain = "PREDICT(weight USING 2.0::float8 AS a)", "20::float8"
    with database.connect() as direct:
        found = []
        for each, value in ((connection, form), (direct, plain.ljust(len(form)))):
            for message in ("ROLLBACK TO s; SELECT 'größe', {0}", "ROLLBACK TO s; SELECT {0}, 'größe', nö"):
                everything(each, failed)
                assert each.info.encoding == "iso8859-1"
                found.append(everything(each, message.format(value)))
                assert each.info.encoding == "utf-8"
                each.execute("ROLLBACK")
    assert found[:2] == found[2:]
    assert found[0][1][1] == ["größe".encode()]


def test_what_cannot_be_told_in_a_failed_transaction_is_refused(connection: psycopg.Connection[Any]) -> None:
    for statement in (
        "DECLARE c CURSOR FOR " + PREDICT,
        "SELECT * FROM (SELECT 2.0::float8 AS a) AS t JOIN models.weight AS m",
    ):
        everything(connection, FAILED)
        with pytest.raises(psycopg.errors.InFailedSqlTransaction) as caught:
            connection.execute(f"ROLLBACK; {statement}")
        assert "message of its own" in (caught.value.diag.message_hint or "")
        assert connection.info.transaction_status == pq.TransactionStatus.INERROR
        connection.execute("ROLLBACK")
        assert connection.execute(PREDICT).fetchone() == (20.0,)


def test_an_error_of_ours_behind_the_end_of_a_failed_transaction(
    connection: psycopg.Connection[Any],
) -> None:
    everything(connection, FAILED)
    message = "ROLLBACK; SELECT 1; SELECT PREDICT(weihgt USING 1 AS a)"
    (tag, *_), (_, _, error, place), status = everything(connection, message)
    assert (tag, place, status) == (b"ROLLBACK", b"36", pq.TransactionStatus.IDLE)
    assert "weihgt" in (error or "")
    everything(connection, FAILED)
    # of one that is wrong in itself nothing runs, as of a syntax error
    (_, _, error, place), status = everything(connection, "ROLLBACK; SELECT PREDICT(weight USING 1)")
    assert (place, status) == (b"39", pq.TransactionStatus.INERROR)
