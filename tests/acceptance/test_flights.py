"""A user's story: two models on real flights, asked in SQL in every form, against scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from onnx_models.reading import Source, read
from tests.fix_flights import SOURCES, Flights, predict, rewritten, rows

#: a sixth of the year: every month, every carrier
MANY = "SELECT * FROM departures WHERE id % 6 = 0 ORDER BY id LIMIT 50000"
BOUND = 1e-5
NO_WEATHER = "SELECT id FROM departures WHERE temp IS NULL AND built IS NOT NULL ORDER BY id LIMIT 1"
FULL = """
SELECT id FROM departures
WHERE num_nulls(temp, wind_dir, wind_gust, pressure, built, seats, lat, manufacturer) = 0
ORDER BY id LIMIT 1
"""


@pytest.fixture
def connection(flights: Flights) -> Iterator[psycopg.Connection[Any]]:
    with flights.connect() as connection:
        yield connection


def features_of(connection: psycopg.Connection[Any], flights: Flights, flight: int) -> sql.Composable:
    """Conditions that bind every feature to the value that a flight has, as a person would write them."""
    names = [feature.name for feature in flights.trained["late_arrival"].signature.features]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    query = sql.SQL("SELECT {} FROM departures WHERE id = {}").format(columns, sql.Literal(flight))
    (values,) = connection.execute(query).fetchall()
    conditions = [
        sql.SQL("{} IS NULL").format(sql.Identifier(name))
        if value is None
        else sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(as_written(value)))
        for name, value in zip(names, values, strict=True)
    ]
    return sql.SQL(" AND ").join(conditions)


def as_written(value: Any) -> Any:
    """Times are text columns of a model table: quoted, without a type."""
    return value if isinstance(value, str | int | float) else str(value)


@pytest.mark.parametrize("which", [FULL, NO_WEATHER], ids=["full", "no weather"])
def test_a_model_table_answers_a_plain_select(
    connection: psycopg.Connection[Any], flights: Flights, which: str
) -> None:
    ((flight,),) = rows(connection, which)
    conditions = features_of(connection, flights, flight)
    (batch,) = predict(
        connection,
        f"SELECT PREDICT(late_arrival) AS late, PROBABILITY(late_arrival FOR 'yes') AS p,"
        f" PREDICT(arrival_delay) AS delay FROM departures WHERE id = {flight}",
    )
    query = sql.SQL(
        "SELECT prediction, probability_yes, probability_no, probability FROM models.late_arrival"
    )
    ((late, yes, no, probability),) = connection.execute(query + sql.SQL(" WHERE ") + conditions).fetchall()
    assert (late, yes) == (batch["late"], pytest.approx(batch["p"], abs=1e-12))
    assert no + yes == pytest.approx(1.0)
    assert probability == max(no, yes)
    query = sql.SQL("SELECT prediction FROM models.arrival_delay WHERE ")
    assert connection.execute(query + conditions).fetchone() == (pytest.approx(batch["delay"], abs=1e-9),)


@pytest.mark.parametrize("which", [FULL, NO_WEATHER], ids=["full", "no weather"])
@pytest.mark.parametrize("document", ["to_jsonb(d)::text", "ml.features(d)"])
def test_features_as_one_json_object(connection: psycopg.Connection[Any], which: str, document: str) -> None:
    ((flight,),) = rows(connection, which)
    (expected,) = predict(
        connection, f"SELECT PREDICT(arrival_delay) AS x FROM departures WHERE id = {flight}"
    )
    features = f"(SELECT {document} FROM departures d WHERE id = {flight})"
    query = f"SELECT prediction FROM models.arrival_delay WHERE features = {features}"
    assert rows(connection, query) == [(pytest.approx(expected["x"], abs=1e-9),)]


def test_a_join_with_a_model_table(connection: psycopg.Connection[Any]) -> None:
    query = """
        SELECT d.id, m.prediction FROM (SELECT id, ml.features(d) AS features FROM departures d
            WHERE carrier = 'HA' ORDER BY id LIMIT 20 OFFSET 0) AS d
        JOIN models.late_arrival AS m ON m.features = d.features ORDER BY 1
    """
    batch = (
        "SELECT id, PREDICT(late_arrival) AS late FROM departures WHERE carrier = 'HA' ORDER BY id LIMIT 20"
    )
    assert rows(connection, query) == [(row["id"], row["late"]) for row in predict(connection, batch)]


def test_a_forgotten_feature_is_named(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.Error, match="dep_delay") as caught:
        connection.execute("SELECT prediction FROM models.late_arrival WHERE carrier = 'UA'")
    assert caught.value.sqlstate not in (None, "XX000")
    assert rows(connection, "SELECT 1") == [(1,)]


def test_fifty_thousand_flights_as_scikit_learn(
    connection: psycopg.Connection[Any], flights: Flights
) -> None:
    table = read(connection, Source(MANY, "id", exclude=("arr_delay",)))
    assert table.rows == 50_000
    late = flights.trained["late_arrival"]
    expected = late.fitted.predict(table.columns)
    delay = flights.trained["arrival_delay"].fitted.predict(table.columns)
    assert expected.probabilities is not None
    found = rows_of(
        connection,
        f"SELECT id, PREDICT(late_arrival), PROBABILITY(late_arrival FOR 'yes'),"
        f" PROBABILITY(late_arrival), PREDICT(arrival_delay) FROM ({MANY}) AS many ORDER BY id",
    )
    ids, labels, yes, probability, delays = zip(*found, strict=True)
    assert np.array_equal(ids, np.asarray(table.target))
    classes = np.array(late.signature.classes)
    assert np.array_equal(labels, classes[expected.value.astype(int)])
    assert set(labels) == {"yes", "no"}
    place = late.signature.classes.index("yes")
    np.testing.assert_allclose(yes, expected.probabilities[:, place], rtol=0, atol=BOUND)
    np.testing.assert_allclose(probability, expected.probabilities.max(axis=1), rtol=0, atol=BOUND)
    np.testing.assert_allclose(delays, delay.value, rtol=BOUND, atol=BOUND)
    assert np.isnan(np.asarray(table.columns["temp"])).any()


def rows_of(connection: psycopg.Connection[Any], statement: str) -> list[Any]:
    return connection.execute(rewritten(connection, statement)).fetchall()


@pytest.mark.parametrize("options", ["", "(ANALYZE, VERBOSE) "])
def test_explain_shows_a_foreign_scan(connection: psycopg.Connection[Any], options: str) -> None:
    statement = rewritten(
        connection,
        f"SELECT f.id, PREDICT(late_arrival) FROM {SOURCES} WHERE f.dep_delay IS NOT NULL AND f.id < 30000",
    )
    plan = [line for (line,) in connection.execute(b"EXPLAIN " + options.encode() + statement).fetchall()]
    assert any("Foreign Scan on " in line and "batch" in line for line in plan), plan
    assert rows(connection, "SELECT 1") == [(1,)]


def test_flights_without_weather_are_predicted(connection: psycopg.Connection[Any]) -> None:
    ((without,),) = rows(connection, "SELECT count(*) FROM departures WHERE temp IS NULL")
    assert without > 500
    (row,) = predict(
        connection,
        f"SELECT count(*) AS n, count(late) AS predicted, bool_and(p BETWEEN 0 AND 1) AS sound FROM ("
        f"SELECT PREDICT(late_arrival) AS late, PROBABILITY(late_arrival FOR 'yes') AS p FROM {SOURCES}"
        f" WHERE f.dep_delay IS NOT NULL AND w.temp IS NULL) AS found",
    )
    assert row == {"n": without, "predicted": without, "sound": True}


def test_a_condition_on_the_probability_filters(connection: psycopg.Connection[Any]) -> None:
    some = f"FROM {SOURCES} WHERE f.day = '2013-07-01' AND f.dep_delay < 60"
    everything = predict(connection, f"SELECT f.id, PROBABILITY(late_arrival FOR 'yes') AS p {some}")
    probable = predict(
        connection, f"SELECT f.id {some} AND PROBABILITY(late_arrival FOR 'yes') > 0.5 AND f.distance > 0"
    )
    expected = {row["id"] for row in everything if row["p"] > 0.5}
    assert {row["id"] for row in probable} == expected
    assert 0 < len(expected) < len(everything)
    (row,) = predict(connection, f"SELECT count(*) AS n {some} AND PREDICT(late_arrival) = 'yes'")
    assert row["n"] == len(expected)


def test_the_most_probable_first(connection: psycopg.Connection[Any]) -> None:
    some = f"FROM {SOURCES} WHERE f.day = '2013-07-01' AND f.dep_delay IS NOT NULL"
    everything = predict(connection, f"SELECT f.id, PROBABILITY(late_arrival FOR 'yes') AS p {some}")
    expected = sorted(everything, key=lambda row: (-row["p"], row["id"]))[:10]
    found = predict(
        connection, f"SELECT f.id {some} ORDER BY PROBABILITY(late_arrival FOR 'yes') DESC, f.id LIMIT 10"
    )
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    named = predict(
        connection, f"SELECT f.id, PREDICT(arrival_delay) AS delay {some} ORDER BY delay DESC, f.id LIMIT 5"
    )
    delays = [row["delay"] for row in named]
    assert delays == sorted(delays, reverse=True)


def test_what_if(connection: psycopg.Connection[Any]) -> None:
    """The same flight, had it left two hours late."""
    (row,) = predict(
        connection,
        "SELECT PREDICT(arrival_delay) AS as_it_is, PREDICT(arrival_delay USING *, 120 AS dep_delay) AS later"
        " FROM departures WHERE id = 1000",
    )
    assert row["later"] > row["as_it_is"] + 60


def test_predictions_are_sql_values(connection: psycopg.Connection[Any]) -> None:
    """Grouped, joined, in a CTE, and kept in a table."""
    found = predict(
        connection,
        "WITH late AS (SELECT carrier, PREDICT(late_arrival) AS label, PREDICT(arrival_delay) AS delay"
        " FROM departures WHERE day BETWEEN '2013-03-01' AND '2013-03-03')"
        " SELECT a.name, count(*) AS flights, count(*) FILTER (WHERE label = 'yes') AS late,"
        " round(avg(delay)) AS minutes FROM late JOIN airlines a USING (carrier) GROUP BY a.name ORDER BY 1",
    )
    ((total,),) = rows(
        connection, "SELECT count(*) FROM departures WHERE day BETWEEN '2013-03-01' AND '2013-03-03'"
    )
    assert sum(row["flights"] for row in found) == total
    assert 0 < sum(row["late"] for row in found) < total


def test_the_models_are_good_for_something(flights: Flights) -> None:
    """On the newest flights, held out from training, both beat a guess by far."""
    late, delay = flights.trained["late_arrival"].metrics, flights.trained["arrival_delay"].metrics
    assert late["roc_auc"] > 0.85
    assert delay["mae"] < 0.6 * delay["baseline"]["mae"]
