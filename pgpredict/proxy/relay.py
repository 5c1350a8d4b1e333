"""A running session's two sockets, with what is decided about its statements between them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from rewriter import RewriteError

from . import frames
from .catalog import refused
from .encodings import codec
from .errors import (
    Canceled,
    Malformed,
    ProxyError,
    StatementRefused,
    TransactionFailed,
    Untranslatable,
    error_response,
)
from .questions import RELEASE, SAVEPOINT, UNDO, Answer, Asked, Command, Question
from .rewriting import Rewriting
from .session import Session
from .settings import ProxySettings
from .side import Side
from .stats import Stats, count
from .upstream import Upstream

logger = logging.getLogger(__name__)

#: bytes of a client's that are held for a statement that waits, before no more are read
_HELD = 1 << 16
_STATEMENT = "statement"
_GUARD = (Command(SAVEPOINT),)


class Relay:
    """Runs one session from the end of its start-up to its end.

    :param number: of the connection, for the log
    :param client: the client's socket
    :param server: the server's socket
    :param session: its state
    :param rewriting: rewrites statements
    :param settings: limits
    :param stats: counters
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
        #: what the rewriting of a statement waits for
        self._quiet: asyncio.Future[None] | None = None
        self._answered: asyncio.Future[None] | None = None
        self._asked: Asked | None = None
        #: whether a statement is being rewritten that a cancel request would mean, and whether one came
        self._thinking = False
        self._canceled = False
        #: a cancel request that is on its way to the server
        self._delivery: asyncio.Future[None] | None = None
        self._draining = False
        #: whether the client says no more, but still listens
        self._is_half_closed = False
        self._timers: list[asyncio.TimerHandle] = []
        self.encoding = "utf-8"

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
        except Malformed as error:
            self._end_with(error)
            return
        except Exception:
            logger.exception("event=defect connection=%d", self.number)
            self._end_with_defect()
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
        except Malformed as error:
            self._end_with(error)
            return
        except Exception:
            logger.exception("event=defect connection=%d", self.number)
            self._end_with_defect()
            return
        self.client.write(passed)
        if self._task is not None:
            self._look()
        elif self._draining and session.idle:
            self._say_good_bye()

    def _look(self) -> None:
        """See whether what the rewriting waits for has come."""
        if self._answered is not None and self.session.is_answered:
            _resolve(self._answered)
        if self._quiet is not None and self.session.is_settled:
            _resolve(self._quiet)

    # Statements --------------------------------------------------------------------------------------

    def _statement(self) -> None:
        """Decide about the statement that waits, at once if that is possible."""
        session = self.session
        while session.statement is not None and self._task is None:
            self.encoding = codec(session.traffic.parameters.get("client_encoding", "UTF8")) or ""
            if not self.encoding or self._rewriting.is_foreign(session.statement, self.encoding):
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
            logger.error("event=defect connection=%d", self.number, exc_info=failure)
            self._end_with_defect()
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
        self.server.write(session.flush())
        await self._until_quiet()
        self.encoding = codec(session.traffic.parameters.get("client_encoding", "UTF8")) or ""
        if session.traffic.skipping or session.traffic.copying or not self.encoding:
            self.server.write(session.pass_on())
            return
        self._thinking, self._canceled = True, False
        try:
            changed = await self._rewriting.rewrite(statement, self, self.settings.rewrite_seconds)
            if self._canceled:
                raise Canceled
        except (RewriteError, StatementRefused) as error:
            if self._delivery is not None:
                # or it would end what the client sends next
                await self._delivery
            self._refuse(error)
        else:
            if changed is None:
                self._stats.unchanged += 1
                self.server.write(session.pass_on())
            else:
                self._stats.rewritten += 1
                self.server.write(session.change(changed.sql, changed.origin))
        finally:
            self._thinking = False
        seconds = time.perf_counter() - started
        self._stats.rewriting.record(seconds)
        logger.debug(
            "event=rewrite connection=%d class=%s ms=%.2f", self.number, statement.word, seconds * 1000
        )

    def _refuse(self, error: RewriteError | StatementRefused) -> None:
        count(self._stats.errors, error.sqlstate)
        word = "" if self.session.statement is None else self.session.statement.word
        logger.info(
            "event=refuse_statement connection=%d class=%s sqlstate=%s", self.number, word, error.sqlstate
        )
        position = error.position if isinstance(error, RewriteError) else None
        told = error_response(error.message, error.sqlstate, error.hint, position, encoding=self.encoding)
        to_server, to_client = self.session.refuse(told)
        self.server.write(to_server)
        self.client.write(to_client)

    # Questions ---------------------------------------------------------------------------------------

    @property
    def may_fail(self) -> bool:
        """Whether a question that fails leaves the transaction as it was."""
        return not self.session.traffic.open

    async def ask(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """Ask the server within the session; in a transaction behind a savepoint.

        :raises StatementRefused: in a transaction that has failed, or if the client has cancelled
        """
        traffic = self.session.traffic
        if traffic.status == "E" and not traffic.open:
            raise TransactionFailed
        if self._canceled:
            raise Canceled
        guarded = traffic.status == "T" and not traffic.open
        asked = [*_GUARD, *questions, Command(RELEASE)] if guarded else questions
        answers = await self._exchange(asked)
        failed = answers[-1].error
        if failed is not None and not traffic.open:
            # also closes what the question has left; without a savepoint of ours one of the client's could
            # have its name
            await self._exchange([Command(UNDO), Command(RELEASE)] if guarded and len(answers) > 1 else ())
        if failed is None:
            return answers[1:-1] if guarded else answers
        if failed.get("C") == Canceled.sqlstate or (guarded and len(answers) == 1):
            raise refused(failed)
        return answers[guarded:]

    async def _exchange(self, questions: Sequence[Question]) -> Sequence[Answer]:
        try:
            asked, data = self.session.ask(questions, self.encoding)
        except UnicodeError as error:
            raise Untranslatable(error) from error
        self._asked = asked
        self._answered = asyncio.get_running_loop().create_future()
        self.server.write(data)
        try:
            await self._answered
        finally:
            self._answered = self._asked = None
        return asked.answers

    async def _until_quiet(self) -> None:
        if self.session.is_settled:
            return
        self._quiet = asyncio.get_running_loop().create_future()
        try:
            await self._quiet
        finally:
            self._quiet = None

    def cancel(self) -> bool:
        """Take note of a cancel request; :meth:`delivered` tells of its end.

        One request ends one statement: the one that the server runs, or the one that is being rewritten. That
        one may wait for an answer of the server's, which a lock holds up.

        :return: whether the server has to get it as well
        """
        if self._thinking:
            self._canceled = True
            if self._asked is None:
                return False
        if self._delivery is None:
            self._delivery = asyncio.get_running_loop().create_future()
        return True

    def delivered(self) -> None:
        """Take note that the server has got a cancel request, or never will."""
        if self._delivery is not None:
            _resolve(self._delivery)
            self._delivery = None

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

    def _end_with_defect(self) -> None:
        """End the session after a defect of ours; its state is not known any more."""
        self._end_with(ProxyError("the proxy failed to handle the session", "its log tells more"))

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
        if side is self.server and self._asked is not None and self._asked.error is not None:
            # the server's last words, in answer to a question of ours
            self.client.write(_last_words(self._asked.error, self.encoding))
        if self._task is not None:
            self._task.cancel()
        if not (self.client.closed and self.server.closed):
            self.close()
            return
        for timer in self._timers:
            timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)


def _last_words(fields: dict[str, str], encoding: str) -> bytes:
    return error_response(
        fields.get("M", ""),
        fields.get("C", "57P01"),
        fields.get("H"),
        severity=fields.get("V", "FATAL"),
        encoding=encoding,
    )


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
