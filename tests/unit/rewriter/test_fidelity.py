"""What is not ours keeps its parse tree: for statements of every kind with a form put in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pglast
import pytest

from rewriter import Column, rewrite
from rewriter.errors import InvalidSource, NotSupported
from rewriter.setting import Setting
from tests.fix_rewriter import cases, files
from tests.unit.rewriter.fidelity import differences, marked, tree
from tests.unit.rewriter.static import StaticCatalog

FORM = "PREDICT(late USING 'UA' AS carrier, 1 AS distance, NULL AS hour)"
EXPRESSIONS = (
    "{p}",
    "NOT {p}",
    "({p})",
    "{p}::int + 1",
    "CAST({p} AS numeric(3, 1))",
    "{p} AND a > 1 OR b IS NULL",
    "CASE WHEN {p} THEN interval '1 month 04:01' ELSE c END",
    "CASE a WHEN 1 THEN {p} END",
    "coalesce({p}, bit '101' = B'101')",
    "nullif({p}, x ^ 2 > 1)",
    "greatest({p}, current_timestamp(3) > now())",
    "ARRAY[{p}, true][1:2]",
    "ROW({p}, 'a')",
    "(a, {p}) = (b, true)",
    "{p} IN (true, NULL)",
    "{p} = ANY (ARRAY[a > 1])",
    "a BETWEEN 1 AND {p}::int",
    "x OPERATOR(pg_catalog.+) {p}::int",
    "{p} IS NOT UNKNOWN",
    "sum({p}::int) FILTER (WHERE {p}) OVER (PARTITION BY z ORDER BY {p} ROWS BETWEEN 1 "
    "PRECEDING AND CURRENT ROW)",
    "string_agg(DISTINCT n, ',' ORDER BY n COLLATE \"C\" DESC NULLS LAST) FILTER (WHERE {p})",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY {p}::int)",
    "extract(year FROM h AT TIME ZONE 'UTC') > {p}::int",
    "(SELECT max(q) FROM w AS i WHERE i.o = f.c AND {p})",
    "EXISTS (SELECT FROM w TABLESAMPLE system (1) WHERE {p})",
    "a IN (SELECT b FROM w WHERE {p} GROUP BY ROLLUP (b) HAVING {p})",
    "ARRAY(SELECT {p} FROM w ORDER BY 1 LIMIT 3)",
    "E'a\\nb' || {p} || $$c$$ || U&'d\\0061t'",
    "(r).b.c = {p}",
    "j -> 'a' ->> {p}::int",
    "a[{p}::int:3]",
    "substring(n FROM {p}::int FOR 2)",
    "overlay(n PLACING 'x' FROM {p}::int)",
    "trim(BOTH n FROM {p}::text)",
    "position({p}::text IN n)",
    "xmlelement(name a, xmlattributes({p} AS b), n)",
    "f(x => {p}, y => 1)",
    "concat(VARIADIC ARRAY[{p}::text])",
    "n COLLATE \"de_DE\" LIKE {p}::text ESCAPE '!'",
    "$1 > {p}::int",
    "grouping(a, b) > {p}::int",
    "date '2020-01-01' + {p}::int",
    "-{p}::int",
    "{p} /* c -- */ -- d\n",
    "0x1F > {p}::int",
    "t.* IS NULL OR {p}",
    '{p} IS DISTINCT FROM "Ünï"."q""q"',
)
STATEMENTS = (
    "SELECT {e} FROM t",
    "SELECT ALL {e} AS x, t.* FROM ONLY t, u AS v (a, b) WHERE a > 1",
    "SELECT a FROM t WHERE {e} AND a > 1",
    "SELECT a FROM t GROUP BY {e}",
    "SELECT 1 FROM t GROUP BY a HAVING {e}",
    "SELECT DISTINCT ON ({e}) a FROM t ORDER BY {e} DESC NULLS FIRST LIMIT 3 OFFSET 1",
    "SELECT a FROM t ORDER BY {e} USING > FETCH FIRST 2 ROWS WITH TIES",
    "SELECT a FROM t WINDOW w AS (PARTITION BY {e} ORDER BY a RANGE UNBOUNDED PRECEDING EXCLUDE TIES)",
    "SELECT a FROM t GROUP BY GROUPING SETS ((a), ({e}), CUBE (b, c))",
    "SELECT a FROM t LEFT JOIN u ON {e} NATURAL FULL JOIN v JOIN w USING (a, b)",
    "SELECT a FROM t CROSS JOIN LATERAL (SELECT {e} AS x) AS l (y)",
    "SELECT a FROM t, f({e}) WITH ORDINALITY AS g (x, y), ROWS FROM (f({e}), g() AS (a int, b text)) AS r",
    "SELECT a FROM t JOIN (SELECT b FROM u WHERE {e}) AS s ON true",
    "SELECT a FROM t TABLESAMPLE bernoulli (10) REPEATABLE (3) WHERE {e}",
    "SELECT a FROM t LIMIT 1 FOR UPDATE OF t NOWAIT",
    "SELECT {e} FROM t FOR NO KEY UPDATE OF t SKIP LOCKED",
    "SELECT a FROM t WHERE {e} UNION ALL SELECT {e} FROM u ORDER BY 1",
    "(SELECT {e} FROM t LIMIT 1) INTERSECT ALL (SELECT 1 EXCEPT SELECT {e} FROM u)",
    "VALUES ({e}, 1), (DEFAULT, {e})",
    "WITH x (a) AS MATERIALIZED (SELECT {e} FROM t), y AS NOT MATERIALIZED (SELECT 1) SELECT a FROM x, y",
    "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE {e}) CYCLE a SET c "
    "USING p SELECT a FROM r",
    "WITH d AS (DELETE FROM t WHERE {e} RETURNING a) INSERT INTO u SELECT a FROM d WHERE {e}",
    "INSERT INTO t AS x (a, b[1], c.d) OVERRIDING USER VALUE VALUES (1, {e}, DEFAULT) RETURNING {e} AS y, *",
    'INSERT INTO t SELECT {e} FROM u ON CONFLICT (a COLLATE "C", lower(b)) WHERE c > 1 DO '
    "UPDATE SET a = {e} WHERE {e}",
    "INSERT INTO t (a) VALUES ({e}) ON CONFLICT ON CONSTRAINT k DO NOTHING",
    "UPDATE ONLY t AS x SET a = {e}, (b, c[1:2]) = ROW({e}, DEFAULT), d.e = 1 FROM u, v WHERE "
    "{e} RETURNING x.*, {e}",
    "UPDATE t SET (a, b) = (SELECT {e}, 1 FROM u)",
    "UPDATE t SET a = {e} WHERE CURRENT OF c",
    "DELETE FROM t * AS x USING u JOIN v ON {e} WHERE {e} RETURNING {e}",
    "MERGE INTO t AS x USING (SELECT a FROM u WHERE {e}) AS y ON x.a = y.a AND {e} WHEN "
    "MATCHED AND {e} THEN UPDATE SET a = {e} WHEN NOT MATCHED AND {e} THEN INSERT (a) VALUES "
    "({e}) WHEN MATCHED THEN DELETE",
    "CREATE TABLE x (a, b) WITH (fillfactor = 70) ON COMMIT DROP AS SELECT {e} FROM t WITH NO DATA",
    "CREATE OR REPLACE TEMP VIEW x (a) WITH (security_barrier) AS SELECT {e} FROM t WITH LOCAL CHECK OPTION",
    "CREATE MATERIALIZED VIEW IF NOT EXISTS x AS SELECT {e} FROM t",
    "SELECT {e} INTO UNLOGGED x FROM t",
    "CREATE RECURSIVE VIEW x (a) AS SELECT 1 UNION ALL SELECT a FROM x WHERE {e}",
    "CREATE RULE x AS ON UPDATE TO t WHERE {e} DO ALSO (INSERT INTO u VALUES ({e}); DELETE FROM v WHERE {e})",
    "COPY (SELECT {e} FROM t) TO STDOUT WITH (FORMAT csv, HEADER)",
    "EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) SELECT {e} FROM t",
    "EXPLAIN ANALYZE UPDATE t SET a = {e}",
    "PREPARE q (int, text) AS SELECT {e} FROM t WHERE a = $1",
    "EXECUTE q ({e})",
    "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT {e} FROM t",
    "CALL p ({e}, x => 1)",
    "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql RETURN {e}",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT {e} FROM t; DELETE FROM "
    "u WHERE {e}; END",
    "SELECT (SELECT (SELECT {e} FROM t) FROM u WHERE {e}) FROM v",
    "SELECT a FROM t; SELECT {e} FROM u; COMMIT",
    "CREATE POLICY p ON t USING ({e}) WITH CHECK ({e})",
    "SELECT a FROM XMLTABLE('/r' PASSING x COLUMNS a int DEFAULT {e}) AS y",
)


class AnyCatalog(StaticCatalog):
    """Says of every source that it is there and has no columns that matter."""

    def describe(self, sql: str) -> Sequence[Column]:
        aliases = re.findall(r"COALESCE\(((?:\"(?:[^\"]|\"\")*\"|\w+))\.\*\)", sql)
        marks = [Column("pgpredict: next source", "record", 99, is_composite=True) for _ in aliases]
        return marks or [Column("a", "integer", 23)]

    def primary_key(self, table: str) -> Sequence[str]:
        return []


def fill(template: str, expression: str) -> str:
    return template.replace("{e}", expression.replace("{p}", FORM))


def parses(sql: str) -> bool:
    try:
        pglast.parse_sql(marked(sql))
    except pglast.parser.ParseError:
        return False
    return True


@pytest.mark.parametrize("template", STATEMENTS)
def test_what_is_not_ours_keeps_its_parse_tree_by_row(template: str) -> None:
    tried = 0
    for expression in EXPRESSIONS:
        sql = fill(template, expression)
        if "PREDICT" not in sql or not parses(sql):
            continue
        text = rewrite(sql, AnyCatalog(), setting=Setting("row")).sql
        assert not list(differences(tree(marked(sql)), tree(text))), (sql, text)
        tried += 1
    assert tried > 20 or "{e}" not in template or "CONFLICT ON" in template or "XMLTABLE" in template


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_not_ours_keeps_its_parse_tree_in_batches(expression: str) -> None:
    for template in STATEMENTS:
        sql = fill(template, expression)
        # stars are written out, whole rows are put together again
        if not template.startswith("SELECT") or "PREDICT" not in sql or "*" in re.sub(r"/\*.*?\*/", "", sql):
            continue
        if not parses(sql):
            continue
        try:
            text = rewrite(sql, AnyCatalog(), rules=(), setting=Setting("batch")).sql
        except (NotSupported, InvalidSource):
            continue
        assert not list(differences(tree(marked(sql)), tree(text))), (sql, text)


def test_statements_of_the_corpus_without_forms_are_untouched() -> None:
    class Silent(AnyCatalog):
        def describe(self, sql: str) -> Sequence[Column]:
            raise AssertionError(sql)

    for name in files():
        for case in cases(name):
            if case.meaning and "predict(carrier)" not in case.meaning:
                assert rewrite(case.meaning, Silent()).sql == case.meaning


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SELECT a, PREDICT(late) FROM f", "SELECT b, (SELECT 1) FROM f"),
        ("SELECT a, PREDICT(late) FROM f", "SELECT a, (SELECT 1) AS x FROM g"),
        ("SELECT a FROM f WHERE PREDICT(late) AND a", "SELECT a FROM f WHERE a AND (SELECT 1)"),
        ("SELECT a AS b FROM f ORDER BY PREDICT(late)", "SELECT a FROM f ORDER BY (SELECT 1)"),
        ("UPDATE f SET a = PREDICT(late)", "UPDATE f SET b = (SELECT 1)"),
        ("SELECT interval '1 month', PREDICT(late) FROM f", "SELECT interval '2 month', (SELECT 1) FROM f"),
    ],
)
def test_what_has_changed_is_found(before: str, after: str) -> None:
    assert list(differences(tree(marked(before)), tree(after)))
