"""Batch texts to columns, results to the memory of PostgreSQL arrays (see docs/batch.md).

PostgreSQL hands over the memory of a float8[] as it is, so reading it is a matter of bounds: nothing is
believed of a length before it fits the bytes that are there.
"""

from __future__ import annotations

import binascii
import json
import re
import struct
from types import NoneType

import numpy as np
import pybase64
from numpy.typing import NDArray

from onnx_models.scoring import Column

from .errors import InvalidBatch

VERSION = 1
#: rows of one batch; the rewriter sends 20,000
MAX_ROWS = 10_000_000
MAX_FEATURES = 1_600
FLOAT8_OID = 701
#: ndim, dataoffset, element oid: what precedes the dimensions, without the varlena header
_HEAD = struct.Struct("=iiI")
_DIMS = struct.Struct("=iiii")
_VECTOR = struct.Struct("=iiIii")
#: offsets inside an array count the varlena header, which is not in the bytes
_VARLENA = 4
_LINE_FEED = re.compile(rb"\n")


def decode_batch(text: memoryview | bytes) -> tuple[dict[str, Column], int]:
    """Return the columns of a batch text by feature name, and the number of rows.

    :param text: batch text in UTF-8
    :raises InvalidBatch: naming what breaks the format
    """
    line, position = _next_line(text, 0)
    rows, numbers, texts = _decode_header(line)
    columns: dict[str, Column] = {}
    for name in texts:
        line, position = _next_line(text, position)
        columns[name] = _decode_texts(name, line, rows)
    matrix = _decode_matrix(text[position:], rows, len(numbers))
    columns.update(zip(numbers, matrix.T, strict=True))
    return columns, rows


def encode_float8s(values: NDArray[np.float64]) -> bytes:
    """Return the memory of a one-dimensional float8[] without its varlena header.

    :param values: shape (rows,)
    """
    if not len(values):
        return _HEAD.pack(0, 0, FLOAT8_OID)
    return _VECTOR.pack(1, 0, FLOAT8_OID, len(values), 1) + values.astype(np.float64, copy=False).tobytes()


def _next_line(text: memoryview | bytes, start: int) -> tuple[bytes, int]:
    found = _LINE_FEED.search(text, start)
    end = found.start() if found else len(text)
    return bytes(text[start:end]), min(end + 1, len(text))


def _decode_header(line: bytes) -> tuple[int, list[str], list[str]]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidBatch("the batch does not begin with a JSON header") from error
    if not isinstance(header, dict) or header.get("v") != VERSION:
        raise InvalidBatch(f"the batch is not of version {VERSION}")
    rows, numbers, texts = header.get("rows"), header.get("numbers", []), header.get("texts", [])
    if type(rows) is not int or not 0 <= rows <= MAX_ROWS:
        raise InvalidBatch(f"the batch has {rows!r} rows, from 0 to {MAX_ROWS} are accepted")
    for names in (numbers, texts):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidBatch("the batch's header does not list feature names")
    every = [*numbers, *texts]
    if len(every) > MAX_FEATURES:
        raise InvalidBatch(f"the batch has {len(every)} features, {MAX_FEATURES} are accepted")
    if len(set(every)) != len(every):
        doubled = next(name for name in every if every.count(name) > 1)
        raise InvalidBatch(f"the batch has feature {doubled!r} twice")
    return rows, numbers, texts


def _decode_texts(name: str, line: bytes, rows: int) -> list[str | None]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidBatch(f"the batch's texts of {name!r} are not JSON") from error
    if not isinstance(values, list) or not set(map(type, values)) <= {str, NoneType}:
        raise InvalidBatch(f"the batch's texts of {name!r} are not an array of texts")
    if len(values) != rows:
        raise InvalidBatch(f"the batch has {len(values)} texts of {name!r} for {rows} rows")
    return values


def _decode_matrix(encoded: memoryview | bytes, rows: int, width: int) -> NDArray[np.float64]:
    try:
        raw = pybase64.b64decode(encoded)
    except binascii.Error as error:
        raise InvalidBatch("the batch's numbers are not base64") from error
    if not width or not rows:
        return np.empty((rows, width))
    return _decode_array(raw, rows, width)


def _decode_array(raw: bytes, rows: int, width: int) -> NDArray[np.float64]:
    start = _HEAD.size + _DIMS.size
    if len(raw) < start:
        raise InvalidBatch(f"the batch's numbers end after {len(raw)} bytes")
    dimensions, offset, element = _HEAD.unpack_from(raw)
    if dimensions != 2 or element != FLOAT8_OID:
        raise InvalidBatch(
            f"the batch's numbers are an array of {dimensions} dimensions and element type {element}",
            hint="write them as ml.raw(array_agg(ARRAY[a, b]::float8[]))",
        )
    shape = _DIMS.unpack_from(raw, _HEAD.size)[:2]
    if shape != (rows, width):
        raise InvalidBatch(f"the batch's numbers have shape {shape}, its header says {(rows, width)}")
    count = rows * width
    if not offset:
        return _floats(raw, start, count).reshape(shape)
    return _with_nulls(raw, start, offset - _VARLENA, count).reshape(shape)


def _with_nulls(raw: bytes, start: int, data: int, count: int) -> NDArray[np.float64]:
    size = (count + 7) // 8
    if not start + size <= data <= len(raw):
        raise InvalidBatch(f"the batch's numbers begin at offset {data} of {len(raw)} bytes")
    bitmap = np.frombuffer(raw, np.uint8, size, start)
    present = np.unpackbits(bitmap, count=count, bitorder="little").view(np.bool_)
    values = np.full(count, np.nan)
    # elements that are NULL take no space
    values[present] = _floats(raw, data, int(np.count_nonzero(present)))
    return values


def _floats(raw: bytes, start: int, count: int) -> NDArray[np.float64]:
    if len(raw) - start != count * 8:
        raise InvalidBatch(f"the batch's numbers take {len(raw) - start} bytes, {count * 8} are due")
    # the data is not aligned without the varlena header; NumPy is three times slower on such memory
    values = np.empty(count)
    values.view(np.uint8)[:] = np.frombuffer(raw, np.uint8, offset=start)
    return values
