"""Features and targets of every type: the batch join agrees with the model table."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from onnx_models.errors import InvalidSignature
from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.catalog import ConnectionCatalog
from rewriter import RewriteError, Setting, rewrite
from rewriter.plan import Way
from tests.fix_server import Database

SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN percent AS integer CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE customers AS
SELECT i AS id,
    CASE WHEN i % 7 > 0 THEN i % 50 END AS visits,
    (i % 13)::numeric(10, 2) / 4 AS spent,
    (i % 17)::real / 3 AS ratio,
    CASE WHEN i % 5 > 0 THEN (ARRAY['red', 'green', 'blüe', ''])[i % 4 + 1] END AS colour,
    (ARRAY['sad', 'ok', 'happy'])[i % 3 + 1]::mood AS mood,
    (i % 101)::percent AS share,
    (ARRAY['ab', 'c'])[i % 2 + 1]::char(5) AS code,
    CASE WHEN i % 9 > 0 THEN i % 2 = 0 END AS flag,
    CASE WHEN i % 8 > 0 THEN date '1960-01-01' + i * 17 END AS born,
    timestamp '2021-03-04 05:06:07.123456' + i * interval '1 hour' AS seen,
    timestamptz '2021-03-04 05:06:07.5+02' + i * interval '1 minute' AS logged,
    time '01:02:03.5' + i * interval '1 s' AS at,
    md5((i % 20)::text)::uuid AS token,
    (i % 50 + i % 13 * 3 + i % 7) % 3 AS third,
    (ARRAY['low', 'middle', 'hi''gh'])[(i % 50 + i % 13) % 3 + 1] AS level,
    date '2020-01-01' + (i % 3) AS day,
    (ARRAY['sad', 'ok', 'happy'])[(i % 50) % 3 + 1]::mood AS feeling,
    (i % 50 * 3.25 + i % 13)::numeric(8, 2) AS amount
FROM generate_series(1, 500) AS i
"""
FEATURES = "visits, spent, ratio, colour, mood, share, code, flag, born, seen, logged, at, token"


@pytest.fixture
def customers(database: Database) -> Database:
    with database.connect() as connection:
        connection.execute(SETUP)
    return database


@pytest.mark.parametrize("target", ["third", "level", "feeling", "amount", "flag"])
def test_every_type_agrees_with_the_model_table(customers: Database, target: str) -> None:
    features = FEATURES.replace(" flag,", "") if target == "flag" else FEATURES
    task = "multiclass" if target == "third" else "auto"
    with customers.connect(options="-cTimeZone=Asia/Kolkata -cDateStyle=German") as connection:
        source = Source(f"SELECT {features}, {target} AS y FROM customers", "y")
        options = Options(algorithm="random_forest", parameters={"n_estimators": "5"}, task=task)  # type: ignore[arg-type]
        train(connection, "m", source, options)
        catalog = ConnectionCatalog(connection)
        model = catalog.model("m")
        assert model is not None
        classes = model.signature.classes
        forms = ["PREDICT(m)", *(["PROBABILITY(m)"] if classes else [])]
        forms += [f"PROBABILITY(m FOR '{label.replace(chr(39), chr(39) * 2)}')" for label in classes]
        plain = ["r.prediction", *(["r.probability"] if classes else [])]
        plain += ['r."probability_{}"'.format(label.replace('"', '""')) for label in classes]
        batch = rewrite(f"SELECT id, {', '.join(forms)} FROM customers ORDER BY id", catalog).sql
        row = f"""SELECT c.id, {", ".join(plain)} FROM (
                SELECT id, row_to_json(f)::text AS features FROM customers,
                LATERAL (SELECT {features}) AS f OFFSET 0) AS c
            CROSS JOIN LATERAL (SELECT * FROM models.m WHERE m.features = c.features) AS r ORDER BY c.id"""
        got, expected = (connection.execute(sql.encode()) for sql in (batch, row))
        types = [[column.type_code for column in cursor.description or ()] for cursor in (got, expected)]
        assert types[0] == types[1]
        assert got.fetchall() == expected.fetchall()


