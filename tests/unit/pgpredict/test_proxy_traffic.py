"""What the server still owes, told from heads of messages alone, however the bytes are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgpredict.proxy import frames
from pgpredict.proxy.frames import frame
from pgpredict.proxy.traffic import Traffic
from tests.wire import READY_FAILED, READY_IDLE, READY_OPEN, complete, data_row, failure, parameter


def quiet(traffic: Traffic) -> bool:
    return traffic.quiet


def skipping(traffic: Traffic) -> bool:
    return traffic.skipping


def client(traffic: Traffic, kinds: bytes) -> None:
    for kind in kinds:
        traffic.sent(kind)


def test_a_query_owes_one_ready_for_query() -> None:
    traffic = Traffic()
    client(traffic, b"Q")
    assert not quiet(traffic)
    traffic.received(data_row(b"x") + complete("SELECT 1"))
    assert not quiet(traffic)
    traffic.received(READY_OPEN)
    assert quiet(traffic)
    assert traffic.status == "T"


def test_an_open_batch_is_quiet_when_each_message_is_answered() -> None:
    traffic = Traffic()
    client(traffic, b"PBDE")
    traffic.received(frame(b"1", b"") + frame(b"2", b"") + frame(b"T", b"\0\0"))
    assert not quiet(traffic)
    traffic.received(data_row(b"x") + complete("SELECT 1"))
    assert quiet(traffic)
    assert traffic.open
    assert not skipping(traffic)


def test_a_described_statement_is_answered_by_its_columns_not_by_its_parameters() -> None:
    traffic = Traffic()
    client(traffic, b"PD")
    traffic.received(frame(b"1", b"") + frame(b"t", b"\0\0"))
    assert not quiet(traffic)
    traffic.received(frame(b"n", b""))
    assert quiet(traffic)


def test_an_error_in_an_open_batch_has_the_server_skip_until_the_next_sync() -> None:
    traffic = Traffic()
    client(traffic, b"PBE")
    traffic.received(frame(b"1", b"") + failure("22012"))
    assert skipping(traffic)
    assert quiet(traffic)
    client(traffic, b"S")
    assert not skipping(traffic)
    traffic.received(READY_IDLE)
    assert quiet(traffic)


def test_an_error_of_an_earlier_batch_is_not_the_open_one_s() -> None:
    traffic = Traffic()
    client(traffic, b"PBESPBE")
    traffic.received(failure("22012"))
    assert not skipping(traffic)
    traffic.received(READY_IDLE + frame(b"1", b"") + frame(b"2", b""))
    assert not quiet(traffic)
    traffic.received(complete("SELECT 0"))
    assert quiet(traffic)
    assert not skipping(traffic)


def test_a_sync_during_copy_in_is_ignored_by_the_server() -> None:
    traffic = Traffic()
    client(traffic, b"PBES")
    traffic.received(frame(b"1", b"") + frame(b"2", b"") + frame(b"G", b"\0\0\0"))
    client(traffic, b"ddSdc")
    assert traffic.pending == 0
    client(traffic, b"S")
    traffic.received(complete("COPY 3") + READY_IDLE)
    assert quiet(traffic)
    assert not traffic.open


def test_copy_in_of_a_simple_query() -> None:
    traffic = Traffic()
    client(traffic, b"Q")
    traffic.received(frame(b"G", b"\0\0\0"))
    client(traffic, b"dddc")
    assert traffic.pending == 1
    traffic.received(complete("COPY 3") + READY_IDLE)
    assert quiet(traffic)


def test_a_copy_that_fails_while_the_client_still_sends() -> None:
    traffic = Traffic()
    client(traffic, b"Q")
    traffic.received(frame(b"G", b"\0\0\0"))
    client(traffic, b"d")
    traffic.received(failure("22P02") + READY_IDLE)
    client(traffic, b"ddc")
    assert quiet(traffic)
    client(traffic, b"Q")
    assert traffic.pending == 1


def test_what_aborts_a_copy_gets_no_answer_of_its_own() -> None:
    simple = Traffic()
    client(simple, b"Q")
    simple.received(frame(b"G", b"\0\0\0"))
    assert simple.copying
    client(simple, b"dQ")
    simple.received(failure("08P01") + READY_IDLE)
    assert quiet(simple)
    extended = Traffic()
    client(extended, b"PBES")
    extended.received(frame(b"1", b"") + frame(b"2", b"") + frame(b"G", b"\0\0\0"))
    client(extended, b"dP")
    extended.received(failure("08P01"))
    assert skipping(extended)
    client(extended, b"S")
    extended.received(READY_IDLE)
    assert quiet(extended)
    assert not extended.open


def test_messages_sent_behind_a_copy_before_the_server_takes_it_keep_nobody_waiting() -> None:
    traffic = Traffic()
    client(traffic, b"PBESPBES")
    # the first Sync is ignored, the second Parse makes the COPY fail
    traffic.received(frame(b"1", b"") + frame(b"2", b"") + frame(b"G", b"\0\0\0"))
    traffic.received(failure("08P01") + READY_IDLE)
    assert quiet(traffic)
    assert not traffic.open


def test_a_copy_whose_rows_were_sent_before_the_server_asked_for_them() -> None:
    for sent, answers in ((b"QddcQ", 2), (b"PBEddcS", 1), (b"Qdf", 1)):
        traffic = Traffic()
        client(traffic, sent)
        traffic.received(frame(b"1", b"") + frame(b"2", b"") + frame(b"G", b"\0\0\0"))
        assert not traffic.copying
        for _ in range(answers):
            assert not quiet(traffic)
            traffic.received(complete("COPY 2") + READY_IDLE)
        assert quiet(traffic)
        client(traffic, b"Q")
        traffic.received(frame(b"G", b"\0\0\0"))
        assert traffic.copying


def test_a_query_that_the_server_skips_is_not_waited_for() -> None:
    traffic = Traffic()
    client(traffic, b"P")
    traffic.received(failure("42601"))
    client(traffic, b"QFS")
    traffic.received(READY_IDLE)
    assert quiet(traffic)


def test_a_query_that_was_sent_before_the_error_is_skipped_as_well() -> None:
    traffic = Traffic()
    client(traffic, b"PBQFS")
    assert traffic.pending == 3
    traffic.received(frame(b"1", b"") + failure("42601"))
    assert (traffic.pending, traffic.open, quiet(traffic)) == (1, False, False)
    traffic.received(READY_IDLE)
    assert quiet(traffic)
    client(traffic, b"PQ")
    traffic.received(failure("42601"))
    assert (traffic.pending, traffic.open) == (0, True)
    assert quiet(traffic)
    assert skipping(traffic)


def test_an_error_of_a_query_or_sync_skips_nothing() -> None:
    traffic = Traffic()
    client(traffic, b"QPBESQ")
    traffic.received(failure("42601") + READY_IDLE)
    for answer in (frame(b"1", b""), frame(b"2", b""), complete("INSERT 0 1")):
        assert not quiet(traffic)
        traffic.received(answer)
    traffic.received(failure("23505") + READY_IDLE)
    assert traffic.pending == 1
    traffic.received(complete("SELECT 1") + READY_IDLE)
    assert quiet(traffic)


def test_a_copy_that_fails_before_it_reads_ignores_no_sync() -> None:
    for context, owed in ((b"", 2), (b"WCOPY t, line 1\0", 1)):
        traffic = Traffic()
        client(traffic, b"PBES")
        traffic.received(frame(b"1", b"") + frame(b"2", b"") + frame(b"G", b"\0\0\0"))
        client(traffic, b"dcS")
        traffic.received(frame(b"E", b"SERROR\0VERROR\0C22P02\0" + context + b"\0"))
        assert traffic.pending == owed
        traffic.received(READY_IDLE * owed)
        assert quiet(traffic)


@given(st.lists(st.sampled_from(b"PBEDCQSF"), max_size=12))
def test_marks_come_back_with_the_answers_to_their_messages(kinds: list[int]) -> None:
    """Every third message of the extended protocol fails."""
    traffic = Traffic()
    for number, kind in enumerate(kinds):
        traffic.sent(kind, (number, kind))
    skips = False
    for number, kind in enumerate(kinds):
        if skips and kind != ord("S"):
            continue
        skips = False
        assert traffic.line.mark == (number, kind)
        if kind not in b"QSF":
            skips = number % 3 == 0
            traffic.received(failure("22012") if skips else complete("SELECT 0"))
        else:
            traffic.received(READY_IDLE)
    assert traffic.line.mark is None
    assert not traffic.line.is_marked
    assert traffic.skipping == skips


@given(st.integers(0, 30))
def test_the_rest_of_a_message_that_has_come_in_part(cut: int) -> None:
    message = parameter("search_path", "public")
    traffic = Traffic()
    traffic.received(message[:cut])
    rest = message[cut:] + READY_IDLE
    wanted = len(message) - cut if 0 < cut < len(message) else 0
    assert traffic.under_way(rest) == wanted
    assert traffic.under_way(rest[:2]) == min(wanted, 2)


REPLIES = [
    parameter("client_encoding", "LATIN1"),
    frame(b"1", b""),
    frame(b"2", b""),
    data_row(b"Z\0\0\0\x05I", b"E" * 100),
    data_row(),
    frame(b"T", b"\0\x01" + b"Z\0\0\0\x05I" * 3),
    frame(b"N", b"SNOTICE\0\0"),
    failure("42601"),
    complete("SELECT 2"),
    READY_IDLE,
    READY_OPEN,
    READY_FAILED,
]


@given(st.lists(st.sampled_from(REPLIES), max_size=12), st.data())
def test_however_the_bytes_are_cut(replies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(replies)
    whole, cut = Traffic(), Traffic()
    for traffic in (whole, cut):
        client(traffic, b"QQQPBE")
    whole.received(stream)
    for piece in data.draw(pieces(stream)):
        cut.received(piece)
    for name in ("status", "pending", "open", "copying", "parameters", "quiet", "skipping", "left"):
        assert getattr(cut, name) == getattr(whole, name), name


def pieces(stream: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(stream)), max_size=8).map(sorted)
    return places.map(
        lambda cuts: [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    )


def test_positions_are_replaced_and_the_rest_of_an_error_stays() -> None:
    body = failure("42703", position=7)[frames.HEAD :]
    moved = frames.with_position(body, 3)
    assert frames.error_fields(moved) == {**frames.error_fields(body), "P": "3"}
    assert "P" not in frames.error_fields(frames.with_position(body, None))
