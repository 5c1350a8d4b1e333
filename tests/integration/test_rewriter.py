"""Rewritten statements give the rows that row-by-row evaluation gives."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from rewriter import RULES, DescribeError, RewriteError, rewrite
from rewriter.errors import NotSupported
from rewriter.scan import scan
from rewriter.setting import Setting
from tests.fix_rewriter import Bench, Case, Lasting, cases, compare, differs, files, pending

CASES = [case for name in files() for case in cases(name)]
PENDING = pending()
LONG = "PGPREDICT_EXAMPLES" in os.environ
#: how each statement is rewritten; the first is what a user gets
WAYS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "bare": {"rules": ()},
    "row": {"setting": Setting("row")},
    "inline": {"setting": Setting("inline")},
    "batch": {"setting": Setting("batch")},
    "bare batch": {"setting": Setting("batch"), "rules": ()},
}
_EXPLAINED = {
    *("select", "insert", "update", "delete", "merge", "values", "with", "(", "table", "declare"),
}


def marked(case: Case) -> Any:
    marks = [pytest.mark.xfail(strict=True, reason="not built yet")] if str(case) in PENDING else []
    return pytest.param(case, id=str(case), marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in CASES if case.meaning])
def test_rows_names_and_types_are_those_of_the_plain_meaning(lasting: Lasting, case: Case) -> None:
    bench = lasting.get()
    if not bench.knows(case):
        pytest.skip("not on this server")
    expected = bench.mean(case)
    text = ""
    for way in ways(case):
        try:
            made, got = bench.predict(case, **WAYS[way])
        except NotSupported:
            # a forced way may not be there for this model
            if way == "inline":
                continue
            raise
        text = text or made
        compare(case, way, got, expected, made)
    explain(bench, case, text)


def ways(case: Case) -> list[str]:
    """What a user gets, and one other way after the other; all of them in a long run."""
    others = [way for way in WAYS if way != "default"]
    chosen = others if LONG else [others[case.number % len(others)]]
    return ["default", *(way for way in chosen if f"{case} @{way}" not in PENDING)]


def explain(bench: Bench, case: Case, text: str) -> None:
    """The server survives the explanation of what it is given."""
    if scan(case.statement)[0].text not in _EXPLAINED:
        return
    for options in ("", "(VERBOSE)"):
        ((result, *_),) = bench.mean(dataclasses.replace(case, meaning=f"EXPLAIN {options} {text}", then=()))
        assert result.rows
    assert bench.alive()


@pytest.mark.parametrize("case", [marked(case) for case in CASES if case.refused])
def test_what_cannot_be_answered_is_refused_with_its_position(lasting: Lasting, case: Case) -> None:
    bench = lasting.get()
    if not bench.knows(case):
        pytest.skip("not on this server")
    sqlstate, at = case.refused or ("", "")
    for way in ways(case):
        if way == "inline":
            continue
        with pytest.raises(RewriteError) as caught:
            bench.predict(case, **WAYS[way])
        position = case.statement.index(at) + 1
        assert (caught.value.sqlstate, caught.value.position) == (sqlstate, position), caught.value


@pytest.mark.parametrize("case", [marked(case) for case in CASES if case.fails])
def test_what_the_database_refuses(lasting: Lasting, case: Case) -> None:
    bench = lasting.get()
    for way in ways(case):
        if way == "inline":
            continue
        with pytest.raises((psycopg.Error, DescribeError)) as caught:
            bench.predict(case, **WAYS[way])
        assert caught.value.sqlstate == case.fails  # type: ignore[attr-defined]
    assert bench.alive()


def test_names_of_pending_statements_are_those_of_statements() -> None:
    assert {str(case) for case in CASES} >= {name.partition(" @")[0] for name in PENDING}
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.skipif(not LONG, reason="every statement is explained by another test, without ANALYZE")
@pytest.mark.parametrize("options", ["ANALYZE, VERBOSE", "FORMAT JSON"])
def test_explain_of_every_query_in_the_users_words(lasting: Lasting, options: str) -> None:
    bench = lasting.get()
    for case in CASES:
        if not case.meaning or case.parameters or str(case) in PENDING or not bench.knows(case):
            continue
        if scan(case.statement)[0].text not in ("select", "with"):
            continue
        explained = f"EXPLAIN ({options}) {case.statement}"
        _, ((result, *_),) = bench.predict(dataclasses.replace(case, statement=explained, then=()))
        assert result.rows
    assert bench.alive()


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_every_rule_has_its_statements(rule: str) -> None:
    assert cases(rule)


def test_a_limit_predicts_no_more_rows_than_it_keeps(bench: Bench) -> None:
    statement = "EXPLAIN (ANALYZE, COSTS OFF) SELECT *, PREDICT(delay) FROM flights LIMIT 3"
    batch = Setting("batch")
    plan = "\n".join(line for (line,) in bench.run(rewrite(statement, bench.catalog, setting=batch).sql)[1])
    assert "rows=60" not in plan
    # the rule is what does it
    bare = rewrite(statement, bench.catalog, rules=(), setting=batch)
    assert "rows=60" in "\n".join(line for (line,) in bench.run(bare.sql)[1])


def test_filters_go_to_the_index(bench: Bench) -> None:
    statement = "EXPLAIN SELECT PREDICT(delay) FROM flights WHERE flight = 7 AND PREDICT(delay) > 0"
    with bench.connection.transaction(force_rollback=True):
        bench.connection.execute("SET LOCAL enable_seqscan = off")
        plan = bench.connection.execute(rewrite(statement, bench.catalog).sql.encode()).fetchall()
    assert any("flights_pkey" in line for (line,) in plan)


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("CREATE VIEW v AS SELECT flight, PREDICT(delay) FROM flights", "SELECT * FROM v"),
        ("CREATE TABLE t AS SELECT flight, PREDICT(delay) FROM flights", "SELECT * FROM t"),
        ("CREATE MATERIALIZED VIEW mv AS SELECT flight, PREDICT(delay) FROM flights", "SELECT * FROM mv"),
        ("DECLARE c CURSOR FOR SELECT flight, PREDICT(delay) FROM flights", "FETCH ALL FROM c"),
        ("PREPARE q(int) AS SELECT flight, PREDICT(delay) FROM flights WHERE $1 > flight", "EXECUTE q(1000)"),
        ("INSERT INTO nothing (flight, distance) SELECT flight, PREDICT(delay) FROM flights",
         "SELECT flight, distance FROM nothing"),
    ],
)  # fmt: skip
def test_statements_around_a_select(bench: Bench, statement: str, rows: str) -> None:
    expected = bench.run("SELECT flight, plain.delay(carrier, distance) FROM flights")[1]
    with bench.connection.transaction(force_rollback=True):
        bench.connection.execute(rewrite(statement, bench.catalog).sql.encode())
        assert not differs(bench.connection.execute(rows.encode()).fetchall(), expected, ordered=False)


def test_several_chunks(bench: Bench) -> None:
    statement = """SELECT i, carrier, PREDICT(delay) AS p FROM (
        SELECT i, CASE WHEN i % 2 = 0 THEN 'UA' END AS carrier, i % 500 AS distance
        FROM generate_series(1, 50001) AS i) AS s"""
    rewritten = rewrite(statement, bench.catalog).sql
    checked = f"""SELECT count(*), count(DISTINCT i), count(*) FILTER (WHERE (carrier IS NULL) = (i % 2 = 0)),
        count(DISTINCT (carrier, i % 500, p)), count(DISTINCT (carrier, i % 500)) FROM ({rewritten}) AS r"""
    assert bench.run(checked)[1] == [(50001, 50001, 0, 500, 500)]


def test_the_callers_search_path_changes_nothing(bench: Bench) -> None:
    statement = "SELECT flight, PREDICT(late USING *, 1 AS temp) FROM d.flights WHERE flight < 9"
    expected = bench.run(rewrite(statement, bench.catalog).sql)
    with bench.connection.transaction(force_rollback=True):
        bench.connection.execute("""
            CREATE SCHEMA evil;
            CREATE FUNCTION evil.wrong(a text, b text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
            CREATE OPERATOR evil.= (leftarg = text, rightarg = text, procedure = evil.wrong);
            CREATE FUNCTION evil.unnest(anyarray) RETURNS integer LANGUAGE sql AS 'SELECT 1';
            CREATE FUNCTION evil.concat(VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_concat';
            SET LOCAL search_path = evil, pg_catalog""")
        rewritten = rewrite(statement, bench.catalog).sql
        assert bench.run(rewritten)[1] == expected[1]


@pytest.mark.parametrize(
    ("statement", "sqlstate", "at"),
    [
        ("SELECT PREDICT(delay) FROM flghts", "42P01", "flghts"),
        ("SELECT 1, PREDICT(delay) FROM (SELECT nope FROM flights) AS s", "42703", "nope"),
        ("WITH x AS (SELECT 1 / 'a' AS n) SELECT PREDICT(delay USING 'a' AS carrier, n AS distance) FROM x",
         "22P02", "'a'"),
        ("SELECT PREDICT(lte) FROM flights", "42704", "lte"),
        # nobody reads d
        ("SELECT s.n FROM flights AS f, LATERAL (SELECT PREDICT(delay USING f.carrier, o.x AS distance) AS d,"
         " f.flight AS n FROM (SELECT 1 AS m) AS o) AS s", "42703", "o.x"),
        ("SELECT PREDICT(late) FROM flights", "42703", "PREDICT"),
        ("SELECT PREDICT(delay) FROM flights, carriers", "42702", "PREDICT"),
        ("SELECT PREDICT(delay USING carrier, note AS distance) FROM flights", "42804", "note"),
        ("SELECT PROBABILITY(late FOR 'maybe' USING *, 1 AS temp) FROM flights", "22023", "'maybe'"),
    ],
)  # fmt: skip
def test_errors_point_into_the_users_text(bench: Bench, statement: str, sqlstate: str, at: str) -> None:
    with pytest.raises(RewriteError) as caught:
        rewrite(statement, bench.catalog)
    assert (caught.value.sqlstate, caught.value.position) == (sqlstate, statement.index(at) + 1)
    assert bench.alive()


@pytest.mark.parametrize("column", ["nope", "f.nope"])
def test_errors_of_postgresql_point_into_the_users_text(bench: Bench, column: str) -> None:
    statement = (
        f"SELECT flight,\n PREDICT(delay), {column} FROM flights AS f WHERE flight > 1 ORDER BY flight"
    )
    rewritten = rewrite(statement, bench.catalog)
    with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
        bench.run(rewritten.sql)
    assert rewritten.origin(int(caught.value.diag.statement_position or 0)) == statement.index(column) + 1


@pytest.mark.parametrize(
    ("statement", "sqlstate", "at"),
    [
        (
            "UPDATE target SET value = PREDICT(delay) + 1 WHERE nope < 2 AND PREDICT(delay) > 3",
            "42703",
            "nope",
        ),
        (
            r"UPDATE target SET value = PREDICT(delay) WHERE id<2 AND(note||E'\'x'||nope) = 'a'",
            "42703",
            "nope",
        ),
        ("UPDATE target SET value = PREDICT(delay) WHERE id = 'x' RETURNING PREDICT(delay)", "22P02", "'x'"),
        ("DELETE FROM target WHERE PREDICT(delay) > 3 AND t.nope RETURNING *", "42P01", "t.nope"),
        ("SELECT f.nope, PREDICT(delay) FROM flights AS f", "42703", "f.nope"),
        ("SELECT flight FROM flights WHERE PREDICT(delay)", "42804", "PREDICT"),
        ("UPDATE flights SET distance = 1 - PREDICT(level)", "42883", "- PREDICT"),
        ("SELECT PREDICT(delay USING *, ARRAY[1] AS distance) FROM flights", "42846", "ARRAY"),
        ("SELECT PREDICT(delay USING *, (SELECT 1, 2) AS distance) FROM flights", "42601", "(SELECT"),
        ("SELECT PREDICT(delay) FROM (SELECT carrier, m AS distance FROM flights) AS s", "42846", "PREDICT"),
        ("SELECT f.flight, (SELECT w.nope), PREDICT(delay) FROM flights f, weather w", "42703", "w.nope"),
    ],
)
def test_errors_beside_batches_are_those_of_the_plain_statement(
    bench: Bench, statement: str, sqlstate: str, at: str
) -> None:
    rewritten = rewrite(statement, bench.catalog, setting=Setting("batch"))
    with pytest.raises(psycopg.Error) as caught:
        bench.run(rewritten.sql)
    position = rewritten.origin(int(caught.value.diag.statement_position or 0))
    assert (caught.value.sqlstate, position) == (sqlstate, statement.index(at) + 1)


@pytest.mark.parametrize("feature", ["sum(flight) OVER ()", "generate_series(1, 2)", "1 + count(*)"])
def test_features_of_more_than_one_row_are_refused(bench: Bench, feature: str) -> None:
    statement = f"SELECT count(*), PREDICT(delay USING 'UA' AS carrier, {feature} AS distance) FROM flights"
    with pytest.raises(RewriteError) as caught:
        rewrite(statement, bench.catalog)
    assert caught.value.sqlstate == "0A000"
    assert statement.index(feature) < (caught.value.position or 0) <= statement.index(" AS distance")


def test_functions_and_columns_of_the_users_stay_theirs(bench: Bench) -> None:
    with bench.connection.transaction(force_rollback=True):
        bench.connection.execute(
            "CREATE FUNCTION predict(text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine ' || $1 $$"
        )
        for statement in (
            "SELECT predict(carrier) FROM flights",
            "SELECT predict('late'), predict.x FROM (SELECT 1 AS x) AS predict",
            "SELECT predict(carrier || 'x') AS predict FROM flights",
        ):
            assert rewrite(statement, bench.catalog).sql == statement
            bench.run(statement)


def test_describing_inside_of_a_transaction_leaves_it_usable(bench: Bench) -> None:
    with bench.connection.transaction(force_rollback=True):
        bench.connection.execute("CREATE TABLE own (carrier text, distance integer)")
        with pytest.raises(RewriteError):
            rewrite("SELECT PREDICT(delay) FROM flghts", bench.catalog)
        assert bench.run(rewrite("SELECT PREDICT(delay) FROM own", bench.catalog).sql)[1] == []
