"""Messages that end a failed transaction and go on: how they are taken apart, and what the client gets."""

from __future__ import annotations

import pytest

from pgpredict.catalog.errors import StatementRefused, TransactionFailed
from pgpredict.proxy import frames
from pgpredict.proxy.leaving import Leaving, find_leaving
from pgpredict.proxy.questions import Answer
from pgpredict.proxy.session import Session
from pgpredict.proxy.statement import Statement
from pgpredict.proxy.traffic import Traffic
from rewriter import RewriteError
from rewriter.scan import mentions_bytes
from tests.wire import READY_FAILED, READY_IDLE, complete, failure, parameter

FORM = "PREDICT(m USING a AS b)"


def find(text: str) -> Leaving | None:
    return find_leaving(Statement(ord("Q"), b"", text.encode(), b"", b""), "utf-8")


@pytest.mark.parametrize(
    "first",
    [
        "ROLLBACK;",
        "; /* ; */ Abort Work;",
        "commit and chain;",
        "END;",
        "ROLLBACK TO SAVEPOINT declare;",
        "PREPARE TRANSACTION 'x;';",
    ],
)
@pytest.mark.parametrize(
    "rest", [f" SELECT {FORM}", f"; SELECT 1; CALL p({FORM});", f"EXPLAIN (PREDICT) SELECT {FORM}"]
)
def test_taken_apart(first: str, rest: str) -> None:
    leaving = find(first + rest)
    assert leaving is not None
    assert (leaving.first, leaving.rest, leaving.is_plain) == (first, rest, True)
    assert FORM not in leaving.outline
    assert "(PREDICT)" not in leaving.outline
    assert "predict()" in leaving.outline
    assert leaving.origin(leaving.outline.index("predict()") + 1) == (first + rest).index(FORM) + 1
    assert leaving.origin(len(leaving.outline) + 1) == len(first + rest) + 1
    assert leaving.behind(lambda position: position)(1) == len(first) + 1


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT {FORM}",
        f"SELECT 1; ROLLBACK; SELECT {FORM}",
        f"ROLLBACK PREPARED 'x'; SELECT {FORM}",
        f"PREPARE s AS SELECT 1; SELECT {FORM}",
        f'"rollback"; SELECT {FORM}',
        "ROLLBACK /* PREDICT(m) */;",
        "",
        ";",
    ],
)
def test_what_does_not_end_it(text: str) -> None:
    assert find(text) is None


@pytest.mark.parametrize("statement", [f"DECLARE c CURSOR FOR SELECT {FORM}", f"CALL p({FORM})"])
def test_statements_that_care_whether_they_are_alone(statement: str) -> None:
    for first in ("ROLLBACK", "COMMIT AND NO CHAIN"):
        with pytest.raises(TransactionFailed) as caught:
            find(f"{first}; {statement}")
        assert caught.value.hint is not None
    for text in (
        f"ROLLBACK AND CHAIN; {statement}",
        f"ROLLBACK TO s; {statement}",
        f"ROLLBACK; {statement}; SELECT 1",
    ):
        assert find(text) is not None


def test_a_form_that_is_wrong_is_told_at_its_place() -> None:
    with pytest.raises(RewriteError) as caught:
        find("ROLLBACK; SELECT 1; SELECT PREDICT(m USING 1)")
    assert caught.value.position == 44


def test_what_the_server_says_to_the_outline() -> None:
    text = f"ROLLBACK; SELECT {FORM} FORM t"
    leaving = find(text)
    assert leaving is not None
    leaving.check(Answer(error={"C": "42601", "M": "cannot insert multiple commands"}))
    place = leaving.outline.index("t", leaving.outline.index("FORM")) + 1
    with pytest.raises(RewriteError) as caught:
        leaving.check(Answer(error={"C": "42601", "M": "syntax error", "P": str(place)}))
    assert (caught.value.sqlstate, caught.value.position) == ("42601", len(text))
    for error in ({"C": "54001", "M": "stack depth"}, None):
        with pytest.raises(StatementRefused):
            leaving.check(Answer(error=error))
    joined = find("ROLLBACK; SELECT PREDICT(m) FROM t JOIN models.m AS x")
    assert joined is not None
    with pytest.raises(TransactionFailed):
        joined.check(Answer(error={"C": "42601", "M": "syntax error", "P": "50"}))


def failed_session() -> Session:
    session = Session(Traffic(), mentions_bytes, 1 << 20)
    session.client(frames.query(b"SELECT 1 / 0"))
    session.server(failure("22012") + READY_FAILED)
    session.client(frames.query(f"ROLLBACK; SELECT {FORM}".encode()) + frames.query(b"SELECT 1"))
    assert session.leave(b"ROLLBACK;") == frames.query(b"ROLLBACK;")
    return session


def test_the_client_is_told_of_the_first_statement_but_not_that_it_is_the_last() -> None:
    session = failed_session()
    told = complete("ROLLBACK") + parameter("TimeZone", "UTC")
    assert session.server(told) == told
    assert not session.is_answered
    assert session.server(READY_IDLE) == b""
    assert (session.is_answered, session.has_left, session.traffic.status) == (True, True, "I")
    sent = session.change(b"SELECT something", lambda position: position + 5)
    assert sent == frames.query(b"SELECT something") + frames.query(b"SELECT 1")
    answers = complete("SELECT 1") + READY_IDLE
    assert session.server(answers * 2) == answers * 2
    assert session.idle


def test_if_it_fails_the_message_is_over() -> None:
    session = failed_session()
    told = failure("3B001") + READY_FAILED
    assert session.server(told) == told
    assert (session.is_answered, session.has_left) == (True, False)
    assert session.drop() == frames.query(b"SELECT 1")
    assert session.statement is None
    session.server(failure("25P02") + READY_FAILED)
    assert session.idle
