"""The drivers' hooks where things go wrong, or are not as usual."""

from __future__ import annotations

import asyncio
import json
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import asyncpg
import psycopg
import psycopg2
import psycopg2.errors
import psycopg2.extras
import psycopg_pool
import pytest

import pgpredict.asyncpg
import pgpredict.psycopg
import pgpredict.psycopg2
from tests.fix_clients import Place
from tests.integration.test_client_hooks import POINT, asyncpg_connection
from tests.killing import waiting_backend

pytestmark = pytest.mark.one_server


@pytest.fixture
def legacy(place: Place) -> Iterator[Any]:
    """A connection of psycopg2's, in autocommit."""
    connection = psycopg2.connect(place.direct.dsn, cursor_factory=pgpredict.psycopg2.Cursor)
    connection.autocommit = True
    yield connection
    connection.close()


def one(connection: Any, sql: str, values: Any = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_signal_in_the_middle_of_a_question(place: Place, legacy: Any, in_transaction: bool) -> None:
    """The handler's exception comes through, and the connection can be used."""

    class Late(Exception):
        pass

    def ring(number: int, frame: FrameType | None) -> None:
        raise Late

    with place.direct.connect(autocommit=False) as other:
        other.execute("CREATE TABLE locked AS SELECT 1::float8 AS a")
        other.commit()
        other.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        legacy.autocommit = not in_transaction
        assert one(legacy, "SELECT 1") == 1
        main = threading.get_ident()

        def disturb() -> None:
            try:
                waiting_backend(place.database.dsn)
                signal.pthread_kill(main, signal.SIGALRM)
                time.sleep(0.3)
            finally:
                # the driver waits in C, and Python's handler runs after that
                other.commit()

        disturbing = threading.Thread(target=disturb)
        before = signal.signal(signal.SIGALRM, ring)
        try:
            disturbing.start()
            with pytest.raises(Late):
                one(legacy, "SELECT PREDICT(weight) FROM locked")
        finally:
            disturbing.join()
            signal.signal(signal.SIGALRM, before)
    assert one(legacy, "SELECT 2") == 2
    assert one(legacy, POINT) == 20.0


def test_threads_that_share_a_connection(legacy: Any) -> None:
    failures: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            for turn in range(20):
                value = number * 100 + turn
                query = f"SELECT PREDICT(weight USING {value}::float8 AS a) FROM pg_sleep(0.002)"
                assert one(legacy, query) == 10.0 * value
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_lost_connection_is_closed(place: Place, legacy: Any) -> None:
    with place.database.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [legacy.info.backend_pid])
    with pytest.raises(psycopg2.Error):
        one(legacy, POINT)
    assert legacy.closed


def test_a_connection_that_is_lost_between_statements(place: Place, legacy: Any) -> None:
    assert one(legacy, POINT) == 20.0
    with place.database.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [legacy.info.backend_pid])
    time.sleep(0.2)
    with pytest.raises(psycopg2.errors.AdminShutdown):
        one(legacy, POINT)
    assert legacy.closed


async def lost(place: Place, *, in_transaction: bool) -> None:
    connection = await asyncpg_connection(place.direct)
    if in_transaction:
        await connection.execute("BEGIN")
    with place.direct.connect(autocommit=False) as other:
        other.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        asked = asyncio.create_task(connection.fetch("SELECT PREDICT(weight) FROM locked"))
        await asyncio.to_thread(waiting_backend, place.database.dsn)
        with place.database.connect() as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [connection.get_server_pid()])
        with pytest.raises(asyncpg.PostgresConnectionError, match="closed in the middle"):
            await asked


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_connection_that_is_lost_during_a_question(place: Place, in_transaction: bool) -> None:
    with place.direct.connect() as connection:
        connection.execute("CREATE TABLE locked AS SELECT 1::float8 AS a")
    asyncio.run(lost(place, in_transaction=in_transaction))


