"""Columns of changed statements keep their tables, and no other description is touched."""

from __future__ import annotations

import struct

from pgpredict.proxy import frames
from pgpredict.proxy.descriptions import in_encoding, with_origins
from pgpredict.proxy.frames import frame
from pgpredict.proxy.session import Session
from pgpredict.proxy.traffic import Traffic
from rewriter.scan import mentions_bytes
from tests.wire import READY_IDLE, complete, data_row, failure

PARSED, BOUND, NO_DATA = frame(b"1", b""), frame(b"2", b""), frame(b"n", b"")


def description(*columns: tuple[bytes, int, int, int]) -> bytes:
    """Body of a RowDescription of (name, table, number, type)."""
    parts = [struct.pack("!H", len(columns))]
    for name, table, number, kind in columns:
        parts.append(frames.cstring(name) + struct.pack("!IhIhih", table, number, kind, 4, -1, 0))
    return b"".join(parts)


#: what the server says of the changed statement, what is true of the client's, what the client is to get
CHANGED = description((b"id", 0, 0, 23), (b"predict", 0, 0, 701))
MEANT = description((b"id", 4711, 2, 23), (b"predict", 0, 0, 701))
OTHER = description((b"id", 0, 0, 23))


def changed(name: bytes | None) -> Session:
    """A session that has sent a changed Query (without a name) or Parse."""
    session = Session(Traffic(), mentions_bytes, 1 << 20)
    text = b"SELECT id, PREDICT(m) FROM t"
    session.client(frames.query(text) if name is None else frames.parse(name, text))
    session.change(b"SELECT changed", lambda position: position, MEANT)
    return session


def test_numbers_of_tables_are_put_back_and_formats_stay() -> None:
    binary = CHANGED[:-2] + b"\x00\x01"
    assert with_origins(binary, MEANT) == MEANT[:-2] + b"\x00\x01"
    assert with_origins(OTHER, MEANT) is None
    renamed = description((b"id", 0, 0, 23), (b"else", 0, 0, 701))
    assert with_origins(renamed, MEANT) is None


def test_names_in_another_encoding() -> None:
    wide, latin = (
        description(("größe".encode(encoding), 4711, 2, 23), (b"a", 0, 0, 701))
        for encoding in ("utf-8", "latin-1")
    )
    assert in_encoding(wide, "latin-1") == latin
    assert in_encoding(description(("ł".encode(), 1, 1, 23)), "latin-1") is None


def test_a_query() -> None:
    session = changed(None)
    rest = data_row(b"1", b"2") + complete("SELECT 1") + READY_IDLE
    assert session.server(frame(b"T", CHANGED) + rest) == frame(b"T", MEANT) + rest
    session.client(frames.query(b"SELECT 1"))
    assert session.server(frame(b"T", CHANGED) + rest) == frame(b"T", CHANGED) + rest


def test_a_query_that_fails() -> None:
    session = changed(None)
    session.server(failure("22012") + READY_IDLE)
    session.client(frames.query(b"SELECT 1"))
    assert session.server(frame(b"T", CHANGED)) == frame(b"T", CHANGED)


def test_statements_and_portals_by_name() -> None:
    session = changed(b"s")
    session.client(
        frames.parse(b"other", b"SELECT 1")
        + frames.describe_statement(b"other")
        + frames.describe_statement(b"s")
        + frames.bind(b"p", b"s", (), binary=True)
        + frame(b"D", b"Pp\x00")
        + frames.execute(b"p")
        + frames.SYNC
    )
    row, parameters = frame(b"T", CHANGED), frame(b"t", b"\x00\x00")
    answers = [PARSED * 2, parameters, row, parameters, row, BOUND, row, complete("SELECT 0"), READY_IDLE]
    told = session.server(b"".join(answers))
    ours = frame(b"T", MEANT)
    assert told == b"".join([PARSED * 2, parameters, row, parameters, ours, BOUND, ours, *answers[7:]])
    assert session.traffic.quiet


def test_no_data_takes_its_turn() -> None:
    session = changed(b"s")
    session.client(frames.parse(b"o", b"SET x = 1") + frames.describe_statement(b"o"))
    session.client(frames.describe_statement(b"s") + frames.SYNC)
    told = session.server(PARSED * 2 + NO_DATA + frame(b"T", CHANGED) + READY_IDLE)
    assert told == PARSED * 2 + NO_DATA + frame(b"T", MEANT) + READY_IDLE


def test_what_a_failed_batch_leaves_unanswered_is_not_waited_for() -> None:
    session = changed(b"s")
    session.server(PARSED)
    failing = frames.parse(b"", b"SELECT nothing") + frames.describe_statement(b"") + frames.SYNC
    session.client(failing + frames.describe_statement(b"s") + frames.SYNC)
    told = session.server(failure("42703") + READY_IDLE + frame(b"T", CHANGED) + READY_IDLE)
    assert told == failure("42703") + READY_IDLE + frame(b"T", MEANT) + READY_IDLE


def test_a_name_that_is_used_again_is_another_statement() -> None:
    session = changed(b"")
    session.server(PARSED)
    session.client(frames.parse(b"", b"SELECT 1") + frames.describe_statement(b"") + frames.SYNC)
    told = session.server(PARSED + frame(b"T", CHANGED) + READY_IDLE)
    assert told == PARSED + frame(b"T", CHANGED) + READY_IDLE
