"""The proxy as a whole: takes connections in, keeps account of sessions, reloads and shuts down."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pgpredict.errors import PgpredictError
from rewriter.scan import mentions_bytes

from .errors import Draining, Malformed, NotAllowed, ProxyError, ServerUnreachable, TooManyClients, TooSlow
from .listening import allow_descriptors, listening
from .login import Client, check_certificate, check_direct, first_packet, log_in, note_tls
from .metrics import HttpEndpoint
from .relay import Relay
from .rewriting import Rewriting
from .session import Session
from .settings import ProxySettings, server_parameters
from .side import Side
from .startup import Packet, backend_key
from .stats import Stats, count
from .tls import client_context
from .traffic import Traffic
from .upstream import Upstream, keep_alive

logger = logging.getLogger(__name__)

#: connections beyond the limit that are told so; still more are closed without a word
_MARGIN = 100
#: file descriptors of a session and beside them
_PER_CONNECTION, _SPARE = 2, 100
_HANDSHAKE = b"\x16"
#: that our loop, and then the server, may take to answer a health check, and both together
_PROBE_SECONDS, _HEALTH_SECONDS = 2.0, 3.0


class Proxy:
    """Serves clients until it is told to stop.

    :param settings: to begin with
    :param reload: returns the settings as they are now
    """

    def __init__(self, settings: ProxySettings, reload: Callable[[], ProxySettings]) -> None:
        self.stats = Stats()
        self._reload = reload
        self._rewriting = Rewriting(self.stats)
        self._connections: set[asyncio.Task[None]] = set()
        #: numbers of connections that a session is being made for, or has been
        self._taken: set[int] = set()
        self._relays: dict[int, Relay] = {}
        #: sessions by what cancel requests for them bring
        self._keys: dict[bytes, Relay] = {}
        self._numbers = 0
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._use(settings)

    def _use(self, settings: ProxySettings) -> None:
        parameters = server_parameters(settings.server)
        context = client_context(settings)
        upstream = Upstream(parameters)
        local = Upstream(parameters, settings.server_socket) if settings.server_socket else upstream
        self.settings, self._context, self._upstream, self._local = settings, context, upstream, local
        self._rewriting.allow(settings.connections)
        allow_descriptors(_PER_CONNECTION * (settings.connections + _MARGIN) + _SPARE)
        logging.getLogger("pgpredict.proxy").setLevel(settings.log_level.upper())

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or SIGINT.

        :param ready: called when connections are taken
        :raises ServerError: if an address cannot be listened on
        """
        loop = self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        with listening(self.settings) as listeners, self._http():
            for listener in listeners:
                self._listen(listener)
            logger.info("event=listening on=%s server=%s", self.settings.listen, self._upstream.name)
            ready()
            await self._stopping.wait()
            await self._drain()
            for listener in listeners:
                loop.remove_reader(listener.fileno())
        self._rewriting.close()
        logger.info("event=stopped")

    @contextlib.contextmanager
    def _http(self) -> Iterator[None]:
        if not self.settings.http:
            yield
            return
        endpoint = HttpEndpoint(self.settings.http, self.stats, self.health)
        try:
            yield
        finally:
            endpoint.close()

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Tell whether clients can be served: our loop turns, and the server answers; from any thread."""
        told: dict[str, Any] = {"sessions": self.stats.active, "draining": self.is_draining}
        started = time.monotonic()
        if not self._turns(_PROBE_SECONDS):
            return False, {**told, "loop": f"has not turned for {_PROBE_SECONDS:g} s"}
        try:
            self._upstream.probe(min(_PROBE_SECONDS, started + _HEALTH_SECONDS - time.monotonic()))
        except OSError as error:
            return False, {**told, "server": f"{self._upstream.name}: {error.strerror or error}"}
        return not self.is_draining, {**told, "server": "ok"}

    def _turns(self, seconds: float) -> bool:
        """Tell whether the loop, which all sessions depend on, comes to something new in time."""
        turned = threading.Event()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(turned.set)
        return turned.wait(seconds)

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is taken any more."""
        return self._stopping.is_set()

    def reload(self) -> None:
        """Take the settings as they are now; connections that are there keep theirs."""
        try:
            settings = self._reload()
            self._use(settings)
        except PgpredictError as error:
            logger.error("event=reload_failed error=%r", error.message)
            return
        logger.info("event=reloaded")

    async def _drain(self) -> None:
        logger.info("event=drain connections=%d", len(self._connections))
        for relay in list(self._relays.values()):
            relay.drain()
        deadline = time.monotonic() + self.settings.drain_seconds
        while self._relays and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for relay in list(self._relays.values()):
            relay.abort()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=5)

    def _listen(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:  # it may have been closed meanwhile
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    # Connections -------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # out of file descriptors, most likely: wait for some to be given back
            logger.warning("event=accept_failed error=%r", error.strerror)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener.fileno())
            loop.call_later(0.1, self._listen, listener)
            return
        if len(self._connections) >= self.settings.connections + _MARGIN:
            count(self.stats.refused, TooManyClients.sqlstate)
            sock.close()
            return
        sock.setblocking(False)
        self._numbers += 1
        self.stats.connections += 1
        is_unix = sock.family == socket.AF_UNIX
        where = "local" if is_unix else f"{address[0]}:{address[1]}"
        task = asyncio.ensure_future(self._serve(self._numbers, sock, where, is_unix=is_unix))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(functools.partial(self._give_back, self._numbers))

    def _give_back(self, number: int, _task: asyncio.Task[None]) -> None:
        self._taken.discard(number)

    async def _serve(self, number: int, sock: socket.socket, address: str, *, is_unix: bool) -> None:
        client = Client(Side(), is_unix, address)
        started = time.perf_counter()
        relay: Relay | None = None
        try:
            async with asyncio.timeout(self.settings.login_seconds):
                relay = await self._login(number, client, sock)
        except TimeoutError:
            seconds = f"{self.settings.login_seconds:g} s"
            late = TooSlow(f"no session after {seconds}")
            self._refuse(number, client, late if client.has_asked else Malformed(f"no word after {seconds}"))
        except ProxyError as error:
            self._refuse(number, client, error)
        except (OSError, ssl.SSLError) as error:
            logger.info("event=gone connection=%d from=%s error=%r", number, address, str(error))
            client.side.abort()
        except asyncio.CancelledError:
            client.side.abort()
            raise
        except Exception:
            logger.exception("event=defect connection=%d", number)
            self._refuse(number, client, ProxyError("the proxy failed", "its log tells more"))
        finally:
            if client.side.transport is None:
                sock.close()
        if relay is not None:
            self.stats.login.record(time.perf_counter() - started)
            await self._run(relay, started)

    def _refuse(self, number: int, client: Client, error: ProxyError) -> None:
        count(self.stats.refused, error.sqlstate)
        logger.warning(
            "event=refuse connection=%d from=%s sqlstate=%s error=%r",
            number,
            client.address,
            error.sqlstate,
            error.message,
        )
        client.side.write(error.message_for_client())
        client.side.close()
        asyncio.get_running_loop().call_later(self.settings.linger_seconds, client.side.abort)

    async def _login(self, number: int, client: Client, sock: socket.socket) -> Relay | None:
        # those that hold now, all of them, whatever a reload changes meanwhile
        settings, context = self.settings, self._context
        upstream = self._local if client.is_unix else self._upstream
        await _open(client, sock, context)
        packet = await first_packet(client, context)
        client.has_asked = True
        if packet.kind == "cancel":
            await self._cancel(client, packet, upstream)
            return None
        if self.is_draining:
            raise Draining("the proxy is shutting down")
        if settings.tls_required and not client.tls and not client.is_unix:
            raise NotAllowed("the proxy takes no connection without TLS", "connect with sslmode=require")
        if settings.client_ca and not client.is_unix:
            check_certificate(client, packet)
        if len(self._taken) >= settings.connections:
            raise TooManyClients(
                f"sorry, too many clients already: the proxy takes {settings.connections}",
                "raise the proxy's setting 'connections', or close some",
            )
        self._taken.add(number)
        traffic = Traffic(self.stats.messages)
        trusted = settings.trust_server or client.certified is not None or client.may_use(upstream)
        found = await log_in(client, upstream, packet, traffic, trusted=trusted)
        if found is None:
            client.side.close()
            return None
        looks = (lambda _: False) if packet.replicates else mentions_bytes
        session = Session(traffic, looks, settings.statement_bytes)
        relay = Relay(number, client.side, found[0], session, self._rewriting, settings, self.stats)
        relay.upstream, relay.key = upstream, found[1]
        logger.info(
            "event=connect connection=%d from=%s user=%r database=%r tls=%s",
            number,
            client.address,
            packet.parameters.get("user", ""),
            packet.parameters.get("database", packet.parameters.get("user", "")),
            "on" if client.tls else "off",
        )
        return relay

    async def _run(self, relay: Relay, started: float) -> None:
        self.stats.active += 1
        self._relays[relay.number] = relay
        self._keys[relay.key] = relay
        try:
            relay.start()
            if self.is_draining:
                relay.drain()
            await relay.ended
        finally:
            relay.close()
            del self._relays[relay.number]
            if self._keys.get(relay.key) is relay:
                del self._keys[relay.key]
            self.stats.active -= 1
            seconds = time.perf_counter() - started
            logger.info("event=disconnect connection=%d seconds=%.1f", relay.number, seconds)

    async def _cancel(self, client: Client, packet: Packet, upstream: Upstream) -> None:
        """Pass a cancel request on to the server of its session, and end when the server has taken it."""
        self.stats.cancels += 1
        relay = self._keys.get(backend_key(packet))
        if relay is None:
            await _deliver(packet, upstream)
        elif relay.inquiry.cancel():
            try:
                await _deliver(packet, relay.upstream)
            finally:
                relay.inquiry.delivered()
        client.side.close()


