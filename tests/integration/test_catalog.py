"""The catalog's answers from a real server: versions, what is kept with them, harmless estimates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from onnx_models.inline import InlineForm
from onnx_models.scoring import Model
from onnx_models.storing import NotInstalled, deploy, register
from pgpredict.catalog import ConnectionCatalog
from rewriter import DescribeError, UndeployedModel
from rewriter.errors import UnknownVersion
from tests import summing
from tests.fix_server import Database

INTEGER = {"a": "integer"}


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection, database.connect() as witness:
        yield connection
        # a backend that crashes takes every session along
        assert witness.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def catalog(connection: psycopg.Connection) -> ConnectionCatalog:
    return ConnectionCatalog(connection)


def store_with(connection: psycopg.Connection, info: dict[str, Any]) -> int:
    artifact = summing.regression({"a": "integer", "b": "integer"})
    version = register(connection, "m", Model.load(artifact).signature, artifact, info)
    deploy(connection, "m", version)
    return version


def test_versions(connection: psycopg.Connection, catalog: ConnectionCatalog) -> None:
    assert catalog.model("m") is None
    assert catalog.model("m", 1) is None
    summing.store(connection, "m", summing.regression(INTEGER), deployed=False)
    for version in (None, 1):
        with pytest.raises(UndeployedModel):
            catalog.model("m", version)
    deploy(connection, "m")
    with pytest.raises(UnknownVersion) as caught:
        catalog.model("m", 9)
    assert (caught.value.message, caught.value.hint) == (
        "model 'm' has no version 9",
        "its only version is 1",
    )
    connection.execute("CREATE TYPE mood AS ENUM ('UA', 'AA')")
    summing.store(connection, "m", summing.classifier(INTEGER, ("UA", "AA"), "mood"))
    found = [catalog.model("m", version) for version in (None, 1, 2)]
    assert [(info.version, info.pinned, info.signature.task) for info in found if info] == [
        (2, False, "binary"),
        (1, True, "regression"),
        (2, True, "binary"),
    ]
    # each in the type of its own predictions
    assert [info.signature.target.type for info in found if info] == [
        "mood",
        "double precision",
        "public.mood",
    ]
    for version in (0, -1, 2**40):
        with pytest.raises(UnknownVersion) as caught:
            catalog.model("m", version)
        assert caught.value.hint == "its versions are 1, 2"


def test_a_database_without_the_extension(connection: psycopg.Connection) -> None:
    with (
        psycopg.connect(make_conninfo(connection.info.dsn, dbname="template1")) as other,
        pytest.raises(NotInstalled, match="'template1' has no extension pgpredict"),
    ):
        ConnectionCatalog(other).model("m")


def test_one_question_a_model(
    connection: psycopg.Connection, catalog: ConnectionCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    summing.store(connection, "m", summing.regression(INTEGER))
    asked: list[Any] = []
    execute = psycopg.Cursor.execute

    def spy(self: psycopg.Cursor, *words: Any) -> psycopg.Cursor:
        asked.append(words)
        return execute(self, *words)

    monkeypatch.setattr(psycopg.Cursor, "execute", spy)
    catalog.model("m")
    catalog.model("m", 1)
    assert len(asked) == 2
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE


def test_inline_and_unused(
    connection: psycopg.Connection, catalog: ConnectionCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    form: Any = object()
    monkeypatch.setattr(InlineForm, "from_json", classmethod(lambda cls, value: {"a": form}[value["is"]]))
    cases: tuple[tuple[dict[str, Any], Any, set[str]], ...] = (
        ({}, None, set()),
        ({"inline": {"is": "a"}, "unused": ["b"]}, form, {"b"}),
        ({"inline": None, "unused": None}, None, set()),
        # what cannot be read is as good as none
        ({"inline": {"is": "of the future"}}, None, set()),
        ({"inline": {}}, None, set()),
        ({"inline": "SELECT 1", "unused": "b"}, None, set()),
    )
    for info, inline, unused in cases:
        version = store_with(connection, info)
        for found in (catalog.model("m"), catalog.model("m", version)):
            assert found is not None
            assert (found.inline, found.unused) == (inline, frozenset(unused))
        shown = "SELECT inline IS NOT NULL, unused FROM ml.{} WHERE version = %s".format
        for view in ("models", "versions"):
            row = connection.execute(shown(view).encode(), (version,)).fetchone()
            assert row == (isinstance(info.get("inline"), dict), sorted(unused))


def test_volatile_functions_by_name(connection: psycopg.Connection, catalog: ConnectionCatalog) -> None:
    assert catalog.is_volatile(["lower", "random"])
    assert not catalog.is_volatile(["lower", "now", "no_such_function"])
    connection.execute("CREATE SCHEMA elsewhere")
    connection.execute('CREATE FUNCTION elsewhere."Dice"() RETURNS integer LANGUAGE sql AS $$ SELECT 4 $$')
    assert catalog.is_volatile(["Dice"])


def test_parameters_that_only_another_part_uses(catalog: ConnectionCatalog) -> None:
    (column,) = catalog.describe("SELECT x FROM generate_series(1, $2::bigint) AS x WHERE x <> $4")
    assert column.type == "bigint"
    for number in (0, 65536, 10**20):
        with pytest.raises(DescribeError):
            catalog.describe(f"SELECT ${number}")


@pytest.fixture
def numbers(connection: psycopg.Connection) -> None:
    connection.execute(
        "CREATE TABLE n AS SELECT i AS a, i % 10 AS b, i::text AS t FROM generate_series(1, 10000) i"
    )
    connection.execute("ANALYZE n")


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT * FROM n", 10000),
        ("TABLE n -- all of it", 10000),
        ("SELECT * FROM n WHERE a = 5", 1),
        ("SELECT * FROM n WHERE b = $1", 1000),
        ("SELECT * FROM n WHERE t = '$1' || $3 AND b = $3::text::integer", 1),
        ("WITH few AS (SELECT * FROM n WHERE b = $2) SELECT * FROM few", 1000),
        ("SELECT * FROM n WHERE b = $2 LIMIT 7", 7),
        ("VALUES (1), (2)", 2),
        ("SELECT * FROM n LIMIT $1", 1000),
        ("SELECT * FROM nothing", None),
        ("SELECT * FROM n WHERE", None),
        ("INSERT INTO n VALUES (1, 2, '3')", None),
        ("SELECT 1; DELETE FROM n", None),
        ("SELECT $1", 1),
        ("SELECT $0", None),
        ("SELECT $65536", None),
        ("SELECT $99999999999999999999", None),
        ("SELECT a + $300 FROM n", 10000),
    ],
)
def test_estimates(
    connection: psycopg.Connection, catalog: ConnectionCatalog, query: str, rows: float | None
) -> None:
    for _ in range(2):
        assert catalog.estimate(query) == rows
    with connection.transaction():
        connection.execute("CREATE TABLE mine (a integer)")
        assert catalog.estimate(query) == rows
        assert catalog.estimate("SELECT * FROM mine WHERE false") in (0, 1)
        assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
    assert connection.execute("SELECT count(*) FROM n").fetchone() == (10000,)
    assert (
        connection.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'pgp%'").fetchall() == []
    )
    assert connection.execute("SHOW plan_cache_mode").fetchone() == ("auto",)


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize(
    ("relations", "functions", "steady"),
    [
        (["n", "n.a", "nowhere", '"of a strange ""name"'], ["abs", "count", "now"], True),
        (["still"], [], True),
        ([], ["random"], False),
        ([], ["mine"], False),
        (["trembling"], [], False),
        (["still", '"Tremb""ling too"'], [], False),
        (["calling"], [], False),
        (["sequel"], [], False),
    ],
)
def test_what_is_volatile(
    connection: psycopg.Connection,
    catalog: ConnectionCatalog,
    relations: list[str],
    functions: list[str],
    steady: bool,
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("""
            CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1';
            CREATE SEQUENCE counted;
            CREATE VIEW still AS SELECT abs(a) AS a, now() AS b FROM n;
            CREATE VIEW trembling AS SELECT * FROM still WHERE random() > 0.5;
            CREATE VIEW "Tremb""ling too" AS SELECT * FROM (SELECT a FROM trembling) AS t;
            CREATE VIEW calling AS SELECT a + mine() AS a FROM n;
            CREATE VIEW sequel AS SELECT nextval('counted') AS a FROM n""")
        assert catalog.is_steady(relations, functions) is steady


UNSAFE = (
    "SELECT * FROM n JOIN models.m ON m.a = n.a + 1",
    "SELECT * FROM n JOIN models.m ON m.x = n.a::numeric AND m.a = 1",
    "SELECT * FROM models.m WHERE a = (SELECT 1)",
    "SELECT * FROM models.m WHERE a = $1 AND x = $2",
    "SELECT * FROM n JOIN models.m ON m.a = n.a + $1 AND m.x = (SELECT $2::float8)",
    "SELECT * FROM seen",
    "SELECT * FROM hidden()",
    "SELECT * FROM seen WHERE a = $1",
    "SELECT * FROM pg_temp.seen_again AS s, LATERAL"
    " (SELECT * FROM models.m WHERE a = s.a + $1 AND x = 1) AS m",
    "SELECT * FROM n JOIN models.m__version AS r ON r.version = $1 AND r.batch = upper(n.t)",
)


@pytest.mark.usefixtures("numbers")
def test_estimates_of_model_tables_harm_nothing(database: Database, connection: psycopg.Connection) -> None:
    """Every shape that kills Multicorn 1.4 under EXPLAIN: there no estimate is made."""
    summing.store(connection, "m", summing.regression({"a": "integer", "x": "numeric"}))
    connection.execute(
        "CREATE VIEW seen AS SELECT m.* FROM n JOIN models.m ON m.a = n.a + 1 AND m.x = n.b::numeric"
    )
    connection.execute("CREATE TEMP VIEW seen_again AS SELECT * FROM seen")
    row = connection.execute("SELECT current_setting('server_version_num')::int < 140000").fetchone()
    assert row is not None
    for query in UNSAFE:
        connection.execute("DROP FUNCTION IF EXISTS hidden")
        if "hidden" in query:
            connection.execute(
                "CREATE FUNCTION hidden() RETURNS SETOF seen STABLE LANGUAGE sql AS 'SELECT * FROM seen'"
            )
        estimated = ConnectionCatalog(connection).estimate(query)
        assert (estimated is None) == row[0], query
        connection.execute("DROP FUNCTION IF EXISTS hidden")
        # tables are not held against
        assert ConnectionCatalog(connection).estimate("SELECT * FROM n") == 10000
