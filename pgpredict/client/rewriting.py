"""Rewrites a statement that a driver is about to send, by asking the connection that will send it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from pgpredict.catalog.errors import refused
from pgpredict.catalog.keeping import LONGEST, Kept, Shelf, size
from pgpredict.catalog.questions import Answer, Description, Question
from pgpredict.catalog.session import Ask, SessionCatalog
from rewriter import RewriteError, Script, Setting
from rewriter.asynchronous import LONG, replay

from .lately import Lately
from .placeholders import Template

#: a text, whether it has a driver's placeholders and which, and whether the server keeps it under a name
_Key = tuple[str, bool, tuple[str, ...], bool]


@dataclass(frozen=True)
class Prepared:
    """A statement for a driver.

    :ivar text: with the placeholders that the user's text has
    :ivar order: for each placeholder the place of its value among the user's; None if they are as they were
    :ivar template: the user's text
    :ivar script: what :attr:`text` was rendered of
    :ivar types: oids of parameters that it depends on; None if it does not
    """

    text: str
    order: tuple[int, ...] | None
    template: Template
    script: Script
    types: tuple[int, ...] | None = None

    def values(self, values: Any) -> Any:
        """Return the parameters for it, from those that the user has given."""
        return values if self.order is None else [values[place] for place in self.order]

    def origin(self, position: int, sent: str) -> int | None:
        """Return the position in the user's text of one that PostgreSQL reports, both 1-based.

        :param sent: what the driver has made of :attr:`text`
        """
        place = self.template.placed(self.script.sql, sent)(position - 1)
        origin = None if place is None else self.script.origin(place + 1)
        return None if origin is None else self.template.written(origin - 1) + 1


#: what one connection takes for granted
Known: TypeAlias = Lately[Kept[Prepared | None]]

#: what is known of the statements of all connections of this process
_shelf: Shelf[_Key, Prepared | None] = Shelf()
_known: weakref.WeakKeyDictionary[Any, Known] = weakref.WeakKeyDictionary()


def known(connection: Any) -> Known:
    """Return what a connection, of whatever driver, takes for granted."""
    found = _known.get(connection)
    return _known.setdefault(connection, Lately()) if found is None else found


class _Session(Protocol):
    """A connection, at a moment when it can be asked."""

    @property
    def may_fail(self) -> bool:
        """Whether a question that fails leaves the transaction as it was."""
        ...

    def types(self) -> Sequence[int]:
        """Return oids of the types of the statement's parameters, 0 where the server is to find out."""
        ...


class Session(_Session, Protocol):
    """A connection, at a moment when it can be asked."""

    def ask(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """Ask the server; what follows a question that fails is not answered.

        :raises TransactionFailed: in a transaction that has failed
        :raises StatementRefused: if what the user does ends it, such as a cancel request
        """
        ...


class AsyncSession(_Session, Protocol):
    """The same, to be awaited."""

    async def ask(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """Ask the server, as a :class:`Session`."""
        ...


def prepare(template: Template, lately: Known, session: Session, *, kept: bool = False) -> Prepared | None:
    """Return what to send for a statement; None if it stays as it is.

    :param lately: what the connection has found out lately
    :param kept: whether the server keeps it for later, so that what is deployed meanwhile must be seen
    :raises RewriteError: for a form that is wrong or cannot be answered, at a position in the user's text
    :raises StatementRefused: if a question fails
    """
    steps = _steps(template, lately, session, kept)
    try:
        step = next(steps)
        while True:
            step = steps.send(session.ask(step) if isinstance(step, list) else step(session.ask))
    except StopIteration as done:
        return cast("Prepared | None", done.value)


async def prepare_async(
    template: Template, lately: Known, session: AsyncSession, *, kept: bool = False
) -> Prepared | None:
    """Return what :func:`prepare` returns."""
    steps = _steps(template, lately, session, kept)
    try:
        step = next(steps)
        while True:
            if isinstance(step, list):
                step = steps.send(await session.ask(step))
            else:
                step = steps.send(
                    await replay(_replayed(step), session.ask, in_thread=len(template.sql) > LONG)
                )
    except StopIteration as done:
        return cast("Prepared | None", done.value)


_Think = Callable[[Ask], Kept[Prepared | None]]


def _replayed(
    think: _Think,
) -> Callable[[Callable[[tuple[Question, ...]], Sequence[Answer]]], Kept[Prepared | None]]:
    return lambda ask: think(lambda questions: ask(tuple(questions)))


def _steps(
    template: Template, lately: Known, session: _Session, kept: bool
) -> Generator[list[Question] | _Think, Any, Prepared | None]:
    """Yield questions, to be sent their answers, or a function that asks itself, to be sent its result."""
    key = (template.sql, template.doubled, template.places, kept)
    taken = lately.get(key)
    if taken is not None:
        return taken.made
    for made in _shelf.variants(key):
        if not made.findings:
            return made.made
        types = made.made and made.made.types
        if not made.is_fresh or (types is not None and types != tuple(session.types())):
            continue
        answers: Sequence[Answer] = yield made.questions
        error = next((answer.error for answer in answers if answer.error is not None), None)
        if error is not None and not session.may_fail:
            raise refused(error)
        if made.holds(answers):
            break
    else:

        def think(ask: Ask) -> Kept[Prepared | None]:
            return _made(template, ask, session, kept)

        made = yield think
    if len(template.sql) <= LONGEST:
        _shelf.keep(key, made)
    if made.made is None or made.made.types is None:
        lately.put(key, made)
    return made.made


def _made(template: Template, ask: Ask, session: _Session, kept: bool) -> Kept[Prepared | None]:
    declared = tuple(session.types()) if "$" in template.sql else ()
    catalog = SessionCatalog(ask, may_fail=session.may_fail, declared=declared)
    try:
        script = catalog.rewrite(template.sql, Setting(kept=kept))
    except RewriteError as error:
        if error.position is not None:
            error.position = template.written(error.position - 1) + 1
        raise
    if not script.changed:
        return Kept(None, catalog.findings, size(len(template.sql), catalog.findings))
    text, order = template.render(script.sql)
    depends = any(isinstance(question, Description) and question.types for question, _ in catalog.findings)
    prepared = Prepared(text, order, template, script, declared if depends else None)
    return Kept(prepared, catalog.findings, size(len(template.sql) + 4 * len(text), catalog.findings))
