from __future__ import annotations

import re
from typing import Any

import pglast
import pytest

from rewriter import RULES, ModelInfo, RewriteError, UndeployedModel, rewrite
from tests.unit.rewriter.static import StaticCatalog

UNTOUCHED = [
    "SELECT 1",
    "SELECT 'PREDICT(late)', $$PREDICT(late)$$, \"PREDICT\"(late) -- PREDICT(late)",
    "SELECT predict, f.predict, predict.x FROM predict",
    "SELECT predict(), predict(1), predict('late'), predict(a, b), predict(late || 'x'), predict(late::text)",
    "SELECT s.predict(late), probability(a.b.c + 1)",
    "CREATE FUNCTION predict(integer) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE predict(a int); CREATE INDEX ON predict(a); INSERT INTO predict(a) VALUES (1)",
    "SELECT * FROM predict(carrier)",
    "/* PREDICT(late) */ VACUUM",
    "not SQL at all PREDICT(",
]


@pytest.mark.parametrize("sql", UNTOUCHED)
def test_statements_without_our_syntax_come_back_as_they_are(sql: str) -> None:
    catalog = StaticCatalog()
    rewritten = rewrite(sql, catalog)
    assert rewritten.sql == sql
    assert not rewritten.changed
    assert not catalog.described


def test_a_function_of_the_users_is_theirs() -> None:
    sql = "SELECT predict(carrier) FROM f"
    assert rewrite(sql, StaticCatalog(functions=["predict"])).sql == sql
    with pytest.raises(RewriteError, match='model "carrier" does not exist'):
        rewrite(sql, StaticCatalog())


REFUSED = [
    ("SELECT PREDICT(lat) FROM f", "42704", "lat)", "did you mean late"),
    ("SELECT PREDICT(a.b.late USING *) FROM f", "42601", "a.b", "models.model"),
    ("SELECT PREDICT(a.late USING *) FROM f", "42704", "a.late", "models.late"),
    ("SELECT PREDICT(late FOR true) FROM f", "42601", "FOR", "PROBABILITY"),
    ("SELECT PROBABILITY(late FOR) FROM f", "42601", "FOR", "PROBABILITY"),
    ("SELECT PROBABILITY(late FOR carrier) FROM f", "0A000", "carrier", "CASE"),
    ("SELECT PROBABILITY(late FOR 'perhaps') FROM f", "22023", "'perhaps'", "false, true"),
    ("SELECT PROBABILITY(delay) FROM f", "42809", "PROBABILITY", "PREDICT"),
    ("SELECT PREDICT(late USING) FROM f", "42601", ") FROM", "USING"),
    ("SELECT PREDICT(late USING *, , a) FROM f", "42601", ", a", "USING"),
    ("SELECT PREDICT(late USING *, distance + 1) FROM f", "42601", "distance", "AS feature"),
    ("SELECT PREDICT(late USING *, 1 AS distnce) FROM f", "42703", "1 AS", "distance"),
    ("SELECT PREDICT(late USING *, 1 AS distance, 2 AS distance) FROM f", "42701", "2 AS", None),
    ("SELECT PREDICT(late USING carrier, distance) FROM f", "42703", "PREDICT", "every feature"),
    ("SELECT PREDICT(late USING g.*) FROM f", "42P01", "g.*", "f"),
    ("SELECT PREDICT(late USING *, carrer AS carrier) FROM f", "42703", "carrer", "carrier"),
    ("SELECT PREDICT(late USING *, carrier AS distance) FROM f", "42804", "carrier", "::integer"),
    ("SELECT PREDICT(late) FROM w", "42703", "PREDICT", "origin, temp"),
    ("SELECT PREDICT(late USING *", "42601", "PREDICT", None),
    ("VALUES (PREDICT(late))", "42703", "PREDICT", "give it"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "sqlstate", "at", "hint"), REFUSED)
def test_refusals(sql: str, sqlstate: str, at: str, hint: str | None) -> None:
    with pytest.raises(RewriteError) as caught:
        rewrite(sql, StaticCatalog())
    error = caught.value
    assert (error.sqlstate, error.position) == (sqlstate, sql.index(at) + 1), error.message
    assert not error.message.endswith(".")
    assert hint is None or hint in (error.hint or "")


PREDICTING = [
    "SELECT PREDICT(late) FROM f WHERE flight = 3 AND PREDICT(late) ORDER BY PROBABILITY(late FOR 'y')",
    "SELECT *, PREDICT(late), PREDICT(delay) + 1 AS \"Late\" FROM f, w LIMIT 3",
    "SELECT f, tags, count(w.*) OVER () FROM f LEFT JOIN w ON carrier = origin WHERE PREDICT(late USING f.*)",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT PREDICT(late) FROM f",
    "CREATE VIEW v AS SELECT PREDICT(late) AS p FROM f WITH CHECK OPTION",
    "PREPARE q(int) AS SELECT PREDICT(late) FROM f WHERE flight = $1",
    "DECLARE c CURSOR FOR SELECT PREDICT(late) FROM f",
    "COPY (SELECT PREDICT(late) FROM f) TO STDOUT (FORMAT csv)",
    "INSERT INTO t SELECT PREDICT(late) FROM f ON CONFLICT DO NOTHING RETURNING *",
    "WITH x AS (SELECT PREDICT(late) AS p FROM f) SELECT p FROM x",
    "SELECT PREDICT(late USING 'a' AS carrier, $1 AS distance, now() AS hour)",
    "SELECT carrier FROM f WHERE PREDICT(late) GROUP BY 1 HAVING bool_or(PREDICT(late)) FETCH FIRST ROW ONLY",
    "SELECT PREDICT(late) FROM f WHERE PREDICT(late) UNION SELECT true ORDER BY 1; SELECT 1",
    "SELECT*,PREDICT(late)FROM f WHERE(PREDICT(late))",
    "SELECT PREDICT(late) -- comment\nFROM f -- comment\nWHERE flight = 1 -- x\nAND PREDICT(late) -- comment",
]  # fmt: skip


