"""Messages in any order: what the proxy thinks that a server owes, and what a client gets through it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgpredict.proxy import frames
from pgpredict.proxy.frames import frame
from pgpredict.proxy.traffic import Traffic
from tests.fix_proxy import RunningProxy, store_weight
from tests.fix_server import Database, Server

#: seconds after which a server that has said nothing is going to say nothing
PATIENCE = 60


def function(oid: int) -> bytes:
    return frame(b"F", struct.pack("!IHHH", oid, 0, 0, 0))


MESSAGES = {
    "query": frames.query(b"SELECT 1; SELECT 2"),
    "empty query": frames.query(b""),
    "wrong query": frames.query(b"SELEC"),
    "late failure": frames.query(b"SELECT 1; SELECT 1 / 0; SELECT 2"),
    "begin": frames.query(b"BEGIN"),
    "rollback": frames.query(b"ROLLBACK"),
    "deferred": frames.query(b"INSERT INTO pg_temp.d VALUES (1)"),
    "copy in": frames.query(b"COPY pg_temp.t FROM STDIN; SELECT 1; COPY pg_temp.t FROM STDIN"),
    "copy frozen": frames.query(b"COPY pg_temp.t FROM STDIN (FREEZE)"),
    "copy out": frames.query(b"COPY (SELECT 1) TO STDOUT"),
    "call": function(89),
    "wrong call": function(1),
    "parse": frames.parse(b"", b"SELECT generate_series(1, 3)"),
    "parse nothing": frames.parse(b"", b""),
    "parse copy": frames.parse(b"", b"COPY pg_temp.t FROM STDIN"),
    "parse frozen": frames.parse(b"", b"COPY pg_temp.t FROM STDIN (FREEZE)"),
    "parse deferred": frames.parse(b"", b"INSERT INTO pg_temp.d VALUES (1)"),
    "parse named": frames.parse(b"s", b"SELECT 1 / $1", [23]),
    "wrong parse": frames.parse(b"", b"SELEC"),
    "bind": frames.bind(b"", b"", (), binary=False),
    "bind zero": frames.bind(b"", b"s", [b"0"], binary=False),
    "wrong bind": frames.bind(b"", b"nowhere", (), binary=False),
    "describe": frame(b"D", b"P\x00"),
    "describe statement": frames.describe_statement(b""),
    "execute": frames.execute(b""),
    "execute one": frame(b"E", b"\x00\x00\x00\x00\x01"),
    "close": frames.close_statement(b"s"),
    "flush": frames.FLUSH,
    "sync": frames.SYNC,
    "row": frame(b"d", b"1\n"),
    "wrong row": frame(b"d", b"x\n"),
    "copy done": frame(b"c", b""),
    "copy fail": frame(b"f", b"no\x00"),
}
#: the client waits until the server has answered
WAIT = "wait"
PREPARE = """
CREATE TEMPORARY TABLE t (a int);
CREATE TEMPORARY TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO d VALUES (1);
"""


class Client:
    """Sends messages to a server, and has the proxy's account of it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.traffic = sock, Traffic()
        self.ended = False
        self.errors: list[str] = []
        self.rows: list[bytes] = []
        self.said: list[tuple[int, bytes]] = []
        self._rest = b""

    def send(self, message: bytes) -> None:
        self.traffic.sent(message[0])
        if not self.ended:
            # a server that has given up does not read
            with contextlib.suppress(ConnectionError):
                self.sock.sendall(message)

    def wait(self) -> None:
        """Wait as the proxy does before it asks anything."""
        if self.traffic.open and not self.traffic.skipping:
            self.send(frames.FLUSH)
        while not (self.traffic.quiet or self.traffic.copying or self.ended):
            self._read()

    def _read(self) -> None:
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        except TimeoutError:
            raise AssertionError(f"the server owes nothing more, {self.traffic.pending} expected") from None
        if not data:
            self.ended = True
            return
        data = self._rest + data
        passed = 0
        for kind, body in frames.messages(data):
            message = frame(bytes([kind]), body)
            if passed + len(message) > len(data):
                break
            passed += len(message)
            self.said.append((kind, body))
            if kind == ord("Z"):
                assert self.traffic.pending, "a ReadyForQuery that nobody has waited for"
            elif kind == ord("E"):
                self.errors.append(frames.error_fields(body)["V"])
            elif kind == ord("D"):
                self.rows.append(body)
            self.traffic.received(message)
        self._rest = data[passed:]


