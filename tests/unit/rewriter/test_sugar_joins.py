from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter import RewriteError, rewrite
from rewriter.scan import mentions
from tests.unit.rewriter.static import StaticCatalog
from tests.unit.rewriter.test_sugar import plain, refusal, sweet


def lateral(using: str, rest: str = "") -> str:
    return f"CROSS JOIN LATERAL (SELECT PREDICT(models.late USING {using}) AS prediction{rest}) AS y"


PREDICTED = lateral("f.*")
NAMED = lateral("f.carrier, f.distance, f.hour")
#: what stands behind SELECT y.prediction::text FROM: a cast is named after what is in it
JOINS = [
    ("f JOIN models.late AS y WHERE y.prediction", f"f {PREDICTED} WHERE y.prediction"),
    ("s.f LEFT OUTER JOIN models.late y, w", f"s.f {PREDICTED}, w"),
    ("f x PREDICTION JOIN models.late y", f"f x {lateral('x.*')}"),
    ("f PREDICTION JOIN models.late y", f"f {PREDICTED}"),
    ("f prediction JOIN models.late y ORDER BY prediction.flight",
     f"f prediction {lateral('prediction.*')} ORDER BY prediction.flight"),
    ("f JOIN models.late y JOIN w ON true", f"f {PREDICTED} JOIN w ON true"),
    ("f, w JOIN models.late y", f"f, w {NAMED}"),
    ("f LEFT JOIN w ON left(a, 3) = b INNER JOIN models.late y", f"f LEFT JOIN w ON left(a, 3) = b {NAMED}"),
    ("(f JOIN w ON a IS DISTINCT FROM b JOIN models.late y) JOIN g ON true",
     f"(f JOIN w ON a IS DISTINCT FROM b {NAMED}) JOIN g ON true"),
    ("f JOIN models.late y ON y.distance = flight + 1 AND (f.hour = y.hour)",
     f"f {lateral('flight + 1 AS distance, f.hour AS hour, f.carrier')}"),
    ("f NATURAL PREDICTION JOIN models.late y ORDER BY y.hour",
     f"f {lateral('f.*', ', (f.hour)::timestamp with time zone AS hour')} ORDER BY y.hour"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), JOINS)
def test_a_model_table_joined_without_saying_how(sql: str, expected: str) -> None:
    sql = f"SELECT y.prediction::text FROM {sql}"
    assert mentions(sql)
    assert plain(sql) == f"SELECT y.prediction::text FROM {expected}"


def test_a_model_table_goes_by_its_own_name() -> None:
    text = plain("SELECT models.late.prediction, late.* FROM f JOIN models.late")
    assert text.startswith("SELECT late.prediction, late.* FROM f CROSS JOIN LATERAL (SELECT PREDICT(")
    assert text.endswith(") AS late")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO x SELECT y.prediction::text FROM f {} ON CONFLICT DO NOTHING", PREDICTED),
        ("DELETE FROM x USING f {} WHERE y.prediction", PREDICTED),
        ("UPDATE x SET a = y.prediction FROM f {} WHERE y.prediction", PREDICTED),
    ],
)
def test_statements_around_a_join(sql: str, expected: str) -> None:
    assert plain(sql.format("JOIN models.late y")) == sql.format(expected)


def test_all_outputs_are_made_where_the_statement_may_read_them() -> None:
    for what in ("*", "y.*", "y", "to_json(y)"):
        text = plain(f"SELECT {what} FROM f JOIN models.late y")
        assert text.count("PROBABILITY(") == 3, what
    assert "PROBABILITY" not in plain("SELECT count(*), f.* FROM f JOIN models.delay y")


UNTOUCHED = [
    # PostgreSQL can answer these as they stand
    "SELECT * FROM f JOIN models.late y ON y.carrier = f.carrier AND y.distance = 3 AND y.hour = f.hour",
    "SELECT * FROM f JOIN models.late y ON y.carrier = f.carrier AND y.distance > 3",
    "SELECT * FROM f JOIN models.late y ON y.carrier = f.carrier OR y.distance = 3",
    "SELECT * FROM f JOIN models.late y ON y.carrier = f.carrier AND y.prediction",
    "SELECT * FROM f JOIN models.late y ON y.features = f.json",
    "SELECT * FROM f JOIN models.late y ON y.carrier = ANY (f.tags) AND y.distance = 3",
    "SELECT * FROM f JOIN models.late y ON y.carrier = f.carrier WHERE y.distance = 1 AND y.hour = f.hour",
    "SELECT * FROM w JOIN models.late y ON y.carrier = w.origin WHERE distance = 1 AND hour IS NULL",
    "SELECT * FROM f JOIN models.late__batch AS m ON m.batch = f.carrier",
    "SELECT * FROM f JOIN models.late y USING (carrier, distance, hour)",
    "SELECT * FROM f NATURAL JOIN models.late",
    "SELECT * FROM f CROSS JOIN models.late y WHERE y.carrier = f.carrier",
    "SELECT * FROM f, models.late y WHERE y.carrier = f.carrier",
    "SELECT * FROM f JOIN models.late y JOIN w ON true ON y.carrier = f.carrier",
    "SELECT * FROM f RIGHT JOIN models.late y ON y.carrier = f.carrier",
    "SELECT * FROM f JOIN models.late AS y(a, b)",
    "SELECT models.x, joint FROM f JOIN models ON true",
]  # fmt: skip


