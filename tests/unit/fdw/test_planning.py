"""Row estimates and path keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fdw.planning import UNBOUND_ROWS, Planner


@dataclass
class Qual:
    field_name: str
    operator: Any
    value: Any


ALL = ("art", "a", "b")
DOCUMENT = (("art", "features"), 1)


def planner() -> Planner:
    return Planner("art", ["a", "b"], "features")


def test_nothing_bound() -> None:
    found = planner()
    assert found.rows([]) == UNBOUND_ROWS
    assert found.path_keys() == [(ALL, 1), DOCUMENT]


def test_constants_stay_in_the_key() -> None:
    found = planner()
    assert found.rows([Qual("a", "=", 1), Qual("b", "=", 2)]) == UNBOUND_ROWS
    assert found.path_keys() == [(ALL, 1), DOCUMENT]


def test_everything_bound_is_one_row() -> None:
    quals = [Qual(name, "=", 1) for name in ALL]
    assert planner().rows(quals) == 1
    assert planner().rows([Qual("art", "=", "x"), Qual("features", "=", "{}")]) == 1


def test_null_and_bare_boolean_leave_the_key() -> None:
    found = planner()
    found.rows([Qual("a", "=", None)])
    assert found.path_keys() == [(("art", "b"), 1), DOCUMENT]
    found.rows([Qual("b", ("=", True), [1, 2])])
    assert found.path_keys() == [(("art", "a"), 1), DOCUMENT]


def test_earlier_queries_leave_nothing_behind() -> None:
    found = planner()
    found.rows([Qual("a", "=", None)])
    found.path_keys()
    found.rows([])
    assert found.path_keys() == [(ALL, 1), DOCUMENT]
    found.rows([Qual("a", "=", None)])
    found.reset()
    found.rows([])
    assert found.path_keys() == [(ALL, 1), DOCUMENT]


def test_two_scans_of_one_query_get_each_others_keys() -> None:
    found = planner()
    found.rows([Qual("a", "=", None)])
    found.rows([])
    both = [(ALL, 1), (("art", "b"), 1), DOCUMENT]
    assert found.path_keys() == both
    assert found.path_keys() == both
    found.rows([])
    assert found.path_keys() == [(ALL, 1), DOCUMENT]