async def _deliver(cancel: Packet, upstream: Upstream) -> None:
    """Give the server a cancel request; it closes the connection when it has told its process."""
    try:
        server, _ = await upstream.connect(encrypted=upstream.ways[0])
    except ServerUnreachable as error:
        logger.warning("event=cancel_failed error=%r", error.message)
        return
    try:
        server.write(cancel.data)
        with contextlib.suppress(ConnectionError):
            await server.read(1)
    finally:
        server.close()


async def _open(client: Client, sock: socket.socket, context: ssl.SSLContext | None) -> None:
    """Make the transport; a client that begins with a TLS handshake gets one of TLS."""
    loop = asyncio.get_running_loop()
    if client.is_unix:
        await loop.connect_accepted_socket(lambda: client.side, sock)
        return
    keep_alive(sock)
    if await _first_byte(sock) != _HANDSHAKE or context is None:
        await loop.connect_accepted_socket(lambda: client.side, sock)
        return
    await loop.connect_accepted_socket(lambda: client.side, sock, ssl=context)
    note_tls(client)
    check_direct(client)


async def _first_byte(sock: socket.socket) -> bytes:
    """Return the first byte that a client sends, which stays where it is."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        loop.remove_reader(sock.fileno())
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(sock.fileno(), wake)
    try:
        await readable
    finally:
        loop.remove_reader(sock.fileno())
    return sock.recv(1, socket.MSG_PEEK)
