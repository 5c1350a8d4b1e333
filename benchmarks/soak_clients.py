"""What the clients of the soak do, well-behaved and not; each checks what it gets.

An action takes a :class:`Place` and ends normally, or with :class:`WrongAnswer`. Values are drawn so that the
right answers are known: the model ``soak_fixed`` multiplies by ten.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql

from onnx_models import storing

from .soak_model import SIGNATURE, linear

APPLICATION = "pgpredict soak"
# it warns of pipelines that end with their errors, which is what they are for here
logging.getLogger("psycopg").setLevel(logging.ERROR)
_RESET = struct.pack("ii", 1, 0)
#: seconds after which a statement that still runs is cancelled again
_AGAIN = 10.0


class WrongAnswer(Exception):
    """A client got something else than it should."""


@dataclass
class Place:
    """Where a client is.

    :ivar dsn: through the proxy
    :ivar directory: of the proxy's unix socket
    :ivar port: of the proxy
    :ivar random: of this client alone
    """

    dsn: str
    directory: Path
    port: int
    random: random.Random
    moving: Moving = field(repr=False)

    @contextlib.contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """Give a connection that is closed afterwards, whatever its state."""
        connection = psycopg.connect(self.dsn, autocommit=True, application_name=APPLICATION)
        with contextlib.closing(connection):
            yield connection

    def raw(self, *, tcp: bool = False) -> socket.socket:
        """Return a socket to the proxy."""
        if tcp:
            return socket.create_connection(("127.0.0.1", self.port), timeout=60)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        sock.connect(str(self.directory / f".s.PGSQL.{self.port}"))
        return sock


@dataclass
class Moving:
    """A model that is deployed again and again; whoever holds the lock knows its weight."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    weight: float = 0.0


def equal(found: Any, expected: Any) -> None:
    """Check an answer.

    :raises WrongAnswer: with both
    """
    if found != expected:
        raise WrongAnswer(f"{str(found)[:200]} instead of {str(expected)[:200]}")


def predict(place: Place) -> None:
    """Predict by simple, extended and prepared statements, one after the other."""
    with place.connection() as connection:
        for _ in range(place.random.randint(1, 12)):
            value = float(place.random.randint(1, 10_000))
            query = "SELECT PREDICT(soak_fixed USING %s::float8 AS a), %s"
            equal(connection.execute(query, (value, "x")).fetchall(), [(value * 10, "x")])
            plain = sql.SQL("SELECT PREDICT(soak_fixed USING {}::float8 AS a)").format(value)
            equal(connection.execute(plain).fetchall(), [(value * 10,)])
        rows = connection.execute("SELECT a, PREDICT(soak_fixed) FROM soak.numbers ORDER BY a").fetchall()
        equal(rows, [(float(i), i * 10.0) for i in range(1, 1001)])


def pipeline(place: Place) -> None:
    """Use a pipeline, with an error in it now and then."""
    value = float(place.random.randint(1, 1000))
    fails = place.random.random() < 0.3
    with place.connection() as connection:
        with (
            contextlib.suppress(errors.DivisionByZero, errors.PipelineAborted),
            connection.pipeline() as pipe,
        ):
            cursors = [connection.execute("SELECT PREDICT(soak_fixed USING %s::float8 AS a)", (value,))]
            pipe.sync()
            if fails:
                connection.execute("SELECT 1 / 0")
            cursors += [
                connection.execute("SELECT %s::int", (number,)) if number % 2
                else connection.execute("SELECT PREDICT(soak_fixed USING %s::float8 AS a)", (float(number),))
                for number in range(6)
            ]  # fmt: skip
            if not fails:
                answers = [cursor.fetchone() for cursor in cursors]
                equal(answers, [(value * 10,), (0.0,), (1,), (20.0,), (3,), (40.0,), (5,)])
        equal(connection.execute("SELECT 1").fetchone(), (1,))


def transaction(place: Place) -> None:
    """Use a transaction with tables of its own, savepoints and errors."""
    with place.connection() as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE TEMPORARY TABLE mine ON COMMIT DROP AS SELECT 5::float8 AS a")
        equal(connection.execute("SELECT PREDICT(soak_fixed), a FROM mine").fetchall(), [(50.0, 5.0)])
        with contextlib.suppress(errors.UndefinedColumn), connection.transaction():
            connection.execute("SELECT PREDICT(soak_fixed), nothing FROM mine")
            raise WrongAnswer("no error for a column that there is not")
        with contextlib.suppress(errors.UndefinedObject), connection.transaction():
            connection.execute("SELECT PREDICT(soak_nobody USING 1 AS a)")
            raise WrongAnswer("no error for a model that there is not")
        connection.execute("ALTER TABLE mine ADD COLUMN b int DEFAULT 7")
        equal(connection.execute("SELECT PREDICT(soak_fixed), * FROM mine").fetchall(), [(50.0, 5.0, 7)])


