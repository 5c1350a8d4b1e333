"""Statements with PREDICT beside their plain meaning, and a database to run both in.

A file of ``tests/fixtures/rewriter`` holds statements of one theme::

    --> theme Filters
    --> form PREDICT(delay) = delay.predict(carrier, distance)
    --> statement
    SELECT flight FROM flights WHERE PREDICT(delay) > 100

Without ``--> means`` the meaning is the statement with each form in the place of its text; forms stand at the
top of a file, behind a theme, or behind the statement that they are for. Further lines of a statement:

``server 15``                     the oldest server that knows the statement
``needs d.remote``                a relation without which it is left out
``before SET ROLE reader``        what is run before it, in its transaction
``then SELECT * FROM target``     what is compared after it
``with 5, 'UA'``                  its parameters
``refused 0A000 at FOR UPDATE``   the rewriter refuses it, and the error points there
``fails 22004``                   the database refuses what was made of it

``pending.txt`` names the statements that do not work yet; they must fail. With ``@batch`` behind its name a
statement is not run in that way only.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
from psycopg import sql

from onnx_models import storing
from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.catalog import ConnectionCatalog
from rewriter import rewrite
from rewriter.scan import scan
from tests import graphs
from tests.fix_server import TEMPLATE, Database, Server

FIXTURES = Path(__file__).parent / "fixtures" / "rewriter"
READER = "rewriter_reader"
TRAINING = """
SELECT (ARRAY['UA', 'AA', 'B6', NULL])[1 + i % 4] AS carrier,
    CASE WHEN i % 13 > 0 THEN (i * 7919) % 1000 END AS distance,
    CASE WHEN i % 5 > 0 THEN (i * 31) % 97 + i % 10 / 10.0 END::float8 AS temp,
    i % 10 AS idle,
    CASE WHEN i % 9 > 0 THEN i % 50 * 1.25 END::numeric(10, 2) AS "Odd Name",
    (i * 13) % 100 AS "Distänz",
    {target} AS y
FROM generate_series(1, 600) AS i
"""
#: model -> (features, target, algorithm, its parameters, task)
MODELS: Mapping[str, tuple[str, str, str, dict[str, Any], str]] = {
    "late": (
        "carrier, distance, temp",
        "(i * 7919) % 1000 + (i % 4) * 200 > 700",
        "decision_tree",
        {},
        "auto",
    ),
    "delay": ("carrier, distance", "(i * 7919) % 1000 / 3 + (i % 4) * 40", "ridge", {}, "regression"),
    "fare": ("distance, temp", "(i * 7919) % 1000 * 0.37::float8 + (i * 31) % 97", "linear", {},
             "regression"),
    "risk": ("carrier, distance", "(i * 7919) % 1000 > 400 AND i % 4 < 2", "decision_tree",
             {"max_depth": "3"}, "auto"),
    "level": ("carrier, distance", "(ARRAY['low', 'mid''dle', 'höch'])[1 + (i * 7919) % 1000 / 334]",
              "logistic", {}, "auto"),
    "wood": ("carrier, distance", "(i * 7919) % 1000 / 3 + (i % 4) * 40", "random_forest",
             {"n_estimators": "40"}, "regression"),
    "spare": ("distance, idle", "CASE WHEN (i * 7919) % 1000 > 500 THEN 1.5 ELSE 0.25 END::float8",
              "decision_tree", {"max_depth": "1"}, "regression"),
    "twice": ("distance", "(i * 7919) % 1000", "linear", {}, "regression"),
    "twice_2": ("distance", "1000 - (i * 7919) % 1000", "linear", {}, "regression"),
    "Ünï Model": ('"Odd Name", "Distänz"', "(i % 50 + i * 13) % 100", "linear", {}, "regression"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A statement and what it means without PREDICT."""

    file: str
    theme: str
    number: int
    statement: str
    meaning: str
    server: int = 0
    needs: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    parameters: tuple[Any, ...] = ()
    refused: tuple[str, str] | None = None
    fails: str | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.theme} {self.number}".replace(":  ", ": ")


_DIRECTIVE = re.compile(r"--> (\w+)(?: (.*))?")


def files() -> list[str]:
    """The themes' files by name."""
    return sorted(path.stem for path in FIXTURES.glob("*.sql") if path.stem != "schema")


def cases(name: str) -> list[Case]:
    """The cases of ``tests/fixtures/rewriter/<name>.sql``."""
    return _Reader(name).read((FIXTURES / f"{name}.sql").read_text(encoding="utf-8"))


