"""The drivers' hooks: what they see, what they leave as it was, and what they say."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pytest
from psycopg import pq

import pgpredict.asyncpg
import pgpredict.psycopg
import pgpredict.psycopg2
from pgpredict.catalog import ConnectionCatalog, Deployments
from rewriter import CachedRewriter, rewrite, rewrite_async
from tests.fix_clients import Address, Place
from tests.fix_proxy import store_weight
from tests.killing import waiting_backend

#: seconds after which nothing is asked again for its age alone, whenever the machine was started
FOREVER = 1e9
POINT = "SELECT PREDICT(weight USING 2.0::float8 AS a)"


class Client:
    """One of the three drivers, in autocommit unless told otherwise."""

    def __init__(self, execute: Callable[[str], list[Any]], error: type[Exception], state: str) -> None:
        self.execute, self.error, self._state = execute, error, state

    def sqlstate(self, error: BaseException) -> str:
        """SQLSTATE of an error of the driver's."""
        found: str = getattr(error, self._state)
        return found


@contextlib.contextmanager
def with_psycopg(address: Address) -> Iterator[Client]:
    with address.connect() as connection:
        pgpredict.psycopg.install(connection)

        def execute(sql: str) -> list[Any]:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

        yield Client(execute, psycopg.Error, "sqlstate")


@contextlib.contextmanager
def with_psycopg2(address: Address) -> Iterator[Client]:
    connection = psycopg2.connect(address.dsn, cursor_factory=pgpredict.psycopg2.Cursor)
    connection.autocommit = True

    def execute(sql: str) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    yield Client(execute, psycopg2.Error, "pgcode")
    connection.close()


@contextlib.contextmanager
def with_asyncpg(address: Address) -> Iterator[Client]:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg_connection(address))

        def execute(sql: str) -> list[Any]:
            return [tuple(row) for row in runner.run(connection.fetch(sql))]

        yield Client(execute, asyncpg.PostgresError, "sqlstate")
        runner.run(connection.close())


async def asyncpg_connection(address: Address, **options: Any) -> Any:
    return await asyncpg.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.dbname,
        **{"connection_class": pgpredict.asyncpg.Connection, **options},
    )


@pytest.fixture(params=[with_psycopg, with_psycopg2, with_asyncpg], ids=["psycopg", "psycopg2", "asyncpg"])
def client(place: Place, request: pytest.FixtureRequest) -> Iterator[Client]:
    with request.param(place.direct) as client:
        yield client


def test_what_others_deploy_is_seen_within_a_moment(place: Place, client: Client) -> None:
    assert [client.execute(POINT) for _ in range(3)] == [[(20.0,)]] * 3
    with place.database.connect() as connection:
        store_weight(connection, 7.0)
    time.sleep(0.11)
    assert client.execute(POINT) == [(14.0,)]


def test_what_the_session_itself_does_is_seen_at_once(place: Place, client: Client) -> None:
    for name, value in (("one", 1), ("two", 2)):
        client.execute(f"CREATE SCHEMA {name}")
        client.execute(f"CREATE TABLE {name}.t AS SELECT {value}::float8 AS a, '{name}' AS {name}")
    query = "SELECT *, PREDICT(weight) AS p FROM t"
    client.execute("SET search_path = one, public")
    assert [client.execute(query), client.execute(query)] == [[(1.0, "one", 10.0)]] * 2
    client.execute("SET search_path = two, public")
    assert client.execute(query) == [(2.0, "two", 20.0)]
    client.execute("ALTER TABLE two.t ADD COLUMN added int DEFAULT 5")
    assert client.execute(query) == [(2.0, "two", 5, 20.0)]
    client.execute("CREATE TEMP TABLE t AS SELECT 3::float8 AS a")
    assert client.execute(query) == [(3.0, 30.0)]
    client.execute("DISCARD TEMP")
    assert client.execute(query) == [(2.0, "two", 5, 20.0)]


def test_a_column_that_somebody_drops_costs_nothing(place: Place, client: Client) -> None:
    """Within the moment the rewritten text is wrong; it is rewritten again, since nothing has run."""
    client.execute("CREATE TABLE t AS SELECT 1::float8 AS a, 2 AS b")
    query = "SELECT *, PREDICT(weight) AS p FROM t"
    for _ in range(20):
        assert client.execute(query) == [(1.0, 2, 10.0)]
        with place.direct.connect() as other:
            other.execute("ALTER TABLE t DROP COLUMN b")
        assert client.execute(query) == [(1.0, 10.0)]
        with place.direct.connect() as other:
            other.execute("ALTER TABLE t ADD COLUMN b int DEFAULT 2")
        time.sleep(0.11)