async def types_as_text(place: Place) -> None:
    connection = await asyncpg_connection(place.direct)
    try:
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        await connection.execute("""
            CREATE TYPE pair AS (x int, y text);
            CREATE TABLE texts AS SELECT 2::float8 AS a, 'a b'::tsvector AS words, '1.5'::money AS price,
                '{"k": 1}'::jsonb AS data, 'pg_class'::regclass AS relation, ROW(1, 'z')::pair AS p,
                ARRAY['a'::tsvector] AS many
        """)
        expected = await connection.fetchrow("SELECT * FROM texts")
        assert (expected["data"], expected["p"]["y"]) == ({"k": 1}, "z")
        for query in (
            "SELECT *, PREDICT(weight) AS w FROM texts",
            "SELECT *, PREDICT(weight USING a) AS w FROM texts",
        ):
            found = await connection.fetchrow(query)
            assert dict(found) == {**expected, "w": 20.0}
        assert (
            await connection.fetchval("SELECT PREDICT(weight) FROM texts AS t WHERE t.p = ROW(1, 'z')::pair")
            == 20.0
        )
        assert (await connection.fetchval("SELECT p FROM texts"))["x"] == 1
    finally:
        await connection.close()


def test_asyncpg_need_not_read_what_it_is_asked_about(place: Place) -> None:
    """Rows hold types that it takes as text, and then cannot take a row as one value."""
    asyncio.run(types_as_text(place))


async def waiting_pool(place: Place) -> None:
    configure = pgpredict.psycopg.install_async
    async with (
        psycopg_pool.AsyncConnectionPool(
            place.direct.dsn, min_size=1, configure=configure, open=False, timeout=60
        ) as pool,
        pool.connection() as connection,
    ):
        assert await (await connection.execute(POINT.encode())).fetchone() == (20.0,)


def test_psycopgs_pools(place: Place) -> None:
    asyncio.run(waiting_pool(place))
    with (
        psycopg_pool.ConnectionPool(
            place.direct.dsn, min_size=1, configure=pgpredict.psycopg.install, open=True, timeout=60
        ) as pool,
        pool.connection() as connection,
    ):
        assert connection.execute(POINT.encode()).fetchone() == (20.0,)
        with connection.transaction(), connection.cursor("named") as cursor:
            assert cursor.execute(POINT.encode()).fetchone() == (20.0,)


def test_a_connections_own_rows_stay_what_they_are(place: Place) -> None:
    for factory in (psycopg2.extras.RealDictConnection, psycopg2.extras.DictConnection, None):
        connection = psycopg2.connect(place.direct.dsn, connection_factory=factory)
        with connection.cursor() as plain:
            plain.execute("SELECT 1 AS a")
            kind = type(plain.fetchone())
        pgpredict.psycopg2.install(connection)
        with connection.cursor() as cursor:
            cursor.execute("SELECT PREDICT(weight USING 1.0 AS a) AS a")
            assert type(cursor.fetchone()) is kind
        connection.close()


def test_errors_can_be_pickled(place: Place, legacy: Any) -> None:
    with pytest.raises(psycopg2.errors.UndefinedObject) as caught:
        one(legacy, "SELECT PREDICT(weihgt USING 1.0 AS a)")
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, psycopg2.errors.UndefinedObject)
    assert (again.pgcode, str(again)) == (caught.value.pgcode, str(caught.value))
    assert again.diag.message_hint == "did you mean weight?"
    with place.direct.connect(cursor_factory=pgpredict.psycopg.Cursor) as connection:
        with pytest.raises(psycopg.errors.UndefinedObject) as raised:
            connection.execute("SELECT PREDICT(weihgt USING 1.0 AS a)")
        assert pickle.loads(pickle.dumps(raised.value)).diag.statement_position == "16"


