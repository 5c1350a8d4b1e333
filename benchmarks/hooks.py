"""What a driver's hook adds to a query: one without our words, and one that it has rewritten before."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import asyncpg
import psycopg
import psycopg2
import psycopg2.extensions

import pgpredict.asyncpg
import pgpredict.psycopg
import pgpredict.psycopg2
from pgpredict.client import lately
from pgpredict.client.lately import WINDOW

from .report import Finding

QUERIES = 3_000
#: queries of one way before it is the other's turn
_TURN = 100
#: microseconds that a hook may add
FOREIGN, REWRITTEN = 10, 60

#: ends a statement that is as if it came after a pause
_AGAIN = " -- again"
BARE = "SELECT id FROM bench.numbers WHERE id = {}"
PREDICT = "SELECT PREDICT(bench_linear) FROM bench.numbers WHERE id = {}"

#: runs a statement with a key
Run = Callable[[str, int], object]
AsyncRun = Callable[[str, int], Awaitable[object]]


def measure(dsn: str, rewritten: str, rows: int) -> list[Finding]:
    """Compare each driver with its hook and without.

    :param rewritten: what the rewriter makes of :data:`PREDICT`, with ``$1``
    :param rows: rows of the table
    """
    found = [*_psycopg(dsn, rewritten, rows), *_psycopg2(dsn, rewritten, rows)]
    found += asyncio.run(_psycopg_async(dsn, rewritten, rows))
    return found + asyncio.run(_asyncpg(dsn, rewritten, rows))


def _findings(driver: str, seconds: list[float]) -> list[Finding]:
    plain, hooked, sent, predicted, asked = (value * 1e6 for value in seconds)
    return [
        _finding(f"{driver}, without our words", hooked, plain, FOREIGN, "the driver as it is"),
        _finding(f"{driver}, PREDICT again at once", predicted, sent, REWRITTEN, "the rewritten text sent"),
        _finding(f"{driver}, PREDICT again later", asked, sent, None, "the rewritten text sent"),
    ]


def _finding(subject: str, ours: float, theirs: float, most: float | None, what: str) -> Finding:
    return Finding(
        subject,
        f"{ours:.0f} µs",
        f"{theirs:.0f} µs ({what})",
        ours / theirs,
        f"times as long, {ours - theirs:+.1f} µs",
        "" if most is None else f"≤ {most} µs more",
        None if most is None else ours - theirs <= most,
    )


def _later(sql: str) -> None:
    """Have a statement's answers asked for again, as after a pause."""
    lately.WINDOW = -1.0 if sql.endswith(_AGAIN) else WINDOW


def _medians(ways: list[tuple[Run, str]], rows: int) -> list[float]:
    """Return the median seconds of each way, which take turns."""
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(QUERIES // _TURN + 1):
        for (run, sql), measured in zip(ways, seconds, strict=True):
            _later(sql)
            for key in range(_TURN):
                start = time.perf_counter()
                run(sql, key * 7919 % rows)
                measured.append(time.perf_counter() - start)
                if not turn:
                    measured.clear()
    return [statistics.median(measured) for measured in seconds]


async def _medians_async(ways: list[tuple[AsyncRun, str]], rows: int) -> list[float]:
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(QUERIES // _TURN + 1):
        for (run, sql), measured in zip(ways, seconds, strict=True):
            _later(sql)
            for key in range(_TURN):
                start = time.perf_counter()
                await run(sql, key * 7919 % rows)
                measured.append(time.perf_counter() - start)
                if not turn:
                    measured.clear()
    return [statistics.median(measured) for measured in seconds]


def _psycopg(dsn: str, rewritten: str, rows: int) -> list[Finding]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        # the generic plan would be another's than the rewritten statement's: each is planned as it comes
        connection.prepare_threshold = None
        plain = psycopg.Cursor(connection)
        hooked = pgpredict.psycopg.Cursor(connection)

        def run(cursor: psycopg.Cursor[tuple[object, ...]]) -> Run:
            return lambda sql, key: cursor.execute(sql.encode(), (key,)).fetchall()

        sent = rewritten.replace("%", "%%").replace("$1", "%s")
        bare, predict = BARE.format("%s"), PREDICT.format("%s")
        ways = [(run(plain), bare), (run(hooked), bare), (run(plain), sent), (run(hooked), predict)]
        ways.append((run(hooked), predict + _AGAIN))
        return _findings("psycopg", _medians(ways, rows))


def _psycopg2(dsn: str, rewritten: str, rows: int) -> list[Finding]:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    plain, hooked = connection.cursor(), connection.cursor(cursor_factory=pgpredict.psycopg2.Cursor)

    def run(cursor: psycopg2.extensions.cursor) -> Run:
        def fetch(sql: str, key: int) -> object:
            cursor.execute(sql, (key,))
            return cursor.fetchall()

        return fetch

    sent = rewritten.replace("%", "%%").replace("$1", "%s")
    bare, predict = BARE.format("%s"), PREDICT.format("%s")
    ways = [(run(plain), bare), (run(hooked), bare), (run(plain), sent), (run(hooked), predict)]
    ways.append((run(hooked), predict + _AGAIN))
    found = _findings("psycopg2", _medians(ways, rows))
    connection.close()
    return found


async def _psycopg_async(dsn: str, rewritten: str, rows: int) -> list[Finding]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        connection.prepare_threshold = None
        plain = psycopg.AsyncCursor(connection)
        hooked = pgpredict.psycopg.AsyncCursor(connection)

        def run(cursor: psycopg.AsyncCursor[tuple[object, ...]]) -> AsyncRun:
            async def fetch(sql: str, key: int) -> object:
                return await (await cursor.execute(sql.encode(), (key,))).fetchall()

            return fetch

        sent = rewritten.replace("%", "%%").replace("$1", "%s")
        bare, predict = BARE.format("%s"), PREDICT.format("%s")
        ways = [(run(plain), bare), (run(hooked), bare), (run(plain), sent), (run(hooked), predict)]
        ways.append((run(hooked), predict + _AGAIN))
        return _findings("psycopg, asynchronous", await _medians_async(ways, rows))


async def _asyncpg(dsn: str, rewritten: str, rows: int) -> list[Finding]:
    parameters = psycopg.conninfo.conninfo_to_dict(dsn)
    options = {"host": parameters.get("host"), "port": parameters.get("port"), "user": parameters.get("user")}
    options |= {"database": parameters.get("dbname"), "password": parameters.get("password")}
    connection = await asyncpg.connect(**options, connection_class=pgpredict.asyncpg.Connection)

    def plain(sql: str, key: int) -> Awaitable[object]:
        # not a connection of its own: its server process could be on the better core
        fetched: Awaitable[object] = asyncpg.Connection.fetch(connection, sql, key)
        return fetched

    bare, predict = BARE.format("$1"), PREDICT.format("$1")
    ways = [(plain, bare), (connection.fetch, bare), (plain, rewritten), (connection.fetch, predict)]
    ways.append((connection.fetch, predict + _AGAIN))
    found = _findings("asyncpg", await _medians_async(ways, rows))
    await connection.close()
    return found
