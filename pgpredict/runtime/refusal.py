"""Error answers, and connections that get nothing else."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import Any

from fdw import protocol

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 0.5


def error_answer(error: BaseException) -> dict[str, Any]:
    """Return the answer that reports an error; what nobody foresaw is logged with its stack."""
    if hasattr(error, "sqlstate"):
        return {
            "ok": False,
            "message": getattr(error, "message", str(error)),
            "sqlstate": getattr(error, "sqlstate", None) or "58000",
            "hint": getattr(error, "hint", None),
        }
    if isinstance(error, MemoryError):
        return {
            "ok": False,
            "message": "the runtime is out of memory",
            "sqlstate": "53200",
            "hint": "predict fewer rows at a time, or give the runtime more memory",
        }
    logger.error("event=defect", exc_info=error)
    return {
        "ok": False,
        "message": f"the runtime failed: {type(error).__name__}: {error}",
        "sqlstate": "XX000",
        "hint": "its log has more",
    }


def refuse(sock: socket.socket, error: Exception) -> None:
    """Answer a connection with an error and close it, within about half a second.

    Closed at once, a caller that is still sending would see a broken pipe instead of the answer.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with contextlib.suppress(OSError), sock:
        sock.settimeout(_PATIENCE_SECONDS)
        for piece in protocol.encode(error_answer(error)):
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16) and time.monotonic() < deadline:
            pass
