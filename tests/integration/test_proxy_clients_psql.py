"""psql through the proxy, each server's own."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from tests.fix_clients import Address, Place, Programs, run
from tests.killing import PATIENCE, waiting_backend

TABLES = r"""
CREATE TABLE t (id int PRIMARY KEY, a float8, name text);
INSERT INTO t SELECT i, i, repeat('x', i) FROM generate_series(1, 5) AS i;
CREATE VIEW v AS SELECT a AS predict, name FROM t;
COMMENT ON VIEW v IS 'PREDICT (this)';
"""


def psql(programs: Programs, address: Address, script: str, path: Path, *options: str) -> str:
    """What psql says to a script, errors included."""
    file = path / "script.sql"
    file.write_text(script)
    ended = programs.run("psql", address, "-X", "-q", *options, "-f", file)
    return ended.stdout + ended.stderr.replace(f"psql:{file}:", "")


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
    command = [str(programs.directory / "psql"), "-X", "-c", "SELECT pg_sleep(120), 'PREDICT'"]
    environment = {**place.through.environment, **programs.variables}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        waiting_backend(place.database.dsn, "PgSleep")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert "canceling statement due to user request" in said
