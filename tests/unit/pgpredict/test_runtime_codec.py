from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpredict.runtime.codec import decode_batch, encode_float8s
from pgpredict.runtime.errors import InvalidBatch


def array_memory(values: list[list[float | None]]) -> bytes:
    """What PostgreSQL has in memory for a float8[] of two dimensions, after the four bytes of length."""
    rows, width = len(values), len(values[0])
    flat = [value for row in values for value in row]
    data = b"".join(struct.pack("=d", value) for value in flat if value is not None)
    dims = struct.pack("=iiii", rows, width, 1, 1)
    if None not in flat:
        return struct.pack("=iiI", 2, 0, 701) + dims + data
    bitmap = bytearray((len(flat) + 7) // 8)
    for index, value in enumerate(flat):
        if value is not None:
            bitmap[index // 8] |= 1 << index % 8
    offset = -(-(4 + 28 + len(bitmap)) // 8) * 8
    head = struct.pack("=iiI", 2, offset, 701) + dims + bytes(bitmap)
    return head.ljust(offset - 4, b"\0") + data


def batch(numbers: dict[str, list[float | None]], texts: dict[str, list[str | None]], rows: int) -> bytes:
    header = {"v": 1, "rows": rows, "numbers": list(numbers), "texts": list(texts)}
    lines = [json.dumps(header), *(json.dumps(values, ensure_ascii=False) for values in texts.values())]
    matrix = [list(row) for row in zip(*numbers.values(), strict=True)]
    encoded = base64.encodebytes(array_memory(matrix)) if matrix and matrix[0] else b""
    return "\n".join([*lines, ""]).encode() + encoded


def check(numbers: dict[str, list[float | None]], texts: dict[str, list[str | None]], rows: int) -> None:
    columns, found = decode_batch(memoryview(batch(numbers, texts, rows)))
    assert found == rows
    assert set(columns) == set(numbers) | set(texts)
    for name, values in numbers.items():
        wanted = [np.nan if value is None else value for value in values]
        np.testing.assert_array_equal(np.asarray(columns[name], np.float64), wanted)
    for name, strings in texts.items():
        assert columns[name] == strings


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 100])
def test_round_trip(rows: int) -> None:
    numbers: dict[str, list[float | None]] = {
        "a": [float(row) for row in range(rows)],
        "b": [None if row % 3 == 0 else -row / 7 for row in range(rows)],
    }
    check(numbers, {"t": [None if row % 2 else f'é\n"{row}' for row in range(rows)]}, rows)
    check({"a": numbers["a"]}, {}, rows)
    check({"b": [None] * rows}, {}, rows)
    check({}, {"t": ["x"] * rows}, rows)


def test_no_rows() -> None:
    check({"a": []}, {"t": []}, 0)


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.none() | st.floats(allow_nan=False), min_size=width, max_size=width), min_size=1
        )
    )
)
def test_any_numbers_come_back(rows: list[list[float | None]]) -> None:
    check({f"n{index}": list(column) for index, column in enumerate(zip(*rows, strict=True))}, {}, len(rows))


GOOD = array_memory([[1.0, 2.0], [3.0, None]])
HEADER = '{"v":1,"rows":2,"numbers":["a","b"],"texts":[]}'


def patched(offset: int, value: int) -> bytes:
    return GOOD[:offset] + struct.pack("=i", value) + GOOD[offset + 4 :]


@pytest.mark.parametrize(
    "memory",
    [
        b"",
        GOOD[:11],
        GOOD[:27],
        GOOD[:-1],
        GOOD + b"\0",
        patched(0, 1),
        patched(0, -1),
        patched(4, -8),
        patched(4, 28),
        patched(4, 2**31 - 1),
        patched(8, 700),
        patched(12, 3),
        patched(12, -2),
        patched(16, 2**30),
        patched(28, 0b0011),
        patched(28, 0b1111),
    ],
)
def test_memory_that_breaks_the_layout(memory: bytes) -> None:
    with pytest.raises(InvalidBatch):
        decode_batch(f"{HEADER}\n".encode() + base64.b64encode(memory))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"v":2,"rows":0}',
        '{"v":1,"rows":-1}',
        '{"v":1,"rows":1e3}',
        '{"v":1,"rows":99999999999}',
        '{"v":1,"rows":true}',
        '{"v":1,"rows":1,"numbers":"a"}',
        '{"v":1,"rows":1,"numbers":[1]}',
        '{"v":1,"rows":1,"numbers":["a"],"texts":["a"]}',
        '{"v":1,"rows":1,"texts":["a"]}',
        '{"v":1,"rows":1,"texts":["a"]}\n["x","y"]',
        '{"v":1,"rows":1,"texts":["a"]}\n[1]',
        '{"v":1,"rows":1,"texts":["a"]}\n{"a":1}',
        '{"v":1,"rows":1,"numbers":["a"]}\nA',
        "[" * 100_000,
    ],
)
def test_texts_that_break_the_format(text: str) -> None:
    with pytest.raises(InvalidBatch):
        decode_batch(text.encode())


@given(st.binary(max_size=200))
def test_garbage_is_an_error_or_a_batch(garbage: bytes) -> None:
    for text in (garbage, f"{HEADER}\n".encode() + base64.b64encode(garbage)):
        try:
            decode_batch(text)
        except InvalidBatch:
            continue


@pytest.mark.parametrize("values", [[], [1.5], [1.0, float("nan"), float("inf")]])
def test_results_have_the_memory_of_an_array(values: list[float]) -> None:
    memory = encode_float8s(np.array(values, np.float64))
    ndim, offset, element = struct.unpack_from("=iiI", memory)
    assert (ndim, offset, element) == (1 if values else 0, 0, 701)
    if values:
        assert struct.unpack_from("=ii", memory, 12) == (len(values), 1)
        np.testing.assert_array_equal(np.frombuffer(memory, offset=20), values)


def test_a_view_into_a_frame_is_enough() -> None:
    text: Any = batch({"a": [1.0]}, {"t": ["x"]}, 1)
    columns, rows = decode_batch(memoryview(b"..." + text + b"...")[3:-3])
    assert rows == 1
    assert columns["t"] == ["x"]
