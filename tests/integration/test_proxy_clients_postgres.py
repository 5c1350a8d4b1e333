"""pgbench, pg_dump and pg_restore through the proxy, each server's own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fix_clients import Place, Programs

TABLES = """
CREATE TABLE t (id int PRIMARY KEY, a float8, name text);
INSERT INTO t SELECT i, i, repeat('x', i) FROM generate_series(1, 5) AS i;
COMMENT ON TABLE t IS 'PREDICT (this)';
"""
PGBENCH = {
    "plain": "SELECT 1 AS predict;\nBEGIN;\nINSERT INTO done VALUES (1, 10);\nEND;\n",
    "predict": r"""\set a random(1, 1000)
SELECT PREDICT(weight USING :a::float8 AS a) AS p \gset
BEGIN;
INSERT INTO done VALUES (:a, :p);
INSERT INTO done SELECT :a, PREDICT(weight USING :a::float8 AS a);
END;
""",
    "pipeline": r"""\set a random(1, 1000)
\startpipeline
SELECT 1;
INSERT INTO done SELECT :a, PREDICT(weight USING :a::float8 AS a);
SELECT PREDICT(weight) FROM (SELECT :a::float8 AS a) AS s;
INSERT INTO done SELECT :a, PREDICT(weight USING :a::float8 AS a);
\endpipeline
""",
}


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(programs: Programs, place: Place, tmp_path: Path, mode: str) -> None:
    if not (programs.directory / "pgbench").exists():
        pytest.skip("this server comes without pgbench")
    with place.direct.connect() as connection:
        connection.execute("CREATE TABLE done (a float8, p float8)")
        pipelines = mode != "simple" and connection.info.server_version >= 140000
    scripts = [name for name in PGBENCH if name != "pipeline" or pipelines]
    for name in scripts:
        (tmp_path / name).write_text(PGBENCH[name])
    files = [word for name in scripts for word in ("-f", str(tmp_path / name))]
    said = programs.output(
        "pgbench", place.through, "-n", "-M", mode, "-c", "4", "-j", "2", "-t", "40", *files
    )
    assert re.search(r"actually processed: 160/160\b", said), said
    with place.direct.connect() as connection:
        count, wrong = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE p <> 10 * a) FROM done"
        ).fetchone() or (0, 0)
        assert count > 160
        assert wrong == 0


def test_pgbench_s_own_scripts(programs: Programs, place: Place) -> None:
    if not (programs.directory / "pgbench").exists():
        pytest.skip("this server comes without pgbench")
    programs.output("pgbench", place.through, "-i", "-q", "-I", "dtGvp")  # rows made by the server
    programs.output("pgbench", place.through, "-i", "-q", "-I", "dtgp")  # and by COPY
    for builtin in ("select-only", "tpcb-like"):
        said = programs.output(
            "pgbench", place.through, "-b", builtin, "-M", "prepared", "-c", "2", "-t", "50"
        )
        assert "actually processed: 100/100" in said


def test_pg_dump_and_pg_restore(programs: Programs, place: Place, tmp_path: Path) -> None:
    """The whole database goes to another one, models with it; as the superuser, for the extension."""
    with place.direct.connect() as connection:
        connection.execute(TABLES)
    cluster = place.database.server.cluster
    assert cluster is not None
    direct, through = (replace(way, user="pgpredict", password=cluster.password) for way in place.ways)
    dumps = [programs.output("pg_dump", way) for way in (direct, through)]
    assert unrestricted(dumps[0]) == unrestricted(dumps[1])
    programs.output("pg_dump", through, "-Fd", "-j", "2", "-f", tmp_path / "dump")
    name = place.database.name + "_restored"
    with place.database.server.admin() as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            restored = replace(through, dbname=name)
            programs.output("pg_restore", restored, "-j", "2", "-d", name, tmp_path / "dump")
            assert unrestricted(programs.output("pg_dump", restored)) == unrestricted(dumps[0])
            with restored.connect() as connection:
                rows = connection.execute("SELECT id, PREDICT(weight) FROM t ORDER BY id LIMIT 2").fetchall()
            assert rows == [(1, 10.0), (2, 20.0)]
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def unrestricted(dump: str) -> str:
    """A dump without the random words that newer releases put at its ends."""
    return re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.MULTILINE)
