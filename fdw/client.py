"""Client of the runtime: one connection per backend, waits that can be interrupted.

Every wait is cut into slices, between which PostgreSQL's flags and its client's socket are looked at:
a statement that waits for the runtime must not outlive the user's patience, whether it waits for a
connection, for room to send or for an answer.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Sequence

from . import protocol
from .errors import ClientGone, Interrupted, ProtocolError, RuntimeTimeout, RuntimeUnavailable, ServerGone
from .interrupts import client_gone, interrupted, server_gone

#: longest time without a look at PostgreSQL's flags
SLICE_MILLISECONDS = 20
#: for how long a runtime that restarts is waited for
RESTART_SECONDS = 1.0
_RESTARTING = (errno.ECONNREFUSED, errno.ENOENT, errno.EAGAIN)
_SEND_BYTES = 1 << 20
_RECEIVE_BYTES = 4096
_HINT = "start it with 'pgpredict up', or see 'pgpredict doctor'"


class Client:
    """Connection to the runtime, made when first needed and dropped after any failure.

    :param path: the runtime's socket
    :param timeout: seconds that one request may take in total
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self._socket: socket.socket | None = None
        self._deadline = 0.0

    def request(
        self, header: protocol.Header, blobs: Sequence[bytes] = ()
    ) -> tuple[protocol.Header, list[memoryview]]:
        """Send a frame and return the header and blobs of the answer.

        A connection that fails is made anew once: the runtime may have restarted since the last
        request. Asking twice is harmless, predictions have no effects.

        :raises Interrupted: if PostgreSQL wants the statement to end
        :raises ClientGone: if the client has closed its connection
        :raises ServerGone: if the server's main process has died
        :raises RuntimeUnavailable: if the runtime cannot be reached, or fails twice
        :raises RuntimeTimeout: if it takes longer than the time allowed
        :raises ProtocolError: if the request is too large, or the answer is not understood
        """
        pieces = protocol.encode(header, blobs)
        self._deadline = time.monotonic() + self.timeout
        try:
            try:
                return self._exchange(pieces)
            except (OSError, ProtocolError):
                self.close()
                return self._exchange(pieces)
        except OSError as error:
            self.close()
            raise self._unavailable(error) from error
        except BaseException:
            # what is left of this exchange must never be read as the answer to the next
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _unavailable(self, error: OSError) -> RuntimeUnavailable:
        reason = error.strerror or str(error)
        return RuntimeUnavailable(
            f"the inference runtime at {self.path!r} does not answer: {reason}", hint=_HINT
        )

    def _exchange(self, pieces: Sequence[bytes]) -> tuple[protocol.Header, list[memoryview]]:
        if self._socket is None:
            self._socket = self._connect()
        for piece in pieces:
            self._send(self._socket, piece)
        # no answer is there yet, and to be told so takes as long as to ask again
        self._wait(self._socket, select.POLLIN)
        return self._receive_frame(self._socket)

    def _receive_frame(self, connection: socket.socket) -> tuple[protocol.Header, list[memoryview]]:
        # the answer to one row comes whole with the first read
        start = bytearray(_RECEIVE_BYTES)
        count = self._receive(connection, memoryview(start), protocol.HEAD.size)
        header_length, blob_length = protocol.decode_head(bytes(start[: protocol.HEAD.size]))
        length = protocol.HEAD.size + header_length + blob_length
        if count > length:
            raise ProtocolError(f"the inference runtime sent {count - length} bytes too many")
        frame = start if length <= len(start) else start[:count] + bytes(length - count)
        view = memoryview(frame)
        self._receive(connection, view[count:length], length - count)
        header_end = protocol.HEAD.size + header_length
        return protocol.decode_body(bytes(view[protocol.HEAD.size : header_end]), view[header_end:length])

    def _connect(self) -> socket.socket:
        give_up = min(time.monotonic() + RESTART_SECONDS, self._deadline)
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                # a full backlog is EAGAIN at once, an AF_UNIX connect never stays in progress
                connection.setblocking(False)
                connection.connect(self.path)
                return connection
            except OSError as error:
                connection.close()
                if error.errno not in _RESTARTING or time.monotonic() > give_up - SLICE_MILLISECONDS / 1000:
                    raise self._unavailable(error) from error
                try:
                    self._wait(None, 0)
                except RuntimeTimeout:
                    # nobody has been asked yet: why not is worth more than how long it took
                    raise self._unavailable(error) from error

    def _send(self, connection: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                # the answer of a runtime that refuses may come before all is sent; it is read afterwards
                view = view[connection.send(view[:_SEND_BYTES]) :]
            except BlockingIOError:
                self._wait(connection, select.POLLOUT)

    def _receive(self, connection: socket.socket, view: memoryview, least: int) -> int:
        """Fill a buffer with at least so many bytes and return how many they are."""
        count = 0
        while count < least:
            try:
                received = connection.recv_into(view[count:])
            except BlockingIOError:
                self._wait(connection, select.POLLIN)
                continue
            if received == 0:
                raise ConnectionResetError(errno.ECONNRESET, "it closed the connection")
            count += received
        return count

    def _wait(self, connection: socket.socket | None, events: int) -> None:
        """Wait until the socket is ready, or for one slice without one.

        Returns early by nature: callers try again.
        """
        poll = select.poll()
        if connection is not None:
            poll.register(connection, events)
        while True:
            ready = poll.poll(SLICE_MILLISECONDS)
            if interrupted():
                raise Interrupted("interrupted")
            if time.monotonic() > self._deadline:
                raise RuntimeTimeout(
                    f"the inference runtime did not answer within {self.timeout:g} seconds",
                    hint="see 'pgpredict doctor', or raise the option 'timeout' of the foreign server",
                )
            if ready:
                return
            if client_gone():
                raise ClientGone("the client closed its connection during a prediction")
            if server_gone():
                raise ServerGone("the server's main process died during a prediction")
            if connection is None:
                return


_clients: dict[str, Client] = {}


def shared_client(path: str, timeout: float) -> Client:
    """Return the backend's client of a socket; all model tables share it.

    :param path: the runtime's socket
    :param timeout: seconds that one request may take in total
    """
    client = _clients.get(path)
    if client is None:
        client = _clients[path] = Client(path, timeout)
    client.timeout = timeout
    return client
