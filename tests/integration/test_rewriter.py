"""Rewritten statements give the rows that row-by-row evaluation gives."""

from __future__ import annotations

import psycopg
import pytest

from rewriter import RULES, RewriteError, rewrite
from rewriter.scan import scan
from tests.fix_rewriter import Bench, Case, cases, differs

FILES = ("places", "anywhere", "carry", "filter_first", "limit_first", "share_runs")
CASES = [case for name in FILES for case in cases(name)]


def ordered(case: Case) -> bool:
    return any(token.text == "order" and token.depth == 0 for token in scan(case.meaning))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("with_rules", [True, False], ids=["rules", "bare"])
def test_rows_names_and_types_are_those_of_the_plain_meaning(
    bench: Bench, case: Case, with_rules: bool
) -> None:
    rewritten = rewrite(case.statement, bench.catalog, rules=RULES if with_rules else ())
    columns, rows = bench.run(rewritten.sql)
    expected_columns, expected = bench.run(case.meaning)
    assert columns == expected_columns
    assert not differs(rows, expected, ordered(case)), (rewritten.sql, rows[:3], expected[:3])


@pytest.mark.parametrize("options", ["", "ANALYZE, VERBOSE"])
def test_explain_of_every_statement_leaves_the_server_alive(bench: Bench, options: str) -> None:
    for case in CASES:
        explained = f"EXPLAIN ({options or 'COSTS OFF'}) {case.statement}"
        plan = "\n".join(line for (line,) in bench.run(rewrite(explained, bench.catalog).sql)[1])
        assert "Foreign Scan" in plan or "One-Time Filter: false" in plan, (case, plan)
    assert bench.alive()


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_every_rule_has_its_statements(rule: str) -> None:
    assert cases(rule)


def test_a_limit_predicts_no_more_rows_than_it_keeps(bench: Bench) -> None:
    statement = "EXPLAIN (ANALYZE, COSTS OFF) SELECT *, PREDICT(delay) FROM flights LIMIT 3"
    plan = "\n".join(line for (line,) in bench.run(rewrite(statement, bench.catalog).sql)[1])
    assert "rows=60" not in plan
    # the rule is what does it
    plan = "\n".join(line for (line,) in bench.run(rewrite(statement, bench.catalog, rules=()).sql)[1])
    assert "rows=60" in plan


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
