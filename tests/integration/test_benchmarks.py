"""The benchmarks run, on few rows: what they measure must stay possible. No speed is asserted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from benchmarks import batch, memory, planning, proxy, report, rewriting, single, suite
from benchmarks.flights import MODELS, SCHEMA, flights
from benchmarks.workspace import deployed, rewritten, workspace
from tests.fix_server import Database, Server

ROWS = 3_000


def test_every_measurement(database: Database) -> None:
    said: list[str] = []
    with database.connect() as connection:
        with workspace(connection, ROWS, said.append):
            for case in batch.CASES:
                statement = rewritten(connection, batch.predict_sql(case), "batch")
                findings = batch.compare(
                    connection, case, statement, deployed(connection, case.model), ROWS, 1
                )
                assert [finding.subject[:3] for finding in findings] == [
                    "(a)", "(a)", "(b)", "(c)", "(d)"
                ]  # fmt: skip
            points = single.rewritten_points(connection)
            assert len(single.point(database.dsn, ROWS, points, points=20)) == 1 + len(points)
            assert len(single.first_prediction(database.dsn, points, runs=1)) == 1 + len(points)
            check_memory(database, connection)
        left = connection.execute(
            "SELECT to_regnamespace('bench'), (SELECT count(*) FROM ml.models)"
        ).fetchone()
    assert left == (None, 0)
    assert len(said) == 1 + len(batch.CASES)


def check_memory(database: Database, connection: psycopg.Connection) -> None:
    if database.server.cluster is None:
        return  # a server given by its dsn may be on another machine
    assert memory.backend_memory(database.dsn).ratio >= 1
    finding = memory.sharing(database.dsn, database.server.cluster.home.runtime_socket, count=3)
    assert finding.ours.startswith("1 copy")
    assert finding.met
    statement = rewritten(connection, batch.predict_sql(batch.LINEAR, times=2), "batch")
    many = memory.many_rows(database.dsn, statement, batch.scan_sql(batch.LINEAR, times=2), "rows")
    assert many.met


def test_the_proxy(server: Server) -> None:
    if server.cluster is None:
        pytest.skip("a server given by its dsn may have no pgbench")
    said: list[str] = []
    found = proxy.compare(
        server.cluster, 0.5, 1, said.append, clients=(2,), rows=1_000, idle=3, points=20, scale=1
    )
    subjects = [finding.subject for finding in found["The proxy"]]
    for start in ("added to the p50", "SELECT by key, 2", "COPY", "PREDICT of one row", "memory"):
        assert any(subject.startswith(start) for subject in subjects), (start, subjects)
    # what is added is a difference: beside other work it may come out below zero
    added = ("added", "memory")
    assert all(finding.ratio > 0 for finding in found["The proxy"] if not finding.subject.startswith(added))


LIBRARIES = f"""
import json, sys
from benchmarks import orm
from pgpredict.connection import connect

with connect(sys.argv[1], autocommit=True) as connection:
    found = orm.compare(connection, sys.argv[1], {ROWS}, 1, 5, lambda line: None)
print(json.dumps([[finding.subject for finding in found[title]] for title in (orm.HOOKS, orm.BATCH)]))
"""


@pytest.mark.one_server
def test_libraries(database: Database) -> None:
    # settings of Django's are of a process
    words = [sys.executable, "-c", LIBRARIES, database.dsn]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert not ended.returncode, ended.stderr
    hooks, batches = json.loads(ended.stdout)
    with database.connect() as connection:
        version = connection.info.server_version
        left = connection.execute(
            "SELECT to_regnamespace('bench'), (SELECT count(*) FROM ml.models)"
        ).fetchone()
    assert left == (None, 0)
    # two of each of three drivers; four models against two ways, which gave the same
    expected = {"SQLAlchemy": (6, 8), "Django": (2, 8) if version >= 14_00_00 else (0, 0)}
    for library, counts in expected.items():
        assert counts == tuple(sum(s.startswith(library) for s in subjects) for subjects in (hooks, batches))


def test_all_ways_predict_the_same(database: Database) -> None:
    with database.connect() as connection, workspace(connection, ROWS, lambda line: None):
        for case in batch.CASES:
            model = deployed(connection, case.model)
            total = batch.in_memory(case, model, batch.read_all(connection, case), ROWS)
            ways = {
                "predict": batch.single(connection, rewritten(connection, batch.predict_sql(case), "batch")),
                "chosen": batch.single(connection, rewritten(connection, batch.predict_sql(case))),
                "text": batch.by_fetch(connection, case, model, binary=False),
                "binary": batch.by_fetch(connection, case, model, binary=True),
                "copy": batch.by_copy(connection, case, model),
                "row": batch.by_row(connection, case, ROWS),
            }
            assert ways == pytest.approx(dict.fromkeys(ways, total), rel=1e-9)


# it computes for half a minute, which a busy machine makes minutes of
@pytest.mark.timeout(900)
def test_statements_on_the_flights(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "SECONDS", 0)
    statements = suite.statements()
    assert len(statements) == 20
    said: list[str] = []
    with database.connect() as connection:
        with flights(connection, said.append):
            for statement in statements:
                # both ways must give the same, or this raises
                assert suite.measure(connection, statement, 1).ratio > 0
            assert {finding.subject.split(":")[0] for finding in planning.rules(connection, 1)}
            assert len(planning.ways(connection, 1)) <= 2
            assert len(rewriting.measure(connection, calls=3)) == 4
        left = connection.execute(
            "SELECT to_regnamespace(%s), (SELECT count(*) FROM ml.models), current_setting('search_path')",
            [SCHEMA],
        ).fetchone()
    assert left == (None, 0, '"$user", public')
    assert len(said) == 1 + len(MODELS)


def test_ways_that_differ_are_not_compared(database: Database) -> None:
    with database.connect() as connection:
        one, two = suite.Way("SELECT 1"), suite.Way("SELECT 2")
        with pytest.raises(AssertionError, match="1 rows differ of 1"):
            suite.same(connection, suite.Statement("s", "s", one, two), one, two)


def test_results_go_between_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    old = "old\n\n### Other\n\nkept\n\n### Title\n\ngone"
    document.write_text(f"before\n{report.BEGIN}\n{old}\n{report.END}\nafter\n")
    findings = [report.Finding("what", "1 s", "3 s", 3.0, "times as fast", "≥ 2", True)]
    report.write(document, "where\n", {"Title": report.markdown("Title", findings, "today")})
    text = document.read_text()
    assert "old" not in text
    assert "gone" not in text
    assert "where\n\n### Other\n\nkept\n\n### Title\n\ntoday\n\n| what" in text
    assert "| what | 1 s | 3 s | 3.00 times as fast | ≥ 2 | met |" in text
    assert re.fullmatch(r"before\n<!--.*-->\nafter\n", text, re.DOTALL)


def test_the_document_has_the_markers() -> None:
    text = report.DOCUMENT.read_text()
    assert text.count(report.BEGIN) == text.count(report.END) == 1
