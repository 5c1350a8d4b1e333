from __future__ import annotations

import pglast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter import RewriteError
from rewriter.forms import find_calls
from rewriter.scan import scan
from rewriter.splice import Text
from rewriter.sugar import desugar
from tests.unit.rewriter.static import StaticCatalog
from tests.unit.rewriter.test_forms import WORDS


def sweet(sql: str) -> Text | None:
    return desugar(sql, scan(sql), StaticCatalog())


def plain(sql: str) -> str:
    """The statement with scalar forms, checked to be SQL once these are names."""
    text = sweet(sql)
    assert text is not None, sql
    without = text.sql
    for call in reversed(find_calls(scan(text.sql))):
        without = f"{without[: call.span.start]}x.x{without[call.span.end :]}"
    pglast.parse_sql(without)
    assert sweet(text.sql) is None
    return text.sql


TSQL = [
    ("SELECT d.*, p.score FROM PREDICT(MODEL = delay, DATA = f AS d, RUNTIME = ONNX) "
     "WITH (score float) AS p WHERE p.score > 3",
     "SELECT d.*, (PREDICT(delay USING d.*)::float) AS score FROM f AS d "
     "WHERE (PREDICT(delay USING d.*)::float) > 3"),
    ("SELECT * FROM predict(data = f, model = models.late) with (prediction bit not null, probability real)",
     "SELECT * FROM f CROSS JOIN LATERAL (SELECT PREDICT(models.late USING f.*)::boolean AS prediction, "
     "PROBABILITY(models.late USING f.*)::real AS probability) AS _p_t"),
    ("SELECT 1 FROM w LEFT JOIN PREDICT(MODEL = 'late', DATA = (SELECT * FROM s.f) x) "
     "WITH (score float, probability_true real) p ON p.score > w.a, g",
     "SELECT 1 FROM w LEFT JOIN ((SELECT * FROM s.f) x CROSS JOIN LATERAL (SELECT "
     "PREDICT(late USING x.*)::integer::float AS score, "
     "PROBABILITY(late FOR 'true' USING x.*)::real AS probability_true) p) ON p.score > w.a, g"),
    ('SELECT 1 FROM w, PREDICT(MODEL = \'models."delay"\', DATA = s."F t") WITH (a nvarchar(9)) AS p',
     'SELECT 1 FROM w, s."F t" CROSS JOIN LATERAL (SELECT PREDICT(models.delay USING "F t".*)::varchar(9) '
     "AS a) AS p"),
    ("SELECT 1 FROM PREDICT(MODEL = late, DATA = f d) WITH (prediction varchar(max), probability_false "
     "datetime2(7)) AS p(b)",
     "SELECT 1 FROM f d CROSS JOIN LATERAL (SELECT PREDICT(late USING d.*)::text AS prediction, "
     "PROBABILITY(late FOR 'false' USING d.*)::timestamp AS probability_false) AS p(b)"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), TSQL)
def test_tsql(sql: str, expected: str) -> None:
    assert plain(sql) == expected


BIGQUERY = [
    ("SELECT predicted_delay, carrier FROM ML.PREDICT(MODEL delay, TABLE s.f) AS p WHERE predicted_delay > 3",
     "SELECT predicted_delay, carrier FROM (SELECT PREDICT(delay USING s.*) AS predicted_delay, s.* "
     "FROM s.f AS s) AS p WHERE predicted_delay > 3"),
    ("SELECT x FROM w JOIN ml.predict(model models.late, (SELECT a * b FROM f)) ON predicted_late",
     "SELECT x FROM w JOIN (SELECT PREDICT(models.late USING s.*) AS predicted_late, s.* "
     "FROM (SELECT a * b FROM f) AS s) AS _p_t ON predicted_late"),
    ("SELECT * FROM ML.PREDICT(MODEL late, TABLE f) p",
     "SELECT * FROM (SELECT PREDICT(late USING s.*) AS predicted_late, pg_catalog.replace(pg_catalog.replace("
     "PREDICTION_SET(late USING s.*)::text, '\"prediction\":', '\"label\":'), '\"probability\":', "
     "'\"prob\":')::jsonb AS predicted_late_probs, s.* FROM f AS s) p"),
    ("SELECT predicted_late FROM ML.PREDICT(MODEL late, TABLE f, STRUCT(0.4 AS threshold)) AS p",
     "SELECT predicted_late FROM (SELECT (ARRAY['false', 'true']::boolean[])[1 OPERATOR(pg_catalog.+) "
     "(PROBABILITY(late FOR 'true' USING s.*) OPERATOR(pg_catalog.>=) 0.4)::integer] AS predicted_late, s.* "
     "FROM f AS s) AS p"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), BIGQUERY)
def test_bigquery(sql: str, expected: str) -> None:
    assert plain(sql) == expected


@pytest.mark.parametrize(
    ("what", "read"),
    [("count(*)", False), ("p.carrier", False), ("p", True), ("to_jsonb(p)", True), ("p.*", True),
     ("*", True),
     ("predicted_late_probs", True), ("distance * 2", False)],
)  # fmt: skip
def test_classes_with_their_probabilities_are_made_where_they_are_read(what: str, read: bool) -> None:
    text = plain(f"SELECT {what} FROM ML.PREDICT(MODEL late, TABLE f) AS p")
    assert ("PREDICTION_SET" in text) == read


