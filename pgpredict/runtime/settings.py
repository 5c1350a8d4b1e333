"""Settings of the runtime, as the supervisor hands them to its worker."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

from pgpredict.errors import InvalidInput

_UNITS = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


@dataclasses.dataclass(frozen=True)
class RuntimeSettings:
    """Settings of one runtime.

    :ivar socket: path of the unix socket
    :ivar dsn: connection string; its database name is replaced by each caller's
    :ivar memory: bound on the estimated bytes of all loaded models
    :ivar threads: threads that one prediction may use
    :ivar connections: connections served at once
    :ivar address_space: bound on the worker's address space in bytes (RLIMIT_AS); None: none
    :ivar grace: seconds that running predictions get at shutdown
    :ivar idle: seconds after its last prediction that the runtime stays connected to a database
    :ivar role: role to become after connecting; None: stay who the dsn says
    :ivar log: log file; None: standard error
    :ivar restarts: how often the supervisor has restarted the worker
    """

    socket: str
    dsn: str = ""
    memory: int = 2 << 30
    threads: int = 1
    connections: int = 1000
    address_space: int | None = None
    grace: float = 10.0
    idle: float = 600.0
    role: str | None = None
    log: str | None = None
    restarts: int = 0

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RuntimeSettings:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))


def default_socket() -> Path:
    """Return the socket's path: ``$PGPREDICT_SOCKET``, else where a system's service would have it."""
    return Path(os.environ.get("PGPREDICT_SOCKET") or "/run/pgpredict/runtime.sock")


def parse_size(text: str) -> int:
    """Return a size such as ``2GB`` or ``512 MB`` in bytes; units count by 1024, as in PostgreSQL.

    :raises InvalidInput: if it is none
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?b|)\s*", text, re.IGNORECASE)
    if match is None:
        raise InvalidInput(f"invalid size {text!r}", hint="write it as 512MB or 2GB")
    return int(float(match[1]) * _UNITS[match[2].lower()])