class _Reader:
    """Reads one file."""

    def __init__(self, name: str) -> None:
        self.name, self.theme, self.number = name, "", 0
        self.file_forms: dict[str, str] = {}
        self.theme_forms: dict[str, str] = {}
        self.parts: dict[str, list[str]] = {}
        self.found: list[Case] = []

    def read(self, text: str) -> list[Case]:
        into: list[str] = []
        for line in text.splitlines():
            match = _DIRECTIVE.match(line)
            if match is None:
                into.append(line)
                continue
            word, rest = match.group(1), match.group(2) or ""
            into = []
            if word in ("statement", "theme"):
                self._close()
            if word == "theme":
                self.theme, self.number, self.theme_forms = rest, 0, {}
            elif word == "form" and not self.parts:
                ours, _, plain = rest.partition(" = ")
                (self.theme_forms if self.theme else self.file_forms)[ours] = plain
            elif word in ("statement", "means"):
                self.parts[word] = into
            elif self.parts and word in (
                "form", "server", "needs", "before", "then", "with", "refused", "fails",
            ):  # fmt: skip
                self.parts.setdefault(word, []).append(rest)
            else:
                raise AssertionError(f"{self.name}.sql: {line}")
        self._close()
        return self.found

    def _close(self) -> None:
        if not self.parts:
            return
        self.number += 1
        parts, self.parts = self.parts, {}
        statement = "\n".join(parts["statement"]).strip("\n")
        refused = next((line.split(" at ", 1) for line in parts.get("refused", ())), None)
        case = Case(
            self.name,
            self.theme,
            self.number,
            statement,
            "",
            server=int(next(iter(parts.get("server", ())), 0)),
            needs=tuple(parts.get("needs", ())),
            before=tuple(parts.get("before", ())),
            then=tuple(parts.get("then", ())),
            parameters=tuple(
                value for line in parts.get("with", ()) for value in ast.literal_eval(f"({line},)")
            ),
            refused=None if refused is None else (refused[0], refused[1]),
            fails=next(iter(parts.get("fails", ())), None),
        )
        if case.refused is None and case.fails is None:
            case = dataclasses.replace(case, meaning=self._meaning(str(case), statement, parts))
            if not case.meaning:
                raise AssertionError(f"{case}: no meaning, so nothing would be tested")
        self.found.append(case)

    def _meaning(self, name: str, statement: str, parts: Mapping[str, list[str]]) -> str:
        if "means" in parts:
            return "\n".join(parts["means"]).strip()
        own = (line.partition(" = ") for line in parts.get("form", ()))
        forms = {**self.file_forms, **self.theme_forms, **{ours: plain for ours, _, plain in own}}
        ours = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
        meaning = statement
        # a form may hold others
        for _ in range(4):
            meaning = ours.sub(lambda match: forms[match.group()], meaning) if forms else meaning
        if re.search(r"PREDICT|PROBABILITY", meaning):
            raise AssertionError(f"{name}: what is the meaning of {meaning}")
        return meaning


def pending() -> frozenset[str]:
    """Names of the statements that do not work yet."""
    path = FIXTURES / "pending.txt"
    if not path.exists():
        return frozenset()
    return frozenset(line for line in path.read_text(encoding="utf-8").splitlines() if line)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a statement gives.

    :ivar columns: (name, type with modifiers)
    :ivar tag: what the server says was done
    """

    columns: list[tuple[str, str]]
    rows: list[Any]
    tag: str | None


@dataclasses.dataclass
class Bench:
    """A connection to the database of the statements."""

    connection: psycopg.Connection[Any]
    catalog: ConnectionCatalog
    cursor: ClassVar[type[psycopg.RawCursor[Any]]] = psycopg.RawCursor

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Result]:
        """Run SQL with ``$1`` for parameters; one result for each statement in it."""
        results = []
        with self.cursor(self.connection) as cursor:
            if re.match(r"\s*COPY\b", statement, re.IGNORECASE):
                with cursor.copy(statement.encode(), parameters or None) as copy:
                    rows = [(bytes(line),) for line in copy]
                return [Result([], rows, cursor.statusmessage)]
            cursor.execute(statement.encode(), parameters or None)
            while True:
                columns = [(column.name, column.type_display) for column in cursor.description or ()]
                rows = cursor.fetchall() if cursor.description is not None else []
                results.append(Result(columns, rows, cursor.statusmessage))
                if not cursor.nextset():
                    return results

    def run(self, statement: str) -> tuple[list[tuple[str, str]], list[Any]]:
        """Output columns (name, type with modifiers) and rows; whatever it does is rolled back."""
        with self.connection.transaction(force_rollback=True):
            result = self.execute(statement)[-1]
            return result.columns, result.rows

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Roll back what is done, prepared statements too."""
        try:
            with self.connection.transaction(force_rollback=True):
                yield
        finally:
            if not self.connection.closed:
                self.connection.execute("DEALLOCATE ALL")

    def predict(self, case: Case, **options: Any) -> tuple[str, list[list[Result]]]:
        """Rewrite and run a case's statement; return its SQL, its results and those of what follows."""
        with self.undone():
            for statement in case.before:
                self.execute(statement)
            text = rewrite(case.statement, self.catalog, **options).sql
            return text, [self.execute(text, case.parameters), *map(self.execute, case.then)]

    def mean(self, case: Case) -> list[list[Result]]:
        """Run a case's meaning; return the results of it and of what comes then."""
        with self.undone():
            for statement in case.before:
                self.execute(statement)
            return [self.execute(case.meaning, case.parameters), *map(self.execute, case.then)]

    def knows(self, case: Case) -> bool:
        """Whether this server can run a case."""
        if self.connection.info.server_version < case.server * 10_000:
            return False
        rows = [self.connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() for name in case.needs]
        return all(row is not None and row[0] is not None for row in rows)

    def alive(self) -> bool:
        """Whether the server still answers."""
        return not self.connection.closed and self.run("SELECT 1")[1] == [(1,)]


