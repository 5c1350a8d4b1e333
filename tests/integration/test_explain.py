"""EXPLAIN of every shape with every accepted column type: the server survives, and the plan is the right one.

Multicorn converts parameters that have no value under EXPLAIN; with a column of an unsafe type that
kills the server and every session. A second session that stays open is the witness.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests import summing
from tests.fix_server import Database

VARIANTS = ("EXPLAIN", "EXPLAIN (VERBOSE)", "EXPLAIN (ANALYZE)", "EXPLAIN (ANALYZE, VERBOSE)")

VALUES = {
    "i2": "1::int2",
    "i4": "1",
    "i8": "1::int8",
    "f4": "0.5::float4",
    "f8": "0.5::float8",
    "num": "0.5::numeric",
    "flag": "true",
    "txt": "'UA'::text",
    "vc": "'UA'::varchar",
    "ch": "'UA'::char(4)",
    "uid": "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
    "mood": "'UA'::mood",
    "day": "'2013-01-31'::date",
    "ts": "'2013-01-31 17:59'::timestamp",
    "tz": "'2013-01-31 17:59+00'::timestamptz",
    "clock": "'17:59'::time",
}
#: columns whose type is not that of the model table's column
CAST = {
    "num": "float8",
    "ch": "text",
    "uid": "text",
    "mood": "text",
    "ts": "text",
    "tz": "text",
    "clock": "text",
}


def cast(name: str) -> str:
    return f"{name}::{CAST[name]}" if name in CAST else name


def literal(name: str) -> str:
    """A constant of the column's type; a stable cast would be an expression, which Multicorn misreads."""
    return VALUES[name].split("::")[0] if name in CAST else VALUES[name]


def shapes(names: list[str], model: str) -> dict[str, str]:
    """Queries by shape."""
    inner = ", ".join(f"{cast(name)} AS {name}" for name in names)
    rows = f"(SELECT id, {inner}, ml.features(c) AS features FROM c OFFSET 0) c"
    equal = [f"m.{name} = c.{name}" for name in names]
    # "= true" becomes a bare column, which Multicorn 1.4 does not pass on
    constant = [
        f"m.{name} = {literal(name)}" if name != "flag" else "m.flag = ANY ('{true}')" for name in names
    ]
    half = [pair[index % 2] for index, pair in enumerate(zip(equal, constant, strict=True))]
    some_null = [f"m.{name} IS NULL" if index % 2 else equal[index] for index, name in enumerate(names)]
    numbers = [name for name in names if name in ("i2", "i4", "i8", "f4", "f8", "num")]
    texts = [name for name in names if name in ("txt", "vc", "ch", "uid", "mood")]
    others = {"flag": "flag::int", "day": "extract(epoch FROM day)", "ts": "extract(epoch FROM ts)"}
    others |= {"tz": "extract(epoch FROM tz)", "clock": "extract(epoch FROM clock)"}
    values = [*numbers, *(others[name] for name in names if name in others)]
    listed = [*numbers, *(name for name in names if name in others)]
    header = f"""'{{"v":1,"rows":' || count(*) || ',"numbers":[{",".join(f'"{name}"' for name in listed)}]"""
    header += f""","texts":[{",".join(f'"{name}"' for name in texts)}]}}' || E'\\n'"""
    lines = "".join(f" || array_to_json(array_agg({name}::text))::text || E'\\n'" for name in texts)
    matrix = (
        f" || encode(ml.raw(array_agg(ARRAY[{', '.join(values)}]::float8[])), 'base64')" if listed else ""
    )
    batches = f"(SELECT array_agg(id) AS id, {header}{lines}{matrix} AS batch FROM c GROUP BY id / 2) b"
    return {
        "constants": f"SELECT * FROM models.{model} m WHERE {' AND '.join(constant)}",
        "join": f"SELECT * FROM {rows} JOIN models.{model} m ON {' AND '.join(equal)}",
        "left join": f"SELECT * FROM {rows} LEFT JOIN models.{model} m ON {' AND '.join(equal)}",
        "mixed": f"SELECT c.id, m.* FROM {rows} JOIN models.{model} m ON {' AND '.join(half)}",
        "some NULL": f"SELECT c.id, m.* FROM {rows} JOIN models.{model} m ON {' AND '.join(some_null)}",
        "lateral": f"SELECT c.id, l.* FROM {rows}, LATERAL"
        f" (SELECT prediction FROM models.{model} m WHERE {' AND '.join(equal)} OFFSET 0) l",
        "features": f"SELECT c.id, m.* FROM {rows} JOIN models.{model} m ON m.features = c.features",
        "batch": f"SELECT unnest(b.id), unnest(ml.float8s(m.prediction)) FROM {batches}"
        f" JOIN models.{model}__batch m ON m.batch = b.batch",
        "view": "SELECT * FROM predicted_" + model,
        "outputs": f"SELECT m.prediction FROM {rows} JOIN models.{model} m ON {' AND '.join(equal)}"
        " AND m.prediction = c.id WHERE m.prediction > 0",
    }


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection, database.connect() as witness:
        connection.execute("CREATE TYPE mood AS ENUM ('UA', 'AA')")
        values = ", ".join(f"{value} AS {name}" for name, value in VALUES.items())
        connection.execute(f"CREATE TABLE c AS SELECT id, {values} FROM generate_series(1, 4) id")
        connection.execute("ANALYZE c")
        yield connection
        # a backend that crashes takes every session along
        assert witness.execute("SELECT 1").fetchone() == (1,)