@pytest.mark.parametrize("sql", PREDICTING)
@pytest.mark.parametrize("rules", [RULES, ()], ids=["rules", "bare"])
def test_what_is_emitted_is_sql_without_our_syntax(sql: str, rules: tuple[object, ...]) -> None:
    rewritten = rewrite(sql, StaticCatalog(), rules=rules)  # type: ignore[arg-type]
    assert rewritten.changed
    pglast.parse_sql(rewritten.sql)
    again = rewrite(rewritten.sql, StaticCatalog())
    assert not again.changed


@pytest.mark.parametrize(
    "expression",
    [
        "interval '1 month 04:01'", "bit '101'", "x ^ 2", "current_timestamp(3)", "a::numeric(3, 1)::text",
        "x @> ARRAY[1, 2]", "E'a\\nb' || $$c$$", "U&'d\\0061t'", "(r).b.c", "a[1:2]", "NOT a IS UNKNOWN",
        "x OPERATOR(pg_catalog.+) 1", "CASE a WHEN 1 THEN 2 END", "extract(year FROM h AT TIME ZONE 'UTC')",
        "sum(x) FILTER (WHERE y) OVER (PARTITION BY z ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "(SELECT max(q) FROM w AS i WHERE i.origin = f.carrier)", "ROW(1, 'a') IN (VALUES (1, 'a'))",
    ],
)  # fmt: skip
def test_what_is_not_ours_keeps_its_parse_tree(expression: str) -> None:
    parts = f"SELECT {expression}, PREDICT(late) AS p", f"WHERE PREDICT(late) AND y = {expression}"
    sql = f"{parts[0]} FROM f {parts[1]} ORDER BY {expression}"
    plain = sql.replace("PREDICT(late)", "z.z")
    before = pglast.parse_sql(plain)[0].stmt
    after = pglast.parse_sql(rewrite(sql, StaticCatalog(), rules=()).sql)[0].stmt
    for part in ("targetList", "sortClause", "whereClause"):
        assert _tree(getattr(after, part)) == _tree(getattr(before, part)), part


def _tree(node: object) -> str:
    nodes: Any = node if isinstance(node, tuple) else [node]
    text = repr([part(skip_none=True) for part in nodes])
    text = re.sub(r"'(?:stmt_)?location': -?\d+,? ?|'rexpr_list_\w+': \d+,? ?|'list_\w+': \d+,? ?", "", text)
    return re.sub(r"'sval': '(?:z|_p_\d+|predict)'", "'sval': '?'", text)


def test_the_batch_text_names_features_as_they_are() -> None:
    sql = rewrite("SELECT PREDICT(delay) FROM f", StaticCatalog()).sql
    assert """ E',"numbers":["distance"],"texts":["Carrier\\'s""" not in sql
    assert "Carrier''s" in sql
    pglast.parse_sql(sql)


def test_one_question_describes_a_block_and_parameters_keep_their_numbers() -> None:
    catalog = StaticCatalog()
    rewrite("SELECT PREDICT(late) FROM f, w, LATERAL (SELECT $7::int + $3::int) AS w WHERE $1", catalog)
    (described,) = catalog.described
    assert "$7::int + $3::int" in described


def test_what_is_missing_at_the_end_is_missing_at_the_end_of_the_user_s_text() -> None:
    for sql in (
        "SELECT (1 + PREDICT(late USING 'x' AS carrier, 1 AS distance, now() AS hour)",
        "SELECT PREDICT(late) FROM f WHERE (PREDICT(late)",
    ):
        rewritten = rewrite(sql, StaticCatalog())
        assert rewritten.origin(len(rewritten.sql) + 1) == len(sql) + 1


def test_equal_forms_and_outputs_of_equal_inputs_are_one_run() -> None:
    sql = (
        "SELECT PREDICT(late), predict( late ) IS NULL, PROBABILITY(late), PROBABILITY(late FOR true) FROM f"
    )
    assert rewrite(sql, StaticCatalog()).sql.count("late__batch") == 1


def test_our_names_stay_clear_of_the_users() -> None:
    sql = rewrite("SELECT _p_k1, PREDICT(late) FROM f WHERE _p1_x > 1", StaticCatalog()).sql
    assert "AS _p2_p" in sql


def test_prediction_of_an_undeployed_model_is_refused_at_its_name() -> None:
    class Undeployed(StaticCatalog):
        def model(self, name: str, version: int | None = None) -> ModelInfo | None:
            raise UndeployedModel(f"model {name!r} has no deployed version")

    with pytest.raises(UndeployedModel) as caught:
        rewrite("SELECT PREDICT(late) FROM f", Undeployed())
    assert caught.value.position == 16
