"""From a client's first byte to a running session: TLS, the server, authentication.

Authentication is between the client and the server; the proxy passes it on, message by message, and holds no
password. It steps in twice: where SCRAM would be bound to a TLS channel that ends here, and where the server
lets the proxy in for what the proxy is (``trust``, ``peer``, ``cert``), which says nothing of the client.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import struct
from dataclasses import dataclass

from . import frames
from .errors import Malformed, NotAllowed, ProxyError, ServerUnreachable
from .side import Side
from .startup import (
    ANSWERED,
    AUTH_OK,
    AUTH_SASL,
    Packet,
    authentication,
    check_binding,
    packet_length,
    parse_packet,
    without_channel_binding,
)
from .traffic import Traffic
from .upstream import ALPN, Upstream

_CREDENTIALS = struct.Struct("3i")
_AUTHENTICATION, _ERROR, _KEY, _READY, _PASSWORD = b"REKZp"
#: among other things: no line of pg_hba.conf fits, perhaps because of the encryption or its absence
_NO_ENTRY = "28000"


@dataclass
class Client:
    """A client before its session runs.

    :ivar side: its socket
    :ivar is_unix: whether it came over our unix socket
    :ivar address: where it came from, for the log
    :ivar tls: whether it is encrypted
    :ivar has_asked: whether it has said what it wants
    :ivar certified: the common name of the certificate that it has brought, None without one
    """

    side: Side
    is_unix: bool
    address: str
    tls: bool = False
    certified: str | None = None
    has_asked: bool = False

    def may_use(self, upstream: Upstream) -> bool:
        """Tell whether it could have reached the server as the proxy does, and been let in the same way."""
        transport = self.side.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        if self.is_unix:
            return sock is not None and peer_uid(sock) in (os.geteuid(), 0)
        # neither the proxy's account nor its certificate is everybody's on this machine
        return self.is_loopback and not upstream.is_unix and not upstream.is_certified

    @property
    def is_loopback(self) -> bool:
        """Whether it came over TCP from this machine."""
        address = ipaddress.ip_address(self.address.rpartition(":")[0].partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.is_loopback


def peer_uid(sock: socket.socket) -> int:
    """Return the user id of the process at the other end of a unix socket."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(packed)[1])


async def first_packet(client: Client, context: ssl.SSLContext | None) -> Packet:
    """Return what the client wants, after TLS has been agreed on.

    :param context: of TLS with clients, None if there is none
    :raises Malformed: if the client does not speak the protocol
    :raises ConnectionError: if it is gone
    """
    asked: set[str] = set()
    while True:
        head = await client.side.read(4)
        length = packet_length(head)
        packet = parse_packet(head + await client.side.read(length - 4))
        if packet.kind not in ("tls", "gss"):
            return packet
        if packet.kind in asked or client.tls:
            raise Malformed("encryption was asked for twice")
        asked.add(packet.kind)
        if packet.kind == "gss" or context is None or client.is_unix:
            client.side.write(b"N")
            continue
        if client.side.has_more:
            # bytes from before the encryption must never be taken for bytes from within
            raise Malformed("received unencrypted data after SSL request")
        await start_tls(client, context)


async def start_tls(client: Client, context: ssl.SSLContext) -> None:
    """Encrypt the connection to a client that has asked for it.

    :raises ConnectionError: if the handshake fails
    """
    side, loop = client.side, asyncio.get_running_loop()
    if side.transport is None:
        raise ConnectionResetError
    side.write(b"S")
    upgraded = await loop.start_tls(side.transport, side, context, server_side=True)
    if upgraded is None:
        raise ConnectionResetError("the connection ended during the TLS handshake")
    side.connection_made(upgraded)
    note_tls(client)


def note_tls(client: Client) -> None:
    """Take note of what a TLS handshake has told of the client."""
    client.tls = True
    transport = client.side.transport
    found = None if transport is None else transport.get_extra_info("peercert")
    names = [value for part in (found or {}).get("subject", ()) for key, value in part if key == "commonName"]
    client.certified = names[0] if names else None


