"""What the planning decides: ways, rules, and what the session sets of them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from rewriter import Catalog, ModelInfo, RewriteError, Rewritten, Setting, rewrite
from tests.fix_rewriter import Bench, cases


class Knowing:
    """A catalog that knows more of the models than the database does.

    :param more: fields of ModelInfo by model
    """

    def __init__(self, catalog: Catalog, more: dict[str, dict[str, Any]]) -> None:
        self._catalog, self._more = catalog, more

    def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        found = self._catalog.model(name, version)
        return found and dataclasses.replace(found, **self._more.get(name, {}))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)


@pytest.fixture
def plain(bench: Bench) -> Bench:
    """Without SQL forms, so that a way is chosen by rows."""
    none = {name: {"inline": None} for name in ("late", "delay", "spare")}
    return Bench(bench.connection, Knowing(bench.catalog, none))  # type: ignore[arg-type]


def ways(rewritten: Rewritten) -> list[str]:
    return [run.way for run in rewritten.runs]


def lines(bench: Bench, statement: str) -> str:
    return "\n".join(str(line) for (line,) in bench.run(statement)[1])


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT PREDICT(delay) FROM flights WHERE flight = 7", ["batch"]),
        ("SELECT PREDICT(delay USING 'UA' AS carrier, 5 AS distance)", ["row"]),
        ("SELECT PREDICT(delay) FROM flights LIMIT 1", ["row"]),
        ("SELECT PREDICT(delay) FROM flights WHERE flight > 5 ORDER BY hour FETCH NEXT ROW ONLY", ["row"]),
        ("SELECT PREDICT(delay) FROM flights FETCH FIRST 1 ROWS ONLY", ["row"]),
        ("SELECT PREDICT(delay) FROM flights LIMIT 2", ["batch"]),
        ("SELECT PREDICT(delay) FROM flights WHERE PREDICT(delay) > 3 LIMIT 1", ["batch"]),
        ("SELECT PREDICT(delay) FROM flights ORDER BY 1 LIMIT 1", ["batch"]),
        ("SELECT max(PREDICT(delay)) FROM flights LIMIT 1", ["batch"]),
        ("SELECT (SELECT max(PREDICT(delay)) FROM flights AS i WHERE i.flight = o.flight) FROM flights AS o",
         ["batch"]),
        ("CREATE VIEW v AS SELECT PREDICT(delay) FROM flights", ["row"]),
        ("SELECT PREDICT(delay USING d.flights.carrier, d.flights.distance) FROM d.flights",
         ["batch"]),
    ],
)  # fmt: skip
def test_one_row_and_one_form_is_a_request(plain: Bench, statement: str, expected: list[str]) -> None:
    assert ways(rewrite(statement, plain.catalog)) == expected


def test_one_row_of_an_ordered_table_is_one_prediction(plain: Bench) -> None:
    rewritten = rewrite(
        "EXPLAIN (ANALYZE, COSTS OFF) SELECT flight, PREDICT(delay) FROM flights ORDER BY distance LIMIT 1",
        plain.catalog,
    )
    assert ways(rewritten) == ["row"]
    scans = [line for line in lines(plain, rewritten.sql).splitlines() if "Foreign Scan" in line]
    assert len(scans) == 1
    assert "loops=1)" in scans[0]


def test_the_session_sets_the_way(plain: Bench) -> None:
    statement = "SELECT PREDICT(delay) FROM flights"
    with plain.connection.transaction(force_rollback=True):
        plain.connection.execute("SET LOCAL pgpredict.way = 'row'")
        assert ways(rewrite(statement, plain.catalog)) == ["row"]
        # an argument comes first
        assert ways(rewrite(statement, plain.catalog, setting=Setting("auto"))) == ["batch"]
        plain.connection.execute("SET LOCAL pgpredict.way = 'inline'")
        with pytest.raises(RewriteError, match="no certified SQL form"):
            rewrite(statement, plain.catalog)
    assert ways(rewrite(statement, plain.catalog)) == ["batch"]


def test_the_session_switches_rules_off(plain: Bench) -> None:
    statement = "SELECT PREDICT(late), PROBABILITY(late) FROM flights, (SELECT 1.5 AS temp) AS t LIMIT 2"
    assert len(rewrite(statement, plain.catalog).plans[0].runs) == 1
    with plain.connection.transaction(force_rollback=True):
        plain.connection.execute("SET LOCAL pgpredict.rules_off = 'share_runs, limit_first'")
        plan = rewrite(statement, plain.catalog).plans[0]
        assert (len(plan.runs), plan.limited) == (2, [])
        plain.connection.execute("SET LOCAL pgpredict.rules_off = 'all'")
        assert not rewrite(statement, plain.catalog).plans[0].notes


@pytest.mark.parametrize(("name", "value"), [("way", "quick"), ("rules_off", "filter_first, limit")])
def test_settings_that_there_are_not(plain: Bench, name: str, value: str) -> None:
    with plain.connection.transaction(force_rollback=True):
        plain.connection.execute("SELECT set_config('pgpredict.' || %s, %s, true)", (name, value))
        with pytest.raises(RewriteError) as caught:
            rewrite("SELECT PREDICT(delay) FROM flights", plain.catalog)
    assert caught.value.sqlstate == "22023"
    assert value.split()[-1] in caught.value.message


@pytest.mark.parametrize("way", ["row", "batch", "inline"])
def test_a_join_that_only_fed_unused_features_is_removed(bench: Bench, way: Any) -> None:
    more: dict[str, dict[str, Any]] = {"spare": {"unused": frozenset(["idle"])}}
    if way != "inline":
        more["spare"]["inline"] = None
    catalog = Knowing(bench.catalog, more)
    found = bench.catalog.model("spare")
    if way == "inline" and (found is None or found.inline is None):
        pytest.skip("the model has no SQL form")
    statement = (
        "EXPLAIN SELECT flight, PREDICT(spare USING distance, w.wind AS idle) "
        "FROM flights AS f LEFT JOIN weather AS w ON w.origin = f.origin AND w.hour = f.hour"
    )
    rewritten = rewrite(statement, catalog, setting=Setting(way))
    assert rewritten.runs[0].pruned == ("idle",)
    assert "weather" not in lines(bench, rewritten.sql)
    kept = rewrite(statement, catalog, setting=Setting(way, frozenset(["prune_features"])))
    assert way == "inline" or "weather" in lines(bench, kept.sql)
    looked_at = statement.replace(" AS idle)", " AS idle ON MISSING NULL)")
    assert "weather" in lines(bench, rewrite(looked_at, catalog, setting=Setting(way)).sql)


@pytest.mark.parametrize("analyze", ["", ", ANALYZE, COSTS OFF"])
def test_explain_tells_what_is_predicted(plain: Bench, analyze: str) -> None:
    statement = (
        f"EXPLAIN (PREDICT{analyze}) SELECT PREDICT(late), PROBABILITY(late FOR true) FROM flights "
        "LEFT JOIN weather USING (origin, hour) WHERE flight < 11 AND PREDICT(late)"
    )
    columns, rows = plain.run(rewrite(statement, plain.catalog).sql)
    assert columns == [("QUERY PLAN", "text")]
    # Multicorn 1.4 allows no estimate in this database
    found = [line for (line,) in rows if not re.match(r"  rows      \d+ estimated, 1 batch$", line)]
    assert found[:5] == [
        "PREDICT, PROBABILITY FOR true of late, version 1",
        "  way       batch: the model has no certified SQL form",
        "  features  carrier, distance of flights; temp of weather",
        "  before    flight < 11",
        "",
    ]
    assert any("Foreign Scan" in line for (line,) in rows)


def test_explain_as_json(plain: Bench) -> None:
    statement = "EXPLAIN (PREDICT, FORMAT JSON) SELECT PREDICT(delay) FROM flights LIMIT 10"
    ((((found,),),),) = [plain.run(rewrite(statement, plain.catalog).sql)[1:]]
    (run,) = found[0]["Predictions"]["Runs"]
    assert (run["Model"], run["Estimated Rows"], run["Order and Limit Before Inference"]) == (
        "delay",
        10,
        "LIMIT 10",
    )
    assert found[0]["Plan"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE flights SET distance = PREDICT(delay) WHERE flight = 4",
        "DELETE FROM flights WHERE PREDICT(delay) > 5",
        "INSERT INTO nothing (distance) SELECT PREDICT(delay) FROM flights",
        "WITH p AS (SELECT flight, PREDICT(delay) AS d FROM flights) SELECT * FROM p WHERE d > 5",
        "CREATE TABLE t AS SELECT PREDICT(delay) FROM flights",
        "SELECT (SELECT max(PREDICT(delay)) FROM flights AS g WHERE g.flight < f.flight) FROM flights AS f;",
        "SELECT * FROM flights, LATERAL (SELECT PREDICT(delay USING flights.carrier, flights.distance)) AS l",
        "SELECT E'\\\\ \\'' AS text, PREDICT(delay) FROM flights",
    ],
)
def test_explain_of_any_statement(plain: Bench, statement: str) -> None:
    found = lines(plain, rewrite(f"EXPLAIN (ANALYZE, PREDICT) {statement}", plain.catalog).sql)
    assert found.startswith("PREDICT of delay, version 1\n  way ")
    assert "Execution Time" in found


def test_what_nobody_reads_is_not_predicted(plain: Bench) -> None:
    for case in cases("drop_unread"):
        plan = min(rewrite(case.statement, plain.catalog).plans, key=lambda plan: -len(plan.unread))
        assert bool(plan.unread) == (case.theme == "not read"), case.statement
        bare = rewrite(case.statement, plain.catalog, setting=Setting(without=frozenset(["drop_unread"])))
        assert not any(plan.unread for plan in bare.plans)


def test_nothing_is_asked_of_the_runtime_for_what_nobody_reads(plain: Bench) -> None:
    rewritten = rewrite(
        "EXPLAIN (PREDICT, COSTS OFF) "
        "SELECT count(*) FROM (SELECT flight, PREDICT(delay) AS p FROM flights) AS s",
        plain.catalog,
    )
    found = lines(plain, rewritten.sql)
    assert found.startswith("PREDICT(delay): not made, nobody reads it\n\nAggregate")
    assert "Foreign Scan" not in found


@pytest.mark.parametrize("model", ["level", "fare", "late"])
@pytest.mark.parametrize("order", ["", " ORDER BY distance"])
def test_a_limit_computes_no_more_sql_forms_than_it_keeps(bench: Bench, model: str, order: str) -> None:
    statement = (
        f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, VERBOSE) SELECT flight, PREDICT({model}), PREDICT(level) "
        f"FROM flights, (SELECT 1.5 AS temp OFFSET 0) AS t{order} LIMIT 3"
    )
    rewritten = rewrite(statement, bench.catalog)
    assert {run.way for run in rewritten.runs} <= {"inline", "batch"}
    nodes = re.split(r"->", lines(bench, rewritten.sql))
    # rows before the limit are those of the sources
    assert all(re.search("Scan on d.flights|Nested Loop|Sort", node) for node in nodes if "rows=60" in node)
    assert not any("CASE" in node for node in nodes if "rows=60" in node or "loops=60" in node)


@pytest.mark.parametrize("rule", ["predict_once", "before_join", "gather_lateral"])
def test_rules_that_ask_the_database_are_applied_where_they_may_be(bench: Bench, rule: str) -> None:
    if bench.catalog.estimate("SELECT FROM flights") is None:
        pytest.skip("the server gives no estimates")
    # what is decided by estimates is to be decided the same however old the tables are
    bench.connection.execute("ANALYZE")
    wrong = []
    for case in cases(rule):
        plans = rewrite(case.statement, bench.catalog, setting=Setting("batch")).plans
        applied = any(note.rule == rule for plan in plans for note in plan.notes if plan.runs)
        if applied != (case.theme != "as written"):
            wrong.append(case.statement)
        bare = rewrite(case.statement, bench.catalog, setting=Setting("batch", frozenset([rule])))
        assert not any(note.rule == rule for plan in bare.plans for note in plan.notes)
    assert wrong == []
