"""Keeps statements that were rewritten, for callers that see the same text again and again.

A statement is known by its whole text: two that differ in a constant are two statements. Constants are not
turned into parameters, because a constant may decide the way that is taken and the type of a feature; a
driver that sends parameters sends one text.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Protocol

from .asynchronous import AsyncCatalog, rewrite_async
from .catalog import Catalog
from .rules import RULES, Rule
from .scan import mentions
from .setting import Setting
from .statement import Rewritten, rewrite

#: statements that are kept at the most
ENTRIES = 1_000
#: longer ones are not kept: they are loads of rows, which do not come again
LONGEST = 100_000


class VersionedCatalog(Catalog, Protocol):
    """A catalog that knows when its answers may have changed."""

    def generation(self) -> Hashable:
        """Return a value that is another one once any answer may be another one.

        It is asked for every statement with our words, so it must cost next to nothing. What changes
        answers: a deployment, a grant, DDL on what is read or on types and functions, statistics.
        """
        ...


class VersionedAsyncCatalog(AsyncCatalog, Protocol):
    """The same, whose answers are awaited."""

    def generation(self) -> Hashable:
        """Return a value that is another one once any answer may be another one."""
        ...


class CachedRewriter:
    """Rewrites statements and keeps them, the longest unused one is given up first; safe to share by threads.

    Errors are not kept.

    :param entries: statements that are kept at the most
    """

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._lock = threading.Lock()
        #: key -> (generation, statement), the longest unused first
        self._kept: OrderedDict[Hashable, tuple[Hashable, Rewritten]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def rewrite(
        self,
        sql: str,
        catalog: VersionedCatalog,
        *,
        scope: Hashable = None,
        rules: Sequence[Rule] = RULES,
        setting: Setting | None = None,
    ) -> Rewritten:
        """Return what :func:`rewriter.rewrite` returns, from what is kept if it can be.

        :param scope: what else the catalog's answers depend on: the database, the user, the search_path,
            settings of the session, and the session itself if it has temporary tables
        :raises RewriteError: as :func:`rewriter.rewrite`
        """
        if not mentions(sql):
            # cheaper to find out than to look up, and it would take the place of others
            return Rewritten(sql, changed=False)
        # before the catalog is asked anything: what changes meanwhile makes the entry stale
        generation = catalog.generation()
        key = (sql, scope, tuple(rules), setting)
        found = self._found(key, generation)
        if found is None:
            found = rewrite(sql, catalog, rules=rules, setting=setting)
            self._keep(key, generation, found)
        return found

    async def rewrite_async(
        self,
        sql: str,
        catalog: VersionedAsyncCatalog,
        *,
        scope: Hashable = None,
        rules: Sequence[Rule] = RULES,
        setting: Setting | None = None,
    ) -> Rewritten:
        """Return what :func:`rewriter.rewrite_async` returns, from what is kept if it can be.

        Synchronous and asynchronous callers may share what is kept. Arguments and errors are those of
        :meth:`rewrite`.
        """
        if not mentions(sql):
            return Rewritten(sql, changed=False)
        generation = catalog.generation()
        key = (sql, scope, tuple(rules), setting)
        found = self._found(key, generation)
        if found is None:
            found = await rewrite_async(sql, catalog, rules=rules, setting=setting)
            self._keep(key, generation, found)
        return found

    def _found(self, key: Hashable, generation: Hashable) -> Rewritten | None:
        with self._lock:
            entry = self._kept.get(key)
            if entry is not None and entry[0] == generation:
                self._kept.move_to_end(key)
                self.hits += 1
                return entry[1]
            self.misses += 1
            return None

    def _keep(
        self,
        key: tuple[str, Hashable, tuple[Rule, ...], Setting | None],
        generation: Hashable,
        made: Rewritten,
    ) -> None:
        if len(key[0]) > LONGEST:
            return
        with self._lock:
            self._kept[key] = generation, made
            self._kept.move_to_end(key)
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all statements."""
        with self._lock:
            self._kept.clear()