def differs(rows: list[Any], expected: list[Any], ordered: bool) -> bool:
    """Whether two results differ; probabilities are compared to nine digits."""
    left, right = [repr(_comparable(row)) for row in rows], [repr(_comparable(row)) for row in expected]
    return left != right if ordered else Counter(left) != Counter(right)


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, tuple | list):
        return tuple(map(_comparable, value)) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    return value


def ordered(statement: str) -> bool:
    """Whether a statement fixes the order of its rows."""
    return any(token.text == "order" and token.depth == 0 for token in scan(statement))


def compare(case: Case, way: str, got: list[list[Result]], expected: list[list[Result]], text: str) -> None:
    """Check that two statements gave and did the same.

    :param text: what was run
    """
    first = scan(case.statement)[0].text
    in_order = ordered(case.meaning)
    for number, (ours, plain) in enumerate(zip(got, expected, strict=True)):
        # what is read afterwards comes in its own order; a cursor's rows in that of its query
        later = number and not re.match("fetch|execute", case.then[number - 1], re.IGNORECASE)
        fixed = ordered(case.then[number - 1]) if later else in_order
        assert [result.columns for result in ours] == [result.columns for result in plain], (way, text)
        if first == "explain" and not number:
            assert all(result.rows for result in ours)
            continue
        for left, right in zip(ours, plain, strict=True):
            assert left.tag == right.tag, (way, text)
            assert not differs(left.rows, right.rows, fixed), (way, text, left.rows[:3], right.rows[:3])


@pytest.fixture(scope="session")
def statements_database(server: Server) -> Iterator[Database]:
    """A database with trained models of several sorts and tables of every sort; tests leave it as it is."""
    name = "rewriter_statements"
    with server.admin() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        )
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(READER)))
    database = Database(name, server.dsn(name), server, [READER])
    try:
        with database.connect() as connection:
            for model, (features, target, algorithm, parameters, task) in MODELS.items():
                query = f"SELECT {features}, y FROM ({TRAINING.format(target=target)}) AS rows"
                options = Options(algorithm=algorithm, parameters=parameters, task=task)  # type: ignore[arg-type]
                train(connection, model, Source(query, "y"), options)
            # its second version is what twice_2 is, and is not deployed
            query = f"SELECT distance, y FROM ({TRAINING.format(target=MODELS['twice_2'][1])}) AS rows"
            options = Options(algorithm="linear", task="regression")
            train(connection, "twice", Source(query, "y"), options, deploy=False)
            store_refusing(connection)
            connection.execute((FIXTURES / "schema.sql").read_bytes())
        yield database
    finally:
        database.drop()


def store_refusing(connection: psycopg.Connection[Any]) -> None:
    """Store the model ``strict``: a weighted sum that refuses NULL."""
    changes: dict[str, Any] = {
        "features": graphs.features(["distance", "temp"]),
        "on_missing": "error",
    }
    artifact = graphs.linear((1.0, 10.0), **changes)
    signature = graphs.regression(**changes)
    storing.deploy(connection, "strict", storing.register(connection, "strict", signature, artifact, {}))


@pytest.fixture
def bench(statements_database: Database) -> Iterator[Bench]:
    """A connection of its own, in the schema of the statements."""
    with statements_database.connect(options="-csearch_path=d,public") as connection:
        yield Bench(connection, ConnectionCatalog(connection))


@dataclasses.dataclass
class Lasting:
    """One connection for many tests, made anew when the server has lost it."""

    database: Database
    bench: Bench | None = None

    def get(self) -> Bench:
        """The connection, outside of a transaction."""
        if self.bench is None or self.bench.connection.closed:
            connection = self.database.connect(options="-csearch_path=d,public", prepare_threshold=None)
            self.bench = Bench(connection, ConnectionCatalog(connection))
        return self.bench


@pytest.fixture(scope="session")
def lasting(statements_database: Database) -> Iterator[Lasting]:
    """A connection for tests that roll back what they do."""
    lasting = Lasting(statements_database)
    yield lasting
    if lasting.bench is not None:
        lasting.bench.connection.close()
