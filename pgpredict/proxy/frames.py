"""Messages of PostgreSQL's wire protocol, version 3: built, and taken apart.

Bytes in, bytes out. Only what the proxy itself says or has to understand is here; everything else passes
through it as it came. Layouts: "Message Formats" in the chapter "Frontend/Backend Protocol" of PostgreSQL's
manual.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

#: bytes of a message's kind and length
HEAD: Final = 5
_HEAD = struct.Struct("!cI")
LENGTH: Final = struct.Struct("!I")
_SHORT = struct.Struct("!H")

SYNC: Final = b"S\x00\x00\x00\x04"
FLUSH: Final = b"H\x00\x00\x00\x04"
TERMINATE: Final = b"X\x00\x00\x00\x04"

#: field of an error that says where in the statement it is, in characters from 1
POSITION: Final = "P"


def frame(kind: bytes, body: bytes) -> bytes:
    """Return a message.

    :param kind: its one byte
    """
    return _HEAD.pack(kind, len(body) + 4) + body


def cstring(value: bytes) -> bytes:
    """Return bytes with the NUL that ends them."""
    return value + b"\x00"


def query(sql: bytes) -> bytes:
    """Return a Query."""
    return frame(b"Q", cstring(sql))


def parse(name: bytes, sql: bytes, types: Sequence[int] = ()) -> bytes:
    """Return a Parse.

    :param types: oids of the parameters' types, 0 where PostgreSQL is to find out
    """
    oids = b"".join(map(LENGTH.pack, types))
    return frame(b"P", cstring(name) + cstring(sql) + _SHORT.pack(len(types)) + oids)


def bind(portal: bytes, name: bytes, values: Sequence[bytes | None], *, binary: bool) -> bytes:
    """Return a Bind.

    :param values: parameters in the text format, None for NULL
    :param binary: whether all results are wanted in the binary format
    """
    parts = [cstring(portal), cstring(name), _SHORT.pack(0), _SHORT.pack(len(values))]
    for value in values:
        parts += [LENGTH.pack(0xFFFFFFFF)] if value is None else [LENGTH.pack(len(value)), value]
    parts += [_SHORT.pack(1), _SHORT.pack(int(binary))]
    return frame(b"B", b"".join(parts))


def describe_statement(name: bytes) -> bytes:
    """Return a Describe of a prepared statement."""
    return frame(b"D", b"S" + cstring(name))


def execute(portal: bytes) -> bytes:
    """Return an Execute of all rows."""
    return frame(b"E", cstring(portal) + LENGTH.pack(0))


def close_statement(name: bytes) -> bytes:
    """Return a Close of a prepared statement; its portals stay, whatever the manual says."""
    return frame(b"C", b"S" + cstring(name))


def close_portal(name: bytes) -> bytes:
    """Return a Close of a portal."""
    return frame(b"C", b"P" + cstring(name))


def error(fields: Mapping[str, str], encoding: str = "utf-8") -> bytes:
    """Return an ErrorResponse.

    :param fields: by their letters, in the order in which they are sent
    """
    return frame(b"E", _fields(fields, encoding))


def error_fields(body: bytes, encoding: str = "utf-8") -> dict[str, str]:
    """Return the fields of an ErrorResponse or NoticeResponse by their letters."""
    return {
        part[:1].decode("latin-1"): part[1:].decode(encoding, "replace")
        for part in body.split(b"\x00")
        if part
    }


def with_position(body: bytes, position: int | None) -> bytes:
    """Return the body of an ErrorResponse with another position, or with none; nothing else is changed."""
    parts = [part for part in body.split(b"\x00") if part]
    place = next((index for index, part in enumerate(parts) if part[:1] == b"P"), None)
    if place is None:
        return body
    parts[place : place + 1] = [] if position is None else [b"P%d" % position]
    return b"".join(map(cstring, parts)) + b"\x00"


def _fields(fields: Mapping[str, str], encoding: str) -> bytes:
    parts = [
        letter.encode() + value.encode(encoding, "replace").replace(b"\x00", b"")
        for letter, value in fields.items()
    ]
    return b"".join(map(cstring, parts)) + b"\x00"


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, body) of whole messages; what is left over at the end is not told."""
    position = 0
    while position + HEAD <= len(data):
        end = position + 1 + LENGTH.unpack_from(data, position + 1)[0]
        yield data[position], data[position + HEAD : end]
        position = end


def row(body: bytes) -> list[bytes | None]:
    """Return the values of a DataRow."""
    values: list[bytes | None] = []
    position = 2
    for _ in range(_SHORT.unpack_from(body)[0]):
        (length,) = LENGTH.unpack_from(body, position)
        position += 4
        if length == 0xFFFFFFFF:
            values.append(None)
        else:
            values.append(body[position : position + length])
            position += length
    return values


def columns(body: bytes) -> list[tuple[bytes, int, int]]:
    """Return (name, oid of the type, modifier) of the columns of a RowDescription."""
    found = []
    position = 2
    for _ in range(_SHORT.unpack_from(body)[0]):
        end = body.index(b"\x00", position)
        _, _, oid, _, modifier, _ = struct.unpack_from("!IHIhih", body, end + 1)
        found.append((body[position:end], oid, modifier))
        position = end + 19
    return found


def statement(kind: int, body: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return (name, text, what follows) of a Query or Parse; None if it is malformed.

    A Query has no name and nothing that follows.
    """
    if kind == 0x51:
        return (b"", body[:-1], b"") if body.find(b"\x00") == len(body) - 1 else None
    name, separator, rest = body.partition(b"\x00")
    sql, second, types = rest.partition(b"\x00")
    if not separator or not second or len(types) < 2 or len(types) != 2 + 4 * _SHORT.unpack_from(types)[0]:
        return None
    return name, sql, types


def replaced(kind: int, name: bytes, sql: bytes, types: bytes) -> bytes:
    """Return a Query or Parse like another one, with another text."""
    return query(sql) if kind == 0x51 else frame(b"P", cstring(name) + cstring(sql) + types)
