"""Questions to a session's server while a statement waits, and the cancel requests that come meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pgpredict.catalog.errors import TransactionFailed, Untranslatable, refused
from pgpredict.catalog.questions import RELEASE, SAVEPOINT, UNDO, Description, Question

from .encodings import codec, is_convertible
from .errors import Canceled, error_response
from .questions import NARROW, WIDEN, Answer, Asked, Asking, Command
from .session import Session


class Inquiry:
    """Asks within one session.

    :param session: its state
    :param write: sends bytes to the server
    :ivar encoding: Python's name of the client's encoding; empty where Python has none
    :ivar canceled: whether a cancel request has come for the statement that is being rewritten
    """

    def __init__(self, session: Session, write: Callable[[bytes], None]) -> None:
        self.encoding = "utf-8"
        self._server_encoding = "UTF8"
        self.canceled = False
        self._session, self._write = session, write
        #: what the rewriting of a statement waits for
        self._quiet: asyncio.Future[None] | None = None
        self._answered: asyncio.Future[None] | None = None
        self._asked: Asked | None = None
        #: whether a statement is being rewritten that a cancel request would mean
        self._thinking = False
        #: a cancel request that is on its way to the server
        self._delivery: asyncio.Future[None] | None = None

    def read_encoding(self) -> str:
        """Return the client's encoding as the server has reported it last; it holds from then on."""
        parameters = self._session.traffic.parameters
        self._server_encoding = parameters.get("server_encoding", "UTF8")
        self.encoding = codec(parameters.get("client_encoding", "UTF8"), self._server_encoding) or ""
        return self.encoding

    @property
    def widens(self) -> bool:
        """Whether there may be letters that only a question in UTF-8 can be answered with."""
        return self.encoding != "utf-8" and is_convertible(self._server_encoding)

    def look(self) -> None:
        """See whether what is waited for has come; to be called after each piece of bytes of the server's."""
        if self._answered is not None and self._session.is_answered:
            _resolve(self._answered)
        if self._quiet is not None and self._session.is_settled:
            _resolve(self._quiet)

    async def until_quiet(self) -> None:
        """Wait until the server has answered all that it was sent."""
        if self._session.is_settled:
            return
        self._quiet = asyncio.get_running_loop().create_future()
        try:
            await self._quiet
        finally:
            self._quiet = None

    # Questions ---------------------------------------------------------------------------------------

    @property
    def may_fail(self) -> bool:
        """Whether a question that fails leaves the transaction as it was."""
        return not self._session.traffic.open

    async def ask(self, questions: Sequence[Question], *, wide: bool = False) -> Sequence[Answer]:
        """Ask the server within the session; in a transaction behind a savepoint.

        :param wide: whether to ask in UTF-8, whatever the client's encoding
        :raises StatementRefused: in a transaction that has failed, or if the client has cancelled
        """
        traffic = self._session.traffic
        if traffic.status == "E" and not traffic.open:
            raise TransactionFailed
        if self.canceled:
            raise Canceled
        guarded = traffic.status == "T" and not traffic.open
        before = [Command(SAVEPOINT)] * guarded + [Command(WIDEN)] * wide
        # PostgreSQL 13 tells of the encoding once more when a transaction ends that has set it
        after = [Command(NARROW)] * (wide and traffic.open)
        after += [Command(UNDO)] * (wide and guarded) + [Command(RELEASE)] * guarded
        answers = await self._exchange([*before, *questions, *after], wide=wide)
        failed = answers[-1].error
        if failed is not None and not traffic.open:
            # also closes what the question has left; without a savepoint of ours one of the client's could
            # have its name
            await self._exchange([Command(UNDO), Command(RELEASE)] if guarded and len(answers) > 1 else ())
        if failed is not None and (failed.get("C") == Canceled.sqlstate or len(answers) <= len(before)):
            raise refused(failed)
        return answers[len(before) : len(before) + len(questions)]

    async def outline(self, text: str) -> Answer:
        """Return what the server says to a text of several statements, in a transaction that has failed."""
        return (await self._exchange([Description(text)]))[-1]

    async def leave(self, first: str) -> bool:
        """Run the first statement of a Query, which ends the failed transaction; return whether it does."""
        self._answered = asyncio.get_running_loop().create_future()
        self._write(self._session.leave(first.encode(self.encoding)))
        try:
            await self._answered
        finally:
            self._answered = None
        return self._session.has_left

    async def _exchange(self, questions: Sequence[Asking], *, wide: bool = False) -> Sequence[Answer]:
        try:
            asked, data = self._session.ask(questions, "utf-8" if wide else self.encoding, wide=wide)
        except UnicodeError as error:
            raise Untranslatable(error) from error
        self._asked = asked
        self._answered = asyncio.get_running_loop().create_future()
        self._write(data)
        try:
            await self._answered
        finally:
            self._answered = self._asked = None
        return asked.answers

    def last_words(self) -> bytes:
        """Return the error that a server which is gone has answered a question of ours with, if it has."""
        fields = None if self._asked is None else self._asked.error
        if fields is None:
            return b""
        return error_response(
            fields.get("M", ""),
            fields.get("C", "57P01"),
            fields.get("H"),
            severity=fields.get("V", "FATAL"),
            encoding=self.encoding,
        )

    # Cancel requests ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take note that a statement is being rewritten from now on."""
        self._thinking, self.canceled = True, False

    def end(self) -> None:
        """Take note that it is no more."""
        self._thinking = False

    def cancel(self) -> bool:
        """Take note of a cancel request; :meth:`delivered` tells of its end.

        One request ends one statement: the one that the server runs, or the one that is being rewritten. That
        one may wait for an answer of the server's, which a lock holds up.

        :return: whether the server has to get it as well
        """
        if self._thinking:
            self.canceled = True
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

    async def until_delivered(self) -> None:
        """Wait for a cancel request that is under way: it would end what the client sends next."""
        if self._delivery is not None:
            await self._delivery


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