def explain_all(connection: psycopg.Connection, names: list[str], model: str) -> None:
    types = {name: summing.TYPES[name] for name in names}
    summing.store(connection, model, summing.regression(types))
    queries = shapes(names, model)
    connection.execute(f"CREATE VIEW predicted_{model} AS {queries['join'].replace('*', 'c.id, m.*', 1)}")
    for shape, query in queries.items():
        for variant in VARIANTS:
            plan = "\n".join(row[0] for row in connection.execute(f"{variant} {query}").fetchall())
            assert "Foreign Scan" in plan, shape
        connection.execute("SET plan_cache_mode = force_generic_plan")
        assert connection.execute(query).fetchall() != [] or shape in ("some NULL", "outputs"), shape
        connection.execute("RESET plan_cache_mode")


@pytest.mark.parametrize("name", list(VALUES))
def test_one_column(connection: psycopg.Connection, name: str) -> None:
    explain_all(connection, [name], "one")


def test_all_columns(connection: psycopg.Connection) -> None:
    explain_all(connection, list(VALUES), "every")


@pytest.mark.parametrize("name", list(VALUES))
def test_generic_plans(connection: psycopg.Connection, name: str) -> None:
    summing.store(connection, "one", summing.regression({name: summing.TYPES[name]}))
    connection.execute("SET plan_cache_mode = force_generic_plan")
    column = connection.execute(
        "SELECT format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = 'models.one'::regclass AND attname = %s",
        (name,),
    ).fetchone()
    assert column is not None
    connection.execute(
        f"PREPARE q ({column[0]}) AS SELECT * FROM models.one WHERE {name} = $1 AND prediction IS NOT NULL"
    )
    for variant in VARIANTS:
        connection.execute(f"{variant} EXECUTE q ({literal(name)})")
    assert len(connection.execute(f"EXECUTE q ({literal(name)})").fetchall()) == 1


@pytest.mark.parametrize(
    "target_type",
    ["smallint", "numeric", "real", "double precision", "text", "uuid", "boolean", "mood", "date"],
)
def test_conditions_on_outputs(connection: psycopg.Connection, target_type: str) -> None:
    """Outputs may have unsafe types; nothing about them is handed to Multicorn."""
    classes = {
        "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        "boolean": ("false", "true"),
        "mood": ("UA", "AA"),
        "date": ("2013-01-01", "2013-01-02"),
    }.get(target_type, ("1", "2"))
    summing.store(connection, "one", summing.classifier({"i4": "integer"}, classes, target_type))
    connection.execute(f"CREATE TABLE labels AS SELECT id, '{classes[0]}'::{target_type} AS label FROM c")
    connection.execute("SET plan_cache_mode = force_generic_plan")
    connection.execute(
        f"PREPARE q ({target_type}) AS SELECT * FROM models.one WHERE i4 = 1 AND prediction = $1"
    )
    join = "SELECT * FROM labels l JOIN models.one m ON m.i4 = l.id AND m.prediction = l.label"
    for variant in VARIANTS:
        connection.execute(f"{variant} EXECUTE q ('{classes[0]}')")
        connection.execute(f"{variant} {join}")
    assert len(connection.execute(join).fetchall()) == 4


def test_conditions_on_batch_columns(connection: psycopg.Connection) -> None:
    summing.store(connection, "one", summing.regression({"i4": "integer"}))
    connection.execute("SET plan_cache_mode = force_generic_plan")
    for number, (column, kind) in enumerate(
        {"rows": "integer", "classes": "text[]", "prediction": "bytea", "probabilities": "bytea"}.items()
    ):
        connection.execute(
            f"PREPARE q{number} ({kind}) AS"
            f" SELECT * FROM models.one__batch WHERE batch = 'x' AND {column} = $1"
        )
        for variant in VARIANTS[:2]:
            connection.execute(f"{variant} EXECUTE q{number} (NULL)")


def test_auto_explain(connection: psycopg.Connection) -> None:
    summing.store(connection, "one", summing.regression({"i4": "integer", "txt": "text"}))
    try:
        connection.execute("LOAD 'auto_explain'")
    except psycopg.Error:
        pytest.skip("this server has no auto_explain")
    connection.execute("SET auto_explain.log_min_duration = 0")
    connection.execute("SET auto_explain.log_analyze = on")
    connection.execute("SET auto_explain.log_nested_statements = on")
    query = "SELECT count(*) FROM c JOIN models.one m ON m.i4 = c.i4 AND m.txt = c.txt"
    assert connection.execute(query).fetchall() == [(4,)]


def test_join_of_a_large_table_stays_parameterised(connection: psycopg.Connection) -> None:
    summing.store(connection, "one", summing.regression({"i4": "integer", "txt": "text"}))
    connection.execute("CREATE TABLE large (i4 integer, txt text)")
    # statistics of a table with a million rows, without the rows
    connection.execute("UPDATE pg_class SET reltuples = 1e6, relpages = 10000 WHERE oid = 'large'::regclass")
    query = "EXPLAIN (COSTS OFF) SELECT * FROM large JOIN models.one m USING (i4, txt)"
    plan = "\n".join(row[0] for row in connection.execute(query).fetchall())
    assert "Hash Join" not in plan
    assert "Merge Join" not in plan
    assert "(large.i4 = i4)" in plan


def test_explain_does_not_need_a_runtime(connection: psycopg.Connection) -> None:
    summing.store(connection, "one", summing.regression({"i4": "integer"}))
    connection.execute("ALTER SERVER pgpredict OPTIONS (ADD socket '/nowhere')")
    assert connection.execute("EXPLAIN SELECT * FROM models.one WHERE i4 = 1").fetchall()