def test_forms_stand_inside_of_each_other() -> None:
    sql = (
        "SELECT predicted_delay FROM ML.PREDICT(MODEL delay, (SELECT d.* FROM PREDICT(MODEL = late, DATA = ("
        "SELECT *, PREDICT(delay) FROM f) AS d) WITH (x bit) AS q)) AS p"
    )
    text = plain(sql)
    assert text.count("PREDICT(") == 3
    assert "ML.PREDICT" not in text


NOT_OURS = [
    "SELECT * FROM predict(model = a, data = b)",
    "SELECT predict(model = a) FROM predict(model => 1) WITH ORDINALITY AS p",
    "SELECT * FROM ml.predict(model, 1), ml.predict(model), ml.predict(model AT TIME ZONE 'x')",
    "SELECT x.predict(model = a, data = b), x.ml.predict(model m) FROM ml",
]  # fmt: skip


@pytest.mark.parametrize("sql", NOT_OURS)
def test_functions_of_the_users_stay_theirs(sql: str) -> None:
    assert sweet(sql) is None


T = "SELECT 1 FROM PREDICT(MODEL = delay, DATA = f AS d"
B = "SELECT 1 FROM ML.PREDICT(MODEL delay, TABLE f"
REFUSED = [
    (f"{T})", ")", "42601", "WITH"),
    (f"{T}) WITH ORDINALITY", "WITH", "42601", "WITH"),
    (f"{T}) WITH ( )", " )", "42601", "name"),
    (f"{T}) WITH (a )", " )", "42601", "type"),
    (f"{T}) WITH (a, b int)", ", b", "42601", "type"),
    (f"{T}, RUNTIME = TORCH) WITH (a int)", "TORCH", "42601", "ONNX"),
    (f"{T}, DATA = g) WITH (a int)", "DATA = g", "42601", "twice"),
    (f"{T}, OTHER = g) WITH (a int)", "OTHER", "42601", "RUNTIME"),
    ("SELECT 1 FROM PREDICT(MODEL = delay) WITH (a int)", ") WITH", "42601", "DATA"),
    ("SELECT 1 FROM PREDICT(MODEL = delay, DATA = (SELECT 1)) WITH (a int)", "(SELECT", "42601", "alias"),
    ("SELECT 1 FROM PREDICT(MODEL = @m, DATA = f AS d) WITH (a int)", "@m", "42601", "name"),
    ("SELECT 1 FROM PREDICT(MODEL = dely, DATA = f AS d) WITH (a int)", "dely", "42704", "does not exist"),
    (f"{T}) WITH (prediction float, a int)", "a int", "42703", "no output"),
    (f"{T}) WITH (a float, b int)", "a float", "42703", "no output"),
    (f"{T}) WITH (probability float)", "probability", "42703", "no output"),
    (f"{B}, 3)", "3)", "42601", "STRUCT"),
    (f"{B} 3)", "3)", "42601", "comma"),
    (f"{B}, STRUCT(0.4))", "0.4", "42601", "threshold"),
    (f"{B}, STRUCT(0.4 AS threshold))", "0.4", "42809", "binary"),
    (f"{B}", "ML", "42601", "parenthesis"),
    ("SELECT 1 FROM ML.PREDICT(MODEL delay)", ")", "42601", "TABLE"),
    ("SELECT 1 FROM ML.PREDICT(MODEL delay, TABLE)", ")", "42601", "name"),
    ("SELECT 1 FROM ML.PREDICT(MODEL delay, f)", "f)", "42601", "TABLE"),
    ("SELECT 1 FROM ML.PREDICT(MODEL `a.delay`, TABLE f)", "`a", "42601", "quotes"),
    ("SELECT 1 FROM ML.PREDICT(MODEL x.delay, TABLE f)", "x.", "42704", "does not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "at", "sqlstate", "message"), REFUSED)
def test_refusals(sql: str, at: str, sqlstate: str, message: str) -> None:
    with pytest.raises(RewriteError) as caught:
        sweet(sql)
    error = caught.value
    assert (error.sqlstate, error.position) == (sqlstate, _place(sql, at)), error.message
    assert message in error.message


def _place(sql: str, at: str) -> int:
    return sql.index(at, 14) + 1 + len(at) - len(at.lstrip())


def test_errors_of_an_inner_form_point_into_the_users_text() -> None:
    sql = (
        "SELECT * FROM ML.PREDICT(MODEL late, (SELECT * FROM PREDICT(MODEL = delay, DATA = f AS d) "
        "WITH (a int, b int) AS p)) AS q"
    )
    with pytest.raises(RewriteError) as caught:
        sweet(sql)
    assert caught.value.position == sql.index("a int") + 1


@given(st.lists(st.sampled_from(WORDS), max_size=25))
def test_any_words_are_left_alone_or_changed_or_refused(words: list[str]) -> None:
    sql = "SELECT 1 FROM PREDICT ( MODEL = " + " ".join(words)
    error = refusal(sql)
    assert error is None or 0 < (error.position or 0) <= len(sql)
    sql = "SELECT 1 FROM ML . PREDICT ( MODEL " + " ".join(words)
    error = refusal(sql)
    assert error is None or 0 < (error.position or 0) <= len(sql)


def refusal(sql: str) -> RewriteError | None:
    try:
        sweet(sql)
    except RewriteError as error:
        return error
    return None
