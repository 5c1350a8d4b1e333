"""What passes, what is held, what is changed: bytes in, bytes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpredict.catalog.questions import Description, Rows
from pgpredict.proxy import frames
from pgpredict.proxy.errors import Malformed
from pgpredict.proxy.frames import frame
from pgpredict.proxy.questions import CLOSE
from pgpredict.proxy.session import Session
from pgpredict.proxy.traffic import Traffic
from rewriter.scan import mentions_bytes
from tests.wire import READY_FAILED, READY_IDLE, READY_OPEN, complete, data_row, failure, parameter

PLAIN = frames.query(b"SELECT 1")
OURS = frames.query(b"SELECT PREDICT(m) FROM t")
CLOSED = frame(b"3", b"")
#: the whole of the server's answer to one Rows
ROWS = CLOSED * 2 + frame(b"1", b"") + frame(b"2", b"") + data_row(b"[]") + complete("SELECT 1") + CLOSED * 2


def make_session(longest: int = 1 << 20) -> Session:
    return Session(Traffic(), mentions_bytes, longest)


def test_bytes_without_our_words_are_the_same_object() -> None:
    session = make_session()
    assert session.client(PLAIN) is PLAIN
    answer = data_row(b"1") + complete("SELECT 1") + READY_IDLE
    assert session.server(answer) is answer
    assert session.idle


def test_a_statement_of_ours_is_taken_out_and_what_follows_is_held() -> None:
    session = make_session()
    assert session.client(PLAIN + OURS + PLAIN) == PLAIN
    assert session.statement is not None
    assert session.statement.sql == b"SELECT PREDICT(m) FROM t"
    assert session.client(frames.SYNC) == b""
    assert session.held == len(PLAIN) + len(frames.SYNC)
    assert session.pass_on() == OURS + PLAIN + frames.SYNC
    assert session.statement is None


def test_two_statements_wait_for_their_turns() -> None:
    session = make_session()
    session.client(OURS + PLAIN + OURS)
    assert session.pass_on() == OURS + PLAIN
    assert session.statement is not None
    assert session.pass_on() == OURS


def test_a_parse_keeps_its_name_and_types() -> None:
    session = make_session()
    session.client(frames.parse(b"s1", b"SELECT PREDICT(m), $1", [23]) + frames.SYNC)
    assert session.statement is not None
    assert session.statement.kept
    assert session.change(b"SELECT 1, $1", lambda position: position) == (
        frames.parse(b"s1", b"SELECT 1, $1", [23]) + frames.SYNC
    )


@pytest.mark.parametrize(
    "message",
    [
        frame(b"Q", b"SELECT PREDICT(m)"),
        frame(b"Q", b"SELECT PREDICT(m)\0junk\0"),
        frame(b"P", b"s\0SELECT PREDICT(m)\0"),
        frame(b"P", b"s\0SELECT PREDICT(m)\0\0\x02\0\0\0\x17"),
        frame(b"P", b"PREDICT"),
    ],
)
def test_malformed_statements_are_left_to_the_server(message: bytes) -> None:
    session = make_session()
    assert session.client(message) == message
    assert session.statement is None


@pytest.mark.parametrize("length", [0, 3, 0x40000000, 0xFFFFFFFF])
def test_lengths_that_cannot_be(length: int) -> None:
    with pytest.raises(Malformed, match=str(length)):
        make_session().client(b"Q" + frames.LENGTH.pack(length))
    session = make_session()
    session.client(OURS)
    session.ask([Rows("SELECT 1")], "utf-8")
    with pytest.raises(Malformed):
        session.server(b"D" + frames.LENGTH.pack(length))


def test_a_statement_beyond_the_limit_passes_without_being_collected() -> None:
    session = make_session(longest=100)
    message = frames.query(b"SELECT PREDICT(m) FROM t -- " + b"x" * 200)
    passed = session.client(message[:40])
    assert passed == message[:40]
    assert session.client(message[40:]) == message[40:]
    assert session.client(PLAIN) is PLAIN
    told = session.server(failure("42601", position=9) + READY_IDLE + failure("42601"))
    fields = frames.error_fields(next(frames.messages(told))[1])
    assert fields["P"] == "9"
    assert fields["H"] == "statements of more than 100 bytes pass the proxy without being rewritten"
    assert told.endswith(READY_IDLE + failure("42601"))


def test_answers_to_questions_stay_here_and_what_the_server_says_unasked_passes() -> None:
    session = make_session()
    session.client(OURS)
    asked, sent = session.ask([Rows("SELECT 1"), Description("SELECT 2")], "utf-8")
    assert sent.startswith(CLOSE)
    assert sent.endswith(frames.SYNC)
    notification = frame(b"A", b"\0\0\0\1channel\0\0")
    changed = parameter("client_encoding", "LATIN1")
    described = frame(b"1", b"") + frame(b"t", b"\0\0") + frame(b"T", b"\0\0") + CLOSED * 2
    told = session.server(ROWS + notification + frame(b"N", b"SNOTICE\0\0") + described + changed)
    assert told == notification + changed
    assert [session.is_answered, session.server(READY_OPEN), session.is_answered] == [False, b"", True]
    assert asked.answers[0].rows() == []
    assert asked.answers[1].value == b"\0\0"
    assert session.traffic.status == "T"
    assert session.traffic.pending == 0
    assert session.traffic.parameters["client_encoding"] == "LATIN1"


def test_nobody_is_told_that_a_question_is_asked_in_another_encoding() -> None:
    session = make_session()
    session.traffic.received(parameter("client_encoding", "LATIN1"))
    session.client(OURS)
    session.ask([Rows("SELECT 1")], "utf-8", wide=True)
    zone = parameter("TimeZone", "UTC")
    told = session.server(parameter("client_encoding", "UTF8") + zone + ROWS)
    assert told == zone
    assert session.server(parameter("client_encoding", "LATIN1") + READY_IDLE) == b""
    assert session.traffic.parameters["client_encoding"] == "LATIN1"


def test_a_ready_for_query_that_comes_too_early_is_not_about_a_question() -> None:
    session = make_session()
    session.client(OURS)
    asked, _ = session.ask([Rows("SELECT 1")], "utf-8")
    assert session.server(READY_OPEN + ROWS) == READY_OPEN
    assert [session.is_answered, session.server(READY_IDLE), session.is_answered] == [False, b"", True]
    assert asked.answers[0].rows() == []


def test_a_question_that_fails_tells_why() -> None:
    session = make_session()
    session.client(OURS)
    asked, _ = session.ask([Rows("SELECT 1"), Description("SELECT x")], "utf-8")
    assert session.server(ROWS + failure("42703", "no such column") + READY_FAILED) == b""
    assert asked.error is not None
    assert asked.error["C"] == "42703"
    assert session.traffic.status == "E"


def test_in_an_open_batch_questions_are_flushed_and_a_failure_leaves_the_server_skipping() -> None:
    session = make_session()
    begin = frames.parse(b"", b"BEGIN") + frames.bind(b"", b"", (), binary=False) + frames.execute(b"")
    assert session.client(begin + frames.parse(b"", b"SELECT PREDICT(m)")) == begin
    assert session.flush() == frames.FLUSH
    session.server(frame(b"1", b"") + frame(b"2", b"") + complete("BEGIN"))
    assert session.traffic.quiet
    asked, sent = session.ask([Rows("SELECT 1")], "utf-8")
    assert sent.endswith(frames.FLUSH)
    session.server(ROWS)
    assert session.is_answered
    assert asked.error is None
    asked, _ = session.ask([Rows("SELECT 1")], "utf-8")
    session.server(CLOSED * 2 + failure("42P01"))
    assert session.is_answered
    assert session.traffic.skipping
    to_server, to_client = session.refuse(failure("42P01"))
    assert (to_server, to_client) == (b"", failure("42P01"))


def test_a_refusal_takes_the_place_of_an_error_of_the_server() -> None:
    session = make_session()
    session.client(OURS + PLAIN)
    refusal = failure("42704", "no such model", 8)
    to_server, to_client = session.refuse(refusal)
    assert to_client == b""
    assert to_server.endswith(PLAIN)
    notice = frame(b"N", b"SNOTICE\0\0")
    told = session.server(notice + failure("42601") + READY_FAILED + failure("25P02"))
    assert told == notice + refusal + READY_FAILED + failure("25P02")
    assert session.traffic.status == "E"


def test_errors_of_a_changed_query_point_into_the_client_s_text_until_it_has_ended() -> None:
    session = make_session()
    session.client(OURS)
    session.change(b"SELECT something longer", lambda position: position - 5)
    rows = data_row(b"1") * 3
    told = session.server(rows + failure("42703", position=12) + READY_IDLE + failure("42703", position=12))
    assert told == (rows + failure("42703", position=7) + READY_IDLE + failure("42703", position=12))


def test_errors_of_a_changed_parse_point_into_the_client_s_text_until_it_is_parsed() -> None:
    session = make_session()
    session.client(frames.parse(b"", b"SELECT PREDICT(m)"))
    session.change(b"SELECT something longer", lambda position: None)
    told = session.server(frame(b"1", b"") + failure("42703", position=12))
    assert told == frame(b"1", b"") + failure("42703", position=12)


@given(st.integers(0, 40), st.sampled_from([b"A", b"N", b"S"]))
def test_a_message_that_was_on_its_way_when_we_asked_passes_whole(cut: int, kind: bytes) -> None:
    message = frame(kind, b"a name\0a value\0")
    session = make_session()
    session.client(OURS)
    passed = session.server(message[:cut])
    asked, _ = session.ask([Rows("SELECT 1")], "utf-8")
    told = passed + session.server(message[cut:] + ROWS + READY_IDLE)
    # a notice that has not begun to pass is about our question
    assert told == (b"" if kind == b"N" and cut == 0 else message)
    assert session.is_answered
    assert asked.answers[0].rows() == []
    assert session.traffic.quiet


def test_rows_of_a_copy_pass_in_pieces_whatever_their_length() -> None:
    session = make_session()
    session.client(frames.query(b"COPY (SELECT PREDICT(m) FROM t) TO STDOUT"))
    session.change(b"COPY (SELECT 1) TO STDOUT", lambda position: position - 1)
    head = b"d" + frames.LENGTH.pack(0x3FFFFFFF)
    assert session.server(frame(b"H", b"\0\0\0") + head + b"x" * 100) == (
        frame(b"H", b"\0\0\0") + head + b"x" * 100
    )
    assert session.server(b"y" * 1000) == b"y" * 1000


def test_a_long_answer_is_collected_without_copying_it_for_each_piece() -> None:
    session = make_session()
    session.client(OURS)
    asked, _ = session.ask([Rows("SELECT 1")], "utf-8")
    value = b'[{"a": "' + b"x" * 20_000_000 + b'"}]'
    stream = CLOSED * 2 + data_row(value) + complete("SELECT 1") + CLOSED * 2 + READY_IDLE
    for start in range(0, len(stream), 4096):
        assert session.server(stream[start : start + 4096]) == b""
    assert asked.answers[0].rows() == [["x" * 20_000_000]]


def test_a_server_that_fails_for_a_reason_of_its_own_says_so() -> None:
    session = make_session()
    session.client(OURS)
    session.refuse(failure("42704", "no such model"))
    shutdown = failure("57P01", "terminating connection due to administrator command")
    assert session.server(shutdown) == shutdown


def test_a_query_that_is_refused_behind_an_open_batch_ends_it() -> None:
    session = make_session()
    begun = frames.parse(b"", b"SELECT 1") + frames.bind(b"", b"", (), binary=False)
    session.client(begun + OURS)
    session.server(frame(b"1", b"") + frame(b"2", b""))
    session.ask([Rows("SELECT 1")], "utf-8")
    session.server(CLOSED * 2 + failure("42P01"))
    assert session.traffic.skipping
    assert session.refuse(failure("42P01")) == (frames.SYNC, failure("42P01"))
    assert session.server(READY_IDLE) == READY_IDLE
    assert session.idle


def test_a_question_that_cannot_be_said_leaves_the_session_as_it_was() -> None:
    session = make_session()
    session.client(OURS)
    with pytest.raises(UnicodeEncodeError):
        session.ask([Rows("SELECT 'ł'")], "latin-1")
    assert session.is_answered


def test_a_statement_during_a_copy_has_nothing_to_wait_for() -> None:
    session = make_session()
    session.client(frames.query(b"COPY t FROM STDIN"))
    session.server(frame(b"G", b"\0\0\0"))
    session.client(OURS)
    assert session.is_settled
    assert session.pass_on() == OURS
    session.server(failure("08P01") + READY_IDLE)
    assert session.idle


STATEMENTS = st.sampled_from(
    [
        PLAIN,
        OURS,
        frames.parse(b"s", b"SELECT 1", [0]),
        frames.parse(b"", b"SELECT PREDICT(m)"),
        frames.bind(b"", b"s", [b"predict", None], binary=True),
        frames.execute(b""),
        frames.SYNC,
        frames.FLUSH,
        frame(b"d", b"PREDICT" * 20),
        frame(b"F", b"\0\0\0\1\0\0\0\0\0\0"),
        frames.TERMINATE,
    ]
)


@given(st.lists(STATEMENTS, max_size=10), st.data())
def test_however_the_client_s_bytes_are_cut_the_server_gets_the_same(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(messages)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    session, sent = make_session(), bytearray()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        sent += session.client(stream[start:end])
        while session.statement is not None:
            sent += session.change(session.statement.sql.replace(b"PREDICT(m)", b"1"), lambda place: place)
    assert bytes(sent) == b"".join(messages).replace(OURS, frames.query(b"SELECT 1 FROM t")).replace(
        frames.parse(b"", b"SELECT PREDICT(m)"), frames.parse(b"", b"SELECT 1")
    )
    assert session.held == 0


ANSWERS = st.lists(
    st.sampled_from(
        [
            data_row(b"x" * 40),
            frame(b"T", b"\0\0"),
            complete("SELECT 1"),
            parameter("TimeZone", "UTC"),
            frame(b"N", b"SNOTICE\0P30\0\0"),
            frame(b"A", b"\0\0\0\1channel\0\0"),
        ]
    ),
    max_size=6,
)


@given(ANSWERS, ANSWERS, st.booleans(), st.data())
def test_however_the_server_s_bytes_are_cut_the_client_gets_the_same(
    before: list[bytes], after: list[bytes], fails: bool, data: st.DataObject
) -> None:
    end = (failure("42703", position=30) if fails else b"") + READY_IDLE
    stream = b"".join(before) + end + b"".join(after)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    session = make_session()
    session.client(OURS)
    session.change(b"SELECT something much longer", lambda position: position - 20)
    told = b"".join(
        session.server(stream[start:end]) for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    )
    moved = b"".join(before).replace(b"P30", b"P10")
    assert told == moved + end.replace(b"P30", b"P10") + b"".join(after)
    assert session.idle
