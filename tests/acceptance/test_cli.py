"""A user's story on the command line: help with examples, and every mistake answered in a sentence."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from pgpredict.cli.app import COMMANDS, app
from tests.fix_flights import Flights


def pgpredict(*words: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(
        [sys.executable, "-m", "pgpredict", *words],
        env={**inherited, "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def assert_answered(done: subprocess.CompletedProcess[str], status: int, message: str) -> None:
    said = " ".join(done.stderr.split())
    assert done.returncode == status, said
    assert message in said
    assert "Traceback" not in said + done.stdout
    # ours, or the one of a wrong usage
    assert "error: " in said or "Error" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    _, found, examples = result.output.partition("Examples:")
    assert found
    assert re.search(rf"pgpredict {command}\b", examples)


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"│ {command}\b", result.output), command


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ((), 2, "Usage: pgpredict"),
        (("predict",), 2, "No such command 'predict'"),
        (("models", "--dsn", "this is no dsn"), 1, "the connection string is invalid"),
        (("models", "--dsn", "postgresql://x@127.0.0.1:1/x"), 1, "cannot connect"),
        (("query", "SELECT 1"), 1, "there is no local server yet hint: run 'pgpredict up'"),
        (("psql",), 1, "there is no local server yet"),
        (("install", "host=/nonexistent"), 1, "cannot connect"),
        (("train", "m", "--table", "t"), 2, "Missing option '--target'"),
        (("train", "m", "--target", "x", "--table", "t", "--algorithm", "magic"), 2, "'magic' is not one of"),
        (("import", "m", "nowhere.onnx"), 2, "'nowhere.onnx' does not exist"),
        (("deploy", "m", "one"), 2, "'one' is not a valid integer"),
        (("runtime", "--memory", "lots", "--socket", "/tmp/x/y.sock"), 1, "'lots'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_without_a_server(tmp_path: Path, words: tuple[str, ...], status: int, message: str) -> None:
    done = pgpredict(*words, environment={"PGPREDICT_HOME": str(tmp_path / "none")})
    if words:
        assert_answered(done, status, message)
    else:
        assert message in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"), [("PGPREDICT_DSN", "host=/nonexistent"), ("PGHOST", "/nonexistent")]
)
def test_a_server_that_the_environment_names(tmp_path: Path, variable: str, value: str) -> None:
    done = pgpredict("models", environment={"PGPREDICT_HOME": str(tmp_path / "none"), variable: value})
    assert_answered(done, 1, "cannot connect")
    assert f"hint: {variable}" in done.stderr


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_home_that_is_none(tmp_path: Path, command: str) -> None:
    (tmp_path / "thesis.tex").touch()
    done = pgpredict(command, environment={"PGPREDICT_HOME": str(tmp_path)})
    assert_answered(done, 1, "has other contents than a pgpredict server")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_mistakes_in_statements_and_names(flights: Flights, tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("this is no model")
    ridge = ("train", "m", "--target", "arr_delay", "--table", "flights", "--algorithm", "ridge")
    mistakes: list[tuple[tuple[str, ...], str]] = [
        (("query", "SELEC 1"), "syntax error at or near"),
        (("query", "SELECT PREDICT(nothing) FROM departures"), 'model "nothing" does not exist'),
        (("query", "SELECT PREDICT(late_arrival) FROM flights"), "misses features 'temp'"),
        (("query", "SELECT PROBABILITY(late_arrival FOR 'maybe') FROM departures"), "no class 'maybe'"),
        (("query", "-f", str(tmp_path / "none.sql")), "cannot read"),
        (("query",), "give one statement, or --file"),
        (("query", "--csv", "--json", "SELECT 1"), "exclude each other"),
        (("rewrite", "SELECT PREDICT(arrival_delay FOR 'x') FROM departures"), "LINE 1:"),
        (("deploy", "late_arrival", "99"), "no version 99"),
        (("rollback", "late_arrival"), "no earlier deployment"),
        (("import", "m", str(text)), "not an ONNX model"),
        (("export", "late_arrival", str(tmp_path / "no" / "x.onnx")), "cannot write"),
        ((*ridge, "--param", "alpha=much"), "alpha"),
        ((*ridge, "--param", "alpha=-1"), "alpha"),
        ((*ridge, "--param", "n_jobs=3"), "ridge has no parameter 'n_jobs'"),
        (
            ("train", "m", "--target", "x", "--query", "SELECT 1 AS x; DROP TABLE flights"),
            "more than one statement",
        ),
        (
            ("train", "m", "--target", "x", "--query", "SELEC 1 AS x"),
            'cannot be read: syntax error at or near "SELEC"',
        ),
        (("query", "COPY flights TO STDOUT"), "hint: take --csv"),
        (("query", "--json", "SELECT 1 AS a, 2 AS a"), "two columns are called 'a'"),
        (("train", "m", "--target", "x", "--query", "SELECT 1 AS a, 'y' AS x"), "1 rows"),
        (("models", "--dsn", f"{flights.database.dsn} user=nobody_of_that_name"), "cannot connect"),
    ]
    for words, message in mistakes:
        done = pgpredict(*words, environment={"PGPREDICT_DSN": flights.database.dsn})
        assert_answered(done, 1, message)


def test_answers_for_scripts(flights: Flights) -> None:
    environment = {"PGPREDICT_DSN": flights.database.dsn}
    listed = json.loads(pgpredict("models", "--json", environment=environment).stdout)
    assert sorted(model["name"] for model in listed) == ["arrival_delay", "late_arrival"]
    statement = "SELECT id, PREDICT(late_arrival) AS late FROM departures WHERE id < 4 ORDER BY id"
    found = json.loads(pgpredict("query", "--json", statement, environment=environment).stdout)
    text = pgpredict("query", "--csv", statement, environment=environment).stdout
    assert text == "id,late\n" + "".join(f"{row['id']},{row['late']}\n" for row in found)
    rewritten = pgpredict("rewrite", statement, environment=environment).stdout
    with flights.connect() as connection:
        rows = connection.execute(rewritten.encode()).fetchall()
    assert rows == [(row["id"], row["late"]) for row in found]
