"""What is known of changed statements by their names, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpredict.proxy import changes, frames
from pgpredict.proxy.frames import frame
from pgpredict.proxy.session import Session
from pgpredict.proxy.traffic import Traffic
from rewriter.scan import mentions_bytes
from tests.wire import READY_FAILED, READY_IDLE, READY_OPEN, complete, data_row, failure

PARSED, BOUND, CLOSED = (frame(kind, b"") for kind in (b"1", b"2", b"3"))
#: an error of the server's, and the same in a changed statement's own terms
THEIRS, OURS = failure("42703", position=30), failure("42703", position=10)


def parse(name: bytes) -> bytes:
    return frames.parse(name, b"SELECT PREDICT(m) FROM t")


def bind(name: bytes, portal: bytes = b"") -> bytes:
    return frames.bind(portal, name, [b"x" * 20], binary=False)


def changed(*names: bytes, rest: bytes = b"") -> Session:
    """A session that has prepared changed statements."""
    session = Session(Traffic(), mentions_bytes, 1 << 20)
    for name in names:
        session.client(parse(name))
        session.change(b"SELECT something much longer", lambda position: position - 20)
    session.client(frames.SYNC)
    session.server(PARSED * len(names) + READY_IDLE)
    assert session.idle
    session.client(rest)
    return session


def is_moved(session: Session, sent: bytes, answers: bytes = b"") -> bool:
    """Tell whether an error of what is sent points into the client's text; the batch ends with it."""
    session.client(sent + frames.SYNC)
    told = session.server(answers + THEIRS + READY_IDLE)
    assert told in (answers + OURS + READY_IDLE, answers + THEIRS + READY_IDLE)
    assert session.idle
    return told == answers + OURS + READY_IDLE


@pytest.mark.parametrize("name", [b"", b"s", b"n" * 63])
def test_errors_of_a_statement_point_into_the_client_s_text_however_late(name: bytes) -> None:
    session = changed(name)
    for _ in range(2):
        assert is_moved(session, bind(name))
        assert is_moved(session, frames.describe_statement(name))
        assert is_moved(session, bind(name, b"p") + frames.execute(b"p"), BOUND)
        assert is_moved(session, bind(name, b"p") + frame(b"D", b"Pp\0"), BOUND)
        rows = BOUND + data_row(b"x") * 3
        assert is_moved(session, bind(name) + frames.execute(b""), rows)
        assert not is_moved(session, bind(b"other"))
        assert not is_moved(session, frames.parse(b"", b"SELECT x") if name else bind(b"other"))


def test_only_as_much_of_a_name_counts_as_postgresql_takes() -> None:
    session = changed(b"n" * 70)
    assert is_moved(session, bind(b"n" * 63 + b"else"))


def test_names_are_used_again() -> None:
    session = changed(b"s", b"t")
    session.client(frames.parse(b"s", b"SELECT 1") + frames.SYNC)
    session.server(failure("42P05") + READY_IDLE)
    assert is_moved(session, bind(b"s"))
    session.client(frames.close_statement(b"s") + frames.SYNC)
    session.server(CLOSED + READY_IDLE)
    assert not is_moved(session, bind(b"s"))
    session.client(parse(b"s"))
    session.change(b"SELECT something else that is longer", lambda position: position - 20)
    assert is_moved(session, bind(b"s"), PARSED)
    assert is_moved(session, bind(b"t"))


def test_a_parse_that_is_refused_leaves_the_statement_that_has_its_name() -> None:
    session = changed(b"s")
    session.client(parse(b"s"))
    session.refuse(failure("42704", "no such model"))
    session.client(frames.SYNC)
    assert session.server(failure("42601") + READY_IDLE) == failure("42704", "no such model") + READY_IDLE
    assert is_moved(session, bind(b"s"))


def test_portals_end_with_their_transaction_or_when_they_are_bound_again() -> None:
    session = changed(b"s")
    session.client(bind(b"s", b"p") + frames.SYNC)
    session.server(BOUND + READY_OPEN)
    assert is_moved(session, frames.execute(b"p"))
    assert not is_moved(session, frames.execute(b"p"))
    session.client(bind(b"s", b"p") + bind(b"plain", b"p") + frames.execute(b"p") + frames.SYNC)
    told = session.server(BOUND * 2 + THEIRS + READY_IDLE)
    assert told == BOUND * 2 + THEIRS + READY_IDLE


