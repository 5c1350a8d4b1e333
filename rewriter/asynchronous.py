"""Rewriting where answers have to be awaited.

The rewriter is a function that asks as it goes. Here it stops at a question that has no answer yet; the
answer is awaited, and the rewriter begins again, with what is known so far. It asks the same questions each
time, so that it gets further, to the end. Nothing waits in a thread, so nothing is left behind when the
caller is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from .catalog import Column, ModelInfo
from .rules import RULES, Rule
from .scan import mentions
from .setting import Setting
from .statement import Rewritten, rewrite

#: characters of a text that takes long enough to be rewritten in a thread
LONG = 10_000

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")
R = TypeVar("R")


class AsyncCatalog(Protocol):
    """The questions of :class:`rewriter.Catalog`, to be awaited."""

    async def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        """Return the model that the caller knows under this name."""
        ...

    async def settings(self) -> Mapping[str, str]:
        """Return the session's settings."""
        ...

    async def texts_are_bytes(self) -> bool:
        """Tell whether texts that are equal are so byte by byte."""
        ...

    async def model_names(self) -> Sequence[str]:
        """Return the names of all models that the caller may use."""
        ...

    async def has_function(self, name: str) -> bool:
        """Tell whether a function of this name can be called without a schema."""
        ...

    async def is_volatile(self, names: Sequence[str]) -> bool:
        """Tell whether one of these may be the name of a volatile function."""
        ...

    async def describe(self, sql: str) -> Sequence[Column]:
        """Return the columns that a query gives, without running it."""
        ...

    async def primary_key(self, table: str) -> Sequence[str]:
        """Return the columns of a table's primary key."""
        ...

    async def is_steady(self, relations: Sequence[str], functions: Sequence[str]) -> bool:
        """Tell whether nothing here is volatile."""
        ...

    async def estimate(self, sql: str) -> float | None:
        """Return how many rows PostgreSQL expects of a query."""
        ...


async def rewrite_async(
    sql: str, catalog: AsyncCatalog, *, rules: Sequence[Rule] = RULES, setting: Setting | None = None
) -> Rewritten:
    """Return what :func:`rewriter.rewrite` returns.

    The work itself, a millisecond or so, is done between the answers; for a long text in a thread.

    :raises RewriteError: as :func:`rewriter.rewrite`
    """
    if not mentions(sql):
        return Rewritten(sql, changed=False)

    def run(ask: Callable[[tuple[str, tuple[Hashable, ...]]], Any]) -> Rewritten:
        return rewrite(sql, _Asking(ask), rules=rules, setting=setting)

    async def answer(question: tuple[str, tuple[Hashable, ...]]) -> Any:
        method, arguments = question
        return await getattr(catalog, method)(*arguments)

    return await replay(run, answer, in_thread=len(sql) > LONG)


async def replay(
    run: Callable[[Callable[[Q], A]], R], answer: Callable[[Q], Awaitable[A]], *, in_thread: bool = False
) -> R:
    """Run a function again and again, until each question that it asks has its answer.

    :param run: is given the function that answers; it must not mind being stopped there by an exception
        that is no :class:`Exception`, and ask the same questions each time
    :param answer: called once for each question. An :class:`Exception` of it is raised in ``run``
    :param in_thread: whether to run it in a thread of the event loop's executor, which others may have filled
    """
    known: dict[Q, tuple[A | None, Exception | None]] = {}

    def ask(question: Q) -> A:
        if question not in known:
            raise _Unanswered(question)
        found, error = known[question]
        if error is not None:
            raise error
        return found  # type: ignore[return-value]

    def attempt() -> R | _Unanswered:
        # an exception that is no Exception would not cross a thread's end
        try:
            return run(ask)
        except _Unanswered as unanswered:
            return unanswered

    while True:
        made = await asyncio.to_thread(attempt) if in_thread else attempt()
        if not isinstance(made, _Unanswered):
            return made
        question: Q = made.question
        try:
            known[question] = (await answer(question), None)
        except Exception as error:  # noqa: BLE001 (what it means is for the function to say)
            known[question] = (None, error)


class _Unanswered(BaseException):
    """Stops the function at a question."""

    def __init__(self, question: Any) -> None:
        super().__init__()
        self.question = question


class _Asking:
    """A :class:`rewriter.Catalog` of questions."""

    def __init__(self, ask: Callable[[tuple[str, tuple[Hashable, ...]]], Any]) -> None:
        self._ask = ask

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments: self._ask((method, tuple(map(_hashable, arguments))))

    def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        found: ModelInfo | None = self._ask(("model", (name, version)))
        return found


def _hashable(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