def test_a_model_that_is_dropped_before_a_transaction_uses_it(
    place: Place, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement cannot be sent again there; the error is about the model, not about a table behind it."""
    with place.database.connect() as other:
        store_weight(other, 3.0, "Gone by")
        other.execute('GRANT SELECT ON models."Gone by" TO PUBLIC')
        monkeypatch.setattr("pgpredict.client.lately.WINDOW", 60.0)
        # FROM makes it a batch; what is written out as SQL goes on with the version that it was
        query = 'SELECT PREDICT("Gone by" USING a) FROM (VALUES (1.0), (2.0)) AS g(a) ORDER BY 1'
        client.execute("SET pgpredict.way = 'batch'")
        assert client.execute(query) == [(3.0,), (6.0,)]
        other.execute("SELECT ml.drop_model('Gone by')")
    client.execute("BEGIN")
    with pytest.raises(client.error, match='model "Gone by" does not exist any more') as caught:
        client.execute(query)
    assert client.sqlstate(caught.value) == "42704"
    client.execute("ROLLBACK")
    with pytest.raises(client.error, match='model "Gone by" does not exist') as caught:
        client.execute(query)
    assert client.sqlstate(caught.value) == "42704"
    assert client.execute(POINT) == [(20.0,)]


def test_errors_are_the_drivers_own(place: Place, client: Client) -> None:
    for sql, sqlstate in (
        ("SELECT PREDICT(weihgt USING 1.0 AS a)", "42704"),
        ("SELECT PREDICT(weight USING 1.0 AS b)", "42703"),
        ("SELECT PREDICT(weight FOR 'x' USING 1.0 AS a)", "42601"),
        ("SELECT PREDICT(weight USING a), nothing FROM (SELECT 1.0 AS a) s", "42703"),
        ("SELECT PREDICT(weight USING a), 1 / 0 FROM (SELECT 1.0 AS a) s", "22012"),
    ):
        with pytest.raises(client.error) as caught:
            client.execute(sql)
        assert client.sqlstate(caught.value) == sqlstate
        assert client.execute(POINT) == [(20.0,)]


def test_a_database_without_us_says_so(place: Place) -> None:
    with place.database.connect() as connection:
        connection.execute("DROP EXTENSION pgpredict CASCADE")
    with place.direct.connect(cursor_factory=pgpredict.psycopg.Cursor) as connection:
        with pytest.raises(psycopg.errors.UndefinedObject, match="weight") as caught:
            connection.execute(POINT.encode())
        assert "CREATE EXTENSION pgpredict" in (caught.value.diag.message_hint or "")
        # names of the user's own are nobody else's business
        connection.execute("CREATE FUNCTION pg_temp.predict(int) RETURNS int LANGUAGE sql AS 'SELECT $1'")
        assert connection.execute("SELECT pg_temp.predict(3)").fetchone() == (3,)


def status(connection: psycopg.Connection[Any]) -> str:
    return pq.TransactionStatus(connection.info.transaction_status).name


def test_a_question_leaves_transactions_as_they_are(place: Place) -> None:
    with place.direct.connect(autocommit=False) as connection:
        pgpredict.psycopg.install(connection)
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute("SELECT PREDICT(nothing)")
        # nothing was begun for a question
        assert status(connection) == "IDLE"
        connection.execute("CREATE TABLE t (a float8)")
        connection.execute("SAVEPOINT _pgpredict")
        for _ in range(2):
            with pytest.raises(psycopg.errors.UndefinedTable):
                connection.execute("SELECT PREDICT(weight) FROM nothing")
        assert status(connection) == "INTRANS"
        # within the transaction its own table is there
        connection.execute("INSERT INTO t VALUES (1)")
        assert connection.execute("SELECT PREDICT(weight) FROM t").fetchall() == [(10.0,)]
        connection.rollback()
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT PREDICT(weight) FROM t")
        connection.rollback()
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute(POINT.encode())


def test_errors_point_into_the_users_text(place: Place) -> None:
    queries: list[tuple[str, Any]] = [
        ("SELECT PREDICT(weight USING a), no_such FROM (SELECT 1.0 AS a) s", None),
        ("SELECT '%%', PREDICT(weight USING a) + %s, no_such FROM (SELECT 1.0 AS a) s", [1]),
        ("SELECT PREDICT(weight USING a) + %(x)s, no_such FROM (SELECT %(x)s AS a) s", {"x": 1}),
    ]
    with place.direct.connect() as connection:
        for kind in (pgpredict.psycopg.Cursor, pgpredict.psycopg.ClientCursor):
            for query, values in queries:
                with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
                    kind(connection).execute(query, values)
                assert caught.value.diag.statement_position == str(query.index("no_such") + 1)
                line, caret = str(caught.value).splitlines()[1:3]
                assert line == f"LINE 1: {query}"
                assert line[caret.index("^") :].startswith("no_such")
    legacy = psycopg2.connect(place.direct.dsn)
    pgpredict.psycopg2.install(legacy)
    for query, values in queries:
        with pytest.raises(psycopg2.errors.UndefinedColumn) as raised:
            legacy.cursor().execute(query, values)
        assert raised.value.diag.statement_position == str(query.index("no_such") + 1)
        assert raised.value.pgcode == "42703"
        legacy.rollback()
    legacy.close()


def test_a_pipeline_goes_on(place: Place) -> None:
    with place.direct.connect() as connection:
        pgpredict.psycopg.install(connection)
        with connection.pipeline() as pipeline:
            first = connection.execute("SELECT 1")
            second = connection.execute(POINT.encode())
            third = connection.execute("SELECT PREDICT(weight USING %s::float8 AS a)", [3])
            pipeline.sync()
            assert [cursor.fetchone() for cursor in (first, second, third)] == [(1,), (20.0,), (30.0,)]
        with pytest.raises(psycopg.errors.UndefinedObject), connection.pipeline():
            connection.execute("SELECT PREDICT(nothing)")
        assert connection.execute(POINT.encode()).fetchone() == (20.0,)


def test_many_rows_copies_and_streams(place: Place) -> None:
    with place.direct.connect() as connection:
        pgpredict.psycopg.install(connection)
        connection.execute("CREATE TABLE kept (p float8)")
        cursor = connection.cursor()
        insert = "INSERT INTO kept SELECT PREDICT(weight USING %s::float8 AS a)"
        cursor.executemany(insert, [(number,) for number in range(100)])
        assert connection.execute("SELECT sum(p) FROM kept").fetchone() == (10 * 4950,)
        query = "SELECT PREDICT(weight USING i::float8 AS a) FROM generate_series(1, %s) AS t (i) ORDER BY i"
        assert [row[0] for row in cursor.stream(query, [1000])] == [10.0 * i for i in range(1, 1001)]
        with cursor.copy(f"COPY ({query}) TO STDOUT", [3]) as copy:
            assert list(copy.rows()) == [("10",), ("20",), ("30",)]
        with connection.transaction(), connection.cursor("portal") as portal:
            assert portal.execute(query, [10]).fetchmany(2) == [(10.0,), (20.0,)]


def test_a_cancel_request_for_a_question_ends_the_statement(place: Place) -> None:
    """The question waits for a lock that somebody else has."""
    with place.direct.connect() as setting_up:
        setting_up.execute("CREATE TABLE locked (a float8)")

    async def cancel() -> None:
        async with await psycopg.AsyncConnection.connect(place.direct.dsn, autocommit=True) as connection:
            pgpredict.psycopg.install(connection)
            with place.direct.connect(autocommit=False) as other:
                other.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
                task = asyncio.create_task(connection.execute("SELECT PREDICT(weight) FROM locked"))
                await asyncio.to_thread(waiting_backend, place.database.dsn)
                assert not task.done()
                task.cancel()
                with pytest.raises((asyncio.CancelledError, psycopg.errors.QueryCanceled)):
                    await task
            cursor = await connection.execute(POINT.encode())
            assert await cursor.fetchone() == (20.0,)

    asyncio.run(cancel())
    with place.direct.connect(autocommit=False) as other, place.direct.connect() as connection:
        pgpredict.psycopg.install(connection)
        connection.execute("SET lock_timeout = 200")
        other.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute("SELECT PREDICT(weight) FROM locked")
        assert connection.execute(POINT.encode()).fetchone() == (20.0,)


def test_rights_and_roles_are_the_sessions(place: Place) -> None:
    nobody = place.database.role("nobody")
    with place.database.connect(cursor_factory=pgpredict.psycopg.Cursor) as connection:
        assert connection.execute(POINT.encode()).fetchone() == (20.0,)
        connection.execute(f"SET ROLE {nobody}".encode())
        with pytest.raises((psycopg.errors.UndefinedObject, psycopg.errors.InsufficientPrivilege)):
            connection.execute(POINT.encode())
        connection.execute("RESET ROLE")
        assert connection.execute(POINT.encode()).fetchone() == (20.0,)


def test_a_server_that_goes_away_is_an_error(place: Place) -> None:
    with place.direct.connect() as connection, place.database.connect() as other:
        pgpredict.psycopg.install(connection)
        connection.execute(POINT.encode())
        other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        time.sleep(0.2)
        with pytest.raises(psycopg.OperationalError):
            connection.execute(POINT.encode())
        assert connection.closed


# The functions below the hooks --------------------------------------------------------------------------


def test_rewriting_with_awaited_answers(place: Place) -> None:
    with place.direct.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1::float8 AS a, 2.5::numeric(10, 2) AS b")
        query = "SELECT *, PREDICT(weight) FROM t WHERE PREDICT(weight) > 1 AND a IN (SELECT a FROM t)"
        expected = rewrite(query, ConnectionCatalog(connection)).sql

    async def with_each() -> None:
        one = await psycopg.AsyncConnection.connect(place.direct.dsn)
        made = pgpredict.psycopg.AsyncConnectionCatalog(one)
        assert (await rewrite_async(query, made)).sql == expected
        assert one.info.transaction_status == pq.TransactionStatus.IDLE
        await one.close()
        two = await asyncpg_connection(place.direct)
        rewritten = await rewrite_async(query, pgpredict.asyncpg.Catalog(two))
        # asyncpg says no modifiers
        assert rewritten.sql == expected.replace("::numeric(10,2)", "")
        await two.close()

    asyncio.run(with_each())


def test_what_is_kept_until_a_deployment_is_heard_of(place: Place) -> None:
    with (
        Deployments(place.database.dsn, seconds=FOREVER) as deployments,
        place.database.connect() as connection,
    ):
        assert deployments.wait(60)
        cached, catalog = CachedRewriter(), ConnectionCatalog(connection, deployments)
        for _ in range(3):
            cached.rewrite(POINT, catalog)
        assert (cached.hits, cached.misses) == (2, 1)
        pgpredict.psycopg.install(connection, deployments)
        assert connection.execute(POINT.encode()).fetchone() == (20.0,)
        before, until = deployments.number, time.monotonic() + 60
        with place.database.connect() as other:
            store_weight(other, 7.0)
        while deployments.number == before:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert connection.execute(POINT.encode()).fetchone() == (14.0,)
        cached.rewrite(POINT, catalog)
        assert cached.misses == 2

        async def awaited() -> None:
            one, two = (
                await psycopg.AsyncConnection.connect(place.direct.dsn),
                await asyncpg_connection(place.direct),
            )
            # what a synchronous caller has rewritten is good for them
            for made in (
                pgpredict.psycopg.AsyncConnectionCatalog(one, deployments),
                pgpredict.asyncpg.Catalog(two, deployments),
            ):
                kept, misses = await cached.rewrite_async(POINT, made), cached.misses
                cached.clear()
                assert (await cached.rewrite_async(POINT, made)).sql == kept.sql
                assert (misses, cached.misses) == (2, 3)
                cached.misses = 2
            await one.close()
            await two.close()

        asyncio.run(awaited())
    # nobody listens any more: each time anew
    assert catalog.generation() != catalog.generation()


def test_a_listener_that_was_cut_off_comes_back(place: Place) -> None:
    with Deployments(place.database.dsn) as deployments, place.database.connect() as connection:
        assert deployments.wait(60)
        before = deployments.number
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN pgpredict'"
            " AND datname = current_database()"
        )
        until = time.monotonic() + 60
        while deployments.number == before or not deployments.hears:
            assert time.monotonic() < until
            time.sleep(0.01)
