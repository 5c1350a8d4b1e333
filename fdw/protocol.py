"""The frames that the wrapper and the runtime exchange.

A frame is a fixed 16-byte head, a JSON header and any number of binary
blobs::

    offset  size  field
    0       4     magic, b"PGP1"
    4       4     length of the header in bytes, unsigned, big-endian
    8       8     length of all blobs together in bytes, unsigned, big-endian
    16      ...   header: a JSON object, UTF-8; its key "blobs" lists the
                  blobs' lengths in order, their sum is the length above;
                  it may be left out where there are none
    ...     ...   the blobs, one after the other

Sizes are bounded before anything is allocated. This module knows no sockets:
bytes in, frames out.

Requests have a key ``"do"``:

``predict``
    ``artifact``: sha256 in hex; ``database``: oid of the caller's database;
    ``outputs``: names wanted, of ``prediction``, ``probability`` and
    ``probabilities``. The input is either ``features`` (a JSON object, one
    row: value per feature name, ``null`` where it is NULL) or one blob, the
    batch text in UTF-8 (see ``docs/batch.md``).
``status``
    no further keys.

Answers carry ``"ok": true`` and what follows, or ``"ok": false`` with
``message``, ``sqlstate`` and optionally ``hint``.

To ``predict`` with ``features``: ``classes`` (list of text, classification
only), ``prediction`` (class label as text, or a number), ``probability``,
``probabilities`` (in the order of ``classes``).
To ``predict`` with a batch: ``rows``, ``classes``, and ``outputs``, the names
of the blobs that follow. ``prediction`` holds numbers, or for classification
1-based indexes into ``classes``; ``probability`` the probability of the
predicted class; ``probabilities`` is class-major: all rows of the first class, then
all of the second. Each blob is the memory of a one-dimensional float8[] without its varlena
header, what ``ml.float8s(bytea)`` takes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

from .errors import ProtocolError

MAGIC = b"PGP1"
HEAD = struct.Struct("!4sIQ")
#: a header larger than this is refused (64 MiB: one row's features may hold long texts)
MAX_HEADER_BYTES = 64 << 20
#: all blobs of one frame together (1 GiB, PostgreSQL's own bound on a value)
MAX_BLOB_BYTES = 1 << 30
MAX_BLOBS = 64

Header = dict[str, Any]

# json.dumps would make an encoder each time, json.loads look for the encoding
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


def encode(header: Header, blobs: Sequence[bytes] = ()) -> list[bytes]:
    """Return the frame as pieces to be sent in order; blobs are not copied.

    :param header: JSON object without the key ``blobs``
    :param blobs: binary parts
    :raises ProtocolError: if the frame is larger than the bounds allow
    """
    lengths = [len(blob) for blob in blobs]
    body = _encode({**header, "blobs": lengths} if lengths else header).encode("utf-8", "surrogatepass")
    total = sum(lengths)
    check_lengths(len(body), total)
    return [HEAD.pack(MAGIC, len(body), total) + body, *blobs]


def decode_head(head: bytes) -> tuple[int, int]:
    """Return the lengths in bytes of a frame's header and of its blobs.

    :param head: the first 16 bytes of a frame
    :raises ProtocolError: for a wrong magic or a length out of bounds
    """
    magic, header_length, blob_length = HEAD.unpack(head)
    if magic != MAGIC:
        raise ProtocolError(f"unexpected magic {magic!r} at the start of a frame")
    check_lengths(header_length, blob_length)
    return header_length, blob_length


def check_lengths(header_length: int, blob_length: int) -> None:
    """Refuse lengths out of bounds.

    :raises ProtocolError: if one of them is
    """
    if not 2 <= header_length <= MAX_HEADER_BYTES:
        raise ProtocolError(f"frame header of {header_length} bytes is out of bounds")
    if blob_length > MAX_BLOB_BYTES:
        raise ProtocolError(
            f"frame of {blob_length} bytes is larger than the limit of {MAX_BLOB_BYTES}",
            hint="predict fewer or narrower rows at a time",
        )


def decode_body(header: bytes, blobs: memoryview) -> tuple[Header, list[memoryview]]:
    """Return a frame's header and its blobs, which are views into ``blobs``.

    :raises ProtocolError: if the header is no JSON object or its ``blobs`` do not fit
    """
    try:
        fields = _decode(header.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("frame header is not JSON") from error
    if not isinstance(fields, dict):
        raise ProtocolError("frame header is not a JSON object")
    if not blobs and "blobs" not in fields:
        return fields, []
    lengths = fields.pop("blobs", [])
    if (
        not isinstance(lengths, list)
        or len(lengths) > MAX_BLOBS
        or any(type(length) is not int or length < 0 for length in lengths)
        or sum(lengths) != len(blobs)
    ):
        raise ProtocolError("blob lengths in the frame header do not fit the frame")
    views, start = [], 0
    for length in lengths:
        views.append(blobs[start : start + length])
        start += length
    return fields, views
