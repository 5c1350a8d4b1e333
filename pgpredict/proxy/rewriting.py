"""Rewrites statements of sessions: in threads, with what was found out before where that still holds.

The rewriter is a function that asks as it goes. It runs in a thread, where it may wait for the session's
answers; the event loop carries them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pgpredict.catalog.errors import StatementRefused, Untranslatable, refused
from pgpredict.catalog.keeping import LONGEST, Kept, Shelf, size
from pgpredict.catalog.questions import Answer, Question
from rewriter import RewriteError, Setting

from .catalog import ProxyCatalog
from .changes import Origin
from .descriptions import in_encoding
from .errors import RewriteTooSlow
from .statement import Statement
from .stats import Stats

Result = TypeVar("Result")


class Asking(Protocol):
    """A session that can be asked."""

    @property
    def encoding(self) -> str:
        """Python's name of the client's encoding."""
        ...

    @property
    def may_fail(self) -> bool:
        """Whether a question that fails leaves the transaction as it was."""
        ...

    @property
    def widens(self) -> bool:
        """Whether there may be letters that only a question in UTF-8 can be answered with."""
        ...

    def ask(self, questions: Sequence[Question], *, wide: bool) -> Awaitable[Sequence[Answer]]:
        """Ask the server within the session.

        :param wide: whether to ask in UTF-8, whatever the client's encoding
        """
        ...


@dataclass(frozen=True)
class Changed:
    """A statement's new text.

    :ivar sql: in the client's encoding
    :ivar origin: where a position in it lies in the client's text
    :ivar description: RowDescription of the client's text, as far as its columns come from elsewhere now
    """

    sql: bytes
    origin: Origin
    description: bytes | None = None


@dataclass(frozen=True)
class _Made:
    """What was made of a text.

    :ivar changed: None if it stays as it is
    :ivar wide: whether it was asked about in UTF-8, whatever the client's encoding
    """

    changed: Changed | None
    wide: bool


#: a text, its encoding, whether the server keeps it under a name, and what its parameters are declared as
_Key = tuple[bytes, str, bool, tuple[int, ...]]


def _executor(threads: int) -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="rewrite")


class Rewriting:
    """Rewrites the statements of all sessions.

    :param stats: counters
    :param threads: that may rewrite, or wait for answers, at once
    """

    def __init__(self, stats: Stats, threads: int = 1) -> None:
        self._threads = threads
        self._executor = _executor(threads)
        self._stats = stats
        self._kept: Shelf[_Key, _Made] = Shelf()

    def allow(self, threads: int) -> None:
        """Have at least so many threads: one that waits for a lock must not hold up another's statement."""
        if threads > self._threads:
            self._executor.shutdown(wait=False)
            self._threads, self._executor = threads, _executor(threads)

    def close(self) -> None:
        """Take no more statements."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def is_foreign(self, statement: Statement, encoding: str) -> bool:
        """Tell whether it is known that there is none of our syntax in a statement, whatever the database."""
        kept = self._kept.variants(_key(statement, encoding))
        return bool(kept) and kept[0].made.changed is None and not kept[0].findings

    async def rewrite(self, statement: Statement, session: Asking, limit: float) -> Changed | None:
        """Return a statement's new text, None if it stays as it is.

        :param limit: seconds that thinking may take at a stretch, between two questions
        :raises RewriteError: for a form that is wrong or cannot be answered
        :raises StatementRefused: if it takes too long, or a question fails
        """
        key = _key(statement, session.encoding)
        # in an open batch no question may fail for want of a letter
        wide = session.widens and not session.may_fail
        # other sessions change what is kept while this one waits for answers
        for kept in self._kept.variants(key):
            if wide > kept.made.wide or kept.made.wide > session.widens:
                continue
            if await self._still_holds(kept, session):
                self._stats.cache_hits += 1
                self._kept.keep(key, kept)
                return kept.made.changed
        self._stats.cache_misses += 1
        try:
            made = await self._think(statement, session, limit, wide=wide)
        except (RewriteError, StatementRefused) as error:
            if wide or not session.widens or error.sqlstate != Untranslatable.sqlstate:
                raise
            made = await self._think(statement, session, limit, wide=True)
        if len(statement.sql) <= LONGEST:
            self._kept.keep(key, made)
        return made.made.changed

    async def in_thread(self, do: Callable[[], Result], limit: float) -> Result:
        """Return what a function returns that thinks about a statement, and asks nothing.

        :param limit: seconds that it may take
        :raises RewriteTooSlow: if it takes longer
        """
        try:
            async with asyncio.timeout(limit):
                return await asyncio.get_running_loop().run_in_executor(self._executor, do)
        except TimeoutError:
            raise _too_slow(limit) from None

    async def _still_holds(self, kept: Kept[_Made], session: Asking) -> bool:
        if not kept.findings:
            return True
        if not kept.is_fresh:
            return False
        answers = await session.ask(kept.questions, wide=kept.made.wide)
        failed = next((answer.error for answer in answers if answer.error is not None), None)
        if failed is not None:
            if not session.may_fail:
                raise refused(failed)
            return False
        return kept.holds(answers)

    async def _think(self, statement: Statement, session: Asking, limit: float, *, wide: bool) -> Kept[_Made]:
        loop = asyncio.get_running_loop()
        encoding = session.encoding
        questions: asyncio.Queue[tuple[Sequence[Question], concurrent.futures.Future[Sequence[Answer]]]]
        questions = asyncio.Queue()
        has_ended = False

        def take(asked: Sequence[Question], future: concurrent.futures.Future[Sequence[Answer]]) -> None:
            if has_ended:
                future.set_exception(StatementRefused("the session has ended"))
            else:
                questions.put_nowait((asked, future))

        def ask(asked: Sequence[Question]) -> Sequence[Answer]:
            future: concurrent.futures.Future[Sequence[Answer]] = concurrent.futures.Future()
            loop.call_soon_threadsafe(take, asked, future)
            return future.result()

        catalog = ProxyCatalog(
            ask,
            may_fail=session.may_fail,
            widens=session.widens and not wide,
            declared=statement.declared,
        )

        def think_aloud() -> Changed | None:
            try:
                return rewrite_text(statement.sql, encoding, statement.kept, catalog, wide=wide)
            except UnicodeError as error:
                raise Untranslatable(error) from error

        think = loop.run_in_executor(self._executor, think_aloud)
        # nothing asked: the end
        think.add_done_callback(lambda done: questions.put_nowait(((), concurrent.futures.Future())))
        answering: concurrent.futures.Future[Sequence[Answer]] | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(limit):
                        asked, answering = await questions.get()
                except TimeoutError:
                    raise _too_slow(limit) from None
                if not asked:
                    changed = await think
                    texts = len(statement.sql) + (len(changed.sql) if changed else 0)
                    return Kept(_Made(changed, wide), catalog.findings, size(texts, catalog.findings))
                answering.set_result(await session.ask(asked, wide=wide))
        finally:
            # the thread must not wait for answers that never come, also not to what it asks later
            has_ended = True
            think.cancel()
            think.add_done_callback(_forget)
            for future in _outstanding(questions, answering):
                future.set_exception(StatementRefused("the session has ended"))


def _key(statement: Statement, encoding: str) -> _Key:
    return statement.sql, encoding, statement.kept, statement.declared


def _too_slow(limit: float) -> RewriteTooSlow:
    return RewriteTooSlow(
        f"rewriting the statement takes longer than {limit:g} s",
        hint="make it shorter, or raise the proxy's setting rewrite_seconds",
    )


def _outstanding(
    questions: asyncio.Queue[tuple[Sequence[Question], concurrent.futures.Future[Sequence[Answer]]]],
    answering: concurrent.futures.Future[Sequence[Answer]] | None,
) -> list[concurrent.futures.Future[Sequence[Answer]]]:
    found = [] if answering is None or answering.done() else [answering]
    while not questions.empty():
        found.append(questions.get_nowait()[1])
    return found


def _forget(done: asyncio.Future[Changed | None]) -> None:
    if not done.cancelled():
        done.exception()


def rewrite_text(
    sql: bytes, encoding: str, kept: bool, catalog: ProxyCatalog, *, wide: bool = False
) -> Changed | None:
    """Rewrite each statement of a text; they stay one text, so that they stay one transaction.

    :param wide: whether the catalog asks in UTF-8, whatever the client's encoding
    :return: None if all of it stays as it is
    :raises RewriteError: its position is one in the whole text
    """
    try:
        text = sql.decode(encoding)
    except UnicodeDecodeError:
        return None  # the server will tell
    script = catalog.rewrite(text, Setting(kept=kept))
    if not script.changed:
        return None
    description = None
    # several statements of one message have descriptions each, which are left alone
    if len(script.parts) == 1:
        ((*_, rewritten),) = script.parts
        if any(run.way == "batch" for run in rewritten.runs):
            # columns that come out of batches have lost their tables
            description = catalog.description(rewritten.described)
            if description is not None and wide:
                description = in_encoding(description, encoding)
    return Changed(script.sql.encode(encoding), script.origin, description)
