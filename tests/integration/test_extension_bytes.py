"""Arrays as bytes and back: exact, and an error for bytes that are none."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.fix_server import Database


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


def float8s(connection: psycopg.Connection, value: bytes) -> Any:
    row = connection.execute("SELECT ml.float8s(%s)", (value,)).fetchone()
    return row and row[0]


def vector(*numbers: float) -> bytes:
    return struct.pack("=iiIii", 1, 0, 701, len(numbers), 1) + struct.pack(f"={len(numbers)}d", *numbers)


def test_round_trip(connection: psycopg.Connection) -> None:
    assert float8s(connection, vector(1.5, -2.0)) == [1.5, -2.0]
    assert float8s(connection, struct.pack("=iiI", 0, 0, 701)) == []
    row = connection.execute(
        "SELECT ml.float8s(ml.raw(a)) = a, ml.raw(a) FROM (SELECT array_agg(i / 7.0::float8) a"
        " FROM generate_series(1, 30000) i) s"
    ).fetchone()
    assert row is not None
    assert row[0] is True
    assert row[1] == vector(*(number / 7.0 for number in range(1, 30001)))


def test_stored_and_compressed_bytes(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE t (a boolean, b bytea)")
    for size in (1, 10, 20000):
        connection.execute("INSERT INTO t VALUES (true, %s)", (vector(*[0.0] * size),))
    rows = connection.execute(
        "SELECT (SELECT sum(x) FROM unnest(ml.float8s(b)) x), cardinality(ml.float8s(b)) FROM t"
    )
    assert rows.fetchall() == [(0.0, 1), (0.0, 10), (0.0, 20000)]


def test_malformed_bytes(connection: psycopg.Connection) -> None:
    """Whatever the bytes, an array or an error; the same backend answers to the end."""
    generator = random.Random(1)
    good = vector(1.0, 2.0, 3.0)
    headers = [-(2**31), -1, 0, 1, 2, 3, 6, 7, 24, 701, 2**31 - 1]
    cases = [good[:size] for size in range(len(good))] + [good + b"x", good + b"x" * 8, b"x" * 28]
    cases += [struct.pack("=iiIii", *generator.choices(headers[2:], k=5)) + b"y" * 24 for _ in range(300)]
    for place in range(5):
        for value in headers:
            words = list(struct.unpack("=iiiii", good[:20]))
            words[place] = value
            cases.append(struct.pack("=iiiii", *words) + good[20:])
    cases += [generator.randbytes(generator.randrange(80)) for _ in range(300)]
    process = connection.info.backend_pid
    for case in cases:
        try:
            assert isinstance(float8s(connection, case), list)
        except psycopg.errors.InvalidBinaryRepresentation:
            assert case != good
    assert connection.execute("SELECT pg_backend_pid()").fetchone() == (process,)


def test_class_probability(connection: psycopg.Connection) -> None:
    query = "SELECT ml.class_probability(%s, %s::text[], %s)"
    both = vector(0.1, 0.2, 0.9, 0.8)
    assert connection.execute(query, (both, ["no", "yes"], "yes")).fetchone() == ([0.9, 0.8],)
    assert connection.execute(query, (both, ["no", "yes"], "no")).fetchone() == ([0.1, 0.2],)
    assert connection.execute(query, (None, ["no", "yes"], "no")).fetchone() == (None,)
    for classes, label, state in (
        (["no", "yes"], "maybe", "22023"),
        (None, "yes", "22023"),
        ([], "yes", "22023"),
        (["no", "yes"], None, "22023"),
        (["a", "b", "c"], "c", "22P03"),
    ):
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(query, (both, classes, label))
        assert caught.value.sqlstate == state
    assert "'no', 'yes'" in str(catch(connection, query, (both, ["no", "yes"], "maybe")).diag.message_hint)


def catch(connection: psycopg.Connection, query: str, parameters: Any) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(query.encode(), parameters)
    return caught.value


def test_labels(connection: psycopg.Connection) -> None:
    query = "SELECT ml.labels(%s, %s::text[])"
    assert connection.execute(query, (vector(2, 1, 2), ["no", "yes"])).fetchone() == (["yes", "no", "yes"],)
    assert connection.execute(query, (vector(7), ["no", "yes"])).fetchone() == ([None],)
