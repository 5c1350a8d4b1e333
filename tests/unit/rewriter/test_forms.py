from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from rewriter import RewriteError, rewrite
from rewriter.dialect import PgPredict, Predict
from rewriter.forms import Call, find_calls
from rewriter.scan import Token, scan
from rewriter.splice import Span
from tests.unit.rewriter.static import StaticCatalog


def calls(sql: str) -> list[Call]:
    return find_calls(scan(sql))


def told(sql: str, call: Call) -> dict[str, object]:
    """What a form says, without what it leaves out."""
    parts: dict[str, object] = {"model": ".".join(call.path), "name": call.name, "kind": call.kind}
    for word in ("label", "top", "cutoff"):
        span = getattr(call, word)
        parts[word] = span and sql[span.start : span.end]
    if call.items is not None:
        parts["items"] = [(item.feature, sql[item.span.start : item.span.end]) for item in call.items]
    parts |= {"version": call.version, "missing": call.missing, "plain": call.is_plain or None}
    return {word: part for word, part in parts.items() if part is not None}


STAR = [(None, "*")]
FORMS: list[tuple[str, dict[str, object]]] = [
    ("PREDICT(m)", {"model": "m", "plain": True}),
    ('predict( "Late One" )', {"model": "Late One", "plain": True}),
    ("PREDICT(models.m USING *)", {"model": "models.m", "items": STAR}),
    ("PREDICT(time USING *)", {"model": "time", "items": STAR}),
    ('PREDICT(U&"d\\0061t\\+000061" USING *)', {"model": "data", "items": STAR}),
    ("PREDICT(models.U&\"d!0061ta!!\" UESCAPE '!' USING *)", {"model": "models.data!", "items": STAR}),
    ("PREDICT(m VERSION 3)", {"model": "m", "version": 3}),
    ("PREDICT(m ON MISSING NULL)", {"model": "m", "missing": "null"}),
    ("PREDICT(m VERSION 3 USING a, t.b, a + 1 AS c, t.* ON MISSING ERROR)",
     {"model": "m", "version": 3, "missing": "error",
      "items": [("a", "a"), ("b", "t.b"), ("c", "a + 1"), (None, "t.*")]}),
    ("PREDICT(m USING x AS on, t.on ON MISSING IMPUTE)",
     {"model": "m", "missing": "impute", "items": [("on", "x"), ("on", "t.on")]}),
    ("PREDICT(m USING CASE WHEN a THEN (SELECT 1 FROM t JOIN u ON missing) END AS b)",
     {"model": "m", "items": [("b", "CASE WHEN a THEN (SELECT 1 FROM t JOIN u ON missing) END")]}),
    ("PROBABILITY(m)", {"model": "m", "kind": "probability", "name": "probability", "plain": True}),
    ("PROBABILITY(m FOR 'a' VERSION 2)",
     {"model": "m", "kind": "probability", "name": "probability", "label": "'a'", "version": 2}),
    ("PROBABILITY(m VERSION 2 FOR -1 USING * ON MISSING NULL)",
     {"model": "m", "kind": "probability", "name": "probability", "label": "-1", "version": 2,
      "items": STAR, "missing": "null"}),
    ("PROBABILITY(m FOR true)",
     {"model": "m", "kind": "probability", "name": "probability", "label": "true"}),
    ("PREDICTION(m USING *)", {"model": "m", "name": "prediction", "items": STAR}),
    ("PREDICTION_PROBABILITY(m, 'a' USING *)",
     {"model": "m", "kind": "probability", "name": "prediction_probability", "label": "'a'", "items": STAR}),
    ("PREDICTION_PROBABILITY(m, 'a')",
     {"model": "m", "kind": "probability", "name": "prediction_probability", "label": "'a'", "plain": True}),
    ("PREDICTION_PROBABILITY(m VERSION 2, $1 USING * ON MISSING ERROR)",
     {"model": "m", "kind": "probability", "name": "prediction_probability", "label": "$1", "version": 2,
      "items": STAR, "missing": "error"}),
    ("PREDICTION_SET(m)", {"model": "m", "kind": "set", "name": "prediction_set", "plain": True}),
    ("PREDICTION_SET(m, 3)",
     {"model": "m", "kind": "set", "name": "prediction_set", "top": "3", "plain": True}),
    ("PREDICTION_SET(m, 3, 0.1 USING *)",
     {"model": "m", "kind": "set", "name": "prediction_set", "top": "3", "cutoff": "0.1", "items": STAR}),
    ("PREDICTION_SET(m, NULL, $2 VERSION 4 USING *)",
     {"model": "m", "kind": "set", "name": "prediction_set", "cutoff": "$2", "version": 4, "items": STAR}),
    ("PREDICT BY m (FEATURES a, b + 1 AS c)", {"model": "m", "items": [("a", "a"), ("c", "b + 1")]}),
    ("predict by models.m version 2 (features * on missing null)",
     {"model": "models.m", "items": STAR, "version": 2, "missing": "null"}),
]  # fmt: skip


