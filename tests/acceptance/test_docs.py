"""Every example in the README and in docs/ is executed, against the flights of the demo.

``sql`` blocks run statement by statement through the rewriter. Lines ``$ pgpredict`` of ``console`` blocks
run as in a user's shell, ``$ psql`` is the server's own and goes through the proxy, and output that is shown
must have the same columns and as many rows: the numbers depend on the training rows, which are fewer here.
Where output has a line of ``...``, the other lines must occur in this order, whatever stands between them.
``python`` blocks run with a ``connection``, its ``dsn`` and ``url``, SQLAlchemy's ``engine_url`` and
``proxy_url``, a ``query``, a fitted ``pipeline`` and its ``rows`` at hand; they see each other's names.
Blocks marked ``text`` are not for running. A page's blocks run in order, in a database of their own. Commands
in indented blocks are not run; their options must exist.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import psycopg
import pytest
import sqlalchemy
from markdown_it import MarkdownIt
from psycopg.conninfo import conninfo_to_dict

from pgpredict.catalog import ConnectionCatalog
from pgpredict.cli.app import app
from pgpredict.demo import data
from rewriter import rewrite, split
from tests.fix_flights import Flights
from tests.fix_proxy import RunningProxy
from tests.pages import PAGES, named

RUNNABLE = ("sql", "console", "python")
CELLS = re.compile(r"[┃│]")
ELISION = "..."


def blocks(page: Path) -> Iterator[tuple[str, int, str]]:
    """Yield language, first line and text of a page's fenced blocks."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            yield token.info.strip(), (token.map or [0])[0] + 1, token.content


#: pages for a host and for a project, not for a database: test_operate.py and test_docs_django.py run them
OTHERS = ("operate.md", "django.md")
WITH_EXAMPLES = [
    page
    for page in PAGES
    if page.name not in OTHERS and any(language in RUNNABLE for language, _, _ in blocks(page))
]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=named)
def test_examples_run(own_flights: Flights, proxy: RunningProxy, page: Path, tmp_path: Path) -> None:
    with own_flights.connect() as connection:
        # as the demo leaves it
        data.depart(connection)
        data.arrive(connection)
    names: dict[str, Any] = {}
    with own_flights.connect() as connection, disposing(names):
        for language, line, content in blocks(page):
            where = f"{named(page)}:{line}"
            if language == "sql":
                run_sql(own_flights, content, where)
            elif language == "console":
                run_console(own_flights, proxy, content, where, tmp_path)
            elif language == "python":
                if not names:
                    names.update(python_names(connection, own_flights, proxy))
                # annotations are what they would be in a file of the user's
                exec(compile(content, where, "exec", dont_inherit=True), names)


@contextlib.contextmanager
def disposing(names: dict[str, Any]) -> Iterator[None]:
    """Close what the engines among these names have opened."""
    try:
        yield
    finally:
        for value in names.values():
            if isinstance(value, sqlalchemy.Engine):
                value.dispose()


def run_sql(flights: Flights, content: str, where: str) -> None:
    with flights.connect() as connection:
        for _, statement in split(content):
            rewritten = rewrite(statement, ConnectionCatalog(connection)).sql
            try:
                connection.execute(rewritten.encode())
            except Exception as error:
                raise AssertionError(f"{where}: {statement.strip()}\n{error}") from error


def run_console(flights: Flights, proxy: RunningProxy, content: str, where: str, directory: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ours = {**os.environ, "PGPREDICT_DSN": flights.database.dsn, "PATH": path}
    for command, shown in commands(content):
        words, environment = shlex.split(command), ours
        assert words[0] in ("pgpredict", "psql"), f"{where}: {command}"
        if words[0] == "psql":
            words[0], environment = psql(flights, proxy)
        result = subprocess.run(
            words, capture_output=True, text=True, env=environment, cwd=directory, timeout=300, check=False
        )
        assert result.returncode == 0, f"{where}: {command}\n{result.stdout}{result.stderr}"
        problem = f"{where}: {command}\n{result.stdout}"
        if ELISION in shown.splitlines():
            found = iter(line.strip() for line in result.stdout.splitlines())
            missing = [line for line in shown.splitlines() if line != ELISION and line.strip() not in found]
            assert not [line for line in missing if line.strip()], problem
        elif shown.strip():
            assert shape(result.stdout) == shape(shown), problem


def psql(flights: Flights, proxy: RunningProxy) -> tuple[str, dict[str, str]]:
    """Return the program, and an environment in which it goes through the proxy."""
    cluster = flights.database.server.cluster
    known = {"PGHOST": str(proxy.directory), "PGPORT": str(proxy.port), "PGDATABASE": flights.database.name}
    known["PGUSER"] = str(conninfo_to_dict(flights.database.dsn).get("user"))
    if cluster is None:
        return "psql", {**os.environ, **known}
    program, environment = cluster.psql_command()
    return str(program), {**environment, **known, "PGPASSWORD": ""}


def commands(content: str) -> Iterator[tuple[str, str]]:
    """Yield each command, which may span lines inside of its quotes, and the output shown under it."""
    for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        for count in range(1, len(lines) + 1):
            command = "".join(lines[:count])
            try:
                shlex.split(command)
            except ValueError:
                continue
            yield command, "".join(lines[count:])
            break


def shape(output: str) -> tuple[int, list[str]]:
    """Return the number of lines, and the column names of a table."""
    lines = [line for line in output.splitlines() if line.strip()]
    header = next((line for line in lines if "┃" in line), "")
    return len(lines), [cell.strip() for cell in CELLS.split(header)]


def url_of(dsn: str, scheme: str = "postgresql") -> str:
    """Return a connection string as a URL, which asyncpg and SQLAlchemy insist on."""
    parameters = conninfo_to_dict(dsn)
    query = {key: str(value) for key, value in parameters.items() if key not in ("user", "dbname")}
    return f"{scheme}://{parameters['user']}@/{parameters['dbname']}?{urlencode(query)}"


def python_names(
    connection: psycopg.Connection[Any], flights: Flights, proxy: RunningProxy
) -> dict[str, Any]:
    """Return what examples in Python find at hand."""
    import numpy as np
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(0)
    rows = {"age": generator.normal(40, 9, 50), "income": generator.normal(3000, 500, 50)}
    dsn = flights.database.dsn
    return {
        "__name__": "__main__",
        "connection": connection,
        "dsn": dsn,
        "url": url_of(dsn),
        "engine_url": url_of(dsn, "postgresql+psycopg"),
        "proxy_url": url_of(proxy.dsn(dsn), "postgresql+psycopg"),
        "pipeline": Ridge().fit(np.column_stack(list(rows.values())), rows["age"]),
        "rows": rows,
        "query": "SELECT id, carrier, origin, dep_delay, arr_delay >= 15 AS churned FROM departures "
        "WHERE arr_delay IS NOT NULL AND id % 50 = 0",
    }


def command_lines() -> Iterator[tuple[str, str]]:
    """Yield page and text of each command that is shown and not run."""
    for page in PAGES:
        for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
            if token.type == "code_block":
                for line in token.content.splitlines():
                    if line.startswith("pgpredict "):
                        yield named(page), line


@pytest.mark.parametrize(("page", "line"), list(command_lines()))
def test_commands_that_are_shown_exist(page: str, line: str) -> None:
    words = shlex.split(re.sub(r"[][]", "", line), comments=True)[1:]
    command = app.get_command(click.Context(app), words[0])
    assert command is not None, line
    # a wrong option is an error here
    command.make_parser(click.Context(command)).parse_args(words[1:])


def everything() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
