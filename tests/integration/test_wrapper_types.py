"""Every accepted column type, as a constant, in a join and as JSON: the value that the model sees."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
import pytest

from tests import summing
from tests.fix_server import Database

#: constant as a user writes it, and the number or text that the model sees
VALUES: dict[str, list[tuple[str, Any]]] = {
    "i2": [("-32768", -32768.0), ("7", 7.0)],
    "i4": [("2147483647", 2147483647.0)],
    "i8": [("9007199254740991", 9007199254740991.0)],
    "f4": [("0.1", 0.10000000149011612), ("16777217", 16777216.0)],
    "f8": [("0.1", 0.1), ("-1e300", -1e300)],
    "num": [("12345.678", 12345.678)],
    "flag": [("true", 1.0), ("false", 0.0)],
    "txt": [("UA", "UA"), ('it\'s "é" \\ \n', "")],
    "vc": [("UA", "UA")],
    "ch": [("UA", "UA")],
    "uid": [("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "")],
    "mood": [("UA", "UA"), ("AA", "AA")],
    "day": [("2013-01-31", 1359590400.0), ("1969-12-31", -86400.0), ("0044-03-15", -60772291200.0)],
    "ts": [("2013-01-31 17:59:00", 1359655140.0), ("2013-01-31 17:59:00.123457", 1359655140.123457)],
    "tz": [("2013-01-31 17:59:00+00", 1359655140.0), ("2013-01-31 17:59:00.5+05:30", 1359635340.5)],
    "clock": [("17:59:00.25", 64740.25), ("24:00:00", 86400.0)],
}
CASES = [(name, value, seen) for name, cases in VALUES.items() for value, seen in cases]


@pytest.fixture
def connection(database: Database) -> Any:
    with database.connect() as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('UA', 'AA')")
        yield connection


def sum_of(seen: Any) -> float:
    return summing.expected([seen])


@pytest.mark.parametrize("name", list(VALUES))
def test_values(connection: psycopg.Connection, name: str) -> None:
    kind = summing.TYPES[name]
    summing.store(connection, "one", summing.regression({name: kind}))
    column_type = "character(6)" if name == "ch" else kind
    connection.execute(f"CREATE TABLE c ({name} {column_type})")
    for value, seen in VALUES[name]:
        connection.execute("TRUNCATE c")
        connection.execute(f"INSERT INTO c VALUES (%s::{column_type})", (value,))
        connection.execute("ANALYZE c")
        condition = f"{name} = %s" if name != "flag" else f"{name} = ANY (ARRAY[%s]::boolean[])"
        literal = psycopg.ClientCursor(connection)
        constant = literal.execute(
            f"SELECT prediction FROM models.one WHERE {condition}", (value,)
        ).fetchall()
        assert constant == [(sum_of(seen),)], f"constant {value!r}"
        carrier = carrier_of(name)
        joined = f"""
            SELECT m.prediction, m.{name} FROM (SELECT {carrier} AS v FROM c OFFSET 0) c
            JOIN models.one m ON m.{name} = c.v
        """
        assert connection.execute(joined).fetchall()[0][0] == sum_of(seen), f"join {value!r}"
        document = """
            SELECT m.prediction FROM (SELECT ml.features(c) AS features FROM c OFFSET 0) c
            JOIN models.one m USING (features)
        """
        assert connection.execute(document).fetchall() == [(sum_of(seen),)], f"features {value!r}"


def carrier_of(name: str) -> str:
    """How a column of the type is brought to the type of the model table's column."""
    if name in ("ch", "uid", "mood", "ts", "tz", "clock"):
        return f"{name}::text"
    return f"{name}::float8" if name == "num" else name