@pytest.mark.parametrize(("form", "expected"), FORMS, ids=[form for form, _ in FORMS])
def test_every_form_is_one_call(form: str, expected: dict[str, object]) -> None:
    sql = f"SELECT {form} + 1 FROM t"
    (call,) = calls(sql)
    assert told(sql, call) == {"kind": "predict", "name": "predict"} | expected
    assert call.span == Span(7, 7 + len(form))


@pytest.mark.parametrize(("form", "expected"), FORMS, ids=[form for form, _ in FORMS])
def test_every_form_is_one_node_of_the_tree(form: str, expected: dict[str, object]) -> None:
    if "U&" in form:  # names that sqlglot does not know
        return
    (tree,) = PgPredict().parse(f"SELECT x, {form} + 1, {form} AS y FROM t WHERE {form} IS NULL")
    assert isinstance(tree, exp.Select)
    nodes = list(tree.find_all(Predict))
    assert len(nodes) == 3
    for node in nodes:
        assert node.args["kind"] == expected.get("kind", "predict")
        assert node.this.name == str(expected["model"]).removeprefix("models.")
        assert len(node.expressions or []) == len(expected.get("items", []))  # type: ignore[arg-type]
        assert (node.text("missing") or None) == expected.get("missing")
        assert bool(node.args.get("label")) == ("label" in expected)
        assert bool(node.args.get("version")) == ("version" in expected)


def test_forms_inside_of_forms_are_found() -> None:
    sql = "SELECT PREDICT(a USING PREDICT BY b (FEATURES PREDICTION(c) AS x) AS y)"
    assert [call.model for call in calls(sql)] == ["a", "b", "c"]


NOT_OURS = [
    "SELECT predict(a, b), probability(a, 1), prediction(a, 'x'), prediction_set(a, b), prediction_set()",
    "SELECT prediction_probability(a, b), prediction_probability(a, 'x' || b), prediction_set(a, f(1))",
    "SELECT predict(x ORDER BY y USING >), prediction_set(x, 1 ORDER BY y USING <) FROM t",
    "SELECT predict(null), predict(current_date), predict(true), predict(*), predict(DISTINCT x)",
    'SELECT t.predict(m USING a), "PREDICT"(m), "Prediction"(m), predict by, predict FROM t',
    "SELECT t.prediction, prediction, prediction_set FROM prediction_set ORDER BY predict, prediction",
    "CREATE TABLE prediction (m int); CREATE TABLE predict PARTITION OF x FOR VALUES IN (1)",
    "CREATE TABLE predict (a int, PRIMARY KEY (a)) PARTITION BY RANGE (a)",
    "INSERT INTO prediction_set (a, b) VALUES (1, 2)",
]  # fmt: skip


@pytest.mark.parametrize("sql", NOT_OURS)
def test_names_of_the_users_stay_theirs(sql: str) -> None:
    assert calls(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT predict(t.c), prediction(a.b.c), prediction_set(t.c, 3), prediction_probability(t.c, 'x')",
        "SELECT prediction(carrier), prediction_set(carrier, 3), prediction_probability(carrier, 'x') FROM f",
    ],
)
def test_functions_of_the_users_stay_theirs(sql: str) -> None:
    functions = ["prediction", "prediction_set", "prediction_probability"]
    assert rewrite(sql, StaticCatalog(functions)).sql == sql