@pytest.mark.parametrize("sql", UNTOUCHED)
def test_what_postgresql_can_answer_is_left_to_it(sql: str) -> None:
    assert sweet(sql) is None
    assert rewrite(sql, StaticCatalog()).sql == sql


REFUSED = [
    ("SELECT 1 FROM w, w JOIN models.late y", "models.late", "42703", "'carrier', 'distance', 'hour'"),
    ("SELECT 1 FROM f, f AS f JOIN models.late y", "models.late", "42702", "ambiguous"),
    ("SELECT 1 FROM f JOIN models.lte y", "lte", "42704", "does not exist"),
    ("SELECT 1 FROM f FULL JOIN models.late y", "FULL", "42601", "FULL JOIN"),
    ("SELECT 1 FROM f, g JOIN models.late y", "models.late", "42P01", '"g" does not exist'),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "at", "sqlstate", "message"), REFUSED)
def test_refusals(sql: str, at: str, sqlstate: str, message: str) -> None:
    with pytest.raises(RewriteError) as caught:
        rewrite(sql, StaticCatalog())
    error = caught.value
    assert error.sqlstate == sqlstate
    assert message in error.message
    assert sqlstate == "42P01" or error.position == sql.index(at) + 1


WORDS = [
    "f", "w", "y", ".", "models", "late", "join", "JOIN models.late y", "on", "prediction", "natural", "left",
    "y.carrier = f.carrier", "and", "(", ")", ",", "where", "using", "select", "from", "*", "=",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=20))
def test_any_words_are_left_alone_or_changed_or_refused(words: list[str]) -> None:
    sql = "SELECT 1 FROM f " + " ".join(words)
    error = refusal(sql)
    assert error is None or error.position is None or 0 < error.position <= len(sql)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("models.late AS y NATURAL PREDICTION JOIN f", f"f {PREDICTED}"),
        ("models.late y PREDICTION JOIN (SELECT 1) AS f, w", f"(SELECT 1) AS f {PREDICTED}, w"),
        ("w, models.late y PREDICTION JOIN g(1, 2) x ON y.carrier = x.a AND y.distance = 2 AND y.hour = x.h",
         f"w, g(1, 2) x {lateral('x.a AS carrier, 2 AS distance, x.h AS hour')}"),
    ],
)  # fmt: skip
def test_the_model_before_its_data(sql: str, expected: str) -> None:
    assert plain(f"SELECT y.prediction::text FROM {sql}") == f"SELECT y.prediction::text FROM {expected}"


LATE = "PREDICT(models.late USING f.*)"
CERTAIN = "PROBABILITY(models.late USING f.*)"
IN_PLACE = [
    ("SELECT y.prediction, f.* FROM f JOIN models.late y WHERE y.prediction AND f.flight > 1",
     f"SELECT {LATE} AS prediction, f.* FROM f  WHERE {LATE} AND f.flight > 1"),
    ("SELECT y.prediction AS p, -y.probability, g(y.probability) FROM f JOIN models.late y ORDER BY 1",
     f"SELECT {LATE} AS p, -{CERTAIN}, g({CERTAIN}) FROM f  ORDER BY 1"),
    ("SELECT a, late.probability FROM f JOIN models.late GROUP BY a, late.probability ORDER BY probability",
     f"SELECT a, {CERTAIN} AS probability FROM f  GROUP BY a, {CERTAIN} ORDER BY probability"),
    ("SELECT d.a, p.x FROM PREDICT(MODEL = late, DATA = f AS d) WITH (x int) AS p ORDER BY x, d.a",
     "SELECT d.a, (PREDICT(late USING d.*)::int) AS x FROM f AS d ORDER BY x, d.a"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), IN_PLACE)
def test_outputs_are_put_where_they_are_read(sql: str, expected: str) -> None:
    assert plain(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT y.prediction, prediction FROM f JOIN models.late y",
        "SELECT y.prediction FROM f JOIN models.late y WHERE prediction",
        "SELECT y.prediction, (SELECT y.probability) FROM f JOIN models.late y",
        "SELECT CASE WHEN true THEN y.prediction END, y.prediction::text FROM f JOIN models.late y",
        "SELECT y.prediction FROM f JOIN models.late y RIGHT JOIN w ON true",
        "SELECT y.prediction, 1 AS probability FROM f JOIN models.late y ORDER BY probability, y.prediction",
        "SELECT y.prediction FROM f JOIN models.late y FOR UPDATE",
        "SELECT y.prediction FROM (f JOIN models.late y) JOIN w ON true",
        "SELECT p.x FROM w LEFT JOIN PREDICT(MODEL = late, DATA = f AS d) WITH (x int) AS p ON true",
        "SELECT PREDICT(delay USING p.x) FROM PREDICT(MODEL = late, DATA = f AS d) WITH (x int) AS p",
    ],
)
def test_what_is_uncertain_stays_beside_the_rows(sql: str) -> None:
    assert "CROSS JOIN LATERAL (SELECT" in plain(sql)
