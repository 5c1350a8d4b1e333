"""A running session's two sockets, with what is decided about its statements between them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable

from pgpredict.catalog.errors import StatementRefused, TransactionFailed, Untranslatable
from rewriter import RewriteError

from . import frames
from .changes import same
from .errors import (
    Canceled,
    Malformed,
    ProxyError,
    error_response,
)
from .inquiry import Inquiry
from .leaving import find_leaving
from .rewriting import Changed, Rewriting
from .session import Session
from .settings import ProxySettings
from .side import Side
from .statement import Statement
from .stats import Stats, count
from .upstream import Upstream

logger = logging.getLogger(__name__)

#: bytes of a client's that are held for a statement that waits, before no more are read
_HELD = 1 << 16
_STATEMENT = "statement"


class Relay:
    """Runs one session from the end of its start-up to its end.

    :param number: of the connection, for the log
    :param client: the client's socket
    :param server: the server's socket
    :param session: its state
    :param rewriting: rewrites statements
    :param settings: limits
    :param stats: counters
    :ivar inquiry: what is asked of the server, and cancelled
    :ivar upstream: where the server is
    :ivar key: that cancel requests for it bring
    """

    upstream: Upstream
    key: bytes

    def __init__(
        self,
        number: int,
        client: Side,
        server: Side,
        session: Session,
        rewriting: Rewriting,
        settings: ProxySettings,
        stats: Stats,
    ) -> None:
        self.number = number
        self.client, self.server, self.session = client, server, session
        self.settings = settings
        self._rewriting, self._stats = rewriting, stats
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self.inquiry = Inquiry(session, server.write)
        self._draining = False
        #: whether the client says no more, but still listens
        self._is_half_closed = False
        self._timers: list[asyncio.TimerHandle] = []

    def start(self) -> None:
        """Begin to relay, with what has come already."""
        self.client.other, self.server.other = self.server, self.client
        self.client.relay = self.server.relay = self
        self.client.received, self.server.received = self.from_client, self.from_server
        for side, receive in ((self.server, self.from_server), (self.client, self.from_client)):
            if side.has_more:
                receive(side.take_buffered())
            if side.closed:
                self.lost(side)
            elif side.ended and not self.half_closed(side):
                side.close()

    # Bytes -------------------------------------------------------------------------------------------

    def from_client(self, data: bytes) -> None:
        """Take bytes of the client's."""
        self._stats.client_bytes += len(data)
        session = self.session
        try:
            passed = session.client(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, the session ends with it
            self._fail(error)
            return
        self.server.write(passed)
        if session.statement is not None:
            self._statement()

    def from_server(self, data: bytes) -> None:
        """Take bytes of the server's."""
        self._stats.server_bytes += len(data)
        session = self.session
        try:
            passed = session.server(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, the session ends with it
            self._fail(error)
            return
        self.client.write(passed)
        if self._task is not None:
            self.inquiry.look()
        elif self._draining and session.idle:
            self._say_good_bye()

    # Statements --------------------------------------------------------------------------------------

    def _statement(self) -> None:
        """Decide about the statement that waits, at once if that is possible."""
        session = self.session
        while session.statement is not None and self._task is None:
            encoding = self.inquiry.read_encoding()
            if not encoding or self._rewriting.is_foreign(session.statement, encoding):
                self._stats.unchanged += 1
                self.server.write(session.pass_on())
            else:
                self._task = asyncio.ensure_future(self._decide())
                self._task.add_done_callback(self._decided)
        if session.held > _HELD:
            self.client.pause(_STATEMENT)

    def _decided(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if (failure := task.exception()) is not None:
            self._fail(failure)
            return
        if self.session.statement is not None:
            self._statement()
        if self._is_half_closed and self.session.statement is None:
            self._finish()
        if self.session.held <= _HELD:
            self.client.resume(_STATEMENT)
        if self._draining and self.session.idle:
            self._say_good_bye()

    async def _decide(self) -> None:
        session = self.session
        statement = session.statement
        if statement is None:
            return
        started = time.perf_counter()
        inquiry = self.inquiry
        self.server.write(session.flush())
        await inquiry.until_quiet()
        if session.traffic.skipping or session.traffic.copying or not inquiry.read_encoding():
            self.server.write(session.pass_on())
            return
        inquiry.begin()
        try:
            # the one before may be over by the first of the two signals that PostgreSQL sends for a request
            await inquiry.until_delivered()
            try:
                changed = await self._rewriting.rewrite(statement, inquiry, self.settings.rewrite_seconds)
            except TransactionFailed:
                changed = await self._behind(statement)
            if session.statement is None:
                return
            if inquiry.canceled:
                raise Canceled
        except (RewriteError, StatementRefused) as error:
            await inquiry.until_delivered()
            self._refuse(error)
        else:
            if changed is None:
                self._stats.unchanged += 1
                self.server.write(session.pass_on())
            else:
                self._stats.rewritten += 1
                self.server.write(session.change(changed.sql, changed.origin, changed.description))
        finally:
            inquiry.end()
        seconds = time.perf_counter() - started
        self._stats.rewriting.record(seconds)
        logger.debug(
            "event=rewrite connection=%d class=%s ms=%.2f", self.number, statement.word, seconds * 1000
        )

    async def _behind(self, statement: Statement) -> Changed | None:
        """Rewrite what follows the first statement of a Query, if that ends the failed transaction.

        :return: None if that has failed, and the Query is over
        """
        inquiry = self.inquiry
        limit, encoding = self.settings.rewrite_seconds, inquiry.encoding
        leaving = await self._rewriting.in_thread(lambda: find_leaving(statement, encoding), limit)
        if leaving is None:
            raise TransactionFailed
        leaving.check(await inquiry.outline(leaving.outline))
        if inquiry.canceled:
            raise Canceled
        if not await inquiry.leave(leaving.first):
            self.server.write(self.session.drop())
            return None
        try:
            # a ROLLBACK TO may have changed it; PostgreSQL has read the whole text by then
            rest = dataclasses.replace(statement, sql=leaving.rest.encode(inquiry.read_encoding()))
        except (UnicodeError, LookupError) as error:
            raise Untranslatable(error) from error
        try:
            changed = await self._rewriting.rewrite(rest, inquiry, limit)
        except RewriteError as error:
            error.position = None if error.position is None else error.position + len(leaving.first)
            raise
        if changed is None:
            return Changed(rest.sql, leaving.behind(same))
        return dataclasses.replace(changed, origin=leaving.behind(changed.origin))

    def _refuse(self, error: RewriteError | StatementRefused) -> None:
        count(self._stats.errors, error.sqlstate)
        word = "" if self.session.statement is None else self.session.statement.word
        logger.info(
            "event=refuse_statement connection=%d class=%s sqlstate=%s", self.number, word, error.sqlstate
        )
        position = error.position if isinstance(error, RewriteError) else None
        told = error_response(
            error.message, error.sqlstate, error.hint, position, encoding=self.inquiry.encoding
        )
        to_server, to_client = self.session.refuse(told)
        self.server.write(to_server)
        self.client.write(to_client)

    # The end -----------------------------------------------------------------------------------------

    def drain(self) -> None:
        """End the session as soon as no statement runs."""
        self._draining = True
        if self._task is None and self.session.idle:
            self._say_good_bye()

    def _say_good_bye(self) -> None:
        self.client.write(
            error_response(
                "terminating connection due to administrator command",
                "57P01",
                "the proxy is shutting down",
                severity="FATAL",
            )
        )
        self.close()

    def _end_with(self, error: ProxyError) -> None:
        logger.warning(
            "event=end connection=%d sqlstate=%s error=%r", self.number, error.sqlstate, error.message
        )
        self.client.write(error.message_for_client())
        self.close()

    def _fail(self, error: BaseException) -> None:
        """End the session: the client breaks the protocol, or we have a defect; its state is unknown."""
        if not isinstance(error, Malformed):
            logger.error("event=defect connection=%d", self.number, exc_info=error)
            error = ProxyError("the proxy failed to handle the session", "its log tells more")
        self._end_with(error)

    def close(self) -> None:
        """Close both sockets, after what was written to them has been sent.

        Whoever does not take what is left for it is not waited for.
        """
        self.client.close()
        self.server.close()
        if not self.ended.done():
            self._later(self.abort)

    def _later(self, do: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self.settings.linger_seconds, do))

    def abort(self) -> None:
        """Close both sockets at once."""
        self.client.abort()
        self.server.abort()

    def half_closed(self, side: Side) -> bool:
        """Pass on that the client says no more; the server may still answer what it was asked."""
        if side is self.server or not side.can_half_close:
            return False
        self._is_half_closed = True
        self._later(self.close)
        if self.session.statement is None:
            self._finish()
        return True

    def _finish(self) -> None:
        """Tell the server that the client says no more."""
        if self.server.can_half_close:
            self.server.write_eof()
        elif self.session.is_between:
            # TLS cannot be ended by half; the server ends itself after the answers
            self.server.write(frames.TERMINATE)
        else:
            self.close()

    def lost(self, side: Side) -> None:
        """One side is gone, so the other one goes as well."""
        if side is self.server:
            self.client.write(self.inquiry.last_words())
        if self._task is not None:
            self._task.cancel()
        if not (self.client.closed and self.server.closed):
            self.close()
            return
        for timer in self._timers:
            timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)
