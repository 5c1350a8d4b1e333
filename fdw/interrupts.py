"""What PostgreSQL wants of a backend that waits: its flags and its client's socket, read with ctypes.

PostgreSQL's signal handlers only set flags; Python code that waits has to look at them. Raising
for them would give the user a wrong error: see :mod:`fdw.wrapper` for what is done instead.
Outside of a server nothing is ever pending.
"""

from __future__ import annotations

import ctypes
import os
import select
from typing import Any

_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL


def _symbol(kind: Any, name: str) -> Any:
    try:
        return kind.in_dll(ctypes.CDLL(None), name)
    except ValueError:
        return None


_cancel = _symbol(ctypes.c_int, "QueryCancelPending")
_die = _symbol(ctypes.c_int, "ProcDiePending")
_postmaster = _symbol(ctypes.c_int, "PostmasterPid")
_port = _symbol(ctypes.c_void_p, "MyProcPort")
_float_digits = _symbol(ctypes.c_int, "extra_float_digits")
_database = _symbol(ctypes.c_uint, "MyDatabaseId")


def interrupted() -> bool:
    """Tell whether the statement is to be cancelled or the backend to end."""
    return bool((_cancel is not None and _cancel.value) or (_die is not None and _die.value))


def client_gone() -> bool:
    """Tell whether the client has closed its connection."""
    descriptor = _client_socket()
    if descriptor is None:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return any(events & _GONE for _, events in poll.poll(0))


def server_gone() -> bool:
    """Tell whether the server's main process has died; until its backends end, no new one can start."""
    return _postmaster is not None and _postmaster.value not in (os.getppid(), os.getpid())


def _client_socket() -> int | None:
    """Return the client's socket: the first field of PostgreSQL's struct Port, NULL in workers."""
    if _port is None or not _port.value:
        return None
    descriptor = ctypes.c_int.from_address(_port.value).value
    return descriptor if descriptor >= 0 else None


def extra_float_digits() -> int:
    """Return the session's setting; below 1, floats arrive rounded."""
    return 1 if _float_digits is None else int(_float_digits.value)


def database() -> int:
    """Return the oid of the backend's database."""
    return 0 if _database is None else int(_database.value)
