"""models.m__version in every shape: the right version answers, pushed down, EXPLAIN is safe."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests import summing
from tests.fix_server import Database

VARIANTS = ("EXPLAIN", "EXPLAIN (VERBOSE)", "EXPLAIN (ANALYZE)", "EXPLAIN (ANALYZE, VERBOSE)")
#: a batch of one row from ``c.a``, as text
ONE = (
    """concat('{"v":1,"rows":1,"numbers":["a"],"texts":[]}', E'\\n',"""
    " encode(ml.raw(ARRAY[ARRAY[c.a]]::float8[]), 'base64'))"
)
MANY = (
    "(SELECT array_agg(a) AS a,"
    """ concat('{"v":1,"rows":', count(*), ',"numbers":["a"],"texts":[]}', E'\\n',"""
    " encode(ml.raw(array_agg(ARRAY[a]::float8[])), 'base64')) AS batch FROM c)"
)
SHAPES = {
    "batch": "SELECT unnest(b.a) AS a, unnest(ml.float8s(r.prediction)) AS y"
    f" FROM {MANY} AS b JOIN models.m__version AS r ON r.version = $1 AND r.batch = b.batch",
    "left join": "SELECT unnest(b.a) AS a, unnest(ml.float8s(r.prediction)) AS y"
    f" FROM {MANY} AS b LEFT JOIN models.m__version AS r ON r.version = $1 AND r.batch = b.batch",
    "rows": f"SELECT c.a, (ml.float8s(r.prediction))[1] AS y FROM (SELECT a, {ONE} AS batch FROM c OFFSET 0)"
    " AS c JOIN models.m__version AS r ON r.version = $1 AND r.batch = c.batch",
    "scalar": "SELECT c.a, (SELECT (ml.float8s(r.prediction))[1] FROM"
    f" (SELECT {ONE} AS batch OFFSET 0) AS b JOIN models.m__version AS r ON r.version = $1"
    " AND r.batch = b.batch) AS y FROM c",
    "lateral": "SELECT c.a, l.y FROM c, LATERAL (SELECT (ml.float8s(r.prediction))[1] AS y FROM"
    f" (SELECT {ONE} AS batch OFFSET 0) AS b JOIN models.m__version AS r ON r.version = $1"
    " AND r.batch = b.batch) AS l",
    "where": "SELECT c.a, c.a + ($1 - 1) * 10 AS y FROM c WHERE (SELECT (ml.float8s(r.prediction))[1] FROM"
    f" (SELECT {ONE} AS batch OFFSET 0) AS b JOIN models.m__version AS r ON r.version = $1"
    " AND r.batch = b.batch) > 0",
}


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection, database.connect() as witness:
        connection.execute("CREATE TABLE c AS SELECT a FROM generate_series(1, 4) AS a")
        connection.execute("ANALYZE c")
        for version in range(3):
            summing.store(connection, "m", summing.regression({"a": "integer"}, offset=10.0 * version))
        summing.store(connection, "other", summing.regression({"a": "integer"}, offset=500.0))
        yield connection
        # a backend that crashes takes every session along
        assert witness.execute("SELECT 1").fetchone() == (1,)


def check(connection: psycopg.Connection, shape: str) -> None:
    query = SHAPES[shape]
    prepared = f"PREPARE q (integer) AS {query}"
    for version in (1, 2, 3):
        wanted = {(a, a + (version - 1) * 10.0) for a in range(1, 5)}
        constant = query.replace("$1", str(version))
        assert {(a, float(y)) for a, y in connection.execute(constant.encode())} == wanted
        for variant in VARIANTS:
            plan = "\n".join(row[0] for row in connection.execute(f"{variant} {constant}".encode()))
            assert plan.count("Foreign Scan") == 1
    for mode in ("force_custom_plan", "force_generic_plan"):
        connection.execute(f"SET plan_cache_mode = {mode}".encode())
        connection.execute(prepared.encode())
        for version in (1, 2, 3):
            wanted = {(a, a + (version - 1) * 10.0) for a in range(1, 5)}
            found = connection.execute(f"EXECUTE q ({version})".encode())
            assert {(a, float(y)) for a, y in found} == wanted
            for variant in VARIANTS:
                connection.execute(f"{variant} EXECUTE q ({version})".encode())
        connection.execute("DEALLOCATE q")
        connection.execute("RESET plan_cache_mode")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(connection: psycopg.Connection, shape: str) -> None:
    check(connection, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_many_versions(connection: psycopg.Connection, shape: str) -> None:
    """With statistics that make scans and hash joins of the versions tempting."""
    connection.execute(
        "INSERT INTO ml.model_version (model, version, artifact, signature, created_by)"
        " SELECT CASE WHEN i % 3 = 0 THEN 'm' ELSE 'x' || i % 7 END, i, 'none', '{}', 'nobody'"
        " FROM generate_series(4, 3000) AS i"
    )
    connection.execute("ANALYZE ml.model_version")
    check(connection, shape)


def test_all_versions_at_once(connection: psycopg.Connection) -> None:
    query = (
        f"SELECT r.version, ml.float8s(r.prediction) FROM {MANY} AS b"
        " JOIN models.m__version AS r ON r.batch = b.batch ORDER BY 1"
    )
    for mode in ("force_custom_plan", "force_generic_plan"):
        connection.execute(f"SET plan_cache_mode = {mode}".encode())
        assert connection.execute(query.encode()).fetchall() == [
            (version, [a + (version - 1) * 10.0 for a in range(1, 5)]) for version in (1, 2, 3)
        ]
        for variant in VARIANTS:
            connection.execute(f"{variant} {query}".encode())


def test_a_version_that_is_not_there_has_no_rows(connection: psycopg.Connection) -> None:
    query = SHAPES["rows"].replace("$1", "9")
    assert connection.execute(query.encode()).fetchall() == []


def test_deploying_and_reshaping_change_nothing(connection: psycopg.Connection) -> None:
    connection.execute(f"CREATE VIEW stored AS {SHAPES['batch'].replace('$1', '2')}".encode())
    wanted = [(a, a + 10.0) for a in range(1, 5)]
    assert connection.execute("SELECT * FROM stored").fetchall() == wanted
    connection.execute("SELECT ml.rollback('m')")
    summing.store(connection, "m", summing.classifier({"b": "text"}))
    assert connection.execute("SELECT * FROM stored").fetchall() == wanted
    with pytest.raises(
        psycopg.errors.DependentObjectsStillExist, match=r"models\.m__version cannot be dropped"
    ):
        connection.execute("SELECT ml.drop_model('m')")
    assert connection.execute("SELECT * FROM stored").fetchall() == wanted
