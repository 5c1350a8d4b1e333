"""What PREDICT is rewritten to: missing features, likeliest classes, EXPLAIN with a report."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests import summing
from tests.fix_server import Database


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


def one(connection: psycopg.Connection, query: str, parameters: Any = None) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def fail(connection: psycopg.Connection, query: str, parameters: Any = None) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(query.encode(), parameters)
    return caught.value


MISSING = "SELECT ml.missing(%s, %s::text[], %s::boolean[])"


def test_missing(connection: psycopg.Connection) -> None:
    assert one(connection, MISSING, ("m", ["a", "b"], [False, False])) is False
    assert one(connection, MISSING, ("m", ["a", "b"], [False, None])) is False
    assert one(connection, MISSING, ("m", [], [])) is False
    assert one(connection, MISSING, ("m", None, None)) is False
    error = fail(connection, MISSING, ("m", ["a", "b", "it's"], [False, False, True]))
    assert (error.sqlstate, error.diag.message_primary) == ("22004", "feature 'it''s' of model 'm' is NULL")
    assert "ON MISSING NULL" in str(error.diag.message_hint)
    assert "ON MISSING IMPUTE" in str(error.diag.message_hint)
    error = fail(connection, MISSING, ("m", ["a", "b", "c"], [True, False, True]))
    assert error.diag.message_primary == "features 'a', 'c' of model 'm' are NULL"


def test_missing_is_about_the_rows_that_are_looked_at(connection: psycopg.Connection) -> None:
    query = (
        "SELECT count(*) FROM generate_series(1, 3) AS a"
        " WHERE a < 3 AND NOT ml.missing('m', '{a}', ARRAY[a > %s])"
    )
    assert one(connection, query, (2,)) == 2
    assert fail(connection, query, (1,)).sqlstate == "22004"


def test_operators_in_the_way_are_not_used(connection: psycopg.Connection) -> None:
    """These functions have the caller's search_path, which may hold anything."""
    connection.execute("CREATE SCHEMA trap")
    for left, right in (("boolean", "boolean"), ("text", "text"), ("bigint", "integer")):
        connection.execute(
            f"CREATE FUNCTION trap.spy({left}, {right}) RETURNS boolean LANGUAGE plpgsql"
            " AS 'BEGIN RAISE EXCEPTION ''spied''; END'".encode()
        )
        for operator in ("=", "~*", ">"):
            connection.execute(
                f"CREATE OPERATOR trap.{operator} (LEFTARG = {left}, RIGHTARG = {right},"
                " FUNCTION = trap.spy)".encode()
            )
    connection.execute("SET search_path = trap, pg_catalog")
    assert one(connection, MISSING, ("m", ["a"], [False])) is False
    assert fail(connection, MISSING, ("m", ["a"], [True])).sqlstate == "22004"
    assert one(connection, "SELECT ml.class_json('1', 'integer')") == 1
    assert one(connection, "SELECT * FROM ml.explain('{x}', 'EXPLAIN SELECT 1')") == "x"
    assert one(connection, "SELECT ml.estimate('SELECT 1')") == 1
    assert one(connection, "SELECT ml.likeliest('{1}', '{a}', 1, 0)") == [
        {"prediction": "a", "probability": 1}
    ]


LIKELIEST = "SELECT ml.likeliest(%s::float8[], %s::text[], %s::integer, %s::float8, %s)"