def sound(sent: Sequence[str]) -> Iterator[str]:
    """Leave no Sync among rows: whether a COPY that fails has ignored it depends on the row that is wrong."""
    among_rows = False
    for name in sent:
        if name == "sync" and among_rows:
            yield "copy done"
        among_rows = name.endswith("row") or (among_rows and name in (WAIT, "flush"))
        yield name


def converse(sock: socket.socket, sent: Sequence[str], messages: Mapping[str, bytes]) -> Client:
    """Send messages, wait where that is said, and end whatever was begun."""
    sock.settimeout(PATIENCE)
    client = Client(sock)
    for name in sound(sent):
        if name == WAIT:
            client.wait()
        else:
            client.send(messages[name])
    client.wait()
    for _ in range(3):  # the end of two COPYs of one message
        if client.traffic.copying:
            client.send(messages["copy fail"])
            client.wait()
    client.send(frames.SYNC)
    client.wait()
    client.send(frames.query(b"ROLLBACK; SELECT 'the end'"))
    client.wait()
    return client


def ending_copies(sent: Sequence[str]) -> list[str]:
    """End a COPY that fails over a row before anything else is sent.

    Nobody can tell whether a statement among rows meets the COPY, and ends it, or comes behind its error.
    """
    ended: list[str] = []
    is_wrong = False
    for name in sent:
        if is_wrong and name not in (WAIT, "flush", "row", "wrong row"):
            ended.append("copy done")
            is_wrong = False
        is_wrong = is_wrong or name == "wrong row"
        ended.append(name)
    return ended


