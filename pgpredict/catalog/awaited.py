"""The rewriter's questions where answers have to be awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from rewriter import Column, ModelInfo
from rewriter.asynchronous import replay

from .deployments import Deployments
from .questions import Answer, Question
from .session import SessionCatalog

R = TypeVar("R")


class AwaitedCatalog:
    """A :class:`rewriter.AsyncCatalog` that asks the database each time.

    :param ask: asks, and gives the answers up to the first one that fails
    :param deployments: heard of, for :class:`rewriter.CachedRewriter`
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        deployments: Deployments | None = None,
    ) -> None:
        self._ask, self._deployments = ask, deployments
        self._settings: Mapping[str, str] = {}

    def generation(self) -> Hashable:
        """Return another value once any answer may be another one; without deployments each time."""
        return object() if self._deployments is None else self._deployments.generation()

    async def _answered(self, question: Callable[[SessionCatalog], R]) -> R:
        def run(ask: Callable[[tuple[Question, ...]], Sequence[Answer]]) -> tuple[R, Mapping[str, str]]:
            catalog = SessionCatalog(lambda questions: ask(tuple(questions)), may_fail=True)
            return question(catalog), catalog.settings()

        found, settings = await replay(run, self._ask)
        self._settings = settings or self._settings
        return found

    async def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        """Return a model that the caller may use, in its deployed version or in the one asked for."""
        return await self._answered(lambda catalog: catalog.model(name, version))

    async def settings(self) -> Mapping[str, str]:
        """Return what the session had set for the rewriter when it was asked for a model last."""
        return self._settings

    async def texts_are_bytes(self) -> bool:
        """Tell whether texts that are equal are so byte by byte, whatever their collation."""
        return await self._answered(lambda catalog: catalog.texts_are_bytes())

    async def model_names(self) -> Sequence[str]:
        """Return the names of all models that the caller may use."""
        return await self._answered(lambda catalog: catalog.model_names())

    async def has_function(self, name: str) -> bool:
        """Tell whether a function of this name is in the search path."""
        return await self._answered(lambda catalog: catalog.has_function(name))

    async def is_volatile(self, names: Sequence[str]) -> bool:
        """Tell whether a volatile function has one of these names, in whatever schema."""
        return await self._answered(lambda catalog: catalog.is_volatile(names))

    async def describe(self, sql: str) -> Sequence[Column]:
        """Return a query's columns; it is prepared, never run."""
        return await self._answered(lambda catalog: catalog.describe(sql))

    async def primary_key(self, table: str) -> Sequence[str]:
        """Return the columns of a table's primary key."""
        return await self._answered(lambda catalog: catalog.primary_key(table))

    async def is_steady(self, relations: Sequence[str], functions: Sequence[str]) -> bool:
        """Tell whether none of these calls a volatile function, views in views included."""
        return await self._answered(lambda catalog: catalog.is_steady(relations, functions))

    async def estimate(self, sql: str) -> float | None:
        """Return how many rows PostgreSQL expects of a query; it is planned, never run."""
        return await self._answered(lambda catalog: catalog.estimate(sql))