def check_direct(client: Client) -> None:
    """Refuse a direct TLS connection that was not meant for PostgreSQL.

    :raises NotAllowed: as PostgreSQL does
    """
    transport = client.side.transport
    found = None if transport is None else transport.get_extra_info("ssl_object")
    if found is None or found.selected_alpn_protocol() != ALPN:
        raise NotAllowed("received direct SSL connection request without ALPN protocol negotiation extension")


def check_certificate(client: Client, packet: Packet) -> None:
    """Refuse a client whose certificate is not its user's.

    :raises NotAllowed: naming both
    """
    user = packet.parameters.get("user", "")
    if client.certified != user:
        raise NotAllowed(
            f"certificate authentication failed for user {user!r}",
            "no certificate was sent"
            if client.certified is None
            else f"it is the one of {client.certified!r}",
        )


async def log_in(
    client: Client, upstream: Upstream, packet: Packet, traffic: Traffic, *, trusted: bool
) -> tuple[Side, bytes] | None:
    """Connect to the server and pass the start-up on, until the server is ready.

    :param traffic: gets the server's parameters and state
    :param trusted: whether the server may let the client in without asking it for anything
    :return: the server's socket and the body of its BackendKeyData; None if the server has refused the
        client, which was told
    :raises ProxyError: if the proxy refuses the client, or the server cannot be reached
    :raises ConnectionError: if the client is gone
    """
    ways = list(upstream.ways)
    refusal = b""
    while True:
        try:
            server, encrypted = await upstream.connect(encrypted=ways.pop(0))
        except ServerUnreachable:
            if not refusal:
                raise
            client.side.write(refusal)
            return None
        if ways and ways[0] == encrypted:
            ways.clear()  # the server has chosen the other way already
        try:
            key = await _authenticate(client, server, packet, traffic, encrypted=encrypted, trusted=trusted)
        except _NoEntry as error:
            server.close()
            refusal = error.told
            if ways:
                continue
            client.side.write(refusal)
            return None
        except BaseException as error:
            server.abort()
            if isinstance(error, ConnectionError) and server.ended and not client.side.ended:
                raise ServerUnreachable(f"the server at {upstream.name} closed the connection") from error
            raise
        if key is None:
            server.close()
            return None
        return server, key


class _NoEntry(Exception):
    """The server refuses a client without a question.

    :ivar told: its message
    """

    def __init__(self, told: bytes) -> None:
        super().__init__()
        self.told = told


async def _authenticate(
    client: Client,
    server: Side,
    packet: Packet,
    traffic: Traffic,
    *,
    encrypted: bool,
    trusted: bool,
) -> bytes | None:
    """Return the body of the BackendKeyData, or None for a client that was told that it is refused.

    :raises _NoEntry: for one that is refused without a question, and is not told yet
    """
    server.write(packet.data)
    key, asked, heard = b"", False, False
    while True:
        kind, body = await server.read_frame()
        if kind == _AUTHENTICATION:
            heard = True
            code = authentication(body)
            if code == AUTH_OK and not asked and not trusted:
                raise _not_trusted(client)
            if code == AUTH_SASL:
                body = without_channel_binding(body)
            asked = asked or code in ANSWERED
            client.side.write(frames.frame(b"R", body))
            if code in ANSWERED:
                await _answer(client, server, binding=code == AUTH_SASL and encrypted)
            continue
        message = frames.frame(bytes([kind]), body)
        if kind == _ERROR and not heard and frames.error_fields(body).get("C") == _NO_ENTRY:
            raise _NoEntry(message)
        traffic.received(message)
        client.side.write(message)
        if kind == _KEY:
            key = body
        elif kind == _READY:
            return key
        elif kind == _ERROR:
            return None


async def _answer(client: Client, server: Side, *, binding: bool) -> None:
    kind, body = await client.side.read_frame()
    if kind != _PASSWORD:
        raise Malformed(f"expected password response, got message type {kind}")
    if binding:
        check_binding(body, server_tls=True)
    server.write(frames.frame(b"p", body))


def _not_trusted(client: Client) -> ProxyError:
    return NotAllowed(
        "the server asks for no password here, because of what the proxy is; that cannot hold for "
        + ("another account" if client.is_unix else "a client over TCP"),
        "let the server ask for a password (scram-sha-256 in its pg_hba.conf), or run the proxy with "
        "certificates of clients (client_ca) or, knowing what it means, with trust_server",
    )
