"""The commands about models, as a user types them, on a real server."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from onnx_models.scoring import Model
from onnx_models.storing import deploy, register
from tests import summing
from tests.fix_server import Database

SETUP = """
CREATE TABLE customers AS
SELECT i AS id, i % 50 AS visits,
    CASE WHEN i % 5 > 0 THEN (ARRAY['red', 'green', 'blue'])[i % 3 + 1] END AS colour,
    date '2020-01-01' + i AS born, (i % 50 + i % 3 * 10) > 35 AS churned
FROM generate_series(1, 600) AS i
"""


@pytest.fixture
def customers(database: Database) -> Database:
    with database.connect() as connection:
        connection.execute(SETUP)
    return database


def pgpredict(database: Database, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgpredict", *words],
        env={**os.environ, "PGPREDICT_DSN": database.dsn, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        input=stdin,
        timeout=300,
        check=False,
    )


def succeed(database: Database, *words: str, stdin: str | None = None) -> str:
    done = pgpredict(database, *words, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def fail(database: Database, *words: str) -> str:
    done = pgpredict(database, *words)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def train(database: Database, *words: str) -> Any:
    common = ("train", "churn", "--target", "churned", "--table", "customers", "--exclude", "id", "--json")
    return json.loads(succeed(database, *common, *words))


def test_train_tells_what_came_of_it(customers: Database) -> None:
    words = ("train", "churn", "--target", "churned", "--table", "customers", "--key", "id")
    text = succeed(customers, *words, "--algorithm", "decision_tree", "--param", "max_depth=4")
    for expected in (
        "churn version 1",
        "binary",
        "accuracy",
        "ROC AUC",
        "agree on",
        "deployed",
        "pgpredict query",
    ):
        assert expected in text, expected
    # what it says to try can be tried as it stands
    (line,) = [line for line in text.splitlines() if line.strip().startswith("pgpredict query")]
    rows = succeed(customers, *shlex.split(line)[1:])
    assert "prediction" in rows or "churn" in rows


def test_show_tells_of_null_and_of_the_sql_form(database: Database) -> None:
    artifact = summing.regression({"a": "integer", "[b]": "integer", "c": "text"})
    signature = Model.load(artifact).signature
    strict = dataclasses.replace(signature, on_missing="error")
    with database.connect() as connection:
        register(connection, "m", signature, artifact, {})
        deploy(connection, "m")
        kept = {"inline": {"made": "up"}, "unused": ["[b]", "c"]}
        register(connection, "m", strict, artifact, kept)
    text, strict_text = succeed(database, "show", "m"), succeed(database, "show", "m", "--version", "2")
    assert "missing features: imputed by the model" in text
    assert "SQL form: none" in text
    assert "no influence" not in text
    assert "missing features: an error" in strict_text
    assert "ON MISSING NULL" in strict_text
    assert "SQL form: certified" in strict_text
    assert "no influence: [b], c;" in strict_text
    shown = json.loads(succeed(database, "show", "m", "--version", "2", "--json"))
    assert (shown["inline"], shown["unused"], shown["signature"]["on_missing"]) == (
        True,
        ["[b]", "c"],
        "error",
    )
    shown = json.loads(succeed(database, "show", "m", "--json"))
    assert (shown["inline"], shown["unused"], shown["signature"]["on_missing"]) == (False, [], "impute")


def test_life_of_a_model(customers: Database, tmp_path: Path) -> None:
    assert "no models yet" in succeed(customers, "models")
    first = train(customers, "--algorithm", "logistic")
    assert (first["version"], first["deployed"], first["task"]) == (1, True, "binary")
    second = train(customers, "--algorithm", "decision_tree", "--no-deploy")
    assert (second["version"], second["deployed"]) == (2, False)
    assert "newest 2" in succeed(customers, "models")
    (listed,) = json.loads(succeed(customers, "models", "--json"))
    assert (listed["name"], listed["version"], listed["newest"]) == ("churn", 1, 2)

    assert "version 2" in succeed(customers, "deploy", "churn")
    shown = json.loads(succeed(customers, "show", "churn", "--json"))
    assert (shown["version"], shown["algorithm"]) == (2, "decision_tree")
    text = succeed(customers, "show", "churn")
    for expected in (
        "colour",
        "date",
        "TABLE customers",
        "versions",
        "largest difference",
        "models.churn",
        "true",
    ):
        assert expected in text, expected
    assert "version 1" in succeed(customers, "rollback", "churn")
    assert "logistic" in succeed(customers, "show", "churn", "--version", "1")

    assert "missing features: imputed by the model; override with ON MISSING" in " ".join(text.split())

    file = tmp_path / "churn.onnx"
    succeed(customers, "export", "churn", str(file), "--version", "2")
    assert Model.load(file.read_bytes()).signature.classes == ("false", "true")
    assert list(tmp_path.iterdir()) == [file]

    assert "aborted" in fail(customers, "drop", "churn").lower()
    assert "is dropped" in succeed(customers, "drop", "churn", stdin="y\n")
    assert json.loads(succeed(customers, "models", "--json")) == []


def test_an_exported_model_comes_back_by_import(customers: Database, tmp_path: Path) -> None:
    train(customers, "--algorithm", "decision_tree")
    file = tmp_path / "churn.onnx"
    succeed(customers, "export", "churn", str(file))
    imported = json.loads(succeed(customers, "import", "copy", str(file), "--json"))
    original = json.loads(succeed(customers, "show", "churn", "--json"))
    assert imported["signature"] == original["signature"]
    # the file brings its SQL form along, which this database certifies for itself
    with customers.connect() as connection:
        forms = connection.execute("SELECT inline FROM ml.versions ORDER BY model, version").fetchall()
    assert len(forms) == 2
    assert forms[0][0] is not None
    assert forms[0] == forms[1]


def test_import_of_a_network(customers: Database, tmp_path: Path) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [0.5, 2.0])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    file = tmp_path / "net.onnx"
    file.write_bytes(model.SerializeToString())
    message = fail(customers, "import", "price", str(file))
    assert "matrix of 2 columns" in message
    assert "--feature" in message
    features = ("--feature", "rooms:integer", "--feature", "area:float8")
    text = succeed(customers, "import", "price", str(file), *features, "--target", "price:numeric")
    assert "price version 1: regression, 2 features" in text
    with customers.connect() as connection:
        query = "SELECT prediction FROM models.price WHERE rooms = 3 AND area = 10.0"
        row = connection.execute(query).fetchone()
        assert row is not None
        assert float(row[0]) == 21.5


def test_predictions_are_those_of_scikit_learn(customers: Database) -> None:
    train(customers, "--algorithm", "decision_tree")
    with customers.connect() as connection:
        row = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE m.prediction = c.churned)"
            " FROM (SELECT * FROM customers WHERE colour IS NOT NULL LIMIT 50) AS c"
            " JOIN models.churn AS m ON m.visits = c.visits AND m.colour = c.colour AND m.born = c.born"
        ).fetchone()
    assert row is not None
    assert row[0] == 50
    assert row[1] >= 48


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "nothing"), "there is no model 'nothing'"),
        (("export", "nothing", "x.onnx"), "nothing"),
        (("deploy", "nothing"), "nothing"),
        (("rollback", "nothing"), "nothing"),
        (("drop", "nothing", "--yes"), "nothing"),
        (("import", "m", __file__), "not an ONNX model"),
        (("train", "m", "--target", "churned"), "either --query or --table"),
        (("train", "m", "--target", "churned", "--table", "nowhere"), '"nowhere" does not exist'),
        (("train", "m", "--target", "nothing", "--table", "customers"), "target column 'nothing'"),
        (("train", "m", "--target", "churned", "--query", "SELEC"), "syntax error"),
        (("train", "m", "--target", "churned", "--query", "@nowhere.sql"), "nowhere.sql"),
        (("train", "m", "--target", "churned", "--table", "customers", "--param", "x"), "is not NAME=VALUE"),
        (
            (
                "train",
                "m",
                "--target",
                "churned",
                "--table",
                "customers",
                "--algorithm",
                "knn",
                "--param",
                "k=3",
            ),
            "knn has no parameter 'k'",
        ),
        (("models", "--dsn", "host=/nowhere"), "cannot connect"),
    ],
)
def test_mistakes_are_answered(customers: Database, words: tuple[str, ...], message: str) -> None:
    assert message in fail(customers, *words)


def test_a_database_without_the_extension(customers: Database) -> None:
    with customers.connect() as connection:
        connection.execute("DROP EXTENSION pgpredict CASCADE")
    assert "has no extension pgpredict" in fail(customers, "models")
    assert "pgpredict install" in fail(customers, "train", "m", "--target", "churned", "--table", "customers")
