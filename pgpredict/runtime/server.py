"""The worker's side of the socket: one thread a connection.

Blocking reads in threads answer a single row sooner than an event loop, and ONNX Runtime lets go of the GIL
while it computes. One more thread waits for callers that hang up: the kernel tells it (EPOLLRDHUP), so nobody
has to look, and it ends their predictions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import onnxruntime as ort

from fdw import protocol
from fdw.errors import ProtocolError

from .errors import InvalidRequest, ShuttingDown, TooManyConnections
from .framing import Received, read_frame
from .predictor import Answer, Predictor
from .refusal import error_answer, refuse

logger = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("3i")
_HANG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Connection:
    """One caller, and how to end what runs for it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.run_options = ort.RunOptions()
        self.busy = False

    def end(self) -> None:
        """End its prediction at the graph's next node."""
        self.run_options.terminate = True


class Server:
    """Serves a listening socket.

    :param listener: bound and listening
    :param predictor: answers the requests
    :param limit: connections at once
    :param on_database: told the oid of each database that has got a prediction
    :param extra: what a status shows beside the predictor's own
    """

    def __init__(
        self,
        listener: socket.socket,
        predictor: Predictor,
        *,
        limit: int,
        on_database: Callable[[int], None],
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._listener = listener
        self._predictor = predictor
        self._limit = limit
        self._on_database = on_database
        self._extra = extra or {}
        self._connections: dict[int, Connection] = {}
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._draining = threading.Event()

    def serve(self) -> None:
        """Accept connections until :meth:`drain`."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        while not self._draining.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if self._draining.is_set():
                    return
                # out of file descriptors, most likely: wait for some to be given back
                logger.warning("event=accept_failed error=%r", error)
                time.sleep(0.1)
                continue
            self._admit(sock)

    def drain(self, grace: float) -> None:
        """Take nothing new, let what runs finish, then end it.

        :param grace: seconds to wait for it
        """
        self._draining.set()
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(item.busy for item in self._snapshot()):
            time.sleep(0.01)
        for connection in self._snapshot():
            connection.end()
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _snapshot(self) -> list[Connection]:
        with self._lock:
            return list(self._connections.values())

    def _admit(self, sock: socket.socket) -> None:
        _, uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        # root could become us anyway, and asks for the status
        if uid not in (os.geteuid(), 0):
            logger.warning("event=refuse uid=%d", uid)
            sock.close()
            return
        if len(self._connections) >= self._limit:
            error = TooManyConnections(f"the runtime serves {self._limit} connections already")
            try:
                threading.Thread(target=refuse, args=[sock, error], daemon=True).start()
            except (RuntimeError, MemoryError):
                sock.close()
            return
        connection = Connection(sock)
        with self._lock:
            self._connections[sock.fileno()] = connection
        try:
            self._epoll.register(sock.fileno(), select.EPOLLRDHUP)
            threading.Thread(target=self._serve_connection, args=[connection], daemon=True).start()
        except (RuntimeError, OSError, MemoryError) as error:  # no more threads or descriptors
            logger.warning("event=refuse error=%r", error)
            self._forget(connection)
            refuse(sock, TooManyConnections("the runtime cannot start another thread"))

    def _serve_connection(self, connection: Connection) -> None:
        try:
            while (received := read_frame(connection.sock)) is not None:
                connection.busy = True
                self._send(connection.sock, self._answer(received, connection))
                connection.busy = False
        except ProtocolError as error:
            # where the next frame begins is anybody's guess now
            logger.warning("event=garbage error=%r", error.message)
            with contextlib.suppress(OSError):
                self._send(connection.sock, (error_answer(error), []))
        except MemoryError as error:
            with contextlib.suppress(OSError):
                self._send(connection.sock, (error_answer(error), []))
        except OSError:
            pass  # the caller has gone
        finally:
            self._forget(connection)
            connection.sock.close()

    def _answer(self, received: Received, connection: Connection) -> Answer:
        try:
            if self._draining.is_set():
                raise ShuttingDown("the runtime is shutting down", hint="try again in a moment")
            header, blobs = received
            action = header.get("do")
            if action == "predict":
                answer = self._predictor.predict(header, blobs, connection.run_options)
                self._on_database(header["database"])
                return answer
            if action == "status":
                return {**self._predictor.status(), **self._extra, "connections": len(self._connections)}, []
            raise InvalidRequest(f"unknown request {action!r}")
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            return error_answer(error), []

    def _send(self, sock: socket.socket, answer: Answer) -> None:
        try:
            pieces = protocol.encode(*answer)
        except ProtocolError as error:  # the answer is too large
            pieces = protocol.encode(error_answer(error))
        for piece in pieces:
            sock.sendall(piece)

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._connections.pop(connection.sock.fileno(), None)
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(connection.sock.fileno())

    def _watch(self) -> None:
        while True:
            for descriptor, events in self._epoll.poll():
                if events & _HANG_UP:
                    self._hang_up(descriptor)

    def _hang_up(self, descriptor: int) -> None:
        with self._lock:
            connection = self._connections.get(descriptor)
            # the number may belong to another connection by now
            if connection is None or not _has_hung_up(descriptor):
                return
            # level-triggered: it would be reported again and again
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)
            connection.end()


def _has_hung_up(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))