@pytest.mark.parametrize(
    ("probabilities", "top", "cutoff", "expected"),
    [
        ([0.1, 0.7, 0.2], None, None, [("b", 0.7), ("c", 0.2), ("a", 0.1)]),
        ([0.1, 0.7, 0.2], 2, None, [("b", 0.7), ("c", 0.2)]),
        ([0.1, 0.7, 0.2], 9, 0.2, [("b", 0.7), ("c", 0.2)]),
        ([0.1, 0.7, 0.2], 1, 0.8, []),
        ([0.1, 0.7, 0.2], 0, None, []),
        ([0.4, 0.2, 0.4], 2, None, [("a", 0.4), ("c", 0.4)]),
        ([0.25, 0.25, 0.25], 2, 0, [("a", 0.25), ("b", 0.25)]),
        ([1e-300, 0.1, 0.9], 3, 0, [("c", 0.9), ("b", 0.1), ("a", 1e-300)]),
        (None, 2, None, None),
    ],
)
def test_likeliest(
    connection: psycopg.Connection, probabilities: Any, top: Any, cutoff: Any, expected: Any
) -> None:
    found = one(connection, LIKELIEST, (probabilities, ["a", "b", "c"], top, cutoff, "text"))
    wanted = expected and [{"prediction": label, "probability": value} for label, value in expected]
    assert found == (expected if expected is None else wanted)


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        ("smallint", ["1", "-2"]),
        ("bigint", ["9007199254740993", "0"]),
        ("numeric", ["1.50", "1e3"]),
        ("double precision", ["0.1", "Infinity"]),
        ("boolean", ["false", "true"]),
        ("text", ['a "b" \\', "☃"]),
        ("uuid", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
        ("date", ["2013-01-31", "2013-02-01"]),
        ("timestamp without time zone", ["2013-01-31 17:59:00", "2013-01-31 17:59:00.25"]),
        ("timestamp with time zone", ["2013-01-31 17:59:00+00", "2013-01-31 17:59:00+02"]),
        ("time without time zone", ["17:59:00", "00:00:00"]),
    ],
)
def test_classes_are_what_predictions_are(
    connection: psycopg.Connection, target: str, labels: list[str]
) -> None:
    connection.execute("SET datestyle = 'German'; SET timezone = 'Asia/Kolkata'")
    for label in labels:
        row = connection.execute(
            f"SELECT ml.class_json(%s, %s)::text, to_jsonb(%s::{target})::text".encode(),
            (label, target, label),
        ).fetchone()
        assert row is not None
        assert row[0] == row[1]
    assert one(connection, "SELECT ml.class_json(NULL, 'integer')") is None


def test_likeliest_of_each_row(connection: psycopg.Connection) -> None:
    """The same as row by row, for the matrix that a batch table returns: class after class."""
    generator = random.Random(3)
    for rows, classes in ((0, 2), (1, 1), (1, 3), (7, 2), (50, 11)):
        matrix = [[generator.choice((0.0, 0.25, 0.5, 1.0)) for _ in range(classes)] for _ in range(rows)]
        flat = [matrix[row][column] for column in range(classes) for row in range(rows)]
        labels = [str(number) for number in range(classes)]
        for top, cutoff in ((None, None), (2, None), (3, 0.5)):
            query = (
                "SELECT ml.likeliest_each(ml.raw(%s::float8[]), %s::text[], %s::integer, %s::float8,"
                " 'integer')"
            )
            found = one(connection, query, (flat, labels, top, cutoff))
            assert found == [
                one(connection, LIKELIEST, (row, labels, top, cutoff, "integer")) for row in matrix
            ]


def test_likeliest_refuses_what_does_not_fit(connection: psycopg.Connection) -> None:
    each = "SELECT ml.likeliest_each(%s, %s::text[], 1, 0)"
    three = struct.pack("=iiIii3d", 1, 0, 701, 3, 1, 0.1, 0.2, 0.7)
    for value, classes, state in (
        (three, ["a", "b"], "22P03"),
        (three[:-1], ["a", "b", "c"], "22P03"),
        (b"nonsense", ["a"], "22P03"),
        (three, [], "22023"),
        (three, None, "22023"),
    ):
        assert fail(connection, each, (value, classes)).sqlstate == state
    assert one(connection, each, (None, ["a"])) is None
    assert fail(connection, LIKELIEST, ([1.0], ["a"], -1, 0, "text")).sqlstate == "2201W"
    assert fail(connection, LIKELIEST, ([0.5, 0.5], ["a"], 1, 0, "text")).sqlstate == "22P03"
    assert fail(connection, LIKELIEST, ([], [], 1, 0, "text")).sqlstate == "22023"


