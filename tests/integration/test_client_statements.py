"""Every statement of the corpus through cursors that rewrite, as the user wrote it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

import pgpredict.psycopg
from rewriter.scan import scan
from tests.fix_rewriter import Bench, Case, Lasting, Result, cases, compare, files, pending

PENDING = pending()


class Hooked(Bench):
    """Runs statements by a cursor that rewrites."""

    cursor = pgpredict.psycopg.RawCursor


class Named(Bench):
    """Runs statements with psycopg's placeholders, and per cent signs doubled."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Result]:
        """Run SQL, with ``%(p1)s`` in the place of ``$1``."""
        if re.match(r"\s*(COPY|PREPARE)\b", statement, re.IGNORECASE) or ";" in statement.rstrip()[:-1]:
            return Hooked(self.connection, self.catalog).execute(statement, parameters)
        pieces, at = [], 0
        for token in scan(statement):
            if token.kind == "param":
                pieces += [statement[at : token.start].replace("%", "%%"), f"%(p{token.text[1:]})s"]
                at = token.end
        pieces.append(statement[at:].replace("%", "%%"))
        values = {f"p{number}": value for number, value in enumerate(parameters, 1)}
        kind = pgpredict.psycopg.Cursor if values else pgpredict.psycopg.ClientCursor
        with kind(self.connection) as cursor:
            cursor.execute("".join(pieces).encode(), values)
            columns = [(column.name, column.type_display) for column in cursor.description or ()]
            rows = cursor.fetchall() if cursor.description is not None else []
            return [Result(columns, rows, cursor.statusmessage)]


def runnable(bench: Bench, name: str) -> list[Case]:
    return [case for case in cases(name) if str(case) not in PENDING and bench.knows(case)]


@pytest.mark.parametrize("name", files())
@pytest.mark.parametrize("kind", [Hooked, Named])
def test_rows_names_types_and_tags(lasting: Lasting, name: str, kind: type[Bench]) -> None:
    for case in runnable(lasting.get(), name):
        if not case.meaning:
            continue
        plain = lasting.get()
        expected = plain.mean(case)
        bench = kind(plain.connection, plain.catalog)
        with bench.undone():
            for statement in case.before:
                bench.execute(statement)
            got = [bench.execute(case.statement, case.parameters), *map(bench.execute, case.then)]
        compare(case, f"{case} through a cursor of ours", got, expected, case.statement)


def run(bench: Bench, case: Case) -> None:
    with bench.undone():
        for statement in case.before:
            bench.execute(statement)
        bench.execute(case.statement, case.parameters)


@pytest.mark.parametrize("name", files())
def test_what_is_refused(lasting: Lasting, name: str) -> None:
    for case in runnable(lasting.get(), name):
        if case.refused is None and case.fails is None:
            continue
        plain = lasting.get()
        bench = Hooked(plain.connection, plain.catalog)
        with pytest.raises(psycopg.Error) as caught:
            run(bench, case)
        if case.fails is not None:
            assert caught.value.sqlstate == case.fails, case
            continue
        sqlstate, at = case.refused or ("", "")
        assert caught.value.sqlstate == sqlstate, (case, caught.value)
        assert caught.value.diag.statement_position == str(case.statement.index(at) + 1), (case, caught.value)
        assert type(caught.value) is psycopg.errors.lookup(sqlstate)
