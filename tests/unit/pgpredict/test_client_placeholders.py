"""Placeholders of drivers as PostgreSQL's parameters, and back."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg._queries import _query2pg_nocache

from pgpredict.client.literals import literal_types
from pgpredict.client.placeholders import Template

_WORDS = st.sampled_from(["a", "'%%'", "'x'", " ", "\n", "%%", "ä", '"n"', "-- c\n", "$tag$ %% $tag$", "+"])
_POSITIONAL = st.sampled_from(["%s", "%b", "%t"])
_NAMED = st.sampled_from(["%(a)s", "%(b)s", "%(a long name)s"])


@given(st.one_of(st.lists(st.one_of(_WORDS, _POSITIONAL)), st.lists(st.one_of(_WORDS, _NAMED))))
def test_numbers_are_those_that_psycopg_gives(parts: list[str]) -> None:
    # two words that touch would be read as one
    text = " ".join(parts)
    template = Template.read(text)
    assert template is not None
    converted, *_ = _query2pg_nocache(text.encode(), "utf-8")
    assert template.sql == converted.decode()
    # nothing was changed: nothing changes, but for numbers that stand in what is a string to SQL
    assert template.render(template.sql) == (text, None)


@given(st.lists(st.one_of(_WORDS, _POSITIONAL)))
def test_every_place_of_a_text_is_found_again(parts: list[str]) -> None:
    text = " ".join(parts)
    template = Template.read(text)
    assert template is not None
    for at, letter in enumerate(template.sql):
        written = template.written(at)
        if letter in "aä" and (not at or template.sql[at - 1] == " "):
            assert text[written] == letter


@pytest.mark.parametrize("text", ["SELECT %d", "SELECT %(a)d", "SELECT '%x", "100% sure"])
def test_what_is_malformed_is_left_to_the_driver(text: str) -> None:
    assert Template.read(text) is None
    with pytest.raises(psycopg.ProgrammingError):
        _query2pg_nocache(text.encode(), "utf-8")


def test_values_follow_their_placeholders() -> None:
    template = Template.read("SELECT %s, '%%', %s, %s")
    assert template is not None
    assert template.sql == "SELECT $1, '%', $2, $3"
    text, order = template.render("SELECT $3, $1, '%', $3 % 2, '$2'")
    assert text == "SELECT %s, %s, '%%', %s %% 2, '$2'"
    assert order == (2, 0, 2)
    named = Template.read("SELECT %(a)s, %(b)s, %(a)s")
    assert named is not None
    assert named.sql == "SELECT $1, $2, $1"
    assert named.render("SELECT $2, $1") == ("SELECT %(b)s, %(a)s", None)
    assert named.arranged({"a": 1, "b": 2}) == [1, 2]
    assert named.arranged({"a": 1}) == []


def test_a_text_that_has_parameters_of_its_own_keeps_them() -> None:
    template = Template.read("PREPARE p AS SELECT $2, %s")
    assert template is not None
    assert template.sql == "PREPARE p AS SELECT $2, $3"
    assert template.render("PREPARE p AS SELECT $3, $2")[0] == "PREPARE p AS SELECT %s, $2"
    assert template.arranged([7]) == [None, None, 7]


def test_places_in_what_was_sent() -> None:
    template = Template.read("SELECT %s AS a, %s AS b")
    assert template is not None
    sql = "SELECT $2 AS b, $1 AS a FROM t"
    for sent in (
        sql.replace("$2", "$1").replace("$1 AS a", "$2 AS a"),
        "SELECT 'long, $1' AS b, NULL AS a FROM t",
    ):
        place = template.placed(sql, sent)
        assert place(sent.index("FROM")) == sql.index("FROM")
        assert place(sent.index("AS b")) == sql.index("AS b")
    assert template.placed(sql, "something else")(3) is None


def test_types_of_literals() -> None:
    values = [True, 1, 2**40, 2**70, 1.5, float("nan"), "x", None, b"x"]
    assert literal_types(values) == [16, 23, 20, 1700, 1700, 701, 0, 0, 0]
