"""Settings of a proxy: from its options and its file, checked before anything listens."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from pgpredict.errors import InvalidInput

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
#: keywords of a connection string that say how to reach a server; all else is the client's to say
SERVER_KEYWORDS = (
    "host",
    "hostaddr",
    "port",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
)


@dataclasses.dataclass(frozen=True)
class ProxySettings:
    """What a proxy can be told; each is an option of ``pgpredict proxy`` and a key of its file.

    :ivar listen: addresses ``host:port``, with commas between them
    :ivar listen_socket: directory of a unix socket as well, empty for none
    :ivar server: connection string of the server: host, port, sslmode and what belongs to it
    :ivar server_socket: directory of the server's unix socket for clients over ours; empty to use ``server``
    :ivar tls_cert: file of the certificate chain for clients, empty for no TLS
    :ivar tls_key: file of its key
    :ivar tls_required: whether clients over TCP must use TLS
    :ivar client_ca: file of the authorities that certify clients: each must bring a certificate for its user
    :ivar trust_server: whether a client from elsewhere may in where the server asks it for nothing
    :ivar connections: clients at once
    :ivar statement_bytes: longest statement that is looked at; longer ones pass as they are
    :ivar rewrite_seconds: that rewriting may take at a stretch
    :ivar login_seconds: that a client may take until it is let in
    :ivar linger_seconds: that the rest of a connection may take once one side is gone
    :ivar drain_seconds: that running statements get at shutdown
    :ivar http: address ``host:port`` of metrics and health, empty for none
    :ivar log: file, empty for standard error
    :ivar log_level: ``debug``, ``info``, ``warning`` or ``error``
    """

    listen: str = "127.0.0.1:6432"
    listen_socket: str = ""
    server: str = "host=127.0.0.1 port=5432"
    server_socket: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_required: bool = False
    client_ca: str = ""
    trust_server: bool = False
    connections: int = 1000
    statement_bytes: int = 1 << 20
    rewrite_seconds: float = 10.0
    login_seconds: float = 60.0
    linger_seconds: float = 30.0
    drain_seconds: float = 30.0
    http: str = ""
    log: str = ""
    log_level: str = "info"

    def __post_init__(self) -> None:
        for address in (*self.addresses, *((self.http,) if self.http else ())):
            parse_address(address)
        server_parameters(self.server)
        for name in ("connections", "statement_bytes", "rewrite_seconds", "login_seconds", "linger_seconds"):
            if getattr(self, name) <= 0:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}, which is not above 0")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidInput("tls_cert and tls_key belong together")
        if (self.tls_required or self.client_ca) and not self.tls_cert:
            raise InvalidInput("TLS for clients needs tls_cert and tls_key")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise InvalidInput(f"log_level is {self.log_level!r}", "one of debug, info, warning, error")

    @property
    def addresses(self) -> list[str]:
        """The addresses to listen on."""
        return [address.strip() for address in self.listen.split(",") if address.strip()]


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; an IPv6 address stands in brackets.

    :raises InvalidInput: if it is none
    """
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"address {text!r} is not of the form host:port", "such as 127.0.0.1:6432")
    return host.removeprefix("[").removesuffix("]"), int(port)


def server_parameters(server: str) -> dict[str, str]:
    """Return what a connection string says about how to reach the server.

    :raises InvalidInput: if it is none, or says more than that
    """
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(server).items()}
    except ProgrammingError as error:
        raise InvalidInput(
            f"the server's connection string {server!r} is invalid: {str(error).strip()}"
        ) from error
    further = sorted(given.keys() - set(SERVER_KEYWORDS))
    if further:
        raise InvalidInput(
            f"the server's connection string names {further[0]!r}",
            "users, databases and passwords are the clients' to say",
        )
    if "," in given.get("host", "") or "," in given.get("port", ""):
        raise InvalidInput("the server's connection string names several hosts", "run one proxy for each")
    if not given.get("port", "5432").isdigit():
        raise InvalidInput(f"the server's port is {given['port']!r}, which is no number")
    if given.get("sslmode", "prefer") not in SSLMODES:
        raise InvalidInput(f"sslmode is {given['sslmode']!r}", f"one of {', '.join(SSLMODES)}")
    return given


def read_file(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file.

    :raises InvalidInput: if it cannot be read, or has a setting that there is not or of another type
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"cannot read the settings in {str(path)!r}: {error}") from error
    known = get_type_hints(ProxySettings)
    for name, value in values.items():
        if name not in known:
            raise InvalidInput(
                f"{str(path)!r} has a setting {name!r} that there is not", f"known: {', '.join(known)}"
            )
        wanted = known[name]
        if wanted is float and type(value) is int:
            values[name] = float(value)
        elif type(value) is not wanted:
            raise InvalidInput(f"{name} in {str(path)!r} is {value!r}, which is no {wanted.__name__}")
    return values


def make_settings(options: Mapping[str, Any], file: Path | None) -> ProxySettings:
    """Return settings: options, else what the file says, else what is usual.

    :param options: those that were given
    :raises InvalidInput: if one is wrong
    """
    return ProxySettings(**{**(read_file(file) if file else {}), **options})