@pytest.mark.parametrize("texts", [0, 60])
def test_more_features_than_a_function_takes_arguments(database: Database, texts: int) -> None:
    """Models of 120 and 180 features, in every way that there is for them."""
    names = [f"x{number}" for number in range(120)] + [f"c{number}" for number in range(texts)]
    columns = [f"(i * {n + 7} % 101)::float8 AS {name}" for n, name in enumerate(names[:120])]
    columns += [
        f"(ARRAY['a', 'b', 'c'])[i * {n + 2} % 3 + 1] AS {name}" for n, name in enumerate(names[120:])
    ]
    with database.connect() as connection:
        table = (
            f"CREATE TABLE wide AS SELECT i AS id, {', '.join(columns)} FROM generate_series(1, 60) AS g(i)"
        )
        connection.execute(table.encode())
        source = f"SELECT {', '.join(names)}, x0 + 2 * x1 AS y FROM wide"
        train(connection, "m", Source(source, "y"), Options(algorithm="linear"))
        connection.execute("UPDATE wide SET x3 = NULL WHERE id = 7")
        catalog = ConnectionCatalog(connection)
        found: dict[Way, dict[int, float]] = {}
        ways: list[Way] = ["batch", "row"] if texts else ["inline", "batch", "row"]
        for way in ways:
            statement = "SELECT id, PREDICT(m ON MISSING NULL) FROM wide ORDER BY id"
            sql = rewrite(statement, catalog, setting=Setting(way=way)).sql
            found[way] = dict(connection.execute(sql.encode()).fetchall())
            assert found[way].pop(7) is None
            assert len(found[way]) == 59
            strict = rewrite(
                "SELECT PREDICT(m ON MISSING ERROR) FROM wide", catalog, setting=Setting(way=way)
            ).sql
            with pytest.raises(psycopg.errors.NullValueNotAllowed, match="feature 'x3' of model 'm' is NULL"):
                connection.execute(strict.encode())
        update = (
            "UPDATE wide AS w SET x0 = (SELECT max(PREDICT(m)) FROM wide AS v WHERE v.id = w.id AND id <> 7)"
        )
        connection.execute(rewrite(update, catalog).sql.encode())
        rows = connection.execute("SELECT id, x0 FROM wide WHERE id <> 7").fetchall()
        assert dict(rows) == pytest.approx(found["batch"], rel=1e-5)


def test_an_enum_target_under_another_search_path(customers: Database) -> None:
    with customers.connect() as connection:
        source = Source("SELECT visits, feeling FROM customers", "feeling")
        train(connection, "m", source, Options(algorithm="decision_tree"))
        connection.execute("SET search_path TO pg_catalog")
        statement = "SELECT PREDICT(m), pg_typeof(PREDICT(m))::text FROM public.customers WHERE id = 3"
        rewritten = rewrite(statement, ConnectionCatalog(connection)).sql
        ((_, type_name),) = connection.execute(rewritten.encode()).fetchall()
        assert type_name == "public.mood"


@pytest.mark.parametrize(
    ("feature_type", "target_type"),
    [
        ("integer) + pg_sleep(9", "integer"),
        ("public.percent", "integer"),
        ("integer", "integer) FROM pg_sleep(9"),
        ("integer", "public.percent"),
    ],
)
def test_types_of_a_hostile_signature_never_become_sql(
    customers: Database, feature_type: str, target_type: str
) -> None:
    with customers.connect() as connection:
        source = Source("SELECT visits, third AS y FROM customers", "y")
        trained = train(
            connection, "m", source, Options(algorithm="decision_tree", task="regression")
        ).trained
        value = trained.signature.to_json()
        value["features"][0]["type"], value["target"]["type"] = feature_type, target_type
        connection.execute(
            "SELECT ml.register_version('bad', %s, %s, '{}')", (Jsonb(value), trained.artifact)
        )
        connection.execute("SELECT ml.deploy('bad')")
        statement = "SELECT PREDICT(bad USING 1 AS visits)"
        try:
            sql = rewrite(statement, ConnectionCatalog(connection)).sql
        except InvalidSignature:
            return
        assert "pg_sleep" not in sql
        assert "percent" not in sql


def test_casts_to_the_features_type_and_refusals(customers: Database) -> None:
    with customers.connect() as connection:
        source = Source("SELECT visits, born, flag, colour, third AS y FROM customers", "y")
        train(connection, "m", source, Options(algorithm="decision_tree", task="regression"))
        catalog = ConnectionCatalog(connection)

        def rows(features: str, from_: str = "customers") -> list[tuple[object, ...]]:
            statement = f"SELECT PREDICT(m USING {features}) FROM {from_}"
            return connection.execute(rewrite(statement, catalog).sql.encode()).fetchall()

        expected = rows("*")
        assert rows("*, visits::text::numeric + 0.1 AS visits") == expected
        assert rows("*, born::timestamp AS born, flag::text AS flag") == expected
        assert rows("*, to_char(born, 'YYYY-MM-DD') AS born, flag::int AS flag") == expected
        assert rows("'3' AS visits, '1970-01-01' AS born, 'yes' AS flag, NULL AS colour", "customers LIMIT 1")
        for feature in ("colour AS visits", "seen AS visits", "visits AS born", "born AS flag"):
            with pytest.raises(RewriteError) as caught:
                rows(f"*, {feature}")
            assert caught.value.sqlstate == "42804"


def test_a_role_without_the_grant_is_told_that_the_model_does_not_exist(customers: Database) -> None:
    role = customers.role()
    with customers.connect() as connection:
        source = Source("SELECT visits, third AS y FROM customers", "y")
        train(connection, "m", source, Options(algorithm="decision_tree", task="regression"))
        connection.execute(f'GRANT SELECT ON customers TO "{role}"'.encode())
    statement = "SELECT PREDICT(m) FROM customers"
    with customers.connect(user=role) as connection:
        with pytest.raises(RewriteError, match='model "m" does not exist'):
            rewrite(statement, ConnectionCatalog(connection))
        with customers.connect() as owner:
            owner.execute(f'GRANT SELECT ON models.m TO "{role}"'.encode())
        assert (
            len(connection.execute(rewrite(statement, ConnectionCatalog(connection)).sql.encode()).fetchall())
            == 500
        )
