"""What a connection takes for granted, and for how long."""

from __future__ import annotations

import time

import pytest

from pgpredict.client.glance import is_plain
from pgpredict.client.lately import Lately


class Clock:
    """A clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def asked(known: Lately[str], sql: str, *, idle: bool = True) -> str | None:
    """What is taken for granted of a statement; it is asked about if nothing is."""
    known.look(sql, idle=idle)
    found = known.get(sql)
    if found is None:
        known.put(sql, "made")
    return found


def test_only_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, known = Clock(monkeypatch), Lately[str]()
    assert [asked(known, "SELECT 1"), asked(known, "SELECT 1")] == [None, "made"]
    clock.now += 0.11
    assert asked(known, "SELECT 1") is None


@pytest.mark.parametrize(
    "between",
    [
        "SET search_path = b",
        "CREATE TEMP TABLE t (a int)",
        "SELECT set_config('search_path', 'b', false)",
        "SELECT ml.deploy('m', 2)",
        'SELECT "ml"."deploy"(1)',
        "SELECT deploy('m', 2)",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "SELECT 1\nINTO t",
        "SELECT 1; SET search_path = b",
        "ROLLBACK",
        "-- a comment\nDROP TABLE t",
        "SELECT 1 INTO t",
        "CALL p()",
        "DO $$ BEGIN END $$",
    ],
)
def test_not_after_what_may_change_an_answer(between: str) -> None:
    known = Lately[str]()
    asked(known, "SELECT 1")
    known.look(between, idle=True)
    assert asked(known, "SELECT 1") is None
    # it was committed with that statement: from the next on answers may be relied on
    asked(known, "SELECT 1")
    assert asked(known, "SELECT 1") == "made"


@pytest.mark.parametrize(
    "between",
    [
        *("INSERT INTO t VALUES (1)", "insert\n  into t select 1", " (select 1)", "COMMIT;", "/* x */ begin"),
        *("WITH a AS (SELECT 1) INSERT INTO t SELECT 2", "SELECT html, into_, deployed FROM t"),
    ],
)
def test_after_what_changes_none(between: str) -> None:
    known = Lately[str]()
    asked(known, "SELECT 1")
    known.look(between, idle=True)
    assert asked(known, "SELECT 1") == "made"
    assert is_plain(between)


def test_a_transaction_with_ddl_is_no_ground_for_what_comes_after_it() -> None:
    known = Lately[str]()
    known.look("CREATE TABLE t (a int)", idle=False)
    # asked about within the transaction, where another table may be meant: never relied on
    assert [asked(known, "SELECT 1", idle=False) for _ in range(3)] == [None, None, None]
    # the transaction has ended, however: nobody says so
    assert [asked(known, "SELECT 1", idle=True) for _ in range(2)] == [None, "made"]


def test_what_is_taken_for_granted_is_bounded() -> None:
    known = Lately[str]()
    for number in range(5_000):
        asked(known, f"SELECT {number}")
    assert len(known._taken) <= 200


class Listener:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.hears, self.number, self.seconds = True, 1, 5.0


def test_longer_where_deployments_are_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, known, listener = Clock(monkeypatch), Lately[str](), Listener()
    known.deployments = listener  # type: ignore[assignment]
    asked(known, "SELECT 1")
    clock.now += 4
    assert asked(known, "SELECT 1") == "made"
    listener.number += 1
    assert asked(known, "SELECT 1") is None
    listener.hears = False
    clock.now += 1
    assert asked(known, "SELECT 1") is None


def test_an_answer_is_as_old_as_its_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer may wait for a lock, and a deployment may be heard of meanwhile."""
    clock, known = Clock(monkeypatch), Lately[str]()
    known.look("SELECT 1", idle=True)
    assert known.get("SELECT 1") is None
    clock.now += 10
    known.put("SELECT 1", "made")
    assert known.get("SELECT 1") is None
    listener = Listener()
    known.deployments = listener  # type: ignore[assignment]
    assert known.get("SELECT 1") is None
    listener.number += 1
    known.put("SELECT 1", "made")
    assert known.get("SELECT 1") is None


def test_a_transactions_answers_end_with_it() -> None:
    known = Lately[str]()
    assert [asked(known, "SELECT 1", idle=False) for _ in range(2)] == [None, "made"]
    # perhaps of a snapshot that was minutes old
    assert [asked(known, "SELECT 1", idle=True) for _ in range(2)] == [None, "made"]
    assert asked(known, "SELECT 1", idle=False) == "made"


def test_a_statement_that_is_its_own_transaction_makes_the_next_one_no_dirtier() -> None:
    known = Lately[str]()
    known.look("SET application_name = x", idle=True, alone=True)
    assert [asked(known, "SELECT 1", idle=False) for _ in range(2)] == [None, "made"]
    known.look("BEGIN; SET LOCAL search_path = x", idle=True, alone=True)
    assert [asked(known, "SELECT 1", idle=False) for _ in range(2)] == [None, None]


def test_long_texts_are_not_held() -> None:
    known, long = Lately[str](), "SELECT " + "1, " * 10_000 + "1"
    assert [asked(known, long), asked(known, long)] == [None, None]
