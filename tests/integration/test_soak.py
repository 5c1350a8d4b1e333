"""The soak runs, for some seconds."""

from __future__ import annotations

from benchmarks.soak import soak
from benchmarks.soak_clients import ACTIONS
from tests.fix_server import Database


def test_a_few_seconds_of_everything(database: Database) -> None:
    said: list[str] = []
    findings = soak(database.dsn, 10, 4, 7, said.append)
    assert not findings.wrong, "\n".join(findings.wrong)
    assert findings.done.total() > len(ACTIONS)
    assert said
