"""A client of the runtime, for its supervisor, ``pgpredict status`` and tests.

Predictions in SQL do not come this way: the wrapper has a client of its own, which minds PostgreSQL's
interrupts.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fdw import protocol
from fdw.errors import ProtocolError

from .errors import NotRunning
from .framing import Received, read_frame


class RuntimeClient:
    """One connection to a runtime.

    :param path: of its socket
    :param timeout: seconds that connecting, and each read, may take
    :raises NotRunning: if nobody answers there
    """

    def __init__(self, path: str | Path, timeout: float = 10.0) -> None:
        self._path = path
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(str(path))
        except OSError as error:
            self.sock.close()
            raise NotRunning(
                f"no runtime answers on {str(path)!r}: {error}",
                hint="start it with pgpredict up, or pgpredict runtime",
            ) from error

    def __enter__(self) -> RuntimeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def request(self, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> Received:
        """Send one request and return the answer, which may be an error answer.

        :raises NotRunning: if the runtime breaks the connection or does not answer in time
        """
        try:
            for piece in protocol.encode(header, blobs):
                self.sock.sendall(piece)
            answer = read_frame(self.sock)
        except (OSError, ProtocolError) as error:
            raise NotRunning(f"the runtime on {str(self._path)!r} does not answer: {error}") from error
        if answer is None:
            raise NotRunning(f"the runtime on {str(self._path)!r} closed the connection")
        return answer

    def status(self) -> dict[str, Any]:
        """Return the runtime's status.

        :raises NotRunning: if it does not answer in time, or with an error
        """
        answer, _ = self.request({"do": "status"})
        if not answer.get("ok"):
            raise NotRunning(str(answer.get("message")), hint=answer.get("hint"))
        return answer
