"""A runtime that is absent, dies, freezes or talks nonsense: a clear error, and the session lives on."""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fdw import protocol
from tests import summing
from tests.fix_server import Database
from tests.integration.test_wrapper_cancel import limited

QUERY = "SELECT prediction FROM models.one WHERE a = 5"
#: seconds that the wrapper may take in tests of them, and any other time; what it waits for takes longer
TIMEOUT, PATIENCE = 5, 60.0
Behaviour = Callable[[socket.socket, int], None]


class FaultyRuntime:
    """A socket that accepts connections and then does what it is told.

    :param behaviour: called with each connection and its number
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="pgp-fault-")
        directory = Path(self._directory.name)
        directory.chmod(0o755)
        self.path = directory / "runtime.sock"
        self.connections = 0
        self._behaviour = behaviour
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self.path.chmod(0o777)
        self._listener.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            arguments = (connection, self.connections)
            threading.Thread(target=self._answer, args=arguments, daemon=True).start()

    def _answer(self, connection: socket.socket, number: int) -> None:
        # the wrapper may hang up in the middle of a frame
        with contextlib.suppress(OSError, struct.error):
            self._behaviour(connection, number)

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._directory.cleanup()


def read_frame(connection: socket.socket) -> protocol.Header:
    head = connection.recv(protocol.HEAD.size, socket.MSG_WAITALL)
    header_length, blob_length = protocol.decode_head(head)
    header = connection.recv(header_length, socket.MSG_WAITALL)
    blobs = connection.recv(blob_length, socket.MSG_WAITALL) if blob_length else b""
    return protocol.decode_body(header, memoryview(blobs))[0]


def answer(connection: socket.socket, header: protocol.Header, blobs: Any = ()) -> None:
    for piece in protocol.encode(header, blobs):
        connection.sendall(piece)


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        summing.store(connection, "one", summing.regression({"a": "integer"}))
        connection.execute(f"ALTER SERVER pgpredict OPTIONS (ADD timeout '{PATIENCE}')")
        yield connection


@contextlib.contextmanager
def faulty(connection: psycopg.Connection, behaviour: Behaviour) -> Iterator[FaultyRuntime]:
    runtime = FaultyRuntime(behaviour)
    connection.execute(f"ALTER SERVER pgpredict OPTIONS (ADD socket '{runtime.path}')")
    try:
        yield runtime
    finally:
        connection.execute("ALTER SERVER pgpredict OPTIONS (DROP socket)")
        runtime.close()
        # the real one answers again in the same session
        assert connection.execute(QUERY).fetchall() == [(5.0,)]


def close_at_once(connection: socket.socket, number: int) -> None:
    connection.close()


def close_after_request(connection: socket.socket, number: int) -> None:
    read_frame(connection)
    connection.close()


def garbage(connection: socket.socket, number: int) -> None:
    read_frame(connection)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)


def half_a_frame(connection: socket.socket, number: int) -> None:
    read_frame(connection)
    connection.sendall(protocol.HEAD.pack(protocol.MAGIC, 1000, 0) + b'{"ok": true')
    connection.close()


def too_large(connection: socket.socket, number: int) -> None:
    read_frame(connection)
    connection.sendall(struct.pack("!4sIQ", protocol.MAGIC, 20, 1 << 62) + b"x" * 20)


def no_json(connection: socket.socket, number: int) -> None:
    read_frame(connection)
    connection.sendall(protocol.HEAD.pack(protocol.MAGIC, 10, 0) + b"\xff" * 10)


def blobs_that_do_not_fit(connection: socket.socket, number: int) -> None:
    read_frame(connection)
    body = b'{"ok":true,"blobs":[5]}'
    connection.sendall(protocol.HEAD.pack(protocol.MAGIC, len(body), 3) + body + b"abc")


def frozen(connection: socket.socket, number: int) -> None:
    time.sleep(PATIENCE * 2)


def dripping(connection: socket.socket, number: int) -> None:
    connection.sendall(protocol.HEAD.pack(protocol.MAGIC, 1 << 20, 0))
    end = time.monotonic() + PATIENCE * 2
    while time.monotonic() < end:
        connection.sendall(b" ")
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("behaviour", "sqlstate", "connections"),
    [
        (close_at_once, "08001", 2),
        (close_after_request, "08001", 2),
        (half_a_frame, "08001", 2),
        (garbage, "08P01", 2),
        (too_large, "08P01", 2),
        (no_json, "08P01", 2),
        (blobs_that_do_not_fit, "08P01", 2),
        (frozen, "57014", 1),
        (dripping, "57014", 1),
    ],
)
def test_faults(
    connection: psycopg.Connection, behaviour: Behaviour, sqlstate: str, connections: int
) -> None:
    with faulty(connection, behaviour) as runtime:
        if sqlstate == "57014":
            connection.execute(f"ALTER SERVER pgpredict OPTIONS (SET timeout '{TIMEOUT}')")
        started = time.monotonic()
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(QUERY)
        assert time.monotonic() - started < PATIENCE
        connection.execute(f"ALTER SERVER pgpredict OPTIONS (SET timeout '{PATIENCE}')")
        assert caught.value.sqlstate == sqlstate
        assert runtime.connections == connections
        assert "Traceback" not in str(caught.value)


def test_absent_runtime(connection: psycopg.Connection) -> None:
    connection.execute("ALTER SERVER pgpredict OPTIONS (ADD socket '/nowhere/runtime.sock')")
    with pytest.raises(psycopg.errors.SqlclientUnableToEstablishSqlconnection) as caught:
        connection.execute(QUERY)
    assert "'/nowhere/runtime.sock' does not answer" in str(caught.value)
    assert "pgpredict up" in str(caught.value.diag.message_hint)
    connection.execute("ALTER SERVER pgpredict OPTIONS (DROP socket)")
    assert connection.execute(QUERY).fetchall() == [(5.0,)]


def test_one_reconnect_is_enough(connection: psycopg.Connection) -> None:
    def dies_once(peer: socket.socket, number: int) -> None:
        read_frame(peer)
        if number > 1:
            answer(peer, {"ok": True, "prediction": 42})
        else:
            peer.close()

    with faulty(connection, dies_once) as runtime:
        assert connection.execute(QUERY).fetchall() == [(42.0,)]
        assert runtime.connections == 2


def test_errors_of_the_runtime_keep_their_sqlstate(connection: psycopg.Connection) -> None:
    refusals: list[dict[str, Any]] = [
        {"ok": False, "message": "no room", "sqlstate": "53200", "hint": "buy some"},
        {"ok": False, "message": "odd", "sqlstate": "00000"},
        {"ok": False, "message": "odd", "sqlstate": "zzzzzz", "hint": 5},
        {"ok": False, "message": None, "sqlstate": None},
        {"ok": "yes"},
        {"message": "nul \x00 and \ud800 surrogate"},
    ]
    seen = []
    for refusal in refusals:
        with (
            faulty(connection, lambda peer, _, said=refusal: answer_all(peer, said)),  # type: ignore[misc]
            pytest.raises(psycopg.Error) as caught,
        ):
            connection.execute(QUERY)
        seen.append((caught.value.sqlstate, caught.value.diag.message_hint))
    assert seen[0] == ("53200", "buy some")
    assert {state for state, _ in seen[1:]} == {"22000"}


def answer_all(peer: socket.socket, header: protocol.Header) -> None:
    while True:
        read_frame(peer)
        answer(peer, header)


def test_answers_of_wrong_types(connection: psycopg.Connection) -> None:
    """What the runtime says is not trusted: an error, never a crash and never NULL."""
    answers: list[dict[str, Any]] = [
        {"ok": True},
        {"ok": True, "prediction": "text"},
        {"ok": True, "prediction": {"a": [1]}},
        {"ok": True, "prediction": [1, 2]},
        {"ok": True, "prediction": True, "classes": 5, "probabilities": "abc"},
    ]
    process = connection.info.backend_pid
    for said in answers:
        with (
            faulty(connection, lambda peer, _, said=said: answer_all(peer, said)),  # type: ignore[misc]
            pytest.raises(psycopg.Error),
        ):
            connection.execute(QUERY)
    assert connection.execute("SELECT pg_backend_pid()").fetchone() == (process,)


@pytest.mark.parametrize(
    ("header", "blobs"),
    [
        ({"ok": True, "rows": 2, "outputs": ["prediction"]}, []),
        ({"ok": True, "rows": 2, "outputs": "prediction"}, [b"x"]),
        ({"ok": True, "rows": "x", "outputs": ["prediction"]}, [b"x" * 40]),
        ({"ok": True, "rows": 2, "outputs": ["prediction"]}, [b""]),
        ({"ok": True, "rows": 2, "outputs": ["prediction"], "classes": [1, None]}, [b"x" * 28]),
        ({"ok": True, "rows": 2, "outputs": ["prediction"], "classes": ["a\x00b"]}, [b"x" * 28]),
        ({"ok": True, "rows": 2, "outputs": [["prediction"]]}, [b"x" * 28]),
    ],
)
def test_batch_answers_of_wrong_shapes(
    connection: psycopg.Connection, header: dict[str, Any], blobs: list[bytes]
) -> None:
    query = "SELECT rows, classes, ml.float8s(prediction) FROM models.one__batch WHERE batch = 'x'"

    def respond(peer: socket.socket, number: int) -> None:
        read_frame(peer)
        answer(peer, header, blobs)

    process = connection.info.backend_pid
    with faulty(connection, respond), pytest.raises(psycopg.Error) as caught:
        connection.execute(query)
    assert "Traceback" not in str(caught.value)
    assert connection.execute("SELECT pg_backend_pid()").fetchone() == (process,)


def test_large_batch_to_a_frozen_runtime(connection: psycopg.Connection) -> None:
    query = "SELECT rows FROM models.one__batch WHERE batch = repeat('x', 50000000)"
    with faulty(connection, frozen):
        connection.execute(f"ALTER SERVER pgpredict OPTIONS (SET timeout '{TIMEOUT}')")
        with pytest.raises(psycopg.errors.QueryCanceled, match=f"did not answer within {TIMEOUT} seconds"):
            connection.execute(query)
        connection.execute(f"ALTER SERVER pgpredict OPTIONS (SET timeout '{PATIENCE}')")
        with (
            pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"),
            limited(connection, "300ms"),
        ):
            connection.execute(query)


def test_refusal_before_all_is_sent(connection: psycopg.Connection) -> None:
    def refuse(peer: socket.socket, number: int) -> None:
        peer.recv(100)
        answer(peer, {"ok": False, "message": "too large for me", "sqlstate": "54000"})
        while peer.recv(1 << 20):
            pass

    query = "SELECT rows FROM models.one__batch WHERE batch = repeat('x', 5000000)"
    with faulty(connection, refuse), pytest.raises(psycopg.errors.ProgramLimitExceeded):
        connection.execute(query)


@pytest.mark.parametrize("value", ["soon", "nan", "0", "-1"])
def test_a_timeout_that_is_no_number_is_told_of(database: Database, value: str) -> None:
    """NaN would be a timeout that never comes."""
    with database.connect() as connection:
        summing.store(connection, "one", summing.regression({"a": "integer"}))
        connection.execute(f"ALTER SERVER pgpredict OPTIONS (ADD timeout '{value}')")
        with pytest.raises(
            psycopg.Error, match=f"option 'timeout' of the foreign server is '{value}'"
        ) as caught:
            connection.execute(QUERY)
        assert caught.value.sqlstate == "HV024"
        connection.execute("ALTER SERVER pgpredict OPTIONS (SET timeout '30')")
        assert connection.execute(QUERY).fetchall() == [(5.0,)]
