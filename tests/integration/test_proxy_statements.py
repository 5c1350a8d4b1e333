"""Every statement of the corpus through the proxy, as the user wrote it: rows, names, types, tags, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from rewriter.scan import scan
from tests.fix_rewriter import Bench, Case, Lasting, Result, cases, compare, files, pending

PENDING = pending()
#: statements that need a message of their own are no prepared ones
_SIMPLE_ONLY = {"explain", "declare", "prepare", "copy"}


class Prepared(Bench):
    """Runs statements by the extended protocol, under a name."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Result]:
        """Run SQL with ``$1`` for parameters."""
        tokens = scan(statement)
        if tokens[0].text in _SIMPLE_ONLY or any(token.text == ";" for token in tokens[:-1]):
            return super().execute(statement, parameters)
        with psycopg.RawCursor(self.connection) as cursor:
            cursor.execute(statement.encode(), parameters or None, prepare=True)
            columns = [(column.name, column.type_display) for column in cursor.description or ()]
            rows = cursor.fetchall() if cursor.description is not None else []
            return [Result(columns, rows, cursor.statusmessage)]


def runnable(bench: Bench, name: str) -> list[Case]:
    return [case for case in cases(name) if str(case) not in PENDING and bench.knows(case)]


@pytest.mark.parametrize("name", files())
@pytest.mark.parametrize("kind", [Bench, Prepared])
def test_rows_names_types_and_tags(lasting: Lasting, proxied: Lasting, name: str, kind: type[Bench]) -> None:
    for case in runnable(lasting.get(), name):
        if not case.meaning:
            continue
        expected = lasting.get().mean(case)
        through = proxied.get()
        bench = kind(through.connection, through.catalog)
        with bench.undone():
            for statement in case.before:
                bench.execute(statement)
            got = [bench.execute(case.statement, case.parameters), *map(bench.execute, case.then)]
        compare(case, f"{case} through the proxy", got, expected, case.statement)


def run(bench: Bench, case: Case) -> None:
    with bench.undone():
        for statement in case.before:
            bench.execute(statement)
        bench.execute(case.statement, case.parameters)


@pytest.mark.parametrize("name", files())
def test_what_is_refused(lasting: Lasting, proxied: Lasting, name: str) -> None:
    for case in runnable(lasting.get(), name):
        if case.refused is None and case.fails is None:
            continue
        bench = proxied.get()
        with pytest.raises(psycopg.Error) as caught:
            run(bench, case)
        if case.fails is not None:
            assert caught.value.sqlstate == case.fails, case
            continue
        sqlstate, at = case.refused or ("", "")
        assert caught.value.sqlstate == sqlstate, (case, caught.value)
        assert caught.value.diag.statement_position == str(case.statement.index(at) + 1), (case, caught.value)
        # the session and the transaction's end are as after any other error
        assert bench.alive()
