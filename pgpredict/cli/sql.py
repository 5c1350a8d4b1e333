"""Commands for statements: rewrite, query."""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

import psycopg
import rich_click as click
from psycopg.rows import TupleRow
from psycopg.types.string import TextLoader
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from pgpredict.catalog import ConnectionCatalog
from pgpredict.connection import connect
from pgpredict.errors import InvalidInput, PgpredictError
from pgpredict.pointing import pointer
from rewriter import RULES, RewriteError, Rewritten, Setting, split
from rewriter import rewrite as rewrite_statement
from rewriter.plan import Way

from .console import make_console
from .examples import examples

#: bytes of a value shown in a table; --csv and --json give all of it
WIDEST = 200
#: what PostgreSQL writes is shown as it is: Python has no infinite dates, none before year 1, and another
#: notation for intervals and ranges
TYPES_OF_TEXT = (
    *("date", "time", "timetz", "timestamp", "timestamptz", "interval"),
    *("int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"),
    *("int4multirange", "int8multirange", "nummultirange"),
    *("datemultirange", "tsmultirange", "tstzmultirange"),
)

console = make_console()
messages = Console(stderr=True)

statement_argument = click.argument("statement", metavar="[SQL]", required=False)
file_option = click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False),
    help="Read the statements from a file; - for standard input.",
)
dsn_option = click.option(
    "--dsn", help="Where to connect; by default $PGPREDICT_DSN, PG*, or the local server."
)
way_option = click.option(
    "--way",
    type=click.Choice(["auto", *get_args(Way)]),
    help="Take this way wherever it can be; by default as the session's pgpredict.way says, else auto.",
)
without_option = click.option(
    "--without",
    metavar="RULE",
    multiple=True,
    type=click.Choice([*(rule.__name__ for rule in RULES), "all"]),
    help="Switch a rule off: " + ", ".join(rule.__name__ for rule in RULES) + "; or all.",
)


class StatementError(PgpredictError):
    """An error in a statement, shown under the user's own text.

    :param position: 1-based position in ``statement``
    """

    def __init__(
        self, message: str, hint: str | None, sqlstate: str | None, statement: str, position: int | None
    ) -> None:
        super().__init__(message + pointer(statement, position), hint)
        self.sqlstate = sqlstate or type(self).sqlstate


@click.command(
    epilog=examples(
        'pgpredict rewrite "SELECT flight, PREDICT(late_arrival) FROM departures"',
        "pgpredict rewrite -f query.sql",
    )
)
@statement_argument
@file_option
@way_option
@without_option
@dsn_option
def rewrite(
    statement: str | None,
    file: str | None,
    way: Way | Literal["auto"] | None,
    without: Sequence[str],
    dsn: str | None,
) -> None:
    """Print the SQL that PostgreSQL is given for a statement with PREDICT.

    Nothing is run. A statement without PREDICT is printed as it is.
    """
    text, setting = statement_text(statement, file), _setting(way, without)
    with connect(dsn, autocommit=True) as connection:
        catalog = ConnectionCatalog(connection)
        parts = [_rewritten(text, start, part, catalog, setting) for start, part in split(text)]
    rewritten = "".join(part.sql for part in parts)
    if console.is_terminal:
        console.print(
            Syntax(rewritten.rstrip("\n"), "postgresql", word_wrap=True, background_color="default")
        )
    else:
        click.echo(rewritten, nl=not rewritten.endswith("\n"))


@click.command(
    epilog=examples(
        'pgpredict query "SELECT flight, PREDICT(late_arrival) FROM departures LIMIT 5"',
        "pgpredict query --csv -f query.sql > late.csv",
    )
)
@statement_argument
@file_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with a header.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list with one object a row.")
@click.option(
    "--limit-display",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Rows shown of a table.",
)
@way_option
@without_option
@dsn_option
def query(
    statement: str | None,
    file: str | None,
    as_csv: bool,
    as_json: bool,
    limit_display: int,
    way: Way | Literal["auto"] | None,
    without: Sequence[str],
    dsn: str | None,
) -> None:
    """Run SQL with PREDICT and print its rows.

    Several statements are run one after the other, each in a transaction of its own unless they say BEGIN.
    """
    if as_csv and as_json:
        raise InvalidInput("--csv and --json exclude each other")
    text, setting = statement_text(statement, file), _setting(way, without)
    with connect(dsn, autocommit=True) as connection:
        catalog = ConnectionCatalog(connection)
        for start, part in split(text):
            started = time.perf_counter()
            rewritten = _rewritten(text, start, part, catalog, setting)
            with connection.cursor() as cursor:
                for name in TYPES_OF_TEXT:
                    cursor.adapters.register_loader(name, TextLoader)
                _execute(cursor, rewritten, text, start)
                seconds = time.perf_counter() - started
                _print(cursor, "csv" if as_csv else "json" if as_json else "table", limit_display, seconds)


