"""What is said before a session begins: the client's first packets, and the server's ways to authenticate.

Pure functions. The exchange itself is in ``login.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from . import frames
from .errors import Malformed, NotAllowed

#: PostgreSQL takes no longer first packet either
LONGEST = 10_000
_CODE = struct.Struct("!I")
_CANCEL, _SSL, _GSS = 80_877_102, 80_877_103, 80_877_104

SSL_REQUEST = struct.pack("!II", 8, _SSL)

AUTH_OK, AUTH_SASL, AUTH_SASL_CONTINUE, AUTH_SASL_FINAL = 0, 10, 11, 12
#: the client answers these: cleartext and MD5 password, GSS, SSPI and SASL, and what continues them
ANSWERED = frozenset((3, 5, 7, 8, 9, AUTH_SASL, AUTH_SASL_CONTINUE))
_PLUS = b"SCRAM-SHA-256-PLUS"


@dataclass(frozen=True)
class Packet:
    """A client's first packet.

    :ivar kind: what it asks for
    :ivar data: the whole packet
    :ivar parameters: of a start-up
    """

    kind: Literal["startup", "tls", "gss", "cancel"]
    data: bytes
    parameters: Mapping[str, str]

    @property
    def replicates(self) -> bool:
        """Whether a replication connection is asked for."""
        return self.parameters.get("replication", "").lower() not in ("", "false", "off", "no", "0")


def packet_length(head: bytes) -> int:
    """Return how long the first packet is.

    :param head: its first four bytes
    :raises Malformed: if they are no length of one
    """
    (length,) = _CODE.unpack(head)
    if not 8 <= length <= LONGEST:
        raise Malformed("invalid length of startup packet")
    return int(length)


def parse_packet(data: bytes) -> Packet:
    """Take a client's first packet apart.

    :raises Malformed: if it is none
    """
    (code,) = _CODE.unpack_from(data, 4)
    if code == _SSL:
        return Packet("tls", data, {})
    if code == _GSS:
        return Packet("gss", data, {})
    if code == _CANCEL:
        if len(data) < 12:
            raise Malformed("invalid length of cancel request packet")
        return Packet("cancel", data, {})
    if code >> 16 != 3:
        raise Malformed(
            f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}: proxy supports 3.0 to 3.2"
        )
    words = data[8:].split(b"\x00")
    if len(words) < 2 or words[-1] or words[-2]:
        raise Malformed("invalid startup packet layout: expected terminator as last byte")
    texts = [word.decode("utf-8", "replace") for word in words[:-2]]
    if len(texts) % 2:
        raise Malformed("invalid startup packet layout: a parameter has no value")
    return Packet("startup", data, dict(zip(texts[::2], texts[1::2], strict=True)))


def backend_key(cancel: Packet) -> bytes:
    """Return process id and key of a cancel request, as BackendKeyData has them."""
    return cancel.data[8:]


def authentication(body: bytes) -> int:
    """Return the code of an Authentication message."""
    return int(_CODE.unpack_from(body)[0]) if len(body) >= 4 else -1


def without_channel_binding(body: bytes) -> bytes:
    """Return an AuthenticationSASL without the mechanism that is bound to the TLS channel.

    The client's channel ends here: what it would bind to is not what the server sees.
    """
    names = [name for name in body[4:].split(b"\x00") if name and name != _PLUS]
    return body[:4] + b"".join(map(frames.cstring, names)) + b"\x00"


def check_binding(body: bytes, *, server_tls: bool) -> None:
    """Refuse a SASLInitialResponse that cannot come to a good end.

    A client with TLS says that it could bind and believes that the server cannot. A server with TLS takes
    that for an attack, and must.

    :param server_tls: whether the connection to the server is encrypted
    :raises NotAllowed: with what can be done
    """
    mechanism, separator, rest = body.partition(b"\x00")
    if not separator or not mechanism.startswith(b"SCRAM-"):
        return
    if server_tls and rest[4:5] == b"y":
        raise NotAllowed(
            "SCRAM authentication cannot pass: TLS ends at the proxy, and both the client and the server "
            "could bind to it",
            "connect with channel_binding=disable, or let the proxy reach the server without TLS "
            "(a unix socket, or sslmode=disable)",
        )