def test_likeliest_of_a_model(connection: psycopg.Connection) -> None:
    classes = ("UA", "it's", 'a "b"\\')
    summing.store(connection, "m", summing.classifier({"a": "integer"}, classes, threshold=2.0))
    batch = """(SELECT concat('{"v":1,"rows":3,"numbers":["a"],"texts":[]}', E'\\n',
        encode(ml.raw(ARRAY[[1], [3], [NULL]]::float8[]), 'base64')) AS batch OFFSET 0) AS b"""
    query = f"SELECT ml.likeliest_each(r.probabilities, r.classes, 2, 0.1, 'text') FROM {batch}"
    for join in ("models.m__batch AS r ON", "models.m__version AS r ON r.version = 1 AND"):
        found = one(connection, f"{query} JOIN {join} r.batch = b.batch")
        assert [[(item["prediction"], item["probability"]) for item in row] for row in found] == [
            [("UA", 0.75), ("it's", 0.25)],
            [("it's", 0.75), ("UA", 0.25)],
            [("it's", 0.75), ("UA", 0.25)],
        ]


def test_explain(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE t AS SELECT i AS a FROM generate_series(1, 3) AS i")
    with connection.cursor() as cursor:
        query = b"SELECT * FROM ml.explain(%s, %s)"
        cursor.execute(query, (["one", "two"], "EXPLAIN (COSTS OFF) SELECT * FROM t WHERE a > 1"))
        assert [column.name for column in cursor.description or ()] == ["QUERY PLAN"]
        assert [row[0] for row in cursor.fetchall()] == ["one", "two", "Seq Scan on t", "  Filter: (a > 1)"]
        cursor.execute(query, ([], "\n explain analyze DELETE FROM t WHERE a = 1"))
        assert "actual" in cursor.fetchall()[0][0]
        cursor.execute(query, (None, "EXPLAIN (FORMAT XML) SELECT 1"))
        assert cursor.fetchall()[0][0].startswith("<explain")
        cursor.execute(query, ([], "EXPLAIN (FORMAT YAML) SELECT 1"))
        assert "Plan:" in cursor.fetchall()[0][0]
    assert one(connection, "SELECT count(*) FROM t") == 2


def test_explain_json(connection: psycopg.Connection) -> None:
    report = [{"model": "m", "why": 'it\'s \\1 "so" {'}]
    for statement in ("SELECT 1", "SELECT * FROM (VALUES ('{')) AS v (x)"):
        plain = one(connection, f"EXPLAIN (FORMAT JSON) {statement}")
        with connection.cursor() as cursor:
            cursor.execute(
                b"SELECT * FROM ml.explain_json(%s::jsonb, %s)",
                (json.dumps(report), f"EXPLAIN (FORMAT JSON) {statement}"),
            )
            assert [column.name for column in cursor.description or ()] == ["QUERY PLAN"]
            ((found,),) = cursor.fetchall()
        assert found == [{"Predictions": report, **plain[0]}]
        assert list(found[0]) == ["Predictions", "Plan"]


@pytest.mark.parametrize("function", ["ml.explain('{}', %s)", "ml.explain_json('[]', %s)"])
def test_explain_explains_only(connection: psycopg.Connection, function: str) -> None:
    connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    query = f"SELECT * FROM {function}"
    for statement in ("DELETE FROM t", "SELECT 1", "explainer", "", None):
        assert fail(connection, query, (statement,)).sqlstate == "22023"
    assert fail(connection, query, ("EXPLAIN SELECT 1; DELETE FROM t",)).sqlstate == "42P11"
    assert fail(connection, query, ("EXPLAIN SELECT * FROM nowhere",)).sqlstate == "42P01"
    assert one(connection, "SELECT count(*) FROM t") == 1


def test_explain_has_the_callers_rights_and_names(database: Database) -> None:
    stranger = database.role("stranger")
    with database.connect() as connection:
        connection.execute("CREATE TABLE secret (a integer)")
        connection.execute("CREATE SCHEMA own")
        connection.execute("CREATE TABLE own.mine (a integer)")
        for statement in ("GRANT USAGE ON SCHEMA own TO {}", "GRANT SELECT ON own.mine TO {}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(stranger)))
    with database.connect(user=stranger) as connection:
        connection.execute("SET search_path = own")
        query = "SELECT * FROM ml.explain('{}', 'EXPLAIN (COSTS OFF) SELECT * FROM mine')"
        assert one(connection, query) == "Seq Scan on mine"
        assert fail(connection, query.replace("mine", "public.secret")).sqlstate == "42501"
        assert one(connection, "SELECT ml.estimate('SELECT * FROM mine')") > 0
        assert one(connection, "SELECT ml.estimate('SELECT * FROM public.secret')") is None
