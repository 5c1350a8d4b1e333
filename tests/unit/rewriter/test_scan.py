from __future__ import annotations

from typing import Any

import pglast.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pglast import keywords

from rewriter.names import RESERVED, literal, quote
from rewriter.scan import mentions, scan
from rewriter.split import split

STATEMENTS = [
    "SELECT a, b.c, \"Q\"\"q\".x FROM t -- end",
    "SELECT E'a\\'b', 'it''s', U&'d\\0061t', B'101', x'1F', $$x'y$$, $tag$ $$ $tag$, N'n'",
    "SELECT /* a /* nested */ b */ 1.5, .5, 1., 1e10, 2E-3, $1, $23, a[1:2], f(x => 1, y := 2)",
    "SELECT a->>'b' @> c #>> d, a <-> b, a !~~* b, -1, a - -1, x::int, a.b.c::t.u[]",
    "select e'\\\\', 'a' 'b', 1+2-3",
    "SELECT 1/*c*/+/**/2--x\n, a||b, a|b, a/b",
    "SELECT 'a'\n 'b', e'a\\''  --c\n\t--d\n  'b''', b'1'\r\n'0', ''\n''",
]  # fmt: skip


def _ours(sql: str) -> list[tuple[int, int]]:
    return [(token.start, token.end) for token in scan(sql)]


def _postgresql(sql: str) -> list[tuple[int, int]]:
    return [(t.start, t.end + 1) for t in pglast.parser.scan(sql) if "COMMENT" not in t.name]


@pytest.mark.parametrize("sql", STATEMENTS)
def test_words_are_those_of_postgresql(sql: str) -> None:
    assert _ours(sql) == _postgresql(sql)


PIECES = [
    "a", "1", "1.5", ".", "'x'", "''", "E'\\''", "$$q$$", '"q"', "(", ")", ",", "::", "--c\n", "/*c*/", " ",
          "\n", "<=", "*", "$1", "é", "select", "from", "[", "]", ";", "||"
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_words_of_random_texts_are_those_of_postgresql(pieces: list[str]) -> None:
    # blanks between keep apart what PostgreSQL would refuse or read as one
    sql = " ".join(pieces)
    try:
        expected = _postgresql(sql)
    except pglast.parser.ParseError:
        return
    assert _ours(sql) == expected


@given(st.text(max_size=60))
def test_any_text_is_scanned_to_its_end(text: str) -> None:
    position = 0
    for token in scan(text):
        assert position <= token.start < token.end <= len(text)
        position = token.end


def test_offsets_count_characters_not_bytes() -> None:
    sql = "SELECT \"Ünï\", ünï, $ä$ x $ä$, 'é' FROM é"
    assert [sql[token.start : token.end] for token in scan(sql)][1:] == [
        '"Ünï"', ",", "ünï", ",", "$ä$ x $ä$", ",", "'é'", "FROM", "é"
    ]  # fmt: skip


def test_depth_counts_parentheses_and_brackets() -> None:
    assert [(t.text, t.depth) for t in scan("f(a[1])")] == [
        ("f", 0), ("(", 0), ("a", 1), ("[", 1), ("1", 2), ("]", 1), (")", 0)
    ]  # fmt: skip


def test_mentions_is_a_cheap_yes_or_no() -> None:
    assert mentions("select Predict(m)")
    assert mentions("select PROBABILITY(m)")
    assert not mentions("select 1 from t where predator")


@given(st.text(alphabet=st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1, max_size=20))
def test_quoted_names_and_texts_come_back(text: str) -> None:
    name, string = scan(f"{quote(text)} {literal(text)}")
    assert (name.is_name, name.text, string.kind) == (True, text, "string")
    statement: Any = pglast.parse_sql(f"SELECT {literal(text)} AS {quote(text)}")[0].stmt
    parsed = statement.targetList[0]
    if len(text.encode()) < 64:
        assert parsed.name == text
    assert parsed.val.val.sval == text


def test_words_that_need_quotes_are_all_known() -> None:
    needed = keywords.RESERVED_KEYWORDS | keywords.TYPE_FUNC_NAME_KEYWORDS | keywords.COL_NAME_KEYWORDS
    assert needed <= RESERVED


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT ';'; SELECT $$;$$ ; -- end\n", ["SELECT ';';", " SELECT $$;$$ ; -- end\n"]),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; SELECT 1",
         ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;",
          " SELECT 1"]),
    ],
)  # fmt: skip
def test_split(sql: str, parts: list[str]) -> None:
    found = split(sql)
    assert [part for _, part in found] == parts
    assert all(sql[start : start + len(part)] == part for start, part in found)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ('U&"d\\0061t\\+000061"', "data"),
        ("u&\"d!0061t!!\" UESCAPE '!'", "dat!"),
        ("U&\"d!0061t\" -- comment\n uescape'!'", "dat"),
        ('U&"a\\\\b""c"', 'a\\b"c'),
        ('U&"\\D83D\\DE00"', "\U0001f600"),
        ('U&"\\006"', "\\006"),
    ],
)
def test_names_in_unicode_escapes_are_resolved(sql: str, name: str) -> None:
    (token,) = scan(sql)
    assert (token.kind, token.text, token.end) == ("quoted", name, len(sql))
