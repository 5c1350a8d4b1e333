from __future__ import annotations

from rewriter.splice import Span, Splicer


def test_edits_follow_a_span_that_has_moved() -> None:
    sql = "SELECT a FROM t WHERE b"
    splicer = Splicer(sql)
    splicer.replace(Span(22, 23), ["B"])
    splicer.replace(Span(9, 23), ["FROM (", Span(14, 15), " WHERE ", Span(22, 23), ")"])
    text = splicer.render([Span(0, len(sql))])
    assert text.sql == "SELECT a FROM (t WHERE B)"
    assert text.origin(text.sql.index("a") + 1) == 8
    assert text.origin(text.sql.index("t W") + 1) == 15
    # inside of what we wrote: the end of the user's text before it
    assert text.origin(text.sql.index("FROM") + 1) == 9


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
