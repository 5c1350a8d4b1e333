"""The client against sockets of this process; what PostgreSQL adds is tested with PostgreSQL."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdw import interrupts, protocol
from fdw.client import Client
from fdw.errors import ProtocolError, RuntimeTimeout, RuntimeUnavailable


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    # paths of sockets are short
    monkeypatch.chdir(tmp_path)
    found = socket.socket(socket.AF_UNIX)
    found.bind("s")
    found.listen()
    yield found
    found.close()


def echo(listener: socket.socket, answers: int) -> threading.Thread:
    """Answer so many requests with their own blobs, then hang up; do that twice."""

    def work() -> None:
        for _ in range(2):
            try:
                peer, _ = listener.accept()
            except OSError:
                return  # the test is over
            with peer, peer.makefile("rb") as stream:
                for _ in range(answers):
                    head = stream.read(16)
                    if not head:
                        break
                    header_length, blob_length = protocol.decode_head(head)
                    header = stream.read(header_length)
                    _, blobs = protocol.decode_body(header, memoryview(stream.read(blob_length)))
                    for piece in protocol.encode({"ok": True}, [bytes(blob) for blob in blobs]):
                        peer.sendall(piece)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_large_frames_there_and_back(listener: socket.socket) -> None:
    echo(listener, 3)
    client = Client("s", 30)
    for size in (0, 1, 5_000_000):
        header, blobs = client.request({"do": "x"}, [b"a" * size, b"b"])
        assert header == {"ok": True}
        assert [bytes(blob) for blob in blobs] == [b"a" * size, b"b"]
    client.close()


def test_a_lost_connection_is_made_anew(listener: socket.socket) -> None:
    echo(listener, 1)
    client = Client("s", 30)
    assert client.request({"do": "x"})[0] == {"ok": True}
    assert client.request({"do": "x"})[0] == {"ok": True}
    client.close()


def test_nobody_there() -> None:
    with pytest.raises(RuntimeUnavailable, match="'/nowhere/s' does not answer") as caught:
        Client("/nowhere/s", 30).request({})
    assert caught.value.hint is not None
    assert caught.value.sqlstate == "08001"


def test_path_that_is_too_long() -> None:
    with pytest.raises(RuntimeUnavailable):
        Client("/" + "x" * 200, 30).request({})


def test_silence(listener: socket.socket) -> None:
    with pytest.raises(RuntimeTimeout, match=r"within 0\.1 seconds"):
        Client("s", 0.1).request({})


def test_requests_beyond_the_bounds_are_not_sent() -> None:
    with pytest.raises(ProtocolError):
        Client("/nowhere/s", 30).request({"x": "a" * (65 << 20)})


def test_outside_of_a_server_nothing_is_pending() -> None:
    assert not interrupts.interrupted()
    assert not interrupts.client_gone()
    assert interrupts.extra_float_digits() == 1
    assert interrupts.database() == 0
