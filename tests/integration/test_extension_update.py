"""An updated extension is the same as a new one, and so are the models that were there before."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from onnx_models.storing import NotInstalled, drop, require_installed
from pgpredict.server.database import available_version, extension_version, make_extension
from pgpredict.server.local import update_extensions
from tests import summing
from tests.fix_server import Database
from tests.integration.test_dump import run, target

__all__ = ["target"]

#: whole scripts of older versions
DATA = Path(__file__).parents[1] / "data"
BEFORE = "0.1.0"

MEMBERS = """
    SELECT pg_describe_object(classid, objid, 0), CASE classid
        WHEN 'pg_proc'::regclass THEN (SELECT pg_get_functiondef(objid) || coalesce(proacl::text, '')
            FROM pg_proc WHERE oid = objid)
        WHEN 'pg_class'::regclass THEN (SELECT concat(relkind, relacl, reloptions,
            CASE relkind WHEN 'v' THEN pg_get_viewdef(objid) END,
            (SELECT string_agg(concat(attname, format_type(atttypid, atttypmod), attnotnull, attfdwoptions),
                ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = objid AND attnum > 0),
            (SELECT string_agg(pg_get_expr(adbin, adrelid), ',' ORDER BY adnum) FROM pg_attrdef
                WHERE adrelid = objid),
            (SELECT string_agg(pg_get_constraintdef(c.oid), ',' ORDER BY conname) FROM pg_constraint c
                WHERE conrelid = objid)) FROM pg_class WHERE oid = objid)
        WHEN 'pg_namespace'::regclass THEN (SELECT nspacl::text FROM pg_namespace WHERE oid = objid)
        WHEN 'pg_foreign_server'::regclass THEN (SELECT concat(srvoptions, srvacl)
            FROM pg_foreign_server WHERE oid = objid)
    END, obj_description(objid, classid::regclass::name)
    FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
        AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgpredict')
    UNION ALL
    SELECT 'configuration', (SELECT string_agg(oid::regclass::text, ',' ORDER BY oid::regclass::text)
        FROM unnest(extconfig) AS oid), extcondition::text FROM pg_extension WHERE extname = 'pgpredict'
    ORDER BY 1
"""
MODELS = """
    SELECT relname, relkind, pg_get_viewdef(c.oid), relacl::text, obj_description(c.oid),
        (SELECT count(*) FROM pg_init_privs WHERE objoid = c.oid),
        (SELECT count(*) FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
    FROM pg_class AS c WHERE relnamespace = 'models'::regnamespace ORDER BY 1
"""


def extension_directory(database: Database) -> Path:
    cluster = database.server.cluster
    if cluster is None:
        pytest.skip("the files of a server that is not ours are left alone")
    return next(cluster.home.path.glob("server-*/**/extension/pgpredict.control")).parent


@contextlib.contextmanager
def older(database: Database) -> Iterator[psycopg.Connection]:
    """Connect to the database with the extension as it was before."""
    script = f"pgpredict--{BEFORE}.sql"
    file = extension_directory(database) / script
    with database.connect() as connection:
        connection.execute("DROP EXTENSION pgpredict CASCADE")
        try:
            file.write_text((DATA / script).read_text(encoding="utf-8"), encoding="utf-8")
            file.chmod(0o644)
            connection.execute(sql.SQL("CREATE EXTENSION pgpredict VERSION {}").format(BEFORE))
        finally:
            file.unlink()
        yield connection


def fill(connection: psycopg.Connection, friend: str) -> None:
    """Make models of every kind, with grants."""
    summing.store(connection, "m", summing.regression({"a": "integer"}))
    summing.store(connection, "m", summing.regression({"a": "integer"}, offset=100.0))
    summing.store(connection, 'Od"d näme', summing.classifier({"a": "integer"}))
    summing.store(connection, "waiting", summing.regression({"a": "integer"}), deployed=False)
    statement = "GRANT SELECT ON models.m TO {} WITH GRANT OPTION; GRANT SELECT ON {} TO PUBLIC"
    named = sql.Identifier("models", 'Od"d näme')
    connection.execute(sql.SQL(statement).format(sql.Identifier(friend), named))


def members(connection: psycopg.Connection) -> list[Any]:
    return connection.execute(MEMBERS).fetchall()


def models(connection: psycopg.Connection) -> list[Any]:
    return connection.execute(MODELS).fetchall()


def by_version(connection: psycopg.Connection, version: int) -> Any:
    row = connection.execute(
        'SELECT ml.float8s(r.prediction) FROM (SELECT concat(\'{"v":1,"rows":1,"numbers":["a"],'
        "\"texts\":[]}', E'\\n', encode(ml.raw(ARRAY[ARRAY[5]]::float8[]), 'base64')) AS batch OFFSET 0) AS b"
        " JOIN models.m__version AS r ON r.version = %s AND r.batch = b.batch",
        (version,),
    ).fetchone()
    return row and row[0]


def test_update_gives_the_same_catalog(database: Database) -> None:
    friend = database.role("friend")
    with database.connect() as connection:
        fresh = members(connection)
        fill(connection, friend)
        wanted = models(connection)
    with older(database) as connection:
        assert members(connection) != fresh
        fill(connection, friend)
        assert models(connection) != wanted
        connection.execute("ALTER EXTENSION pgpredict UPDATE")
        assert members(connection) == fresh
        assert models(connection) == wanted
        assert [by_version(connection, version) for version in (1, 2)] == [[5.0], [105.0]]
        assert connection.execute("SELECT DISTINCT inline, unused FROM ml.versions").fetchall() == [
            (None, [])
        ]
        # deployed after the update, registered before
        connection.execute("SELECT ml.deploy('waiting')")
        assert connection.execute("SELECT FROM models.waiting__version WHERE batch IS NULL").fetchall() == []
    with database.connect(user=friend) as connection:
        assert by_version(connection, 1) == [5.0]


def test_names_that_the_older_version_allowed(database: Database) -> None:
    """A name that is too long for the third view keeps what it had; one in the way stops the update."""
    long, artifact = "x" * 56, summing.regression({"a": "integer"})
    with older(database) as connection:
        for name in (long, "late", "late__version"):
            summing.store(connection, name, artifact)
        with pytest.raises(psycopg.errors.DuplicateTable, match="in the way of model 'late'"):
            connection.execute("ALTER EXTENSION pgpredict UPDATE")
        drop(connection, "late__version")
        connection.execute("ALTER EXTENSION pgpredict UPDATE")
        query = sql.SQL("SELECT prediction FROM {} WHERE a = 1").format(sql.Identifier("models", long))
        assert connection.execute(query).fetchall() == [(1.0,)]
        assert summing.store(connection, long, artifact) == 2
        drop(connection, long)
        assert connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'xxx%'").fetchall() == []


def test_up_and_install_update(database: Database) -> None:
    with older(database) as connection:
        fill(connection, database.role("friend"))
        said: list[str] = []
        cluster = database.server.cluster
        assert cluster is not None
        # up does this for every database but its own, and for that one as install does
        update_extensions(cluster, said.append)
        wanted = available_version()
        assert said == [f"updating the extension pgpredict from {BEFORE} to {wanted}"]
        assert extension_version(connection) == wanted
        assert by_version(connection, 1) == [5.0]
        assert make_extension(connection, said.append) == wanted
        assert len(said) == 1


def test_an_older_extension_is_told_of(database: Database) -> None:
    with older(database) as connection:
        with pytest.raises(NotInstalled, match="older version of the extension") as caught:
            require_installed(connection)
        assert "ALTER EXTENSION pgpredict UPDATE" in str(caught.value.hint)
        connection.execute("ALTER EXTENSION pgpredict UPDATE")
        require_installed(connection)


def test_dump_of_an_updated_database(database: Database, target: Database) -> None:
    """What the step made is the user's, and dumped with its grants."""
    friend = database.role("friend")
    with older(database) as connection:
        fill(connection, friend)
        connection.execute("ALTER EXTENSION pgpredict UPDATE")
        wanted = models(connection)
    dump = run(database, "pg_dump", "-F", "custom", "-d", database.dsn)
    run(database, "pg_restore", "--exit-on-error", "-d", target.dsn, data=dump)
    with target.connect(user=friend) as connection:
        assert by_version(connection, 1) == [5.0]
    with target.connect() as connection:
        assert models(connection) == wanted


def test_dump_of_the_older_version(database: Database, target: Database) -> None:
    friend = database.role("friend")
    with database.connect() as connection:
        fill(connection, friend)
        wanted = models(connection)
    with older(database) as connection:
        fill(connection, friend)
    dump = run(database, "pg_dump", "-F", "custom", "-d", database.dsn)
    run(database, "pg_restore", "--exit-on-error", "-d", target.dsn, data=dump)
    with target.connect() as connection:
        assert connection.execute("SELECT prediction FROM models.m WHERE a = 1").fetchall() == [(101.0,)]
        assert models(connection) != wanted
        for _ in range(2):
            connection.execute("SELECT ml_internal.complete_models()")
            assert models(connection) == wanted
        assert by_version(connection, 1) == [5.0]
        drop(connection, "m")


def test_the_step_goes_to_the_default_version(database: Database) -> None:
    directory = extension_directory(database)
    control = (directory / "pgpredict.control").read_text()
    version = re.findall(r"default_version = '(.*)'", control)[0]
    assert sorted(path.name for path in directory.glob("pgpredict--*.sql")) == [
        f"pgpredict--{BEFORE}--{version}.sql",
        f"pgpredict--{version}.sql",
    ]


def test_drop_extension_leaves_nothing(database: Database) -> None:
    with database.connect() as connection:
        summing.store(connection, "m", summing.regression({"a": "integer"}))
        connection.execute("DROP EXTENSION pgpredict CASCADE")
        left = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname IN ('ml', 'ml_internal', 'models')"
        ).fetchall()
        assert left == []
        connection.execute("CREATE EXTENSION pgpredict CASCADE")
        summing.store(connection, "m", summing.regression({"a": "integer"}))
        assert connection.execute("SELECT prediction FROM models.m WHERE a = 1").fetchall() == [(1.0,)]
