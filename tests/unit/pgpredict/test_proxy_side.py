"""A socket of a session that fails."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
import uvloop

from pgpredict.proxy.side import Side
from pgpredict.proxy.upstream import keep_alive, start_tls, tls_context
from tests.fix_spare import Certificates

#: what the kernel holds of a connection over TCP, from its first byte on
WORDS = b"FATAL" * 5_000


def pair_of(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far = listener.accept()[0]
        keep_alive(far)  # sends at once, as a server does
        return near, far


async def last_words(near: socket.socket, far: socket.socket, context: ssl.SSLContext | None = None) -> bytes:
    """What a side hears of another that says something and closes, while it is written to.

    :param context: the other's, for TLS
    """
    loop = asyncio.get_running_loop()
    heard = bytearray()
    near.setblocking(False)
    gone = loop.create_future()

    class Relay:
        def lost(self, side: Side) -> None:
            gone.set_result(side.closed)

        def half_closed(self, side: Side) -> bool:
            return False

    side = Side()
    await loop.connect_accepted_socket(lambda: side, near)
    if context is not None:
        wrapping = asyncio.ensure_future(asyncio.to_thread(context.wrap_socket, far, server_side=True))
        await start_tls(side, tls_context({}), "localhost")
        far = await wrapping
    side.received, side.relay = heard.extend, Relay()
    side.write(b"something that is not read")
    far.sendall(WORDS)
    far.close()
    for _ in range(3):
        side.write(b"something behind it")
    assert await asyncio.wait_for(gone, 5)
    return bytes(heard)


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
def test_last_words_are_heard_though_writing_fails(family: socket.AddressFamily) -> None:
    near, far = pair_of(family)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(last_words(near, far)) == WORDS


def test_last_words_are_heard_within_tls(certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.directory / "server.crt", certificates.directory / "server.key")
    near, far = pair_of(socket.AF_INET)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(last_words(near, far, context)) == WORDS