def statement_text(statement: str | None, file: str | None) -> str:
    """Return the statements that the user gave, as an argument, in a file or on standard input.

    :raises InvalidInput: for none, for both, or for a file that cannot be read
    """
    if (statement is None) == (file is None):
        raise InvalidInput(
            "give one statement, or --file" if statement is None else "give a statement or --file, not both",
            hint="- reads standard input",
        )
    if "-" in (statement, file):
        return sys.stdin.read()
    if statement is not None:
        return statement
    try:
        return Path(file or "").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"cannot read {file!r}: {reason}") from error


def _setting(way: Way | Literal["auto"] | None, without: Sequence[str]) -> Setting:
    return Setting(way, frozenset(without) if without else None)


def _rewritten(text: str, start: int, part: str, catalog: ConnectionCatalog, setting: Setting) -> Rewritten:
    try:
        return rewrite_statement(part, catalog, setting=setting)
    except RewriteError as error:
        position = None if error.position is None else start + error.position
        raise StatementError(error.message, error.hint, error.sqlstate, text, position) from error


def _execute(cursor: psycopg.Cursor[TupleRow], rewritten: Rewritten, text: str, start: int) -> None:
    try:
        cursor.execute(rewritten.sql.encode(cursor.connection.info.encoding))
    except psycopg.Error as error:
        if error.sqlstate is None and not cursor.connection.closed and _copies(cursor.connection):
            cursor.connection.close()  # the server waits for a partner in copying
            raise StatementError(
                "COPY to or from the client is not run here",
                "take --csv, or: pgpredict rewrite '...' | pgpredict psql -f -",
                "0A000",
                text,
                None,
            ) from error
        diagnostic = error.diag
        reported = diagnostic.statement_position
        origin = None if reported is None else rewritten.origin(int(reported))
        message = diagnostic.message_primary or str(error).strip()
        if diagnostic.message_detail:
            message += f" ({diagnostic.message_detail})"
        position = None if origin is None else start + origin
        raise StatementError(message, diagnostic.message_hint, error.sqlstate, text, position) from error


def _copies(connection: psycopg.Connection) -> bool:
    """Tell whether a COPY waits for the client."""
    return connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE


def _print(cursor: psycopg.Cursor[TupleRow], form: str, limit: int, seconds: float) -> None:
    if cursor.description is None:
        if cursor.statusmessage:
            messages.print(cursor.statusmessage, highlight=False)
        return
    names = [column.name for column in cursor.description]
    if form == "csv":
        _print_csv(names, cursor, sys.stdout)
    elif form == "json":
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise InvalidInput(
                f"two columns are called {double!r}, an object of JSON has one",
                hint="give one an alias with AS",
            )
        rows = [{name: _finite(value) for name, value in zip(names, row, strict=True)} for row in cursor]
        click.echo(json.dumps(rows, indent=2, default=_json, ensure_ascii=False))
    else:
        _print_table(names, cursor, limit)
        messages.print(_summary(cursor.rowcount, seconds), highlight=False)


def _summary(rows: int, seconds: float) -> str:
    time_taken = f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
    return f"{rows:,} {'row' if rows == 1 else 'rows'} in {time_taken}"


def _print_csv(names: Sequence[str], rows: Iterator[TupleRow], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if value is None else _plain(value) for value in row])


def _print_table(names: Sequence[str], cursor: psycopg.Cursor[TupleRow], limit: int) -> None:
    if list(names) == ["QUERY PLAN"]:
        # indentation is the meaning of a plan: no frame, no folding
        for (line,) in cursor:
            console.print(_plain(line), markup=False, highlight=False, soft_wrap=True)
        return
    rows = cursor.fetchmany(limit) if limit else []
    table = Table()
    for position, name in enumerate(names):
        values = [row[position] for row in rows if row[position] is not None]
        numeric = bool(values) and all(
            isinstance(value, int | float) and value is not True for value in values
        )
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)
    if cursor.rowcount > len(rows):
        messages.print(f"{cursor.rowcount - len(rows):,} more; --limit-display shows them", highlight=False)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("NULL", style="dim")
    text = _plain(value) if not isinstance(value, float) else f"{value:.6g}"
    return Text(text if len(text) <= WIDEST else text[:WIDEST] + "…")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, dict | list):
        return json.dumps(value, default=_json, ensure_ascii=False)
    return str(value)


def _finite(value: Any) -> Any:
    """Return a value with texts for what JSON has no numbers for, as PostgreSQL's to_json has them."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def _json(value: Any) -> Any:
    return _plain(value)
