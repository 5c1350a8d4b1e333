"""The row form: features in, a prediction out, the same on every server."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests import summing
from tests.fix_server import Database

SMALL = {"carrier": "text", "distance": "integer", "temp": "double precision"}


@pytest.fixture
def connection(database: Database) -> Any:
    """A database with a model and a table to join it to."""
    with database.connect() as connection:
        summing.store(connection, "small", summing.classifier(SMALL))
        connection.execute(
            """
            CREATE TABLE c AS SELECT i AS id, CASE WHEN i % 2 = 0 THEN 'UA' END AS carrier, i AS distance,
                CASE WHEN i % 3 <> 0 THEN i + 0.1::float8 END AS temp, (i + 0.1)::real AS f4
            FROM generate_series(1, 6) AS i
            """
        )
        connection.execute("ANALYZE c")
        yield connection


def rows(connection: psycopg.Connection, query: Any, parameters: Any = None) -> list[Any]:
    return connection.execute(query, parameters).fetchall()


def plan(connection: psycopg.Connection, query: Any) -> str:
    return "\n".join(row[0] for row in rows(connection, "EXPLAIN (COSTS OFF) " + query))


def test_constants(connection: psycopg.Connection) -> None:
    query = "SELECT * FROM models.small WHERE carrier = 'UA' AND distance = 950 AND temp IS NULL"
    assert rows(connection, query) == [("UA", 950, None, None, "yes", 0.75, 0.25, 0.75)]


def test_every_subset_of_columns(connection: psycopg.Connection) -> None:
    where = "FROM models.small WHERE carrier = 'UA' AND distance = 7 AND temp = 0.5"
    assert rows(connection, f"SELECT count(*) {where}") == [(1,)]
    assert rows(connection, f"SELECT temp, carrier {where}") == [(0.5, "UA")]
    assert rows(connection, f"SELECT probability_yes {where}") == [(0.25,)]
    assert rows(connection, f"SELECT probability {where} AND prediction = 'no'") == [(0.75,)]
    assert rows(connection, f"SELECT distance + 1 {where} AND probability_no > 0.7") == [(8,)]


def test_where_always_filters(connection: psycopg.Connection) -> None:
    where = "SELECT prediction FROM models.small WHERE carrier = 'UA' AND distance = 7 AND temp = 0.5"
    assert rows(connection, f"{where} AND probability > 0.8") == []
    assert rows(connection, f"{where} AND probability > 0.7") == [("no",)]
    assert rows(connection, f"{where} AND prediction IN ('yes', 'maybe')") == []
    assert rows(connection, f"{where} AND distance = 8") == []
    assert rows(connection, f"{where} AND distance > 8") == []
    assert rows(connection, f"{where} LIMIT 1 OFFSET 1") == []


def test_parameters_and_generic_plans(connection: psycopg.Connection) -> None:
    connection.execute("SET plan_cache_mode = force_generic_plan")
    query = "SELECT prediction FROM models.small WHERE carrier = %s AND distance = %s AND temp = %s"
    for distance in (1, 999):
        answer = connection.execute(query, ("UA", distance, 0.1), prepare=True).fetchall()
        assert answer == [("no",) if distance == 1 else ("yes",)]


@pytest.mark.parametrize(
    "condition",
    [
        "m.carrier = c.carrier AND m.distance = c.distance AND m.temp = c.temp",
        "(m.carrier, m.distance, m.temp) = (c.carrier, c.distance, c.temp)",
    ],
)
def test_join_is_parameterised(connection: psycopg.Connection, condition: str) -> None:
    query = f"SELECT c.id, m.prediction FROM c JOIN models.small m ON {condition}"
    text = plan(connection, query)
    assert "Nested Loop" in text
    assert "Hash Join" not in text
    assert "(distance = c.distance)" in text
    # NULL equals nothing: 2 and 4 are the only rows without one
    assert sorted(rows(connection, query)) == [(2, "no"), (4, "no")]


def test_left_join_keeps_rows(connection: psycopg.Connection) -> None:
    query = """
        SELECT c.id, m.prediction FROM c
        LEFT JOIN models.small m ON m.carrier = c.carrier AND m.distance = c.distance AND m.temp = c.temp
    """
    assert len(rows(connection, query)) == 6


def test_constants_and_join_mixed(connection: psycopg.Connection) -> None:
    query = """
        SELECT c.id, m.prediction FROM c
        JOIN models.small m ON m.carrier = 'UA' AND m.distance = c.distance AND m.temp IS NULL
    """
    assert "(distance = c.distance)" in plan(connection, query)
    assert sorted(rows(connection, query)) == [(number, "yes") for number in range(1, 7)]


def test_lateral(connection: psycopg.Connection) -> None:
    query = """
        SELECT c.id, l.prediction FROM c, LATERAL (
            SELECT prediction FROM models.small m
            WHERE (m.carrier, m.distance, m.temp)
                = (coalesce(c.carrier, 'AA'), c.distance, coalesce(c.temp, 7))
        ) l
    """
    assert len(rows(connection, query)) == 6


def test_two_models_on_one_column(connection: psycopg.Connection) -> None:
    direct = """
        SELECT c.id, a.prediction, b.prediction FROM c
        JOIN models.small a ON a.carrier = 'UA' AND a.distance = c.distance AND a.temp IS NULL
        JOIN models.small b ON b.carrier = c.carrier AND b.distance = c.distance AND b.temp = c.temp
    """
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        rows(connection, direct)
    assert "LATERAL" in str(caught.value.diag.message_hint)
    fenced = """
        SELECT c.id, a.prediction, b.prediction FROM c,
            LATERAL (SELECT prediction FROM models.small
                WHERE carrier = 'UA' AND distance = c.distance AND temp IS NULL OFFSET 0) a,
            LATERAL (SELECT prediction FROM models.small
                WHERE carrier = c.carrier AND distance = c.distance AND temp = c.temp OFFSET 0) b
    """
    assert sorted(rows(connection, fenced)) == [(2, "yes", "no"), (4, "yes", "no")]


def test_null_features_in_a_join(connection: psycopg.Connection) -> None:
    query = """
        SELECT c.id, m.carrier, m.temp, m.prediction
        FROM (SELECT id, ml.features(c) AS features FROM c OFFSET 0) c JOIN models.small m USING (features)
    """
    found = sorted(rows(connection, query))
    assert [row[0] for row in found] == [1, 2, 3, 4, 5, 6]
    assert found[0][1:] == (None, 1.1, "no")
    assert found[2][1:] == (None, None, "yes")
    assert found[5][1:] == ("UA", None, "yes")


def test_in_lists(connection: psycopg.Connection) -> None:
    query = """
        SELECT carrier, distance, prediction FROM models.small
        WHERE carrier IN ('UA', 'AA', NULL) AND distance = ANY ('{1, 999}') AND temp = 3
    """
    assert sorted(rows(connection, query)) == [
        ("AA", 1, "no"),
        ("AA", 999, "yes"),
        ("UA", 1, "no"),
        ("UA", 999, "yes"),
    ]
    assert rows(connection, query.replace("'{1, 999}'", "'{}'")) == []
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="combinations"):
        rows(connection, query.replace("'{1, 999}'", "ARRAY(SELECT generate_series(1, 2000))"))


def test_or_and_lists_of_columns_are_errors(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="'carrier'"):
        rows(
            connection,
            "SELECT * FROM models.small"
            " WHERE (carrier = 'UA' OR carrier = 'AA') AND distance = 1 AND temp = 1",
        )
    with pytest.raises(psycopg.Error):
        rows(
            connection,
            "SELECT * FROM c, models.small m"
            " WHERE m.carrier IN (c.carrier, 'AA') AND m.distance = c.distance AND m.temp = c.temp",
        )
    assert rows(connection, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e-320", "0.1", "123456789.12345678"])
def test_floats_come_back_as_they_were(connection: psycopg.Connection, value: str) -> None:
    where = f"WHERE carrier = 'UA' AND distance = 1 AND temp = '{value}'"
    query = f"SELECT temp = '{value}' FROM models.small {where}"
    assert rows(connection, query) == [(True,)]


def test_float4_compared_with_float8(connection: psycopg.Connection) -> None:
    query = """
        SELECT count(*), bool_and(m.temp = c.f4) FROM c
        JOIN models.small m ON m.carrier = 'UA' AND m.distance = c.distance AND m.temp = c.f4
    """
    assert rows(connection, query) == [(6, True)]


def test_rounded_floats_are_an_error(connection: psycopg.Connection) -> None:
    connection.execute("SET extra_float_digits = 0")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
        rows(connection, "SELECT * FROM models.small WHERE carrier = 'UA' AND distance = 1 AND temp = 0.1")
    assert caught.value.diag.message_hint == "SET extra_float_digits = 1"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("TRUE", "model 'small' needs a value for 'carrier', 'distance', 'temp'"),
        ("carrier = 'UA' AND distance = 1", "model 'small' needs a value for 'temp'"),
        ("carrier = 'UA' AND distance = 1.5 AND temp = 1", "model 'small' needs a value for 'distance'"),
        ("features = '{}'", "model 'small' needs a value for 'carrier', 'distance', 'temp'"),
        ("features = '[1]'", "features is not a JSON object"),
        ("features = 'nonsense'", "features is not a JSON object"),
        ("""features = '{"carrier":1,"distance":1,"temp":1}'""", "feature 'carrier' is 1 where text is due"),
        (
            """features = '{"carrier":"x","distance":"1","temp":1}'""",
            "feature 'distance' is '1' where a number is due",
        ),
        (
            """features = '{"carrier":"x","distance":1.5,"temp":1}'""",
            "feature 'distance' is 1.5 where an integer is due",
        ),
        (
            """features = '{"carrier":"x","distance":true,"temp":1}'""",
            "feature 'distance' is true where a number is due",
        ),
        (
            """features = '{"carrier":"x","distance":1,"temp":1}' AND temp = 1""",
            "feature 'temp' is given twice, as a column and in features",
        ),
    ],
)
def test_errors_name_the_feature(connection: psycopg.Connection, condition: str, message: str) -> None:
    process = connection.info.backend_pid
    with pytest.raises(psycopg.Error) as caught:
        rows(connection, f"SELECT * FROM models.small WHERE {condition}")
    assert caught.value.diag.message_primary == message
    assert caught.value.diag.sqlstate in ("22023", "22032")
    assert "Traceback" not in str(caught.value)
    assert rows(connection, "SELECT pg_backend_pid()") == [(process,)]


def test_unknown_name_is_told_with_the_missing_one(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        rows(
            connection,
            """SELECT * FROM models.small WHERE features = '{"carrier":"x","distance":1,"tmp":1}'""",
        )
    assert "'temp'" in str(caught.value.diag.message_primary)
    assert "'tmp'" in str(caught.value.diag.message_hint)


def test_error_inside_a_transaction_leaves_the_session_usable(connection: psycopg.Connection) -> None:
    with connection.transaction():
        with pytest.raises(psycopg.errors.InvalidParameterValue), connection.transaction():
            rows(connection, "SELECT * FROM models.small")
        assert rows(
            connection,
            "SELECT prediction FROM models.small WHERE carrier = 'UA' AND distance = 1 AND temp = 1",
        ) == [("no",)]


def test_hundreds_of_errors_do_no_harm(connection: psycopg.Connection) -> None:
    for _ in range(300):
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            rows(connection, "SELECT * FROM models.small")
    assert rows(connection, "SELECT 1") == [(1,)]


def test_cursor_and_function(connection: psycopg.Connection) -> None:
    connection.execute(
        """
        CREATE FUNCTION predict_small(d integer) RETURNS text LANGUAGE plpgsql AS $$
        DECLARE answer text;
        BEGIN
            SELECT prediction INTO answer FROM models.small
            WHERE carrier = 'UA' AND distance = d AND temp = 1;
            RETURN answer;
        END $$
        """
    )
    found = rows(connection, "SELECT predict_small(i * 100) FROM generate_series(1, 20) i")
    assert [row[0] for row in found] == ["no"] * 8 + ["yes"] * 12
    with connection.transaction():
        connection.execute(
            "DECLARE one CURSOR FOR SELECT prediction FROM c JOIN models.small m"
            " ON m.carrier = c.carrier AND m.distance = c.distance AND m.temp = c.temp"
        )
        assert rows(connection, "FETCH 1 FROM one") == [("no",)]
        assert rows(connection, "FETCH ALL FROM one") == [("no",)]


@pytest.mark.parametrize(
    ("target_type", "shown"),
    [("boolean", True), ("integer", 1), ("text", "1"), ("date", None), ("no_such_type", "1")],
)
def test_labels_in_the_targets_type(connection: psycopg.Connection, target_type: str, shown: Any) -> None:
    import datetime

    classes = {"boolean": ("false", "true"), "date": ("2013-01-01", "2013-01-02")}.get(
        target_type, ("0", "1")
    )
    artifact = summing.classifier({"a": "integer"}, classes, target_type)
    summing.store(connection, "typed", artifact)
    query = "SELECT prediction FROM models.typed WHERE a = 5000"
    assert rows(connection, query) == [(shown if shown is not None else datetime.date(2013, 1, 2),)]


@pytest.mark.parametrize(
    "target_type", ["smallint", "integer", "bigint", "real", "double precision", "numeric"]
)
def test_numbers_in_the_targets_type(connection: psycopg.Connection, target_type: str) -> None:
    summing.store(connection, "typed", summing.regression({"a": "double precision"}, target_type))
    query = "SELECT pg_typeof(prediction)::text, prediction FROM models.typed WHERE a = 2.5"
    expected = 2 if target_type in ("smallint", "integer", "bigint") else 2.5
    assert rows(connection, query) == [(target_type, expected)]


def test_boolean_predictions_as_conditions(connection: psycopg.Connection) -> None:
    artifact = summing.classifier({"a": "integer"}, ("false", "true"), "boolean")
    summing.store(connection, "late", artifact)
    notices: list[Any] = []
    connection.add_notice_handler(notices.append)
    assert rows(connection, "SELECT a FROM models.late WHERE a = 5000 AND prediction") == [(5000,)]
    assert rows(connection, "SELECT a FROM models.late WHERE a = 5000 AND NOT prediction") == []
    assert rows(connection, "SELECT a FROM models.late WHERE a = 1 AND prediction = false") == [(1,)]
    assert notices == []


def test_enum_target(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TYPE level AS ENUM ('low', 'high')")
    summing.store(connection, "level", summing.classifier({"a": "integer"}, ("low", "high"), "level"))
    query = "SELECT pg_typeof(prediction)::text, prediction::text FROM models.level WHERE a = 5000"
    assert rows(connection, query) == [("level", "high")]