MALFORMED = [
    ("PREDICT(m VERSION)", ")", "integer"),
    ("PREDICT(m VERSION 0)", "0", "integer"),
    ("PREDICT(m VERSION 1.5)", "1.5", "integer"),
    ("PREDICT(m VERSION $1)", "$1", "integer"),
    ("PREDICT(m VERSION 99999999999)", "99999999999", "integer"),
    ("PREDICT(m VERSION 2 VERSION 3)", "VERSION 3", "twice"),
    ("PREDICT(m VERSION 2 m)", "m)", "unexpected"),
    ("PREDICT(m FOR 'x')", "FOR", "PROBABILITY"),
    ("PREDICTION(m FOR 'x' USING *)", "FOR", "PREDICTION"),
    ("PROBABILITY(m FOR USING *)", "FOR", "class"),
    ("PROBABILITY(m FOR 'a' FOR 'b')", "FOR 'b'", "twice"),
    ("PREDICT(m ON MISSING)", ")", "IMPUTE"),
    ("PREDICT(m ON MISSING SKIP)", "SKIP", "IMPUTE"),
    ("PREDICT(m ON ERROR)", "ERROR", "MISSING"),
    ("PREDICT(m ON MISSING NULL USING *)", "USING", "unexpected"),
    ("PREDICT(m USING * ON MISSING ERROR, a)", ", a", "unexpected"),
    ("PREDICT(m USING a b)", "a b", "name of its feature"),
    ("PREDICT(m USING ON MISSING NULL)", "ON", "empty"),
    ("PREDICT('m' USING *)", "'m'", "without quotes"),
    ("PREDICT(USING *)", "USING", "model"),
    ("PREDICT(select USING *)", "select", "model"),
    ("PREDICT(a.b.c USING *)", "a.b.c", "too many"),
    ("PREDICTION_PROBABILITY(m, USING *)", "USING", "class"),
    ("PREDICTION_PROBABILITY(m, 'a', 'b' USING *)", ", 'b'", "unexpected"),
    ("PREDICTION_PROBABILITY(m, 'a' FOR 'b' USING *)", "FOR", "twice"),
    ("PREDICTION_SET(m, 'x' USING *)", "'x'", "integer"),
    ("PREDICTION_SET(m, 1.5 USING *)", "1.5", "integer"),
    ("PREDICTION_SET(m, -1 USING *)", "-1", "integer"),
    ("PREDICTION_SET(m, 3, a USING *)", "a USING", "number"),
    ("PREDICTION_SET(m, 3, 0.1, 5 USING *)", ", 5", "unexpected"),
    ("PREDICTION(m, 3 USING *)", ", 3", "unexpected"),
    ("PREDICT BY m (a, b)", "a, b", "FEATURES"),
    ("PREDICT BY m VERSION 2 FEATURES a", "FEATURES", "(FEATURES"),
    ("PREDICT BY m (FEATURES)", ")", "empty"),
    ("PREDICT BY m (FEATURES a", "PREDICT", "parenthesis"),
    ("PREDICT(m USING *", "PREDICT", "parenthesis"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "at", "message"), MALFORMED)
def test_malformed_forms_say_what_was_expected_and_where(form: str, at: str, message: str) -> None:
    sql = f"SELECT 1, {form}"
    with pytest.raises(RewriteError) as caught:
        calls(sql)
    error = caught.value
    assert error.sqlstate == "42601"
    assert error.position == sql.index(at, 10) + 1, error.message
    assert message in error.message
    assert not error.message.endswith(".")


def test_a_class_that_is_no_constant_is_refused() -> None:
    sql = "SELECT PREDICTION_PROBABILITY(m, a || 'x' USING *)"
    with pytest.raises(RewriteError) as caught:
        calls(sql)
    assert (caught.value.sqlstate, caught.value.position) == ("0A000", sql.index("a ||") + 1)


WORDS = [
    "predict", "probability", "prediction", "prediction_probability", "prediction_set", "by", "m", "models",
    ".", "(", "(", ")", ")", ",", "'x'", "3", "0.1", "$1", "using", "for", "version", "on", "missing", "null",
    "error", "as", "*", "features", "+", "-", "select", "from", '"q"', 'U&"a" UESCAPE \'!\'', "[", "]", ";",
    "0x1f", "order", "model", "=", "data", "table", "with", "ml", "join", "natural", "left", "t", "and",
    "float", "struct", "true",
]  # fmt: skip


def outcome(tokens: list[Token]) -> tuple[RewriteError | None, list[Call]]:
    try:
        return None, find_calls(tokens)
    except RewriteError as error:
        return error, []


@given(st.lists(st.sampled_from(WORDS), max_size=25))
def test_any_words_give_calls_inside_of_the_text_or_an_error_there(words: list[str]) -> None:
    sql = " ".join(words)
    tokens = scan(sql)
    error, found = outcome(tokens)
    assert error is None or 0 < (error.position or 0) <= len(sql)
    for call in found:
        spans = [call.span, *(item.span for item in call.items or ()), call.label, call.top, call.cutoff]
        assert all(call.span.holds(span) for span in spans if span is not None)
        assert 0 <= call.span.start < call.span.end <= len(sql)
        assert tokens[call.first].start == call.span.start
        assert tokens[call.last].end == call.span.end
        assert call.span.start < call.model_at < call.span.end


@given(st.text(alphabet="PREDICTpredict (m).,'\"$1USINGusing*\n;", max_size=40))
def test_any_text_gives_calls_or_an_error(text: str) -> None:
    with contextlib.suppress(RewriteError):
        calls("SELECT PREDICT(m " + text)