def test_a_portal_outlives_its_statement() -> None:
    session = changed(b"s")
    sent = bind(b"s", b"p") + frames.close_statement(b"s") + frames.execute(b"p")
    assert is_moved(session, sent, BOUND + CLOSED)
    session.client(bind(b"s", b"p") + frames.SYNC)
    assert session.server(THEIRS + READY_IDLE) == THEIRS + READY_IDLE


@pytest.mark.parametrize(
    ("text", "tag", "left"),
    [
        (b"DEALLOCATE s", "DEALLOCATE", {b"T t"}),
        (b"select 1; deallocate prepare S", "DEALLOCATE", {b"T t"}),
        (b'Deallocate "T t"', "DEALLOCATE", {b"s"}),
        (b"DEALLOCATE ALL", "DEALLOCATE ALL", set()),
        (b"DISCARD ALL", "DISCARD ALL", set()),
        (b"DISCARD PLANS", "DISCARD PLANS", {b"s", b"T t"}),
        (b"SELECT 'DEALLOCATE s'", "SELECT 1", {b"s", b"T t"}),
    ],
)
@pytest.mark.parametrize("simple", [True, False])
def test_statements_that_are_deallocated(text: bytes, tag: str, left: set[bytes], simple: bool) -> None:
    sent = frames.query(text)
    if not simple:
        sent = frames.parse(b"", text) + bind(b"") + frames.execute(b"") + frames.SYNC
    begun = b"" if simple else PARSED + BOUND
    session = changed(b"s", b"T t")
    session.client(sent)
    session.server((begun or b"") + failure("25P02") + READY_FAILED)
    assert all(is_moved(session, bind(name)) for name in (b"s", b"T t"))
    session.client(sent)
    session.server(begun + complete(tag) + READY_IDLE)
    assert {name for name in (b"s", b"T t") if is_moved(session, bind(name))} == left


def test_a_changed_text_deallocates_as_well() -> None:
    session = changed(b"s", b"t")
    session.client(frames.query(b"DEALLOCATE s; SELECT PREDICT(m)"))
    session.change(b"DEALLOCATE s; SELECT 1", lambda position: position)
    session.server(complete("DEALLOCATE") + complete("SELECT 1") + READY_IDLE)
    assert [is_moved(session, bind(name)) for name in (b"s", b"t")] == [False, True]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_MOST", 3)
    names = [b"%d" % number for number in range(5)]
    session = changed(*names)
    assert [is_moved(session, bind(name)) for name in names] == [False, False, True, True, True]
    monkeypatch.setattr(changes, "_LARGEST", 40)
    session = changed(*names)
    assert [is_moved(session, bind(name)) for name in names] == [False, False, False, False, True]


def test_plain_statements_pass_as_they_come_once_nothing_is_due() -> None:
    session = changed(b"s")
    session.client(bind(b"s") + frames.execute(b"") + frames.SYNC)
    session.server(BOUND + complete("SELECT 0") + READY_IDLE)
    session.client(frames.query(b"SELECT 1"))
    answer = data_row(b"x") * 3 + complete("SELECT 3") + READY_IDLE
    assert session.server(answer) is answer


@given(st.data())
def test_however_the_client_s_bytes_are_cut_names_are_seen(data: st.DataObject) -> None:
    session = changed(b"a statement")
    stream = bind(b"a statement", b"a portal") + frames.execute(b"a portal") + frames.SYNC
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10).map(sorted))
    sent = b"".join(
        session.client(stream[start:end]) for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    )
    assert sent == stream
    assert session.server(BOUND + THEIRS + READY_IDLE) == BOUND + OURS + READY_IDLE


def test_a_large_parameter_is_not_collected() -> None:
    session = changed(b"s")
    head = bind(b"s")[:20]
    message = frame(b"B", head[5:] + b"x" * 1_000_000)
    assert session.client(message[:2000]) == b""
    assert session.client(message[2000:8000]) == message[:8000]
    assert session.client(message[8000:]) == message[8000:]
