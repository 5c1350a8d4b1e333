"""Filters on features and on predictions: with the rules that draw from them the rows are those without."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import psycopg
import pytest

from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.catalog import ConnectionCatalog
from rewriter import Setting, rewrite
from tests.fix_rewriter import Bench
from tests.fix_server import Database

TYPES = {
    "smallint": ["-32768", "0", "500", "501", "32767"],
    "integer": ["-2147483648", "499", "500", "501", "2147483647"],
    "bigint": ["-9223372036854775808", "500", "501", "9007199254740993", "9223372036854775807"],
    "real": ["'-Infinity'", "0.1", "500.5", "500.50003", "'NaN'", "'Infinity'"],
    "double precision": ["'-Infinity'", "0.1", "500.5", "500.50000000000006", "1e308", "'NaN'", "'Infinity'"],
    "numeric": [
        "0.1",
        "0.1000000000000000055511151231257827",
        "500.49999999999999999",
        "500.5",
        "1e30",
        "'NaN'",
    ],
    "numeric(10,2)": ["0.1", "500.49", "500.50", "500.51", "'NaN'"],
}
NUMBERS = ["0", "-3", "250", "499", "500", "500.5", "500.49999999999999999999", "501", "0.1", "1e20",
           "9007199254740992", "9007199254740993"]  # fmt: skip
OPERATORS = ["<", "<=", "=", ">=", ">", "<>", "!="]
CONSTANTS = {
    "PREDICT(wide)": ["0.25", "1.5", "1", "-7"],
    "PREDICT(exact)": ["0.123456789012346", "0.12345678901234568", "1", "-7", "250"],
    "PREDICT(single)": ["500", "500.1", "0", "0.1", "37.3"],
    "PREDICT(line)": ["500", "500.5", "0", "100.25", "-3", "37.000000000000001"],
    "PREDICT(whole)": ["500", "500.5", "0", "100", "-3", "37"],
}
TRAINING = """
SELECT CASE WHEN i % 9 > 0 THEN (i * 7919) % 1000 END::float8 AS x,
    CASE WHEN i % 7 > 0 THEN (ARRAY['a', 'b', 'c'])[1 + i % 3] END AS c
FROM generate_series(1, 600) AS i
"""
MODELS = {
    "wide": (
        "x",
        "CASE WHEN x > 500 THEN 1.5 WHEN x < 250 THEN 0.25 ELSE 1 END::float8",
        "decision_tree",
        "regression",
    ),
    "exact": (
        "x",
        "CASE WHEN x < 300 THEN 0.1234567890123456789 ELSE 250 END::numeric",
        "decision_tree",
        "regression",
    ),
    "single": ("x", "(0.1 * x)::real", "linear", "regression"),
    "line": ("x", "0.75 * x + 1", "linear", "regression"),
    "whole": ("x", "coalesce(x, 3)::integer", "linear", "regression"),
    "kind": (
        "x, c",
        "CASE WHEN x > 500 THEN 'a' WHEN c = 'b' THEN 'b' ELSE 'd' END",
        "decision_tree",
        "auto",
    ),
}


@pytest.fixture
def ranging(database: Database) -> Iterator[Bench]:
    """A database with models that are SQL forms."""
    with database.connect() as connection:
        for name, (features, target, algorithm, task) in MODELS.items():
            query = f"SELECT {features}, y FROM (SELECT *, {target} AS y FROM ({TRAINING}) AS r) AS s"
            train(connection, name, Source(query, "y"), Options(algorithm=algorithm, task=task))  # type: ignore[arg-type]
        yield Bench(connection, ConnectionCatalog(connection))


class Statements:
    """Makes up statements."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def number(self) -> str:
        return self.random.choice(NUMBERS)

    def of_column(self) -> str:
        operator = self.random.choice(OPERATORS)
        return self.random.choice([
            f"x {operator} {self.number()}",
            f"{self.number()} {operator} t.x",
            f"NOT x {operator} {self.number()}",
            f"x BETWEEN {self.number()} AND {self.number()}",
            f"x IN ({self.number()}, {self.number()})",
            "x IS NULL",
            "x IS NOT NULL",
            f"(c = '{self.random.choice('ab')}')",
            f"c IN ('a', '{self.random.choice('bc')}')",
            "c <> 'a'",
        ])  # fmt: skip

    def of_form(self) -> str:
        form, operator = self.random.choice(list(CONSTANTS)), self.random.choice(OPERATORS)
        one, other = self.random.choice(CONSTANTS[form]), self.random.choice(CONSTANTS[form])
        return self.random.choice([
            f"{form} {operator} {one}",
            f"{one} {operator} {form}",
            f"NOT {form} {operator} {one}",
            f"{form} BETWEEN {one} AND {other}",
            f"{form} IN ({one}, {other})",
            "PREDICT(kind) = 'a'",
            "PREDICT(kind) <> 'b'",
            "PREDICT(kind) IN ('a', 'b')",
            "PROBABILITY(kind) > 0.5",
            "PROBABILITY(kind FOR 'a') <= 0.25",
        ])  # fmt: skip

    def statement(self) -> str:
        conditions = [*(self.of_column() for _ in range(self.random.randrange(3))), self.of_form()]
        self.random.shuffle(conditions)
        outputs = self.random.sample([*CONSTANTS, "PROBABILITY(kind FOR 'b')"], 2)
        return f"SELECT n, {', '.join(outputs)} FROM t WHERE {' AND '.join(conditions)}"


