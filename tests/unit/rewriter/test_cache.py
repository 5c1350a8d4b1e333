from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence

import pytest

from rewriter import CachedRewriter, Column, RewriteError, Setting, rewrite
from rewriter.cache import LONGEST
from tests.unit.rewriter.static import StaticCatalog

PREDICTS = "SELECT flight, PREDICT(late) FROM f"


class Versioned(StaticCatalog):
    """Answers that can become stale."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 1

    def generation(self) -> Hashable:
        return self.number


def test_a_statement_is_rewritten_once() -> None:
    catalog, cached = Versioned(), CachedRewriter()
    first = cached.rewrite(PREDICTS, catalog)
    assert first == rewrite(PREDICTS, StaticCatalog())
    asked = len(catalog.described)
    assert cached.rewrite("".join(PREDICTS), catalog) is first
    assert len(catalog.described) == asked
    assert (cached.hits, cached.misses, len(cached)) == (1, 1, 1)
    cached.clear()
    assert len(cached) == 0


def test_statements_without_our_words_are_not_kept() -> None:
    catalog, cached = Versioned(), CachedRewriter()
    assert cached.rewrite("SELECT 1", catalog).sql == "SELECT 1"
    assert len(cached) == 0
    # finding out that a word is no form takes a scan, which is worth keeping
    assert not cached.rewrite("SELECT prediction FROM t", catalog).changed
    assert len(cached) == 1


def test_another_generation_makes_entries_stale() -> None:
    catalog, cached = Versioned(), CachedRewriter()
    first = cached.rewrite(PREDICTS, catalog)
    catalog.number = 2
    second = cached.rewrite(PREDICTS, catalog)
    assert second is not first
    assert cached.rewrite(PREDICTS, catalog) is second
    assert len(cached) == 1


def test_a_change_while_a_statement_is_rewritten_makes_it_stale() -> None:
    class Changing(Versioned):
        def describe(self, sql: str) -> Sequence[Column]:
            self.number += 1
            return super().describe(sql)

    catalog, cached = Changing(), CachedRewriter()
    cached.rewrite(PREDICTS, catalog)
    asked = len(catalog.described)
    cached.rewrite(PREDICTS, catalog)
    assert len(catalog.described) > asked


def test_scope_rules_and_setting_tell_entries_apart() -> None:
    catalog, cached = Versioned(), CachedRewriter()
    texts = [
        cached.rewrite(PREDICTS, catalog),
        cached.rewrite(PREDICTS, catalog, scope=("ann", "public")),
        cached.rewrite(PREDICTS, catalog, rules=()),
        cached.rewrite(PREDICTS, catalog, setting=Setting(way="row")),
    ]
    assert len(cached) == 4
    assert texts[3].sql != texts[0].sql
    assert cached.rewrite(PREDICTS, catalog, scope=("ann", "public")) is texts[1]


def test_the_longest_unused_goes_first_and_long_ones_are_not_kept() -> None:
    catalog, cached = Versioned(), CachedRewriter(entries=2)
    first, second, third = (f"{PREDICTS} WHERE flight = {number}" for number in range(3))
    kept = cached.rewrite(first, catalog)
    cached.rewrite(second, catalog)
    assert cached.rewrite(first, catalog) is kept
    cached.rewrite(third, catalog)
    assert cached.rewrite(first, catalog) is kept
    assert cached.misses == 3
    cached.rewrite(second, catalog)
    assert cached.misses == 4
    cached.rewrite(f"{PREDICTS} -- {'x' * LONGEST}", catalog)
    assert len(cached) == 2


def test_errors_are_not_kept() -> None:
    catalog, cached = Versioned(), CachedRewriter()
    for _ in range(2):
        with pytest.raises(RewriteError):
            cached.rewrite("SELECT PREDICT(nothing) FROM f", catalog)
    assert (cached.misses, len(cached)) == (2, 0)


def test_threads_share_it() -> None:
    catalog, cached = Versioned(), CachedRewriter(entries=3)
    statements = [f"{PREDICTS} WHERE flight = {number}" for number in range(5)]
    wanted = {sql: rewrite(sql, StaticCatalog()).sql for sql in statements}
    wrong: list[str] = []

    def work() -> None:
        for number in range(100):
            sql = statements[number * 7 % 5]
            if cached.rewrite(sql, catalog).sql != wanted[sql]:
                wrong.append(sql)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(cached) == 3
    assert cached.hits + cached.misses == 400
