"""Python's drivers, through the proxy as they are, and without it with our hooks: the same either way."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Coroutine
from typing import Any

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest
from psycopg import pq

import pgpredict.asyncpg
import pgpredict.psycopg
import pgpredict.psycopg2
from tests.fix_clients import EXPECTED, Address, Place

PREDICT = "SELECT PREDICT(weight USING {}::float8 AS a) AS p"
EACH = (
    "SELECT array_agg(PREDICT(weight USING x AS a ON MISSING NULL) ORDER BY n) "
    "FROM unnest({}::float8[]) WITH ORDINALITY AS t(x, n)"
)
LARGE = "SELECT PREDICT(weight USING i::float8 AS a) FROM generate_series(1, 100000) AS t(i)"
WIDE = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
SLEEP = "SELECT pg_sleep(30), 'PREDICT'"
UNKNOWN = "SELECT PREDICT(weihgt USING 1.0 AS a)"
INSERT = "INSERT INTO plain SELECT 3, NULL, PREDICT(weight USING 1.0::float8 AS a)"
TABLE = "CREATE TABLE plain (id int, name text, value float8)"
ROWS = [(1, "one", None), (2, "zwei €", 2.5)]

#: refused before it is sent by a hook, so that the transaction goes on; sent on by the proxy, to be refused
REFUSED = "SELECT PREDICT(weight USING nothing)"

pytestmark = [pytest.mark.one_server, pytest.mark.parametrize("hooked", [False, True], ids=["proxy", "hook"])]


def address_of(place: Place, hooked: bool) -> Address:
    return place.direct if hooked else place.through


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    # not through pytest's loop: each test has its own
    with asyncio.Runner() as runner:
        runner.run(coroutine)


def compare(seen: dict[str, Any]) -> None:
    seen = {
        **seen,
        "plain": [list(row) for row in seen["plain"]],
        "null": str(seen["null"]).replace("nan", "NaN"),
    }
    assert seen == EXPECTED


async def with_asyncpg(place: Place, hooked: bool) -> None:
    address = address_of(place, hooked)
    connection = await asyncpg.connect(
        connection_class=pgpredict.asyncpg.Connection if hooked else asyncpg.Connection,
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.dbname,
    )
    seen: dict[str, Any] = {}
    await connection.execute(TABLE)
    await connection.executemany("INSERT INTO plain VALUES ($1, $2, $3)", ROWS)
    seen["plain"] = await connection.fetch("SELECT * FROM plain ORDER BY id")
    predict = PREDICT.format("$1")
    seen["predict"] = await connection.fetchval(predict, 2.0)
    seen["null"] = await connection.fetchval(predict, None)
    seen["array"] = await connection.fetchval(EACH.format("$1"), [1.0, None, 3.0])
    prepared = await connection.prepare(predict)
    assert [parameter.name for parameter in prepared.get_parameters()] == ["float8"]
    assert [(column.name, column.type.name) for column in prepared.get_attributes()] == [("p", "float8")]
    seen["prepared"] = [await prepared.fetchval(float(number)) for number in range(50)]
    rows = await connection.fetch(LARGE)
    seen["large"] = [len(rows), sum(row[0] for row in rows)]
    async with connection.transaction():
        cursor = await connection.cursor(WIDE)
        seen["wide"] = 0
        while block := await cursor.fetch(3000):
            seen["wide"] += sum(len(row[0]) for row in block)
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.fetch(UNKNOWN)
    seen["error"] = [caught.value.sqlstate, int(caught.value.position), caught.value.hint]
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(INSERT)
    with pytest.raises(asyncpg.PostgresError):
        await connection.execute(REFUSED)
    if hooked:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetch("SELECT 1 / 0")
    with pytest.raises(asyncpg.InFailedSQLTransactionError) as failed:
        await connection.fetch(predict, 1.0)
    seen["failed"] = failed.value.sqlstate
    await transaction.rollback()
    seen["rolled_back"] = await connection.fetchval("SELECT count(*) FROM plain WHERE id = 3")
    with pytest.raises(TimeoutError):
        await connection.fetch(SLEEP, timeout=0.3)  # asyncpg sends a cancel request
    with pytest.raises(asyncpg.QueryCanceledError) as canceled:
        await connection.execute("SET statement_timeout = 100; " + SLEEP)
    seen["canceled"] = canceled.value.sqlstate
    await connection.execute("RESET statement_timeout")
    seen["after"] = await connection.fetchval(predict, 2.0)
    heard: asyncio.Queue[list[str]] = asyncio.Queue()
    await connection.add_listener(
        "channel", lambda _, __, channel, payload: heard.put_nowait([channel, payload])
    )
    await connection.execute("NOTIFY channel, 'hello'")
    seen["notified"] = await asyncio.wait_for(heard.get(), 60)
    await connection.remove_listener("channel", lambda *_: None)
    compare(seen)
    await connection.copy_records_to_table("plain", records=[(i, None, float(i)) for i in range(100, 1100)])
    out = io.BytesIO()
    await connection.copy_from_query(
        "SELECT PREDICT(weight) FROM (SELECT value AS a FROM plain WHERE id = 100) s", output=out
    )
    assert out.getvalue() == b"1000\n"
    await connection.reset()
    await connection.close()


@pytest.mark.filterwarnings("ignore:.*remove_listener:Warning")
def test_asyncpg(place: Place, hooked: bool) -> None:
    run(with_asyncpg(place, hooked))


def test_psycopg2(place: Place, hooked: bool) -> None:
    connection = psycopg2.connect(address_of(place, hooked).dsn)
    if hooked:
        pgpredict.psycopg2.install(connection)
    cursor = connection.cursor()
    seen: dict[str, Any] = {}

    def one(query: str, parameters: Any = None) -> Any:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]

    cursor.execute(TABLE)
    psycopg2.extras.execute_values(cursor, "INSERT INTO plain VALUES %s", ROWS)
    cursor.execute("SELECT * FROM plain ORDER BY id")
    seen["plain"] = cursor.fetchall()
    predict = PREDICT.format("%s")
    seen["predict"], seen["null"] = one(predict, (2.0,)), one(predict, (None,))
    seen["array"] = one(EACH.format("%s"), ([1.0, None, 3.0],))
    cursor.execute(f"PREPARE predict AS {PREDICT.format('$1')}")
    seen["prepared"] = [one("EXECUTE predict (%s)", (number,)) for number in range(50)]
    with connection.cursor("server_side") as portal:
        portal.itersize = 20_000
        portal.execute(LARGE)
        rows = [row[0] for row in portal]
    seen["large"] = [len(rows), sum(rows)]
    cursor.execute(WIDE)
    seen["wide"] = sum(len(text) for (text,) in cursor)
    connection.commit()
    with pytest.raises(psycopg2.errors.UndefinedObject) as caught:
        cursor.execute(UNKNOWN)
    diagnostics = caught.value.diag
    seen["error"] = [caught.value.pgcode, int(diagnostics.statement_position), diagnostics.message_hint]
    connection.rollback()
    cursor.execute(INSERT)
    with pytest.raises(psycopg2.Error):
        cursor.execute(REFUSED)
    if hooked:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            cursor.execute("SELECT 1 / 0")
    with pytest.raises(psycopg2.Error) as failed:
        cursor.execute(predict, (1.0,))
    seen["failed"] = failed.value.pgcode
    connection.rollback()
    seen["rolled_back"] = one("SELECT count(*) FROM plain WHERE id = 3")

    def cancel() -> None:
        place.wait_sleeping()
        connection.cancel()

    canceling = threading.Thread(target=cancel)
    canceling.start()
    with pytest.raises(psycopg2.errors.QueryCanceled) as canceled:
        cursor.execute(SLEEP)
    canceling.join()
    seen["canceled"] = canceled.value.pgcode
    connection.rollback()
    connection.autocommit = True
    seen["after"] = one(predict, (2.0,))
    cursor.execute("LISTEN channel; NOTIFY channel, 'hello'")
    connection.poll()
    seen["notified"] = [connection.notifies[0].channel, connection.notifies[0].payload]
    compare(seen)
    cursor.copy_expert("COPY plain FROM STDIN WITH (FORMAT csv)", io.StringIO("7,seven,7\n"))
    out = io.StringIO()
    cursor.copy_expert(
        "COPY (SELECT PREDICT(weight USING value AS a) FROM plain WHERE id = 7) TO STDOUT", out
    )
    assert out.getvalue() == "70\n"
    connection.close()


async def with_psycopg(place: Place, hooked: bool) -> None:
    dsn = address_of(place, hooked).dsn
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        if hooked:
            pgpredict.psycopg.install(connection)
        predict = PREDICT.format("%s")
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            assert await (await cursor.execute(predict.replace("%s", "%b"), (2.0,))).fetchone() == (20.0,)
        async with connection.pipeline():
            cursors = [await connection.execute(predict, (float(number),)) for number in range(50)]
        assert [(await cursor.fetchone() or ())[0] for cursor in cursors] == EXPECTED["prepared"]
        task = asyncio.create_task(connection.execute(SLEEP))
        await asyncio.to_thread(place.wait_sleeping)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, psycopg.errors.QueryCanceled)):
            await task
        assert connection.info.transaction_status == pq.TransactionStatus.IDLE
        async with connection.transaction(), connection.cursor("server_side", binary=True) as portal:
            await portal.execute(LARGE + " ORDER BY i")
            assert await portal.fetchmany(2) == [(10.0,), (20.0,)]
            await portal.scroll(99_997)
            assert await portal.fetchall() == [(1_000_000.0,)]
        async with (
            connection.cursor() as copying,
            copying.copy(f"COPY ({LARGE.replace('100000', '3')}) TO STDOUT (FORMAT binary)") as copy,
        ):
            copy.set_types(["float8"])
            assert [row async for row in copy.rows()] == [(10.0,), (20.0,), (30.0,)]


def test_psycopg_asynchronously(place: Place, hooked: bool) -> None:
    run(with_psycopg(place, hooked))


def test_placeholders_of_another_name(place: Place, hooked: bool) -> None:
    """What is kept of a statement is not taken for one whose parameters are called differently."""
    options = {"cursor_factory": pgpredict.psycopg.Cursor} if hooked else {}
    with address_of(place, hooked).connect(**options) as connection:
        for name in ("a", "b", "a_longer_one"):
            query = f"SELECT PREDICT(weight USING %({name})s::float8 AS a)"
            assert connection.execute(query.encode(), {name: 1.5}).fetchone() == (15.0,)
        assert connection.execute("SELECT PREDICT(weight USING %s::float8 AS a)", [2]).fetchone() == (20.0,)
