"""Rewriting of many sessions' statements: what is kept, and what must never be waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from pgpredict.catalog import keeping
from pgpredict.catalog.errors import StatementRefused
from pgpredict.catalog.questions import Description, Question
from pgpredict.proxy import frames
from pgpredict.proxy.catalog import ProxyCatalog
from pgpredict.proxy.errors import RewriteTooSlow
from pgpredict.proxy.questions import Answer
from pgpredict.proxy.rewriting import Rewriting
from pgpredict.proxy.statement import Statement
from pgpredict.proxy.stats import Stats
from tests.wire import data_row

_BODY = 5


class Session:
    """A session whose database has no pgpredict; it answers after others had their turn."""

    encoding = "utf-8"
    may_fail = True
    widens = False

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, questions: Sequence[Question], *, wide: bool) -> Sequence[Answer]:
        self.asked += 1
        await asyncio.sleep(0)
        return [Answer(data_row(b'[{"installed": false}]')[_BODY:]) for _ in questions]


def statement(sql: str) -> Statement:
    return Statement(ord("Q"), b"", sql.encode(), b"", b"")


def ours(number: int, padding: int = 0) -> Statement:
    """One with a function of the user's called like ours, which the catalog is asked about."""
    return statement(f"SELECT {number} FROM predict(m) -- {'x' * padding}")


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("rewrite")}


def test_a_thread_whose_session_has_gone_does_not_wait_for_answers() -> None:
    before = threads()

    async def ask_after_the_end() -> None:
        made = Rewriting(Stats(), 4)
        long = statement("SELECT PREDICT(m), " + ", ".join(f"a{i}" for i in range(20_000)))
        for _ in range(4):
            with pytest.raises(RewriteTooSlow):
                await made.rewrite(long, Session(), 1e-6)
        made.close()
        deadline = asyncio.get_running_loop().time() + 60
        while threads() - before:
            assert asyncio.get_running_loop().time() < deadline, "threads wait for nobody"
            await asyncio.sleep(0.05)

    asyncio.run(ask_after_the_end())


def test_thinking_in_a_thread_has_its_limit() -> None:
    async def think() -> None:
        made, wait = Rewriting(Stats()), threading.Event()
        assert await made.in_thread(lambda: 7, 30) == 7
        with pytest.raises(RewriteTooSlow):
            await made.in_thread(wait.wait, 0.01)
        wait.set()
        made.close()

    asyncio.run(think())


def test_what_is_kept_is_bounded_by_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "ENTRIES", 8)
    monkeypatch.setattr(keeping, "LARGEST", 20_000)

    async def many() -> None:
        stats, session = Stats(), Session()
        made = Rewriting(stats, 2)
        for number in range(20):
            await refused_or_not(made, ours(number), session)
        assert len(made._kept) <= 8
        for number in range(20):
            await refused_or_not(made, ours(number, 5_000), session)
        assert 0 < made._kept.size <= 20_000
        assert made._kept.size == sum(kept.size for kepts in made._kept._kept.values() for kept in kepts)
        await refused_or_not(made, ours(19, 5_000), session)
        assert stats.cache_hits == 1
        made.close()

    asyncio.run(many())


def test_sessions_that_share_a_statement_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one has found to hold may be forgotten while it asks."""
    monkeypatch.setattr(keeping, "ENTRIES", 1)

    async def together() -> None:
        made = Rewriting(Stats(), 4)
        for _ in range(20):
            await asyncio.gather(*(refused_or_not(made, ours(number % 2), Session()) for number in range(6)))
        made.close()

    asyncio.run(together())


def test_more_threads_are_had_when_more_connections_are_allowed() -> None:
    async def grow() -> None:
        made = Rewriting(Stats(), 1)
        made.allow(3)
        made.allow(2)
        assert made._threads == 3
        await refused_or_not(made, ours(1), Session())
        made.close()

    asyncio.run(grow())


def test_declared_types_go_into_the_questions_by_the_numbers_of_parameters() -> None:
    asked: list[Question] = []

    def ask(questions: Sequence[Question]) -> Sequence[Answer]:
        asked.extend(questions)
        return [Answer() for _ in questions]

    catalog = ProxyCatalog(ask, may_fail=True, declared=(20, 0, 23, 16))
    catalog.description("SELECT $3, $5, $2, '$1'")
    assert asked == [Description("SELECT $3, $5, $2, '$1'", (25, 0, 23, 25, 0))]


def test_what_is_kept_depends_on_the_declared_types_of_parameters_if_there_are_any() -> None:
    def parsed(sql: bytes, *types: int) -> Statement:
        found = frames.statement(ord("P"), frames.parse(b"", sql, types)[_BODY:])
        assert found is not None
        return Statement(ord("P"), *found, b"")

    sql = b"SELECT $1 FROM predict(m)"
    assert parsed(sql, 23, 0).declared == (23, 0)
    assert not parsed(sql, 0, 0).declared
    assert not parsed(b"SELECT PREDICT(m)", 23).declared
    assert not ours(1).declared

    async def declare() -> None:
        stats = Stats()
        made = Rewriting(stats)
        for types in ((), (23,), (25,), (0,), (23,)):
            await refused_or_not(made, parsed(sql, *types), Session())
        assert (stats.cache_misses, stats.cache_hits) == (3, 2)
        made.close()

    asyncio.run(declare())


async def refused_or_not(made: Rewriting, asked: Statement, session: Session) -> None:
    try:
        await made.rewrite(asked, session, 30)
    except StatementRefused as error:
        raise AssertionError(error.message) from error