def copy(place: Place) -> None:
    """Copy in and out."""
    count = place.random.randint(1, 2000)
    with place.connection() as connection, connection.cursor() as cursor:
        connection.execute("CREATE TEMPORARY TABLE mine (a float8)")
        with cursor.copy("COPY mine FROM STDIN") as into:
            for number in range(count):
                into.write_row((number,))
        with cursor.copy("COPY (SELECT PREDICT(soak_fixed) FROM mine ORDER BY a) TO STDOUT") as out:
            equal(sum(float(line) for line in b"".join(out).split()), 10.0 * count * (count - 1) / 2)


def cancel(place: Place) -> None:
    """Cancel a statement, plain or one of ours."""
    statement = place.random.choice(
        ["SELECT pg_sleep(60)", "SELECT sum(PREDICT(soak_fixed USING i::float8 AS a)) "
         "FROM generate_series(1, 100000000) AS g(i)"]
    )  # fmt: skip
    first, ended = place.random.uniform(0.05, 0.4), threading.Event()
    with place.connection() as connection:

        def request() -> None:
            pause = first
            while not ended.wait(pause):
                connection.cancel_safe()
                # again only for a statement that had not begun, on a machine that is busy
                pause = _AGAIN

        thread = threading.Thread(target=request, daemon=True)
        thread.start()
        try:
            connection.execute(statement)
            raise WrongAnswer("a statement that was cancelled has ended")
        except errors.QueryCanceled:
            pass
        finally:
            ended.set()
            thread.join()
        equal(connection.execute("SELECT PREDICT(soak_fixed USING 2.0 AS a)").fetchone(), (20.0,))


def large(place: Place) -> None:
    """Move a large result and a large parameter."""
    with place.connection() as connection:
        rows = connection.execute(
            "SELECT repeat('x', 1000), PREDICT(soak_fixed) FROM soak.numbers"
        ).fetchall()
        equal((len(rows), sum(value for _, value in rows)), (1000, 5_005_000.0))
        text = "PREDICT" * 300_000
        equal(connection.execute("SELECT length(%s)", (text,)).fetchone(), (len(text),))


def killed(place: Place) -> None:
    """End a backend from outside."""
    with place.connection() as victim, place.connection() as other:
        other.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
        try:
            for _ in range(100):
                victim.execute("SELECT PREDICT(soak_fixed USING 1.0 AS a)")
                time.sleep(0.01)
            raise WrongAnswer("a backend that was ended answers")
        except psycopg.OperationalError:
            pass
        equal(other.execute("SELECT PREDICT(soak_fixed USING 3.0 AS a)").fetchone(), (30.0,))


def deploy(place: Place) -> None:
    """Deploy a version, with which the next statement of every session must predict."""
    with place.moving.lock, place.connection() as one, place.connection() as other:
        weight = float(place.random.randint(1, 1000))
        version = storing.register(one, "soak_moving", SIGNATURE, linear(weight), {})
        storing.deploy(one, "soak_moving", version)
        for connection in (one, other):
            found = connection.execute("SELECT PREDICT(soak_moving USING 1.0 AS a)").fetchone()
            equal(found, (weight,))


def die(place: Place) -> None:
    """Vanish in the middle of something."""
    connection = psycopg.connect(place.dsn, autocommit=True, application_name=APPLICATION)
    statement = place.random.choice(
        [b"SELECT repeat('x', 1000) FROM generate_series(1, 100000)",
         b"SELECT PREDICT(soak_fixed) FROM soak.numbers",
         b"BEGIN; SELECT PREDICT(soak_fixed USING 1.0 AS a); SELECT pg_sleep(0.3)"]
    )  # fmt: skip
    with contextlib.closing(connection):
        connection.pgconn.send_query(statement)
        connection.pgconn.flush()
        time.sleep(place.random.uniform(0, 0.05))
        sock = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with sock, contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def misbehave(place: Place) -> None:
    """Send bytes that are no protocol, or only the beginning of it."""
    said = place.random.choice(
        [b"GET / HTTP/1.1\r\n\r\n", b"", b"\x00", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"\xff" * 100,
         b"\x00\x00\x00\x10\x00\x03\x00\x00user\x00me\x00", place.random.randbytes(200)]
    )  # fmt: skip
    with place.raw(tcp=place.random.random() < 0.5) as sock, contextlib.suppress(OSError):
        sock.sendall(said)
        if place.random.random() < 0.5:
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(10_000):
                pass
        elif sock.family == socket.AF_INET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


Action = Callable[[Place], None]
ACTIONS: tuple[Action, ...] = (
    predict, pipeline, transaction, copy, cancel, large, killed, deploy, die, misbehave,
)  # fmt: skip
