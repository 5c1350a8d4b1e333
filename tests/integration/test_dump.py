"""pg_dump and pg_restore: the models are there afterwards, with their grants, and predict."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from onnx_models.scoring import Model
from onnx_models.storing import register, rollback
from tests import summing
from tests.fix_server import Database

TABLES = ("ml.artifact", "ml.model", "ml.model_version", "ml.deployment")


def run(database: Database, program: str, *arguments: str, data: bytes = b"") -> bytes:
    """Run a program of the server against one of its databases."""
    cluster = database.server.cluster
    if cluster is None:
        pytest.skip("the programs of a server that is not ours are not known")
    environment = {**os.environ, **cluster.install.environment}
    command = [str(cluster.install.bindir / program), *arguments]
    done = subprocess.run(command, input=data, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def target(database: Database) -> Iterator[Database]:
    """An empty database."""
    copy = Database(f"{database.name}_copy", database.server.dsn(f"{database.name}_copy"), database.server)
    with database.server.admin() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(copy.name)))
    yield copy
    copy.drop()


@pytest.fixture
def friend(database: Database) -> str:
    """A role with a grant; the source database has models of every kind and things that depend on them."""
    friend = database.role("friend")
    with database.connect() as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('UA', 'AA')")
        summing.store(connection, "m", summing.regression({"a": "integer"}))
        summing.store(connection, "m", summing.regression({"a": "integer"}, offset=100.0))
        summing.store(connection, 'Od"d näme', summing.classifier(summing.TYPES, ("UA", "AA"), "mood"))
        kept = {"inline": {"form": [0.1, "UA"]}, "unused": ["a"]}
        artifact = summing.regression({"a": "integer"}, offset=7.0)
        register(connection, "m", Model.load(artifact).signature, artifact, kept)
        summing.store(connection, "waiting", summing.regression({"a": "integer"}), deployed=False)
        connection.execute("CREATE VIEW mine AS SELECT a, prediction FROM models.m")
        connection.execute(sql.SQL("GRANT SELECT ON models.m TO {}").format(sql.Identifier(friend)))
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA models TO {}").format(sql.Identifier(friend)))
    return friend


def contents(connection: psycopg.Connection) -> list[list[tuple[Any, ...]]]:
    found = [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES]
    found.append(
        connection.execute(
            "SELECT relname, relkind, pg_get_viewdef(oid), relacl::text, obj_description(oid) FROM pg_class"
            " WHERE relnamespace IN ('models'::regnamespace, 'ml_internal'::regnamespace) ORDER BY 1"
        ).fetchall()
    )
    return found


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_round_trip(database: Database, target: Database, friend: str, form: str) -> None:
    dump = run(database, "pg_dump", "-F", form, "-d", database.dsn)
    if form == "plain":
        run(database, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target.dsn, data=dump)
    else:
        run(database, "pg_restore", "--exit-on-error", "-d", target.dsn, data=dump)
    with database.connect() as before, target.connect() as after:
        assert contents(after) == contents(before)
        assert after.execute("SELECT prediction FROM models.m WHERE a = 1").fetchall() == [(101.0,)]
        assert after.execute("SELECT prediction FROM mine WHERE a = 1").fetchall() == [(101.0,)]
        assert rollback(after, "m") == 1
        assert after.execute("SELECT prediction FROM mine WHERE a = 1").fetchall() == [(1.0,)]
        after.execute("SELECT ml.deploy('waiting')")
        summing.store(after, "new", summing.regression({"a": "integer"}))
        assert summing.store(after, "m", summing.regression({"a": "integer"}, offset=5.0)) == 4
    with target.connect(user=friend) as connection:
        assert connection.execute("SELECT prediction FROM models.m WHERE a = 1").fetchall() == [(6.0,)]
        for view in ("models.m__batch", "models.m__version"):
            assert connection.execute(f"SELECT rows FROM {view} WHERE batch IS NULL").fetchall() == []
        summing.store(connection, "own", summing.regression({"a": "integer"}))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT prediction FROM models.new WHERE a = 1")


def test_parallel_restore(database: Database, target: Database, friend: str, tmp_path: Path) -> None:
    directory = str(tmp_path / "dump")
    run(database, "pg_dump", "-F", "directory", "-j", "2", "-f", directory, "-d", database.dsn)
    run(database, "pg_restore", "--exit-on-error", "-j", "3", "-d", target.dsn, directory)
    with database.connect() as before, target.connect() as after:
        assert contents(after) == contents(before)
        assert after.execute("SELECT prediction FROM mine WHERE a = 1").fetchall() == [(101.0,)]
