"""Random statements: what is rewritten gives the rows of the plain meaning, in every way.

``PGPREDICT_EXAMPLES=2000`` makes it a long run.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, get_args

import psycopg
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rewriter import RULES
from rewriter.errors import NotSupported
from rewriter.forms import find_calls
from rewriter.plan import Way
from rewriter.scan import scan
from rewriter.setting import Setting
from tests.fix_rewriter import Case, Lasting, compare
from tests.random_sql import Statement, statements

EXAMPLES = int(os.environ.get("PGPREDICT_EXAMPLES", "200"))
#: statements with more take too long
MOST_FORMS = 6


def case_of(statement: Statement) -> Case:
    ours, plain = statement.texts
    return Case("random", statement.kind, 1, ours, plain, then=statement.then)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=EXAMPLES <= 200,
)
@given(
    statement=statements(),
    rules=st.sets(st.sampled_from(RULES)),
    way=st.sampled_from([None, None, *get_args(Way)]),
)
def test_random_statements(lasting: Lasting, statement: Statement, rules: set[Any], way: Way | None) -> None:
    bench, case = lasting.get(), case_of(statement)
    # table-valued forms are none of these
    assume(int(case.theme != "table") <= len(find_calls(scan(case.statement))) <= MOST_FORMS)
    options = {"rules": [rule for rule in RULES if rule in rules], "setting": Setting(way)}
    try:
        expected = bench.mean(case)
    except psycopg.Error:
        # such as a type that does not fit: PostgreSQL would refuse it without us
        assume(False)
    try:
        text, got = bench.predict(case, **options)
    except NotSupported:
        assume(way != "inline")
        raise
    compare(case, str(options), got, expected, text)


def test_generated_statements_are_of_every_kind() -> None:
    kinds: set[str] = set()

    @settings(max_examples=300, database=None, derandomize=True, deadline=None)
    @given(statement=statements())
    def collect(statement: Statement) -> None:
        kinds.add(statement.kind)
        assert dataclasses.is_dataclass(statement)

    collect()
    assert kinds >= {"select", "join on", "correlated", "update", "delete", "insert", "set operation", "view"}
    assert kinds >= {"derived", "table", "merge"}