@contextlib.contextmanager
def prepared(dsn: str) -> Iterator[socket.socket]:
    """The socket of a session with the tables of the messages."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(PREPARE)
        with socket.socket(fileno=os.dup(connection.fileno())) as sock:
            yield sock
        connection.pgconn.finish()


ANY_ORDER = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def dsn(server: Server) -> str:
    return server.admin_dsn


@settings(ANY_ORDER, max_examples=400)
@given(st.lists(st.sampled_from([*MESSAGES, WAIT, WAIT, WAIT]), max_size=14))
@example(["wrong parse", "query", "sync", WAIT])
@example(["wrong parse", "query", WAIT, "query", "sync", WAIT, "query"])
@example(["wrong parse", "call", "sync", "query", "sync"])
@example(["parse", "bind", "execute", "query", "sync", WAIT])
@example(["parse deferred", "bind", "execute", "sync", "query"])
@example(["parse copy", "bind", "execute", "sync", WAIT, "row", "sync", "copy done", "sync", WAIT])
@example(["parse copy", "bind", "execute", "sync", WAIT, "wrong row", "copy done", "sync", WAIT])
@example(["parse copy", "bind", "execute", "sync", "row", "wrong row", "copy done", "sync", WAIT])
@example(["parse frozen", "bind", "execute", "sync", WAIT, "row", "copy done", "sync", WAIT])
@example(["copy in", WAIT, "row", "copy done", WAIT, "wrong row", WAIT, "query", WAIT])
@example(["copy in", "row", "copy done", "row", "copy fail", "query"])
@example(["copy in", WAIT, "query", "sync", WAIT])
def test_the_account_is_the_server_s(dsn: str, sent: list[str]) -> None:
    with prepared(dsn) as sock:
        client = converse(sock, sent, MESSAGES)
    if client.ended:
        assert client.errors[-1] == "FATAL"
    else:
        assert frames.row(client.rows[-1]) == [b"the end"]
        assert (client.traffic.pending, client.traffic.open, client.traffic.status) == (0, False, "I")


FORM, PLAIN = b"PREDICT(weight USING 2.0::float8 AS a)", b"20::float8"
#: {} is a prediction
PREDICTING = {
    "query": b"SELECT {} AS p",
    "wrong query": b"SELECT {} AS p, nothing",
    "leave": b"ROLLBACK; SELECT {} AS p",
    "leave to": b"ROLLBACK TO s; SELECT {} AS p; SELECT nothing + {}",
    "late failure": b"SELECT {} AS p; SELECT 1 / 0",
    "copy in": b"COPY pg_temp.t FROM STDIN",
    "begin": b"BEGIN; SELECT {} AS p; SAVEPOINT s",
    "insert": b"INSERT INTO pg_temp.d SELECT {} / 20",
    "drop": b"ALTER TABLE pg_temp.t DROP COLUMN IF EXISTS b",
    "add": b"ALTER TABLE pg_temp.t ADD COLUMN IF NOT EXISTS b int",
}
PREPARING = {
    "parse": (b"", b"SELECT {} AS p"),
    "parse many": (b"", b"SELECT {} AS p FROM generate_series(1, 3)"),
    "parse plain": (b"", b"SELECT generate_series(1, 3)"),
    "wrong parse": (b"", b"SELECT {} AS p, nothing"),
    "parse named": (b"s", b"SELECT {} AS p, b FROM pg_temp.t"),
    "parse other": (b"s", b"SELECT b, 'no form' AS plain FROM pg_temp.t"),
    "parse copy": (b"", b"COPY (SELECT {} AS p, nothing) TO STDOUT"),
}


def predicting(value: bytes) -> dict[str, bytes]:
    """The messages, with predictions said in a way."""
    # a COPY that fails without reading says first that it copies: what follows meets it before or after
    left_out = ("bind zero", "parse frozen", "copy frozen")
    made = {name: message for name, message in MESSAGES.items() if name not in left_out}
    made |= {name: frames.query(text.replace(b"{}", value)) for name, text in PREDICTING.items()}
    made |= {
        name: frames.parse(statement, text.replace(b"{}", value))
        for name, (statement, text) in PREPARING.items()
    }
    return made | {
        "bind named": frames.bind(b"", b"s", (), binary=False),
        "bind portal": frames.bind(b"p", b"s", (), binary=False),
        "describe named": frames.describe_statement(b"s"),
        "execute portal": frames.execute(b"p"),
    }


OURS, THEIRS = predicting(FORM), predicting(PLAIN.ljust(len(FORM)))


@settings(ANY_ORDER, max_examples=100)
@given(st.lists(st.sampled_from([*OURS, WAIT, WAIT]), max_size=14))
@example(["wrong parse", "query", "sync", "query"])
@example(["begin", "wrong query", "leave to", "query", "leave"])
@example(["add", "parse named", "sync", "drop", "bind named", "sync", "add", "bind named", "execute", "sync"])
@example(["parse copy", "bind", "execute", "sync", "query"])
@example(["parse many", "bind", "execute one", "query", "sync"])
@example(["copy in", "wrong row", "query", "query"])
@example(["copy in", WAIT, "wrong row", WAIT, "query"])
def test_predictions_in_any_order_are_answered_as_by_the_server(
    proxy: RunningProxy, database: Database, sent: list[str]
) -> None:
    with database.connect() as direct:
        if direct.execute("SELECT count(*) FROM ml.models").fetchone() == (0,):
            store_weight(direct, 10.0)
    said = []
    for dsn, messages in ((proxy.dsn(database.dsn), OURS), (database.dsn, THEIRS)):
        with prepared(dsn) as sock:
            said.append([essence(*each) for each in converse(sock, ending_copies(sent), messages).said])
    assert said[0] == said[1]


def essence(kind: int, body: bytes) -> tuple[str, object]:
    """What must be the same of a message."""
    if kind == ord("T"):  # the tables of two sessions
        return "T", frames.columns(body)
    if kind != ord("E"):
        return chr(kind), body
    fields = frames.error_fields(body)
    return "E", tuple(fields.get(letter) for letter in "VCMP")
