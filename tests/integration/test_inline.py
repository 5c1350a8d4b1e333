"""Models as SQL in a real database: certificates, what they catch, and hostile settings."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import get_args

import numpy as np
import psycopg
import pytest
from psycopg import sql

from onnx_models import storing
from onnx_models.artifact import parse
from onnx_models.families import ALGORITHMS
from onnx_models.inline import InlineForm, Wanted, bounded, condition, regions, threshold
from onnx_models.inline.building import FORM_KEY
from onnx_models.inline.certificate import certify
from onnx_models.inline.leaves import mapped
from onnx_models.inline.making import form_of, make, make_imported
from onnx_models.inline.nodes import Leaf, Linear, Node, Trees
from onnx_models.inline.raw import NoForm
from onnx_models.inline.regions import Comparison
from onnx_models.reading import Source
from onnx_models.scoring import Model
from onnx_models.signature import Feature
from onnx_models.table import TrainingTable
from onnx_models.train import train
from onnx_models.training import Options, Trained, train_table
from tests.fix_models import Task, mixed_table
from tests.fix_server import Database

SMALL = {"n_estimators": 5, "max_iter": 5, "max_leaf_nodes": 6}
#: an operator of the same name in a schema before pg_catalog
EVIL = """
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.f(float8, float8) RETURNS float8 LANGUAGE sql AS 'SELECT 666::float8';
    CREATE FUNCTION evil.b(float8, float8) RETURNS boolean LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION evil.t(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE FUNCTION evil.exp(float8) RETURNS float8 LANGUAGE sql AS 'SELECT 666::float8';
    CREATE FUNCTION evil.floor(float8) RETURNS float8 LANGUAGE sql AS 'SELECT 666::float8';
    CREATE FUNCTION evil.abs(float8) RETURNS float8 LANGUAGE sql AS 'SELECT 666::float8';
    CREATE DOMAIN evil.text AS pg_catalog.varchar(1);
    CREATE DOMAIN evil.float8 AS pg_catalog.int4;
"""


def fitted(task: Task, algorithm: str) -> Trained:
    offered = {name: SMALL[name] for name in SMALL if name in ALGORITHMS[algorithm].parameters}
    if algorithm in ("logistic", "lasso", "elastic_net"):
        offered = {}
    return train_table(mixed_table(task), Options(algorithm=algorithm, parameters=offered))


def able(task: Task) -> list[str]:
    return [
        name
        for name, algorithm in ALGORITHMS.items()
        if algorithm.raw and (algorithm.regressor if task == "regression" else algorithm.classifier)
    ]


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_every_family_is_certified(database: Database, task: Task) -> None:
    """Numbers, booleans, dates, times, texts and NULL, with hostile operators in front of pg_catalog."""
    with database.connect() as connection:
        connection.execute(EVIL)
        for name, returns, kind in [
            *((operator, "f", "float8") for operator in "+-*/"),
            *((operator, "b", "float8") for operator in ("<", "<=", ">", ">=", "=")),
            *((operator, "t", "text") for operator in ("<", "<=", ">", ">=", "=")),
        ]:
            connection.execute(
                f"CREATE OPERATOR evil.{name} (LEFTARG = pg_catalog.{kind}, RIGHTARG = pg_catalog.{kind}, "
                f"FUNCTION = evil.{returns})"
            )
        connection.execute("SET search_path = evil, pg_catalog")
        assert connection.execute("SELECT 1::pg_catalog.float8 + 1::pg_catalog.float8").fetchone() == (666.0,)
        for algorithm in able(task):
            made = make(connection, fitted(task, algorithm))
            assert made.text.startswith("certified on "), f"{algorithm}: {made.text}"
            assert made.inline is not None
            assert InlineForm.from_json(made.inline).to_json() == made.inline
            assert {"id", "constant", "nothing", "no text"} <= set(made.unused)


def moved(node: Node) -> Iterator[Node]:
    """Return trees with one border moved by a bit, one side of missing values changed, or another leaf."""
    if isinstance(node, Leaf):
        yield Leaf(tuple(value + 1e-6 for value in node.values))
        return
    if math.isfinite(node.at):
        yield dataclasses.replace(node, at=math.nextafter(node.at, math.inf))
        yield dataclasses.replace(node, at=math.nextafter(node.at, -math.inf))
        yield dataclasses.replace(node, missing_low=not node.missing_low)
    for low in moved(node.low):
        yield dataclasses.replace(node, low=low)
    for high in moved(node.high):
        yield dataclasses.replace(node, high=high)


def plain_table() -> TrainingTable:
    """Return a table of three doubles, whose borders are any double."""
    generator = np.random.default_rng(5)
    columns = {
        name: generator.normal(size=400) * scale for name, scale in (("a", 1.0), ("b", 1e3), ("c", 1e-3))
    }
    target = columns["a"] * 2.0 + np.where(columns["b"] > 100.0, 3.0, 0.0) + np.abs(columns["c"]) * 500.0
    features = tuple(Feature(name, "double precision", "number") for name in columns)
    return TrainingTable(features, columns, target, Feature("y", "double precision", "number"))


@pytest.mark.parametrize("algorithm", ["decision_tree", "hist_gradient_boosting"])
def test_a_bit_is_found_out(database: Database, algorithm: str) -> None:
    """No certificate for a form that differs in a single border by a single bit, or in a leaf."""
    options = {"max_leaf_nodes": 8} | ({"max_iter": 2} if algorithm != "decision_tree" else {})
    trained = train_table(plain_table(), Options(algorithm=algorithm, parameters=options))
    form, model = form_of(trained), Model.load(trained.artifact)
    assert isinstance(form.body, Trees)
    with database.connect() as connection:
        certify(connection, form, model, trained.sample)
        tried = 0
        for number, tree in enumerate(form.body.trees):
            for other in moved(tree):
                trees = (*form.body.trees[:number], other, *form.body.trees[number + 1 :])
                wrong = dataclasses.replace(form, body=dataclasses.replace(form.body, trees=trees))
                if bounded(wrong, {}) == form:
                    # no row with a missing value comes there
                    continue
                with pytest.raises(NoForm, match="differs from ONNX Runtime"):
                    certify(connection, wrong, model, trained.sample)
                tried += 1
    assert tried > 25


def test_another_weight_is_found_out(database: Database) -> None:
    trained = train_table(plain_table(), Options(algorithm="ridge"))
    form, model = form_of(trained), Model.load(trained.artifact)
    assert isinstance(form.body, Linear)
    with database.connect() as connection:
        certify(connection, form, model, trained.sample)
        for number, term in enumerate(form.body.terms):
            for change in (
                {"weights": (term.weights[0] * (1.0 + 1e-6),)},
                {"missing": (term.missing[0] + 1e-3,)},
                {"high": term.high * 1.001},
                {"low": term.low * 1.001},
            ):
                terms = list(form.body.terms)
                terms[number] = dataclasses.replace(term, **change)
                wrong = dataclasses.replace(form, body=dataclasses.replace(form.body, terms=tuple(terms)))
                with pytest.raises(NoForm):
                    certify(connection, wrong, model, trained.sample)


def test_large_ensembles_have_none(database: Database) -> None:
    trained = train_table(mixed_table("binary"), Options(algorithm="random_forest"))
    with database.connect() as connection:
        made = make(connection, trained)
    assert made.inline is None
    assert "are written out at the most" in made.text
    # what the structure tells of the features is known all the same
    assert {"id", "constant", "nothing", "no text"} <= set(made.unused)


def test_others_have_none(database: Database) -> None:
    with database.connect() as connection:
        made = make(connection, train_table(mixed_table("binary"), Options(algorithm="naive_bayes")))
    assert made.inline is None
    assert made.text == "no: naive_bayes is not written out as SQL"
    assert set(made.unused) == {"id", "constant", "nothing", "no text"}


def test_it_is_stored_with_the_version(database: Database) -> None:
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE people AS SELECT i AS id, (i * 7 % 80)::integer AS age, 5 AS same,"
            " (ARRAY['Bonn', 'Ulm', '50%', NULL])[1 + i % 4] AS city,"
            " i * 7 % 80 > 40 OR i % 4 = 0 AS late FROM generate_series(1, 500) AS i"
        )
        steps: list[str] = []
        stored = train(
            connection,
            "late",
            Source("TABLE people", "late", exclude=("id",)),
            Options(algorithm="decision_tree"),
            report=lambda progress: steps.append(progress.step),
        )
        assert "inline" in steps
        assert stored.inline.startswith("certified on")
        row = connection.execute(
            "SELECT inline, unused, parity ->> 'inline' FROM ml.versions WHERE model = 'late'"
        ).fetchone()
        assert row is not None
        form = InlineForm.from_json(row[0])
        assert form.features == ("age", "city")
        assert row[1] == ["same"]
        assert row[2] == stored.inline
        # beside the model table itself
        inputs = {"age": "p.age::double precision", "city": "p.city"}
        rendered = form.render(inputs, [Wanted("label"), Wanted("probability")], "s")
        stages = "".join(f" CROSS JOIN LATERAL {stage.sql}" for stage in rendered.stages)
        rows = connection.execute(
            f"SELECT m.prediction::text, m.probability, {', '.join(rendered.outputs)}"
            f" FROM people AS p JOIN models.late AS m USING (age, same, city){stages}"
        ).fetchall()
        assert len(rows) == 375
        assert all(row[:2] == row[2:] for row in rows)


def test_conditions_on_predictions_are_conditions_on_features(database: Database) -> None:
    """Boxes and thresholds as SQL find the very rows that the form's own SQL finds."""
    tree = train_table(plain_table(), Options(algorithm="decision_tree", parameters={"max_leaf_nodes": 12}))
    sum_ = train_table(plain_table(), Options(algorithm="ridge"))
    with database.connect() as connection:
        connection.execute("CREATE TABLE t (a float8, b float8, c float8)")
        values = "NULL::float8, 'NaN', 'inf', '-inf', 0, -1, 1, 1e308, 1000, -700, 0.001"
        connection.execute(
            f"INSERT INTO t SELECT * FROM unnest(ARRAY[{values}]) AS a, unnest(ARRAY[{values}]) AS b,"
            f" unnest(ARRAY[{values}]) AS c"
        )
        connection.execute(
            "INSERT INTO t SELECT random() * 6 - 3, random() * 2000 - 1000, random() / 100"
            " FROM generate_series(1, 2000)"
        )
        form = form_of(tree)
        constant = float(np.median(tree.fitted.predict(tree.sample).value))
        for comparison in get_args(Comparison):
            boxes = regions(form, Wanted("value"), comparison, constant)
            assert boxes is not None
            assert boxes
            inputs = {item.name: item for item in form.inputs}
            alternatives = [
                " AND ".join(condition(bounds, inputs[name], f"t.{name}") for name, bounds in box.items())
                for box in boxes
            ]
            count_both(
                connection,
                form,
                f"{{}} {comparison} {constant!r}::float8",
                " OR ".join(f"({a})" for a in alternatives),
            )
        form = form_of(sum_)
        comparisons: tuple[Comparison, ...] = ("<", "<=", ">", ">=")
        for comparison in comparisons:
            for fixed in (0.5, None):
                bounds = threshold(form, comparison, constant, {"b": fixed, "c": 0.0})
                assert bounds is not None
                count_both(
                    connection,
                    form,
                    f"{{}} {comparison} {constant!r}::float8",
                    condition(bounds, form.inputs[0], "t.a"),
                    {
                        "a": "t.a",
                        "b": "NULL::float8" if fixed is None else f"{fixed}::float8",
                        "c": "0.0::float8",
                    },
                )


def count_both(
    connection: psycopg.Connection,
    form: InlineForm,
    predicted: str,
    derived: str,
    inputs: dict[str, str] | None = None,
) -> None:
    """Compare the rows that a condition on the prediction finds with those of a condition on features."""
    output = form.render(inputs or {name: f"t.{name}" for name in form.features}, [Wanted("value")], "s")
    assert not output.stages
    prediction = predicted.format(f"({output.outputs[0]})")
    query = (
        f"SELECT count(*), count(*) FILTER (WHERE p AND d) FROM"
        f" (SELECT {prediction} AS p, ({derived}) IS TRUE AS d FROM t) AS x WHERE p OR d"
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    assert row[0] == row[1] > 0


def test_a_database_of_another_encoding(database: Database) -> None:
    name = f"{database.name}_latin"
    with database.server.admin() as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").format(
                sql.Identifier(name)
            )
        )
        try:
            with psycopg.connect(database.server.dsn(name), autocommit=True) as connection:
                made = make(connection, fitted("binary", "decision_tree"))
            assert made.text.startswith("certified on")
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_a_connection_without_anything_is_left_alone(database: Database) -> None:
    """A failing certificate leaves a connection that can be used, and has changed nothing of it."""
    trained = fitted("binary", "decision_tree")
    with database.connect() as connection:
        form, model = form_of(trained), Model.load(trained.artifact)
        with pytest.raises(NoForm, match="classes"):
            certify(connection, dataclasses.replace(form, classes=("true", "false")), model, trained.sample)
        assert isinstance(form.body, Trees)
        trees = tuple(mapped(tree, lambda values: (1.0 - values[0],)) for tree in form.body.trees)
        broken = dataclasses.replace(form, body=dataclasses.replace(form.body, trees=trees))
        with pytest.raises(NoForm, match="labels"):
            certify(connection, broken, model, trained.sample)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
        storing.require_installed(connection)


