"""Connections to the server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from .errors import ServerUnreachable
from .probe import ask
from .server_side import ServerSide
from .startup import SSL_REQUEST

DEFAULT_PORT = 5432
#: what PostgreSQL 17 and later want to hear in a TLS hello
ALPN = "postgresql"


def tls_context(parameters: Mapping[str, str]) -> ssl.SSLContext:
    """Return the context of connections to the server, with libpq's meaning of ``sslmode`` and its files.

    :raises ServerUnreachable: if a file cannot be used
    """
    mode = parameters.get("sslmode", "prefer")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # in a context that does not verify yet
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN])
    try:
        roots = parameters.get("sslrootcert", "")
        if mode in ("verify-ca", "verify-full") or roots:
            context.verify_mode = ssl.CERT_REQUIRED
            context.check_hostname = mode == "verify-full"
            if roots == "system" or not roots:
                context.load_default_certs()
            else:
                context.load_verify_locations(roots)
        if parameters.get("sslcert"):
            context.load_cert_chain(parameters["sslcert"], parameters.get("sslkey"))
    except (OSError, ssl.SSLError) as error:
        raise ServerUnreachable(f"cannot use the files of TLS to the server: {error}") from error
    return context


class Upstream:
    """Where the server is, and how it is reached.

    :param parameters: of a connection string
    :param socket_directory: of its unix socket; empty to connect by ``parameters``
    """

    def __init__(self, parameters: Mapping[str, str], socket_directory: str = "") -> None:
        self._parameters = parameters
        self.host = socket_directory or parameters.get("hostaddr") or parameters.get("host") or "127.0.0.1"
        self.port = int(parameters.get("port") or DEFAULT_PORT)
        self._mode = "disable" if self.is_unix else parameters.get("sslmode", "prefer")
        self._context = None if self._mode == "disable" else tls_context(parameters)

    @property
    def is_unix(self) -> bool:
        """Whether it is reached by a unix socket, where there is no TLS."""
        return self.host.startswith("/")

    @property
    def path(self) -> str:
        """Path of the unix socket."""
        return str(Path(self.host) / f".s.PGSQL.{self.port}")

    @property
    def name(self) -> str:
        """The server, for messages."""
        return self.path if self.is_unix else f"{self.host}:{self.port}"

    def probe(self, seconds: float) -> None:
        """See whether a server answers there (`ask`); from any thread.

        :param seconds: that each of its answers may take
        :raises OSError: if it does not
        """
        with self._dial(seconds) as sock:
            ask(
                sock,
                self._context or tls_context({}),
                self._parameters.get("host") or self.host,
                required=self._mode in ("require", "verify-ca", "verify-full"),
                direct=self._is_direct and not self.is_unix,
            )

    def _dial(self, seconds: float) -> socket.socket:
        if not self.is_unix:
            return socket.create_connection((self.host, self.port), seconds)
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(seconds)
            sock.connect(self.path)
        except BaseException:
            sock.close()
            raise
        return sock

    @property
    def _is_direct(self) -> bool:
        return self._parameters.get("sslnegotiation") == "direct"

    @property
    def ways(self) -> tuple[bool, ...]:
        """Whether to encrypt, in the order in which libpq tries it for ``sslmode``."""
        return {"disable": (False,), "allow": (False, True), "prefer": (True, False)}.get(self._mode, (True,))

    @property
    def is_certified(self) -> bool:
        """Whether the proxy has a certificate for the server."""
        return bool(self._parameters.get("sslcert"))

    async def connect(self, *, encrypted: bool) -> tuple[ServerSide, bool]:
        """Return a connection to the server, and whether it is encrypted.

        :param encrypted: whether to ask for it; with sslmode ``prefer`` the server may have it otherwise
        :raises ServerUnreachable: with the reason
        """
        try:
            if not encrypted or self._context is None:
                return await self._plain(), False
            try:
                return await self._encrypted(self._context)
            except (ssl.SSLError, ConnectionError):
                if self._mode != "prefer":
                    raise
            return await self._plain(), False
        except ssl.SSLError as error:
            raise ServerUnreachable(
                f"TLS with the server at {self.name} failed: {error}",
                "sslmode, sslrootcert, sslcert and sslkey in the proxy's setting 'server' say how it is done",
            ) from error
        except OSError as error:
            raise ServerUnreachable(
                f"cannot connect to the server at {self.name}: {error.strerror or error}",
                "is it running? the proxy's setting 'server' says where it is looked for",
            ) from error

    async def _plain(self) -> ServerSide:
        loop = asyncio.get_running_loop()
        side = ServerSide()
        if self.is_unix:
            await loop.create_unix_connection(lambda: side, self.path)
        else:
            transport, _ = await loop.create_connection(lambda: side, self.host, self.port)
            keep_alive(transport.get_extra_info("socket"))
        return side

    async def _encrypted(self, context: ssl.SSLContext) -> tuple[ServerSide, bool]:
        side = await self._plain()
        try:
            encrypted = self._is_direct or await self._negotiate(side)
            if encrypted:
                if side.has_more:
                    # bytes from before the encryption must never be taken for bytes from within
                    raise ServerUnreachable(f"the server at {self.name} sent unencrypted data before TLS")
                await side.start_tls(context, self._parameters.get("host") or self.host)
        except BaseException:  # also if the client has gone meanwhile, or the time is over
            side.abort()
            raise
        return side, encrypted

    async def _negotiate(self, side: ServerSide) -> bool:
        """Ask whether the server encrypts."""
        side.write(SSL_REQUEST)
        answer = await side.read(1)
        if answer == b"N" and self._mode == "prefer":
            return False
        if answer != b"S":
            raise ServerUnreachable(
                f"the server at {self.name} does not support TLS, which sslmode={self._mode} asks for",
                "switch TLS on in the server, or choose another sslmode for the proxy's setting 'server'",
            )
        return True


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel find out that the other end has vanished, and send small messages at once."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
