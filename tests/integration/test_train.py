"""Training in a real database: reading, registering, deploying, and what is refused."""

from __future__ import annotations

import datetime

import numpy as np
import psycopg
import pytest

from onnx_models import storing
from onnx_models.errors import InvalidParameter, InvalidTrainingData, ParityError
from onnx_models.reading import Source, read, table_query
from onnx_models.scoring import Model
from onnx_models.table import Texts
from onnx_models.train import train
from onnx_models.training import Options, Progress
from tests.fix_server import Database

SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN percent AS integer CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE customers AS
SELECT i AS id,
    CASE WHEN i % 7 > 0 THEN i % 50 END AS visits,
    (i % 13)::numeric(10, 2) / 4 AS spent,
    CASE WHEN i % 5 > 0 THEN (ARRAY['red', 'green', 'blüe', ''])[i % 4 + 1] END AS colour,
    (ARRAY['sad', 'ok', 'happy'])[i % 3 + 1]::mood AS mood,
    (i % 101)::percent AS share,
    'ab'::char(5) AS code, i % 2 = 0 AS flag,
    date '2020-01-01' + i AS born, timestamp '2021-03-04 05:06:07.123456' + i * interval '1 hour' AS seen,
    timestamptz '2021-03-04 05:06:07+02' + i * interval '1 minute' AS logged,
    time '01:02:03.5' + i * interval '1 s' AS at,
    CASE WHEN i % 11 > 0 THEN (i % 50 + i % 13 * 3 + i % 7) > 40 END AS churned
