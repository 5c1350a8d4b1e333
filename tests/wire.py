"""Messages of a server, for tests of what reads them."""

from __future__ import annotations

import struct

from pgpredict.proxy.frames import cstring, error, frame

READY_IDLE, READY_OPEN, READY_FAILED = (frame(b"Z", status) for status in (b"I", b"T", b"E"))


def complete(tag: str) -> bytes:
    """CommandComplete."""
    return frame(b"C", cstring(tag.encode()))


def data_row(*values: bytes | None) -> bytes:
    """DataRow."""
    parts = [struct.pack("!H", len(values))]
    for value in values:
        parts += [struct.pack("!i", -1)] if value is None else [struct.pack("!i", len(value)), value]
    return frame(b"D", b"".join(parts))


def failure(sqlstate: str, message: str = "no", position: int | None = None) -> bytes:
    """ErrorResponse."""
    fields = {"S": "ERROR", "V": "ERROR", "C": sqlstate, "M": message}
    return error(fields if position is None else {**fields, "P": str(position)})


def parameter(name: str, value: str) -> bytes:
    """ParameterStatus."""
    return frame(b"S", cstring(name.encode()) + cstring(value.encode()))
