"""EXPLAIN (PREDICT): the option is found by words and taken out, and the report says what is predicted."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from rewriter import RewriteError, Setting, rewrite
from rewriter.explain import find_explain
from rewriter.scan import scan
from tests.unit.rewriter.static import StaticCatalog


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("EXPLAIN (PREDICT) SELECT 1", "EXPLAIN           SELECT 1"),
        ("EXPLAIN (predict true, COSTS off) SELECT 1", "EXPLAIN (              COSTS off) SELECT 1"),
        ("explain (ANALYZE, PREDICT) SELECT 1", "explain (ANALYZE         ) SELECT 1"),
        (
            "EXPLAIN (ANALYZE, PREDICT on, BUFFERS) SELECT 1",
            "EXPLAIN (ANALYZE,             BUFFERS) SELECT 1",
        ),
        ("EXPLAIN (PREDICT,\nPREDICT) SELECT 1", "EXPLAIN          \n         SELECT 1"),
    ],
)
def test_the_option_is_taken_out_in_its_place(statement: str, expected: str) -> None:
    asked = find_explain(statement, scan(statement))
    assert asked is not None
    assert asked.sql == expected
    assert len(asked.sql) == len(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "EXPLAIN (ANALYZE) SELECT 1",
        "EXPLAIN ANALYZE SELECT predict FROM t",
        "EXPLAIN (SELECT predict FROM t)",
        "SELECT PREDICT(late)",
        'EXPLAIN ("PREDICT") SELECT 1',
        "EXPLAIN",
    ],
)
def test_other_statements_are_none_of_it(statement: str) -> None:
    assert find_explain(statement, scan(statement)) is None


@pytest.mark.parametrize(
    ("statement", "sqlstate", "at"),
    [
        ("EXPLAIN (PREDICT maybe) SELECT 1", "42601", "maybe"),
        ("EXPLAIN (PREDICT, FORMAT yaml) SELECT 1", "0A000", "yaml"),
        ("EXPLAIN (FORMAT 'XML', PREDICT) SELECT 1", "0A000", "'XML'"),
        ("EXPLAIN (PREDICT) SELECT PREDICT(delay) FROM f WHERE flight = $1", "0A000", "$1"),
        ("EXPLAIN (PREDICT, COSTS OFF) SELECT PREDICT(dely) FROM f", "42704", "dely"),
    ],
)
def test_refusals_point_into_the_statement(statement: str, sqlstate: str, at: str) -> None:
    with pytest.raises(RewriteError) as caught:
        rewrite(statement, StaticCatalog())
    assert (caught.value.sqlstate, caught.value.position) == (sqlstate, statement.index(at) + 1)


def test_the_option_switched_off_leaves_an_ordinary_explain() -> None:
    rewritten = rewrite("EXPLAIN (PREDICT off, COSTS off) SELECT PREDICT(late) FROM f", StaticCatalog())
    assert re.match(r"EXPLAIN \( +COSTS off\) SELECT _p_1.predict FROM", rewritten.sql)


def lines(statement: str, **options: Any) -> list[str]:
    text = rewrite(statement, StaticCatalog(), **options).sql
    found = re.match(
        r"SELECT \* FROM ml\.explain\(ARRAY\[(.*?)\]::pg_catalog.text\[\], *E?'", text, re.DOTALL
    )
    assert found, text
    return [part.strip("'").replace("''", "'") for part in re.split(r"(?<='), (?=')", found[1])]


def test_the_report() -> None:
    statement = (
        "EXPLAIN (PREDICT) SELECT PREDICT(late USING *, distance * 2 AS distance), "
        "PROBABILITY(late FOR 'true' USING *, distance * 2 AS distance) FROM f WHERE flight > 5 LIMIT 10"
    )
    assert lines(statement) == [
        "PREDICT, PROBABILITY FOR 'true' of late, version 1",
        "  way       batch: the model has no certified SQL form",
        "  features  carrier, hour of f; distance = (distance * 2)",
        "  before    flight > 5",
        "  limited   LIMIT 10",
        "  rows      10 estimated, 1 batch",
        "",
    ]


def test_rules_that_are_off_are_named() -> None:
    statement = "EXPLAIN (PREDICT) SELECT PREDICT(late) FROM f LIMIT 1"
    found = lines(statement, setting=Setting(without=frozenset(["share_runs", "filter_first"])))
    assert found[-2:] == ["Rules switched off: filter_first, share_runs", ""]


def test_a_statement_without_a_form() -> None:
    assert lines("EXPLAIN (PREDICT) SELECT 1")[0] == "No PREDICT in this statement."


def test_the_report_as_json() -> None:
    text = rewrite("EXPLAIN (PREDICT, FORMAT JSON) SELECT PREDICT(delay) FROM f", StaticCatalog()).sql
    found = re.match(r"SELECT \* FROM ml\.explain_json\( ?E?'(.*?)'::pg_catalog.jsonb, ", text, re.DOTALL)
    assert found
    (run,) = json.loads(found[1].replace("''", "'").replace("\\\\", "\\"))["Runs"]
    assert (run["Model"], run["Version"], run["Way"]) == ("delay", 2, "batch")
