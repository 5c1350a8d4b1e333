"""An updated extension is the same as a new one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import summing
from tests.fix_server import Database

MEMBERS = """
    SELECT pg_describe_object(classid, objid, 0), CASE classid
        WHEN 'pg_proc'::regclass THEN (SELECT pg_get_functiondef(objid) || coalesce(proacl::text, '')
            FROM pg_proc WHERE oid = objid)
        WHEN 'pg_class'::regclass THEN (SELECT concat(relkind, relacl, reloptions,
            CASE relkind WHEN 'v' THEN pg_get_viewdef(objid) END,
            (SELECT string_agg(concat(attname, format_type(atttypid, atttypmod), attnotnull, attfdwoptions),
                ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = objid AND attnum > 0),
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


def extension_directory(database: Database) -> Path:
    cluster = database.server.cluster
    if cluster is None:
        pytest.skip("the files of a server that is not ours are left alone")
    return next(cluster.home.path.glob("server-*/**/extension/pgpredict.control")).parent


def older(whole: str, version: str) -> str:
    """The script without what came with a version."""
    return re.sub(rf"-- since {re.escape(version)} {{\n.*?\n-- }}\n", "", whole, flags=re.DOTALL)


def test_update_gives_the_same_catalog(database: Database) -> None:
    directory = extension_directory(database)
    whole = (directory / "pgpredict--0.1.0.sql").read_text()
    before = older(whole, "0.1.0")
    assert before != whole
    old = directory / "pgpredict--0.0.9.sql"
    with database.connect() as connection:
        fresh = connection.execute(MEMBERS).fetchall()
        connection.execute("DROP EXTENSION pgpredict")
        try:
            old.write_text(before)
            old.chmod(0o644)
            connection.execute("CREATE EXTENSION pgpredict VERSION '0.0.9'")
        finally:
            old.unlink()
        assert connection.execute(MEMBERS).fetchall() != fresh
        summing.store(connection, "m", summing.regression({"a": "integer"}))
        connection.execute("ALTER EXTENSION pgpredict UPDATE")
        assert connection.execute(MEMBERS).fetchall() == fresh
        assert connection.execute("SELECT prediction FROM models.m WHERE a = 1").fetchall() == [(1.0,)]


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
