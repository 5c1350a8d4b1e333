from __future__ import annotations

import pytest

from rewriter.conjuncts import conjuncts
from rewriter.errors import NotSupported
from rewriter.scan import scan
from rewriter.scope import find_blocks, find_ctes
from rewriter.sources import FromClause, parse_from


def clauses(sql: str) -> list[dict[str, str]]:
    tokens = scan(sql)
    found = []
    for block in find_blocks(tokens):
        texts = {}
        for name, clause in block.clauses.items():
            inside = tokens[clause.start : clause.end]
            texts[name] = sql[inside[0].start : inside[-1].end] if inside else ""
        found.append(texts)
    return found


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT a AS from, b.order FROM t WHERE x IS DISTINCT FROM y ORDER BY 1",
         [{"select": "a AS from, b.order", "from": "t", "where": "x IS DISTINCT FROM y", "order": "1"}]),
        ("SELECT extract(year FROM a), substring(b FROM 1 FOR 2) FROM t FOR UPDATE OF t",
         [{"select": "extract(year FROM a), substring(b FROM 1 FOR 2)", "from": "t", "for": "UPDATE OF t"}]),
        ("SELECT mode() WITHIN GROUP (ORDER BY x) FROM t GROUP BY y HAVING z WINDOW w AS (ORDER BY q)",
         [{"select": "mode() WITHIN GROUP (ORDER BY x)", "from": "t", "group": "y", "having": "z",
           "window": "w AS (ORDER BY q)"}]),
        ("SELECT 1 UNION ALL SELECT 2 FROM u ORDER BY 1 LIMIT 3",
         [{"select": "1"}, {"select": "2", "from": "u"}]),
        ("SELECT a FROM (SELECT b FROM t LIMIT 1) s OFFSET 2 LIMIT 1",
         [{"select": "a", "from": "(SELECT b FROM t LIMIT 1) s", "offset": "2", "limit": "1"},
          {"select": "b", "from": "t", "limit": "1"}]),
        ("INSERT INTO x SELECT a FROM t ON CONFLICT (a) DO NOTHING RETURNING a",
         [{"select": "a", "from": "t"}]),
        ("CREATE TABLE x AS SELECT a FROM t WITH NO DATA", [{"select": "a", "from": "t"}]),
        ("SELECT a FROM ROWS FROM (f(1), g(2)) WITH ORDINALITY AS r FETCH FIRST 2 ROWS WITH TIES",
         [{"select": "a", "from": "ROWS FROM (f(1), g(2)) WITH ORDINALITY AS r",
           "fetch": "FIRST 2 ROWS WITH TIES"}]),
        ("SELECT DISTINCT FROM t", [{"select": "DISTINCT", "from": "t"}]),
        ("COPY (SELECT a FROM t) TO STDOUT", [{"select": "a", "from": "t"}]),
    ],
)  # fmt: skip
def test_blocks_and_clauses(sql: str, expected: list[dict[str, str]]) -> None:
    assert clauses(sql) == expected


def sources(from_: str) -> FromClause:
    tokens = scan(from_)
    return parse_from(tokens, 0, len(tokens))


@pytest.mark.parametrize(
    ("from_", "aliases", "merges"),
    [
        ("t", ["t"], False),
        ("s.t, u AS v, ONLY w x", ["t", "v", "x"], False),
        ('"T" * CROSS JOIN "Sch"."U"', ["T", "U"], False),
        ("a JOIN b ON left(a.x, 1) = b.y LEFT OUTER JOIN c USING (z)", ["a", "b", "c"], True),
        ("a NATURAL FULL JOIN b", ["a", "b"], True),
        ("(a JOIN b USING (x)) AS j, (a c JOIN (d CROSS JOIN e) ON true)", ["j", "c", "d", "e"], False),
        ("(SELECT 1 FROM a JOIN b ON true) s, ((SELECT 1) UNION SELECT 2) AS u(x)", ["s", "u"], False),
        ("generate_series(1, 2) WITH ORDINALITY g(a, b), LATERAL unnest(ARRAY[1]), f() AS (a int, b text)",
         ["g", "unnest", "f"], False),
        ("t TABLESAMPLE bernoulli (10) REPEATABLE (1), u v TABLESAMPLE system (1)", ["t", "v"], False),
        ("ROWS FROM (f(), g()) AS r, ONLY (t) , (VALUES (1, 2)) AS v(a, b)", ["r", "t", "v"], False),
        ("(((a JOIN b ON true)))", ["a", "b"], False),
    ],
)  # fmt: skip
def test_sources(from_: str, aliases: list[str], merges: bool) -> None:
    clause = sources(from_)
    assert [source.alias for source in clause.sources] == aliases
    assert clause.merges == merges


def test_a_subquery_without_alias_is_refused() -> None:
    with pytest.raises(NotSupported):
        sources("(SELECT 1)")


@pytest.mark.parametrize(
    ("where", "parts"),
    [
        ("a", ["a"]),
        ("a AND b AND (c OR d)", ["a", "b", "(c OR d)"]),
        ("a AND b OR c", ["a AND b OR c"]),
        ("a BETWEEN 1 AND 2 AND b NOT BETWEEN SYMMETRIC 3 AND 4",
         ["a BETWEEN 1 AND 2", "b NOT BETWEEN SYMMETRIC 3 AND 4"]),
        ("CASE WHEN a AND b OR c THEN d END AND e", ["CASE WHEN a AND b OR c THEN d END", "e"]),
        ("CASE WHEN CASE WHEN a THEN b END AND c THEN d END AND e",
         ["CASE WHEN CASE WHEN a THEN b END AND c THEN d END", "e"]),
        ('t.and AND "or" AND x', ["t.and", '"or"', "x"]),
    ],
)  # fmt: skip
def test_conjuncts(where: str, parts: list[str]) -> None:
    sql = f"SELECT 1 WHERE {where}"
    tokens = scan(sql)
    (block,) = find_blocks(tokens)
    found = conjuncts(tokens, block.clauses["where"])
    assert [sql[tokens[start].start : tokens[end - 1].end] for start, end in found] == parts


def test_ctes_and_what_sees_them() -> None:
    sql = (
        "WITH RECURSIVE a(x) AS (SELECT 1), b AS NOT MATERIALIZED (SELECT 2) SEARCH DEPTH FIRST BY x SET y, "
        "c AS (WITH d AS (SELECT 3) SELECT 4) SELECT 5"
    )
    tokens = scan(sql)
    ctes = find_ctes(tokens)
    assert [(cte.name, cte.recursive) for cte in ctes] == [
        ("a", True),
        ("b", True),
        ("c", True),
        ("d", False),
    ]
    assert sql[ctes[1].span.start : ctes[1].span.end].endswith("SET y")
