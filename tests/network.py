"""A network that can be made bad: it cuts, stalls, delays and splits what passes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

_RESET = struct.pack("ii", 1, 0)
_CANCEL = struct.pack("!I", 80_877_102)


class Network:
    """Relays TCP connections.

    :param port: of the loopback address, where they lead
    :ivar port: to connect to
    :ivar piece: bytes that pass at once
    :ivar delay: seconds before each piece
    :ivar limit: bytes of a connection, both ways together, after which it is cut; None for no limit
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self.piece = 1 << 16
        self.delay = 0.0
        self.limit: int | None = None
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        """Let nothing pass until :meth:`flow`."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let bytes pass again."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset all connections."""
        for sock in list(self._sockets):
            self._reset(sock)

    def close(self) -> None:
        """Take no more connections and reset those that there are."""
        self._listener.close()
        self.flow()
        self.cut()

    def _reset(self, sock: socket.socket) -> None:
        self._sockets.discard(sock)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.shutdown(socket.SHUT_RD)  # wakes the thread that reads
        sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self._sockets |= {near, far}
                self._join(near, far)

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        passed = [0]
        for pair in ((near, far), (far, near)):
            threading.Thread(target=self._relay, args=(*pair, passed), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, passed: list[int]) -> None:
        try:
            while data := source.recv(self.piece):
                if self.delay:
                    time.sleep(self.delay)
                self._flowing.wait()
                if self.limit is not None:
                    data = data[: max(self.limit - passed[0], 0)]
                passed[0] += len(data)
                sink.sendall(data)
                if self.limit is not None and passed[0] >= self.limit:
                    raise ConnectionResetError
            self._flowing.wait()
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset(source)
            self._reset(sink)


class TwiceCanceling(Network):
    """Brings cancel requests twice, with a pause between.

    As PostgreSQL before 17 does: it signals a process and then its group, and the first signal may have ended
    the statement by the time of the second.
    """

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        threading.Thread(target=self._begin, args=(near, far), daemon=True).start()

    def _begin(self, near: socket.socket, far: socket.socket) -> None:
        first = near.recv(16, socket.MSG_PEEK)
        if first[4:8] != _CANCEL:
            super()._join(near, far)
            return
        for pause in (0.0, 0.5):
            time.sleep(pause)
            with socket.create_connection(("127.0.0.1", self._target)) as once:
                once.sendall(first)
                once.recv(1)  # the server closes when it has sent its signal
        near.close()
        far.close()


@contextlib.contextmanager
def network(port: int, kind: type[Network] = Network) -> Iterator[Network]:
    """Give a network that leads to a port."""
    made = kind(port)
    try:
        yield made
    finally:
        made.close()
