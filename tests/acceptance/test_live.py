"""A user's story: data and models change, and the next statement answers accordingly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.demo.steps import MODELS
from tests.fix_flights import SOURCES, Flights, predict, rewritten, rows

NEW_FLIGHT = """
INSERT INTO flights
    (carrier, flight, tailnum, origin, dest, distance, time_hour, day, departs, arrives, dep_delay)
SELECT carrier, 9999, tailnum, origin, dest, distance, time_hour, day, departs, arrives, {delay}
FROM flights WHERE id = 5000 RETURNING id
"""
FIRST = f"""
SELECT PREDICT(late_arrival) AS late, PROBABILITY(late_arrival FOR 'yes') AS p,
    PREDICT(arrival_delay) AS delay
FROM {SOURCES} WHERE f.id = %s
"""
CHECKED = "SELECT id, PROBABILITY(late_arrival FOR 'yes') AS p FROM departures WHERE id < 2000 ORDER BY id"


@pytest.fixture
def connection(own_flights: Flights) -> Iterator[psycopg.Connection[Any]]:
    with own_flights.connect() as connection:
        yield connection


def flight(connection: psycopg.Connection[Any], number: int) -> dict[str, Any]:
    (row,) = predict(connection, FIRST.replace("%s", str(number)))
    return row


def test_rows_that_come_and_change(connection: psycopg.Connection[Any]) -> None:
    ((new,),) = rows(connection, NEW_FLIGHT.format(delay=-5))
    before = flight(connection, new)
    assert before["late"] == "no"
    connection.execute("UPDATE flights SET dep_delay = 180 WHERE id = %s", [new])
    after = flight(connection, new)
    assert after["late"] == "yes"
    assert after["p"] > 0.9 > before["p"]
    assert after["delay"] > before["delay"] + 100
    connection.execute("DELETE FROM flights WHERE id = %s", [new])
    assert predict(connection, FIRST.replace("%s", str(new))) == []


def test_rows_of_a_joined_table_change(connection: psycopg.Connection[Any]) -> None:
    """Fog comes up; the flight's own row stays as it is."""
    before = flight(connection, 5000)
    hour = "(SELECT origin, time_hour FROM flights WHERE id = 5000)"
    assert connection.execute(
        "UPDATE weather SET visib = 0.1, wind_speed = 45, precip = 1, humid = 100, pressure = 985"
        f" WHERE (origin, time_hour) = {hour}"
    ).rowcount
    fog = flight(connection, 5000)
    assert fog["delay"] != before["delay"]
    connection.execute(f"DELETE FROM weather WHERE (origin, time_hour) = {hour}")
    unknown = flight(connection, 5000)
    assert unknown["delay"] not in (fog["delay"], None)


def test_own_changes_are_seen_before_they_are_committed(
    connection: psycopg.Connection[Any], own_flights: Flights
) -> None:
    before = flight(connection, 5000)
    with own_flights.connect() as other:
        with connection.transaction(force_rollback=True):
            connection.execute("UPDATE flights SET dep_delay = 300 WHERE id = 5000")
            assert flight(connection, 5000)["delay"] > before["delay"] + 100
            assert flight(other, 5000) == before
        assert flight(connection, 5000) == before


def test_a_cursor_and_a_kept_table(connection: psycopg.Connection[Any]) -> None:
    """Predictions are kept where the user wants them, and read in pieces."""
    connection.execute("CREATE TABLE kept (flight bigint PRIMARY KEY, late text, p float8)")
    query = (
        "SELECT id, PREDICT(late_arrival), PROBABILITY(late_arrival FOR 'yes') FROM departures"
        " WHERE day = '2013-02-01' ORDER BY id"
    )
    kept = connection.execute(rewritten(connection, f"INSERT INTO kept {query}")).rowcount
    with connection.transaction(), connection.cursor(name="pieces") as cursor:
        cursor.itersize = 100
        found = cursor.execute(rewritten(connection, query)).fetchall()
    assert found == rows(connection, "SELECT * FROM kept ORDER BY 1")
    assert len(found) == kept > 500


def second_version(connection: psycopg.Connection[Any]) -> None:
    """Store, and do not deploy, a tree trained on less."""
    plan = MODELS[0]
    source = Source(f"{plan.query.strip()} AND f.id % 40 = 0", plan.target, exclude=("day",))
    stored = train(connection, plan.name, source, Options("decision_tree", {"max_depth": 4}), deploy=False)
    assert (stored.version, stored.deployed) == (2, False)


def test_deploy_and_rollback_in_another_session(
    connection: psycopg.Connection[Any], own_flights: Flights
) -> None:
    with own_flights.connect() as other:
        # prepared: the plan of the first version must not stay
        other.prepare_threshold = 0
        statement = rewritten(other, CHECKED)
        first = other.execute(statement).fetchall()
        second_version(connection)
        assert other.execute(statement).fetchall() == first

        with connection.transaction(force_rollback=True):
            connection.execute("SELECT ml.deploy('late_arrival', 2)")
            inside = connection.execute(statement).fetchall()
            assert inside != first
            assert other.execute(statement).fetchall() == first
        assert other.execute(statement).fetchall() == first
        assert connection.execute(statement).fetchall() == first

        connection.execute("SELECT ml.deploy('late_arrival', 2)")
        assert other.execute(statement).fetchall() == inside
        assert predict(other, "SELECT version FROM ml.models WHERE name = 'late_arrival'") == [{"version": 2}]
        connection.execute("SELECT ml.rollback('late_arrival')")
        assert other.execute(statement).fetchall() == first


def test_one_statement_sees_one_version(connection: psycopg.Connection[Any], own_flights: Flights) -> None:
    """In a snapshot that stays, the version stays."""
    second_version(connection)
    with own_flights.connect(autocommit=False) as other:
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        statement = rewritten(other, CHECKED)
        first = other.execute(statement).fetchall()
        connection.execute("SELECT ml.deploy('late_arrival', 2)")
        assert other.execute(statement).fetchall() == first
        other.commit()
        assert other.execute(statement).fetchall() != first


def test_a_dropped_model_is_gone_in_the_next_statement(
    connection: psycopg.Connection[Any], own_flights: Flights
) -> None:
    with own_flights.connect() as other:
        statement = rewritten(other, CHECKED)
        other.execute(statement)
        connection.execute("SELECT ml.drop_model('late_arrival')")
        with pytest.raises(psycopg.errors.UndefinedTable):
            other.execute(statement)
        assert flight_delay(other) is not None


def flight_delay(connection: psycopg.Connection[Any]) -> Any:
    return predict(connection, "SELECT PREDICT(arrival_delay) AS x FROM departures WHERE id = 1000")[0]["x"]
