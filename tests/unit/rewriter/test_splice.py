from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rewriter.splice import Mark, Span, Splicer, Text


def test_edits_follow_a_span_that_has_moved() -> None:
    sql = "SELECT a FROM t WHERE b"
    splicer = Splicer(sql)
    splicer.replace(Span(22, 23), ["B"])
    splicer.replace(Span(9, 23), ["FROM (", Span(14, 15), " WHERE ", Span(22, 23), ")"])
    text = splicer.render([Span(0, len(sql))])
    assert text.sql == "SELECT a FROM (t WHERE B)"
    assert text.origin(text.sql.index("a") + 1) == 8
    assert text.origin(text.sql.index("t W") + 1) == 15
    # inside of what we wrote: the beginning of what it replaces
    assert text.origin(text.sql.index("FROM") + 1) == 10


def test_words_that_used_to_touch_something_else_are_kept_apart() -> None:
    sql = "SELECT*FROM t"
    splicer = Splicer(sql)
    splicer.replace(Span(6, 7), ["x.*"])
    splicer.replace(Span(7, 13), ["FROM u"])
    assert splicer.render([Span(0, len(sql))]).sql == "SELECT x.*FROM u"


def test_a_comment_does_not_swallow_what_follows() -> None:
    sql = "a -- comment"
    splicer = Splicer(sql)
    assert splicer.render(["(", Span(0, len(sql)), ")"]).sql == "(a -- comment\n)"


def test_positions_go_back_through_two_texts() -> None:
    sql = "SELECT a, b FROM t"
    first = Splicer(sql)
    first.replace(Span(7, 8), ["(", Span(7, 8), Mark(10), " || now)"])
    middle = first.render([Span(0, len(sql))])
    assert middle.sql == "SELECT (a || now), b FROM t"
    second = Splicer(middle.sql)
    second.replace(Span(7, 17), ["x", Span(7, 17)])
    text = second.render([Span(0, len(middle.sql))])
    assert text.sql == "SELECT x(a || now), b FROM t"
    whole = text.through(middle)
    assert [whole.origin(text.sql.index(word) + 1) for word in ("(", "a |", "now", "b F", "t")] == [
        8, 8, 11, 11, 18
    ]  # fmt: skip
    assert whole.origin(len(text.sql)) == len(sql)
    assert [whole.origin(p) for p in range(1, 8)] == [middle.origin(p) for p in range(1, 8)]


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 4)), max_size=4), st.data())
def test_any_two_texts_compose(edits: list[tuple[int, int]], data: st.DataObject) -> None:
    sql = "abcdefghijklmnopqrst"

    def changed(text: str, spans: list[tuple[int, int]]) -> Text:
        splicer = Splicer(text)
        for start, length in spans:
            span = Span(min(start, len(text)), min(start + length, len(text)))
            splicer.replace(span, ["<", *([span] if length % 2 else []), ">"])
        return splicer.render([Span(0, len(text))])

    first = changed(sql, edits)
    second = changed(
        first.sql, data.draw(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 5)), max_size=3))
    )
    whole = second.through(first)
    for position in range(1, len(second.sql) + 1):
        middle = second.origin(position)
        expected = None if middle is None else first.origin(middle)
        assert (whole.origin(position) or 1) == (expected or 1)