@pytest.mark.parametrize("name", list(VALUES))
def test_null(connection: psycopg.Connection, name: str) -> None:
    kind = summing.TYPES[name]
    summing.store(connection, "one", summing.regression({name: kind}))
    seen = 500.0 if summing.features_of({name: kind})[0].kind == "text" else 1000.0
    query = f"SELECT prediction FROM models.one WHERE {name} IS NULL"
    assert connection.execute(query).fetchall() == [(seen,)]
    query = f"""SELECT prediction FROM models.one WHERE features = '{{"{name}": null}}'"""
    assert connection.execute(query).fetchall() == [(seen,)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ts", "yesterday"),
        ("ts", "2013-02-30 00:00:00"),
        ("ts", "2013-01-31 25:00:00"),
        ("ts", "2013-01-31 00:00:00+00"),
        ("ts", "01/31/2013 00:00"),
        ("tz", "2013-01-31 00:00:00"),
        ("clock", "25:00:00"),
        ("clock", "noon"),
    ],
)
def test_texts_that_are_no_times(connection: psycopg.Connection, name: str, value: str) -> None:
    summing.store(connection, "one", summing.regression({name: summing.TYPES[name]}))
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"feature '{name}' is '.*' where a time"):
        connection.execute(f"SELECT prediction FROM models.one WHERE {name} = '{value}'")
    assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("value", ["infinity", "-infinity", "4713-01-01 BC", "12013-01-01", "5874897-12-31"])
def test_dates_that_python_has_not(connection: psycopg.Connection, value: str) -> None:
    """Multicorn cannot pass these dates; the session survives, and nothing is predicted wrongly."""
    summing.store(connection, "one", summing.regression({"day": "date"}))
    process = connection.info.backend_pid
    found: list[Any] = []
    with contextlib.suppress(psycopg.Error):
        found = connection.execute(f"SELECT prediction FROM models.one WHERE day = '{value}'").fetchall()
    assert found == []
    assert connection.execute("SELECT pg_backend_pid()").fetchone() == (process,)
    query = "SELECT prediction FROM models.one WHERE day = '1970-01-02'"
    assert connection.execute(query).fetchall() == [(86400.0,)]


def test_date_compared_with_timestamps(connection: psycopg.Connection) -> None:
    summing.store(connection, "one", summing.regression({"day": "date"}))
    query = "SELECT prediction FROM models.one WHERE day = '1970-01-02 {}'::timestamp"
    assert connection.execute(query.format("00:00")).fetchall() == [(86400.0,)]
    assert connection.execute(query.format("12:00")).fetchall() == []


def test_bare_boolean(connection: psycopg.Connection) -> None:
    """PostgreSQL reduces ``flag = true`` to ``flag``, which Multicorn 1.4 does not pass on."""
    summing.store(connection, "one", summing.regression({"flag": "boolean"}))
    found: Any
    for condition, seen in (("flag = true", 1.0), ("flag", 1.0), ("NOT flag", 0.0), ("flag IS FALSE", 0.0)):
        try:
            found = connection.execute(f"SELECT prediction FROM models.one WHERE {condition}").fetchall()
        except psycopg.errors.InvalidParameterValue as error:
            found = error.diag.message_hint
        assert found == [(seen,)] or "= ANY" in found


def test_names(connection: psycopg.Connection) -> None:
    names = ["UPPER", "with space", 'quo"te', "apo'strophe", "ünïcode☃", "select", "a" * 63, "per%cent", "$1"]
    summing.store(connection, "Näme of 'a\" model", summing.regression(dict.fromkeys(names, "integer")))
    where = " AND ".join('"' + name.replace('"', '""') + '" = 2' for name in names)
    found = connection.cursor().execute(f'SELECT prediction FROM models."Näme of \'a"" model" WHERE {where}')
    assert found.fetchall() == [(2.0 * len(names),)]


def test_class_columns(connection: psycopg.Connection) -> None:
    classes = ("x", "X", "with space", "ü" * 40, "y'\"")
    summing.store(connection, "m", summing.classifier({"probability_x": "integer"}, classes))
    found = connection.execute("SELECT * FROM models.m WHERE probability_x = 5000")
    assert found.description is not None
    assert [column.name for column in found.description] == [
        "probability_x",
        "features",
        "prediction",
        "probability",
        "probability_X",
        "probability_with space",
        "probability_y'\"",
    ]
    assert found.fetchall() == [(5000, None, "X", 0.75, 0.75, 0.0, 0.0)]


def test_many_classes_have_no_columns(connection: psycopg.Connection) -> None:
    classes = tuple(f"c{number}" for number in range(101))
    summing.store(connection, "m", summing.classifier({"a": "integer"}, classes))
    assert connection.execute("SELECT * FROM models.m WHERE a = 5000").fetchall() == [
        (5000, None, "c1", 0.75)
    ]
