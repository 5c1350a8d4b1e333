"""PostgreSQL's own programs through the proxy: psql, pgbench, pg_dump and pg_restore, each server's own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.fix_clients import Address, Place, run

PREDICT = "SELECT PREDICT(weight USING 2.0::float8 AS a)"


@dataclass(frozen=True)
class Programs:
    """The programs of the server under test."""

    directory: Path
    variables: dict[str, str]

    def run(self, name: str, address: Address, *options: str | Path) -> subprocess.CompletedProcess[str]:
        return run([self.directory / name, *options], address, PSQLRC="/dev/null", **self.variables)

    def output(self, name: str, address: Address, *options: str | Path) -> str:
        """What it prints; it must not fail or complain."""
        ended = self.run(name, address, *options)
        assert ended.returncode == 0, ended.stderr + ended.stdout
        return ended.stdout


@pytest.fixture
def programs(place: Place) -> Programs:
    cluster = place.database.server.cluster
    assert cluster is not None
    variables = {
        name: value for name, value in cluster.psql_command()[1].items() if os.environ.get(name) != value
    }
    return Programs(cluster.install.bindir, variables)


def psql(programs: Programs, address: Address, script: str, path: Path, *options: str) -> str:
    """What psql says to a script, errors included."""
    file = path / "script.sql"
    file.write_text(script)
    ended = programs.run("psql", address, "-X", "-q", *options, "-f", file)
    return ended.stdout + ended.stderr.replace(f"psql:{file}:", "")


TABLES = r"""
CREATE TABLE t (id int PRIMARY KEY, a float8, name text);
INSERT INTO t SELECT i, i, repeat('x', i) FROM generate_series(1, 5) AS i;
CREATE VIEW v AS SELECT a AS predict, name FROM t;
COMMENT ON VIEW v IS 'PREDICT (this)';
"""
DESCRIBED = r"""
\l
\dn+
\dt+
\dv+ v
\d t
\d+ v
\df ml.*
\dx
\du
\dp models.*
\d models.weight
\d+ ml.model
SELECT id, predict, 'PREDICT' FROM t JOIN v USING (name) ORDER BY 1 \gdesc
SELECT 'PREDICT(x)' AS "PREDICT", predict FROM v LIMIT 0;
SELECT format('SELECT %s AS predict', i) FROM generate_series(1, 2) AS i \gexec
SELECT predict FROM nowhere;
SELECT * FROM v WHERE predict = 'x';
SELECT PREDICT FROM v WHERE;
\errverbose
SET client_min_messages = debug1;
SELECT 1 / (predict - 1) FROM v;
"""
OURS = r"""
\pset format unaligned
\pset tuples_only on
\set x 4.0
\set FETCH_COUNT 2
SELECT id, PREDICT(weight), name FROM t ORDER BY id;
\unset FETCH_COUNT
SELECT PREDICT(weight USING :x::float8 AS a) AS p \gset
\echo :p
SELECT id, PREDICT(weight) AS p, name FROM t \gdesc
PREPARE p(float8) AS SELECT PREDICT(weight USING $1 AS a);
EXECUTE p(1);
EXECUTE p(NULL);
\copy (SELECT PREDICT(weight) FROM t ORDER BY id LIMIT 2) TO STDOUT
BEGIN \; COMMIT \; SELECT PREDICT(weight) FROM t WHERE id = 1;
SELECT id, PREDICT(weihgt) FROM t;
\echo :SQLSTATE
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT PREDICT(weight USING nothing) FROM t;
UPDATE t SET a = PREDICT(weight) WHERE id = 1 RETURNING a;
COMMIT;
BEGIN;
DELETE FROM t;
\set ON_ERROR_ROLLBACK off
SELECT 1 / 0;
SELECT PREDICT(weight) FROM t;
ROLLBACK;
SELECT count(*) FROM t;
LISTEN channel;
NOTIFY channel, 'hello';
"""
TOLD = """1|10|x
2|20|xx
3|30|xxx
4|40|xxxx
5|50|xxxxx
40
id|integer
p|double precision
name|text
10
NaN
10
20
10
16: ERROR:  model "weihgt" does not exist
LINE 1: SELECT id, PREDICT(weihgt) FROM t;
                           ^
HINT:  did you mean weight?
42704
20: ERROR:  model 'weight' has no feature 'nothing'
LINE 1: SELECT PREDICT(weight USING nothing) FROM t;
                                    ^
HINT:  its features: a
10
26: ERROR:  division by zero
27: ERROR:  current transaction is aborted, commands ignored until end of transaction block
5
Asynchronous notification "channel" with payload "hello" received from server.
"""


def test_psql_describes_the_same(programs: Programs, place: Place, tmp_path: Path) -> None:
    psql(programs, place.direct, TABLES, tmp_path)
    direct, through = (psql(programs, way, DESCRIBED, tmp_path) for way in place.ways)
    assert through == direct
    assert "ERROR" in direct
    assert "LOCATION" in direct


def test_psql_predicts(programs: Programs, place: Place, tmp_path: Path) -> None:
    psql(programs, place.direct, TABLES, tmp_path)
    file = tmp_path / "script.sql"
    file.write_text(OURS)
    # both streams in one, in order
    command = f'exec "{programs.directory}/psql" -X -q -f "{file}" 2>&1'
    said = run(["sh", "-c", command], place.through, PSQLRC="/dev/null", **programs.variables).stdout
    said = re.sub(r" process with PID \d+", "", said.replace(f"psql:{file}:", ""))
    assert said == TOLD


def test_psql_cancels(programs: Programs, place: Place) -> None:
    command = [programs.directory / "psql", "-X", "-c", "SELECT pg_sleep(30), 'PREDICT'"]
    environment = {**place.through.environment, **programs.variables}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert "canceling statement due to user request" in said


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
    psql(programs, place.direct, TABLES, tmp_path)
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