def test_a_constant_needs_no_features() -> None:
    form = InlineForm((), (), (), Trees((Leaf((2.5,)),), (0.0,)), "identity")
    assert form.render({}, [Wanted("value")], "s").outputs == ("'2.5'::double precision",)


def test_what_a_file_brings_along_is_not_trusted(database: Database) -> None:
    """The form of an artifact is certified, whoever wrote it, and must be about the signature's features."""
    trained = train_table(plain_table(), Options(algorithm="decision_tree"))
    value = form_of(trained).to_json()
    with database.connect() as connection:
        assert make_imported(connection, with_form(trained, json.dumps(value))).inline == value
        wrong = json.loads(json.dumps(value))
        wrong["body"]["trees"][0]["at"] += 0.25
        never_nan = json.loads(json.dumps(value))
        never_nan["inputs"][0]["nan"] = False
        deep = "[" * 100_000
        for text, reason in [
            (json.dumps(wrong), "differs from ONNX Runtime"),
            (json.dumps(never_nan), "other features"),
            (deep, "cannot be read"),
            ("null", "cannot be read"),
            ('{"format": 1}', "cannot be read"),
            (None, "has no SQL form"),
        ]:
            made = make_imported(connection, with_form(trained, text))
            assert made.inline is None
            assert reason in made.text


def with_form(trained: Trained, text: str | None) -> bytes:
    proto = parse(trained.artifact)
    kept = [(entry.key, entry.value) for entry in proto.metadata_props if entry.key != FORM_KEY]
    del proto.metadata_props[:]
    for key, value in [*kept, *([] if text is None else [(FORM_KEY, text)])]:
        proto.metadata_props.add(key=key, value=value)
    return bytes(proto.SerializeToString())
