"""RowDescriptions of statements that were changed: columns keep the tables that they come from.

A column that has been through a batch comes out of a function, so PostgreSQL no longer tells its table and
its number in it, which drivers show and make result sets updatable by. The client's own text was described
with a NULL in each form's place; from there these two numbers are put back.
"""

from __future__ import annotations

import struct

from . import frames

#: behind the name: table, number in it, type, size, modifier, format
_COLUMN = struct.Struct("!IhIhih")


def in_encoding(body: bytes, encoding: str) -> bytes | None:
    """Return a RowDescription whose names are in UTF-8 with names in another encoding.

    :param encoding: Python's name of it
    :return: None if it lacks a letter
    """
    made, place = [body[:2]], 2
    for name, *_ in frames.columns(body):
        place += len(name) + 1
        try:
            made.append(frames.cstring(name.decode().encode(encoding)))
        except UnicodeError:
            return None
        made.append(body[place : place + _COLUMN.size])
        place += _COLUMN.size
    return b"".join(made)


def with_origins(body: bytes, due: bytes) -> bytes | None:
    """Return a RowDescription with the tables and numbers of another one's columns.

    :return: None if they do not describe the same columns
    """
    ours, theirs = frames.columns(body), frames.columns(due)
    if [column[:2] for column in ours] != [column[:2] for column in theirs]:
        return None
    made, place, other = [body[:2]], 2, 2
    for (name, *_), (their_name, *_) in zip(ours, theirs, strict=True):
        place, other = place + len(name) + 1, other + len(their_name) + 1
        _, _, *rest = _COLUMN.unpack_from(body, place)
        table, number, *_ = _COLUMN.unpack_from(due, other)
        made += [frames.cstring(name), _COLUMN.pack(table, number, *rest)]
        place, other = place + _COLUMN.size, other + _COLUMN.size
    return b"".join(made)