def test_rows_with_and_without_the_rules(ranging: Bench) -> None:
    count = int(os.environ.get("PGPREDICT_EXAMPLES", "60")) // 2
    drawn = shrunk = 0
    statements = Statements(1)
    for type_, values in TYPES.items():
        with ranging.connection.transaction(force_rollback=True):
            ranging.connection.execute(f"CREATE TEMP TABLE t (n serial, x {type_}, c text)".encode())
            for value in ["NULL", *values]:
                texts = "('a'), ('b'), ('c'), (NULL)"
                insert = f"INSERT INTO t (x, c) SELECT {value}, c FROM (VALUES {texts}) AS c(c)"
                ranging.connection.execute(insert.encode())
            for _ in range(count):
                statement = statements.statement()
                found = []
                for off in ("", "prune_tree derive_filter"):
                    setting = Setting("inline", frozenset(off.split()))
                    rewritten = rewrite(statement, ranging.catalog, setting=setting)
                    drawn += sum(len(plan.derived) for plan in rewritten.plans)
                    shrunk += sum(run.shrunk != "" for run in rewritten.runs)
                    found.append(rows(ranging, rewritten.sql))
                # a filter may keep a number from being made that the target's type does not hold
                assert found[0] == found[1] or found[1] == ["22003"], (type_, statement)
    assert drawn > count
    assert shrunk > count


def rows(bench: Bench, statement: str) -> list[str]:
    try:
        return sorted(map(repr, bench.run(statement)[1]))
    except psycopg.DataError as error:
        return [error.sqlstate or ""]


@pytest.mark.parametrize(
    "type_", ["integer", "bigint", "real", "double precision", "numeric", "numeric(10,2)"]
)
@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        ("PREDICT(line) > 7000", "Index Cond: (x >= "),
        ("PREDICT(whole) BETWEEN 10 AND 20", "Index Cond: ((x >= "),
        ("c = 'b' AND PREDICT(kind) = 'b'", "Index Cond: (x <= "),
        ("PREDICT(wide) < 0.5", "Index Cond: (x <= "),
        ("PREDICT(exact) < 1", "Index Cond: (x <= "),
    ],
)
def test_an_index_serves_a_filter_on_a_prediction(
    ranging: Bench, type_: str, condition: str, shown: str
) -> None:
    with ranging.connection.transaction(force_rollback=True):
        ranging.connection.execute(
            f"""
            CREATE TEMP TABLE t AS SELECT i AS n, (i % 9973)::{type_} AS x, 'b' AS c
            FROM generate_series(1, 10000) AS i;
            CREATE INDEX ON t (x); ANALYZE t""".encode()
        )
        statement = f"EXPLAIN SELECT n FROM t WHERE {condition}"
        rewritten = rewrite(statement, ranging.catalog)
        assert shown in "\n".join(line for (line,) in ranging.run(rewritten.sql)[1])
        bare = rewrite(statement, ranging.catalog, rules=())
        assert "x > 0" in condition or "Index" not in "\n".join(line for (line,) in ranging.run(bare.sql)[1])


def test_a_filter_that_no_row_meets_reads_no_row(ranging: Bench) -> None:
    with ranging.connection.transaction(force_rollback=True):
        ranging.connection.execute("CREATE TEMP TABLE t AS SELECT 1.5 AS x, 'b' AS c")
        rewritten = rewrite("EXPLAIN (COSTS OFF) SELECT * FROM t WHERE PREDICT(wide) > 5", ranging.catalog)
        assert "One-Time Filter: false" in "\n".join(line for (line,) in ranging.run(rewritten.sql)[1])


def test_collations_that_take_different_texts_for_equal(ranging: Bench) -> None:
    statement = "SELECT n FROM t WHERE c = 'B' AND PREDICT(kind) = 'b'"
    with ranging.connection.transaction(force_rollback=True):
        ranging.connection.execute("""
            CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            CREATE TEMP TABLE t (n integer, x integer, c text COLLATE loose);
            INSERT INTO t VALUES (1, 300, 'b'), (2, 300, 'B')""")
        assert ranging.run(rewrite(statement, ranging.catalog).sql)[1] == [(1,)]


def test_the_report_tells_of_both(ranging: Bench) -> None:
    with ranging.connection.transaction(force_rollback=True):
        ranging.connection.execute("CREATE TEMP TABLE t AS SELECT 1 AS x, 'b' AS c")
        statement = "EXPLAIN (PREDICT) SELECT * FROM t WHERE x < 400 AND PREDICT(wide) < 0.5"
        lines = [line for (line,) in ranging.run(rewrite(statement, ranging.catalog).sql)[1]]
    assert lines[:5] == [
        "PREDICT of wide, version 1",
        "  way       inline: certified to be equal to its ONNX form",
        "  features  x of t",
        "  derived   t.x <= 250",
        "  shrunk    to 2 of 4 leaves, by filters on features",
    ]