def test_what_is_no_statement_is_for_the_driver_to_say(legacy: Any) -> None:
    plain = psycopg2.connect(legacy.dsn, password="pass word")
    for query in (None, 5, ["a"], b"SELECT PREDICT(weight USING 1.0 AS a), '\xff'", b"SELECT '\xff'"):
        with pytest.raises((TypeError, psycopg2.Error)) as expected, plain.cursor() as cursor:
            cursor.execute(query)
        plain.rollback()
        with pytest.raises((TypeError, psycopg2.Error)) as got, legacy.cursor() as cursor:
            cursor.execute(query)
        if not (isinstance(query, bytes) and b"PREDICT" in query):
            assert (type(got.value), str(got.value)) == (type(expected.value), str(expected.value))
    plain.close()


def test_an_override_is_called_once(place: Place) -> None:
    """Where a statement is sent again, since a column has gone, it is not limited twice."""

    class Limited(pgpredict.psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            return super().execute(query + " LIMIT 1", params, **options)

    with place.direct.connect() as connection, place.direct.connect() as other:
        connection.prepare_threshold = None  # a prepared SELECT * may not change its columns
        for _ in range(5):
            other.execute("CREATE TABLE t AS SELECT 1::float8 AS a, 2 AS b")
            cursor = Limited(connection)
            query = "SELECT *, PREDICT(weight) AS p FROM t"
            assert cursor.execute(query).fetchall() == [(1.0, 2, 10.0)]
            other.execute("ALTER TABLE t DROP COLUMN b")
            assert cursor.execute(query).fetchall() == [(1.0, 10.0)]
            other.execute("DROP TABLE t")


def test_own_statements_of_every_dress_are_seen(place: Place) -> None:
    with place.direct.connect() as connection, place.direct.connect() as other:
        pgpredict.psycopg.install(connection)
        other.execute("CREATE TABLE t AS SELECT 1::float8 AS a, 1.23::numeric(10, 2) AS b")
        query = "SELECT *, PREDICT(weight) AS p FROM t ORDER BY p, b LIMIT 1"
        for made in (
            "SELECT 7::float8 AS a, 1.23456 AS b\nINTO TEMP t",
            "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 7::float8 AS a, 1.23456 AS b",
            "/* /* */ select */ CREATE TEMP TABLE t AS SELECT 7::float8 AS a, 1.23456 AS b",
        ):
            for _ in range(2):
                assert str(connection.execute(query).fetchall()[0][1]) == "1.23"
            connection.execute(made.encode())
            assert str(connection.execute(query).fetchall()[0][1]) == "1.23456"
            connection.execute("DROP TABLE pg_temp.t")


async def timeouts(place: Place) -> None:
    with place.direct.connect(autocommit=False) as other:
        other.execute("CREATE TABLE locked AS SELECT 1::float8 AS a")
        other.commit()
        other.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        connection = await asyncpg_connection(place.direct)
        with pytest.raises(TimeoutError):
            await connection.fetch("SELECT PREDICT(weight) FROM locked", timeout=0.3)
        assert await connection.fetchval(POINT) == 20.0
        await connection.close()
        impatient = await asyncpg_connection(place.direct, command_timeout=0.3)
        with pytest.raises(TimeoutError):
            await impatient.fetch("SELECT PREDICT(weight) FROM locked")
        await impatient.close()


def test_a_timeout_covers_the_questions(place: Place) -> None:
    asyncio.run(timeouts(place))


async def pools(place: Place) -> None:
    address = place.direct
    pool = await asyncpg.create_pool(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.dbname,
        min_size=1,
        max_size=1,
        connection_class=pgpredict.asyncpg.Connection,
    )
    async with pool.acquire() as connection:
        assert await pgpredict.asyncpg.rewritten(connection, POINT) is not None
        async with connection.transaction():
            assert [row[0] async for row in connection.cursor(POINT)] == [20.0]
    assert await pool.fetchval(POINT) == 20.0
    await pool.close()
    closed = await asyncpg_connection(address)
    await closed.close()
    with pytest.raises(asyncpg.InterfaceError):
        closed.cursor("SELECT 1")


def test_pools(place: Place) -> None:
    asyncio.run(pools(place))