FROM generate_series(1, 2000) AS i;
"""


@pytest.fixture
def customers(database: Database) -> Database:
    with database.connect() as connection:
        connection.execute(SETUP)
    return database


def test_read_gives_every_value_in_its_place(customers: Database) -> None:
    with customers.connect() as connection:
        table = read(connection, Source("SELECT * FROM customers ORDER BY id -- ordered", "churned"))
        rows = connection.execute("SELECT * FROM customers ORDER BY id").fetchall()
        described = connection.execute("SELECT * FROM customers LIMIT 0").description
        names = [column.name for column in described or ()]
    known = [row for row in rows if row[-1] is not None]
    assert table.dropped == len(rows) - len(known) > 0
    by_name = {name: [row[position] for row in known] for position, name in enumerate(names)}
    assert table.columns["visits"] == pytest.approx(
        [np.nan if v is None else v for v in by_name["visits"]], nan_ok=True
    )
    assert list(np.asarray(table.columns["spent"])) == [float(v) for v in by_name["spent"]]
    assert _texts(table.columns["colour"]) == by_name["colour"]
    assert _texts(table.columns["mood"]) == by_name["mood"]
    assert _texts(table.columns["code"]) == ["ab"] * len(known)
    assert list(np.asarray(table.columns["flag"])) == [float(v) for v in by_name["flag"]]
    epoch = datetime.datetime(1970, 1, 1)
    assert list(np.asarray(table.columns["born"])) == [
        (v - epoch.date()).total_seconds() for v in by_name["born"]
    ]
    assert list(np.asarray(table.columns["seen"])) == [(v - epoch).total_seconds() for v in by_name["seen"]]
    assert list(np.asarray(table.columns["logged"])) == [v.timestamp() for v in by_name["logged"]]
    assert list(np.asarray(table.columns["at"])) == [
        (datetime.datetime.combine(epoch.date(), v) - epoch).total_seconds() for v in by_name["at"]
    ]
    assert list(np.asarray(table.target)) == [float(v) for v in by_name["churned"]]
    types = {feature.name: (feature.type, feature.kind, feature.nullable) for feature in table.features}
    assert types["mood"] == ("mood", "text", False)
    assert types["share"] == ("integer", "number", False)
    assert types["code"] == ("character", "text", False)
    assert types["visits"] == ("integer", "number", True)


def _texts(column: object) -> list[str | None]:
    assert isinstance(column, Texts)
    return list(column.values())


def test_read_many_blocks(database: Database) -> None:
    query = (
        "SELECT i AS a, repeat(chr(97 + i % 26), i % 40) AS t, i * 0.5 AS y FROM generate_series(1, 200000) i"
    )
    seen: list[int] = []
    with database.connect() as connection:
        table = read(connection, Source(query, "y"), seen.append)
        numbers = read(connection, Source(f"SELECT a, y FROM ({query}) x", "y"))
    assert list(np.asarray(table.columns["a"])[:3]) == [1.0, 2.0, 3.0]
    assert np.array_equal(np.asarray(table.columns["a"]), np.asarray(numbers.columns["a"]))
    texts = table.columns["t"]
    assert isinstance(texts, Texts)
    assert texts.values()[12_345 - 1] == chr(97 + 12_345 % 26) * (12_345 % 40)
    assert len(seen) > 2
    assert seen[-1] == 200_000


@pytest.mark.parametrize(
    ("select", "error", "message"),
    [
        ("SELECT ARRAY[1] AS a, 1 AS y", InvalidTrainingData, r"column 'a' is of type integer\[\]"),
        ("SELECT interval '1 day' AS a, 1 AS y", InvalidTrainingData, "column 'a' is of type interval"),
        ("SELECT 1 AS a, '{}'::jsonb AS y", InvalidTrainingData, "target 'y' is of type jsonb"),
        ("SELECT 1 AS a, 2 AS z", InvalidParameter, "target column 'y' is not"),
        ("SELECT 1 AS a, 2 AS a, 2 AS y", InvalidTrainingData, "two columns 'a'"),
        ("SELECT 1 + 1, 2 AS y", InvalidTrainingData, "column 1 of the training query has no name"),
        ("SELECT 1 AS prediction, 2 AS y", InvalidTrainingData, "column 'prediction' is named like"),
        ("SELECT 1 AS a, i AS y FROM generate_series(1, 3) i", InvalidTrainingData, "3 rows with a target"),
        ("SELECT i AS a, NULL::int AS y FROM generate_series(1, 30) i", InvalidTrainingData, "0 rows|no row"),
        ("SELECT i AS a, 'x' AS y FROM generate_series(1, 30) i", InvalidTrainingData, "is 'x' in every row"),
        ("SELECT 1 AS a, i AS y FROM generate_series(1, 30) i", InvalidTrainingData, "same value"),
        ("SELECT i AS y FROM generate_series(1, 30) i", InvalidTrainingData, "there is no feature"),
        ("SELECT " + ", ".join(f"1 AS a{n}" for n in range(1401)) + ", 2 AS y", InvalidTrainingData,
         "1401 features are too many"),
        ("SELECT * FROM nowhere", psycopg.errors.UndefinedTable, "nowhere"),
        ("WITH x AS (CREATE TABLE t(a int)) SELECT 1", InvalidTrainingData, "cannot be read: .*CREATE"),
        ("SELEC 1 AS a, 2 AS y", InvalidTrainingData, 'cannot be read: .*"SELEC"'),
        ("SELECT 1 AS a, 2 AS y WHERE", InvalidTrainingData, "cannot be read: .*end of input"),
        ("SELECT 1 AS a, 2 AS y; SELECT 1", InvalidTrainingData, "more than one statement"),
        ("  ; ", InvalidTrainingData, "returns no columns"),
        ("CREATE TABLE t (a int)", InvalidTrainingData, "returns no columns"),
        ("DELETE FROM ml.artifact RETURNING 1 AS a, 2 AS y", InvalidTrainingData, "is no SELECT"),
        ("EXPLAIN SELECT 1", InvalidTrainingData, "is no SELECT"),
        ("SELECT 1e308::numeric * 10 AS a, i AS y FROM generate_series(1, 9) i", InvalidTrainingData,
         "number is out of range: .*…"),
        ("SELECT i * 2000000000 AS a, i AS y FROM generate_series(1, 9) i",
         psycopg.errors.NumericValueOutOfRange, "integer out of range"),
    ],
)  # fmt: skip
def test_errors_name_what_is_wrong(
    database: Database, select: str, error: type[Exception], message: str
) -> None:
    with database.connect() as connection, pytest.raises(error, match=message):
        train(connection, "m", Source(select, "y"))
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM ml.models").fetchone() == (0,)


@pytest.mark.parametrize(
    "end",
    [
        "",
        ";",
        "; ;",
        "-- all",
        "; -- all\n-- of them",
        "WHERE 'a' <> ';--b'",
        "WHERE $$;--a$$ <> ''",
    ],
)
def test_a_query_may_end_as_it_does_in_psql(customers: Database, end: str) -> None:
    with customers.connect() as connection:
        table = read(connection, Source(f"SELECT id, churned FROM customers {end}", "churned"))
    assert table.rows > 100


def test_train_registers_and_deploys(customers: Database) -> None:
    steps: list[Progress] = []
    with customers.connect() as connection:
        source = Source(table_query(connection, "customers"), "churned", exclude=("id",))
        options = Options(algorithm="hist_gradient_boosting")
        stored = train(connection, "churn", source, options, report=steps.append)
        assert (stored.version, stored.deployed) == (1, True)
        assert stored.trained.metrics["accuracy"] > stored.trained.metrics["baseline"]["accuracy"]
        again = train(connection, "churn", source, Options(algorithm="logistic"), deploy=False)
        assert (again.version, again.deployed) == (2, False)
        query = "SELECT version, task, algorithm, signature, training FROM ml.models"
        row = connection.execute(query).fetchone()
        assert row is not None
        assert row[:3] == (1, "binary", "hist_gradient_boosting")
        assert row[3] == stored.trained.signature.to_json()
        assert row[4]["query"] == source.query
        artifact = storing.export(connection, "churn")
        assert artifact == stored.trained.artifact
        assert storing.deploy(connection, "churn") == 2
        assert storing.rollback(connection, "churn") == 1
    assert {"reading", "fitting", "converting", "verifying", "storing"} <= {step.step for step in steps}
    assert Model.load(artifact).signature.classes == ("false", "true")


def test_train_on_the_newest_rows_held_out(customers: Database) -> None:
    with customers.connect() as connection:
        source = Source("SELECT visits, spent, seen, churned FROM customers", "churned", time="seen")
        stored = train(connection, "churn", source, Options(algorithm="decision_tree"))
        assert stored.trained.metrics["rows"] > 300


def test_a_connection_with_transactions_serves_as_well(customers: Database) -> None:
    with customers.connect(autocommit=False) as connection:
        source = Source(table_query(connection, "customers"), "spent", exclude=("id",))
        assert train(connection, "spending", source, Options(algorithm="ridge")).version == 1
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_training_query_cannot_write(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("CREATE TABLE log (a int)")
        connection.execute(
            "CREATE FUNCTION note() RETURNS int LANGUAGE sql AS 'INSERT INTO log VALUES (1) RETURNING a'"
        )
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            read(connection, Source("SELECT note() AS a, 1 AS y", "y"))


def test_a_role_without_the_right_learns_it_before_training(database: Database) -> None:
    role = database.role()
    refused = pytest.raises(InvalidParameter, match="may not make models")
    with database.connect(user=role) as connection, refused:
        train(connection, "m", Source("SELECT 1 AS a, 2 AS y", "y"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(algorithm="decision_tree", parameters={"max_depth": "-3"}), "max_depth = '-3'"),
        (Options(parameters={"max_depth": "3"}), "'max_depth' without an algorithm"),
        (Options(test_size=1.0), "test size 1.0"),
    ],
)
def test_wrong_options_are_told_before_reading(database: Database, options: Options, message: str) -> None:
    steps: list[Progress] = []
    source = Source("SELECT i AS a, i AS y FROM generate_series(1, 100) AS i", "y")
    with database.connect() as connection, pytest.raises(InvalidParameter, match=message):
        train(connection, "m", source, options, report=steps.append)
    assert steps == []


def test_nothing_is_stored_when_parity_fails(customers: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_models.parity.BOUND", -1.0)
    with customers.connect() as connection:
        source = Source(table_query(connection, "customers"), "churned")
        with pytest.raises(ParityError, match="differ by"):
            train(connection, "churn", source, Options(algorithm="logistic"))
        assert connection.execute("SELECT count(*) FROM ml.models").fetchone() == (0,)


@pytest.mark.parametrize("name", ["", "x" * 57, "m__batch"])
def test_names_that_no_model_can_have(database: Database, name: str) -> None:
    with database.connect() as connection, pytest.raises(InvalidParameter, match="no name for a model"):
        train(connection, name, Source("SELECT 1 AS a, 2 AS y", "y"))


def test_odd_names_work(database: Database) -> None:
    query = (
        'SELECT i % 10 AS "a ""b", i % 3 AS "Ünï {x}", (i % 10 > 4)::text AS "the target"'
        " FROM generate_series(1, 200) i"
    )
    with database.connect() as connection:
        source = Source(query, "the target")
        stored = train(connection, 'odd "name"', source, Options(algorithm="decision_tree"))
        assert stored.trained.metrics["accuracy"] == 1.0
