"""``pgpredict rewrite`` and ``pgpredict query``."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from tests.fix_server import Database


def run(database: Database, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    dsn = make_conninfo(database.dsn, options="-csearch_path=d,public")
    command = [sys.executable, "-m", "pgpredict", arguments[0], "--dsn", dsn, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=240, check=False)


def test_rewrite_prints_what_postgresql_gets(statements_database: Database, tmp_path: Path) -> None:
    statement = "SELECT PREDICT(delay) FROM flights -- all\n"
    given = run(statements_database, "rewrite", "--way", "batch", statement)
    assert "delay__batch" in given.stdout
    assert given.returncode == 0, given.stderr
    (tmp_path / "q.sql").write_text(statement)
    from_file = run(statements_database, "rewrite", "--way", "batch", "-f", str(tmp_path / "q.sql"))
    assert from_file.stdout == given.stdout
    from_stdin = run(statements_database, "rewrite", "--way", "batch", "-", stdin=statement)
    assert from_stdin.stdout == given.stdout
    assert run(statements_database, "rewrite", "SELECT 1 -- PREDICT\n").stdout == "SELECT 1 -- PREDICT\n"


def test_query_runs_statements_in_order(statements_database: Database) -> None:
    statements = "CREATE TEMP TABLE t AS SELECT *, PREDICT(delay) AS p FROM flights; SELECT count(p) FROM t;"
    result = run(statements_database, "query", "--csv", statements)
    assert result.stdout == "count\n60\n", result.stderr


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_query_for_scripts(statements_database: Database, form: str) -> None:
    statement = (
        "SELECT flight, note, PREDICT(late USING *, NULL AS temp) FROM flights ORDER BY flight LIMIT 4"
    )
    result = run(statements_database, "query", form, statement)
    rows = json.loads(result.stdout) if form == "--json" else list(csv.DictReader(io.StringIO(result.stdout)))
    assert [str(row["flight"]) for row in rows] == ["1", "2", "3", "4"]
    assert all(row["predict"] in (True, False, "true", "false") for row in rows)


def test_query_shows_a_table_and_what_it_leaves_out(statements_database: Database) -> None:
    result = run(statements_database, "query", "--limit-display", "2", "SELECT PREDICT(delay) FROM flights")
    assert "predict" in result.stdout
    assert "58 more" in result.stderr
    assert "60 rows" in result.stderr


def test_query_leaves_a_plan_as_it_is(statements_database: Database) -> None:
    statement = "EXPLAIN (COSTS OFF) SELECT PREDICT(delay) FROM flights"
    result = run(statements_database, "query", "--way", "batch", statement)
    assert re.search(r"^ +->  Nested Loop$", result.stdout, re.MULTILINE), result.stderr
    assert "Foreign Scan" in result.stdout


@pytest.mark.parametrize(
    ("statement", "caret"),
    [
        ("SELECT 1;\nSELECT PREDICT(dely)\nFROM flights",
         "LINE 2: SELECT PREDICT(dely)\n                       ^\n"),
        ("SELECT 1;\nSELECT PREDICT(delay),\n  nope FROM flights",
         "LINE 3:   nope FROM flights\n          ^\n"),
    ],
)  # fmt: skip
def test_errors_stand_under_the_users_text(statements_database: Database, statement: str, caret: str) -> None:
    result = run(statements_database, "query", statement)
    assert result.returncode == 1
    assert caret in result.stderr
    assert "Traceback" not in result.stderr


def test_one_source_of_statements_is_needed(statements_database: Database) -> None:
    for arguments in (["query"], ["query", "SELECT 1", "-f", "x"], ["rewrite", "-f", "no such file"]):
        result = run(statements_database, *arguments)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr


def test_values_are_shown_as_postgresql_writes_them(statements_database: Database) -> None:
    statement = (
        "SELECT date 'infinity' AS a, date '0044-03-15 BC' AS b, timestamp '12026-01-01' AS c,"
        " interval '1 year 3 mons' AS d, ARRAY[date '-infinity'] AS e, int4range(1, 3) AS f"
    )
    result = run(statements_database, "query", "--json", statement)
    assert json.loads(result.stdout) == [
        {
            "a": "infinity",
            "b": "0044-03-15 BC",
            "c": "12026-01-01 00:00:00",
            "d": "1 year 3 mons",
            "e": ["-infinity"],
            "f": "[1,3)",
        }
    ], result.stderr


def test_json_is_json(statements_database: Database) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    statement = "SELECT float8 'nan' AS a, ARRAY[float8 '-inf', 1] AS b"
    result = run(statements_database, "query", "--json", statement)
    assert json.loads(result.stdout, parse_constant=refuse) == [{"a": "NaN", "b": ["-Infinity", 1.0]}]
    lost = run(statements_database, "query", "--json", "SELECT 1 AS a, 2 AS a")
    assert (lost.returncode, lost.stdout) == (1, "")
    assert "two columns are called 'a'" in lost.stderr


@pytest.mark.parametrize("statement", ["COPY flights TO STDOUT", "COPY flights FROM STDIN"])
def test_copy_says_what_to_do(statements_database: Database, statement: str) -> None:
    result = run(statements_database, "query", statement)
    assert result.returncode == 1
    assert result.stderr.startswith("error: COPY to or from the client is not run here\nhint: ")
