"""First packets and authentication messages, taken apart and put together."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpredict.proxy.errors import Malformed, NotAllowed
from pgpredict.proxy.startup import (
    LONGEST,
    backend_key,
    check_binding,
    packet_length,
    parse_packet,
    without_channel_binding,
)

CANCEL, SSL = 80_877_102, 80_877_103


def packet(code: int, body: bytes = b"") -> bytes:
    return struct.pack("!II", 8 + len(body), code) + body


@given(st.binary(min_size=8, max_size=260))
def test_a_cancel_request_brings_a_key_of_any_length(key: bytes) -> None:
    """Protocol 3.2 has keys of up to 256 bytes; the process id comes before them."""
    found = parse_packet(packet(CANCEL, key))
    assert found.kind == "cancel"
    assert backend_key(found) == key


def test_a_cancel_request_without_a_key() -> None:
    with pytest.raises(Malformed, match="cancel request"):
        parse_packet(packet(CANCEL))


@pytest.mark.parametrize("length", [0, 4, 7, LONGEST + 1, 0xFFFFFFFF])
def test_lengths_that_cannot_be(length: int) -> None:
    with pytest.raises(Malformed):
        packet_length(struct.pack("!I", length))


@given(st.binary(max_size=60))
def test_whatever_comes_is_taken_apart_or_refused(body: bytes) -> None:
    for code in (0x30000, 0x30002, 0x20000, CANCEL, SSL, 0):
        with contextlib.suppress(Malformed):
            assert parse_packet(packet(code, body)).data == packet(code, body)


@pytest.mark.parametrize(
    ("value", "replicates"), [("", False), ("off", False), ("true", True), ("database", True), ("0", False)]
)
def test_replication_connections(value: str, replicates: bool) -> None:
    body = b"user\0me\0replication\0" + value.encode() + b"\0\0"
    assert parse_packet(packet(0x30000, body)).replicates == replicates


def test_only_what_is_bound_to_the_channel_is_taken_out() -> None:
    offered = struct.pack("!I", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
    assert without_channel_binding(offered) == struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"


def test_a_client_that_could_bind_is_refused_where_the_server_could_too() -> None:
    def initial(flag: bytes) -> bytes:
        first = flag + b",,n=,r=nonce"
        return b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first

    check_binding(initial(b"n"), server_tls=True)
    check_binding(initial(b"y"), server_tls=False)
    check_binding(b"a password\0", server_tls=True)
    with pytest.raises(NotAllowed) as caught:
        check_binding(initial(b"y"), server_tls=True)
    assert caught.value.hint is not None
    assert "channel_binding=disable" in caught.value.hint
