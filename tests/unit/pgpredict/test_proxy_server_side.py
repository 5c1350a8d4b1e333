"""The socket to the server: its last words, and words that are not its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time

import pytest
import uvloop

from pgpredict.proxy.errors import ServerUnreachable
from pgpredict.proxy.server_side import ServerSide
from pgpredict.proxy.side import Side
from pgpredict.proxy.upstream import Upstream, keep_alive, tls_context
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


async def last_words(
    near: socket.socket, far: socket.socket, context: ssl.SSLContext | None = None, *, paused: bool = False
) -> bytes:
    """What is heard of a server that says something and closes, while it is written to.

    :param context: the server's, for TLS
    :param paused: whether the client does not take what it is sent
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

    side = ServerSide()
    await loop.connect_accepted_socket(lambda: side, near)
    if context is not None:
        wrapping = asyncio.ensure_future(asyncio.to_thread(context.wrap_socket, far, server_side=True))
        await side.start_tls(tls_context({}), "localhost")
        far = await wrapping
    side.received, side.relay = heard.extend, Relay()
    side.write(b"something that is not read")
    if paused:
        side.pause("full")
    far.sendall(WORDS)
    far.close()
    for _ in range(3):
        side.write(b"something behind it")
    assert await asyncio.wait_for(gone, 60)
    return bytes(heard)


@pytest.mark.parametrize("paused", [False, True], ids=["", "paused"])
@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
def test_last_words_are_heard_though_writing_fails(family: socket.AddressFamily, paused: bool) -> None:
    near, far = pair_of(family)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(last_words(near, far, paused=paused)) == WORDS


@pytest.mark.parametrize("paused", [False, True], ids=["", "paused"])
def test_last_words_are_heard_within_tls(certificates: Certificates, paused: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.directory / "server.crt", certificates.directory / "server.key")
    near, far = pair_of(socket.AF_INET)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(last_words(near, far, context, paused=paused)) == WORDS


#: a request for the password, in clear
INJECTED = b"R\x00\x00\x00\x08\x00\x00\x00\x03"


def inject(listener: socket.socket, context: ssl.SSLContext, *, direct: bool) -> None:
    """Be a server with somebody before it who says something of his own before TLS."""
    while True:
        try:
            far = listener.accept()[0]
        except OSError:
            return
        with far, contextlib.suppress(OSError):
            far.settimeout(60)
            if not direct:
                far.recv(8)
            far.sendall(INJECTED if direct else b"S" + INJECTED)
            context.wrap_socket(far, server_side=True).recv(1)


@pytest.mark.parametrize("direct", [False, True], ids=["asked for", "direct"])
def test_nothing_from_before_tls_is_taken(certificates: Certificates, direct: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.directory / "server.crt", certificates.directory / "server.key")
    where = {"host": "localhost", "hostaddr": "127.0.0.1", "sslmode": "verify-full"}
    where |= {
        "sslrootcert": str(certificates.authority),
        "sslnegotiation": "direct" if direct else "postgres",
    }

    async def connect(port: int) -> None:
        loop = asyncio.get_running_loop()

        def be_busy() -> None:
            time.sleep(0.001)  # so that bytes come before what has been waited for goes on
            loop.call_soon(be_busy)

        be_busy()
        for _ in range(10):
            with pytest.raises(ServerUnreachable, match=r"unencrypted data before TLS|TLS with the server"):
                await Upstream({**where, "port": str(port)}).connect(encrypted=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(
            target=inject, args=(listener, context), kwargs={"direct": direct}, daemon=True
        ).start()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(connect(listener.getsockname()[1]))
        listener.shutdown(socket.SHUT_RDWR)
