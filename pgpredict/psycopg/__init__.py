"""PREDICT with psycopg 3: cursors that rewrite what they send.

``psycopg.connect(dsn, cursor_factory=pgpredict.psycopg.Cursor)``, or :func:`install` on a connection that is
there already. The connection that will run a statement is asked about models and columns; a statement without
our words costs a look at its text.
"""

from __future__ import annotations

from .catalog import AsyncConnectionCatalog
from .cursors import (
    AsyncClientCursor,
    AsyncCursor,
    AsyncRawCursor,
    AsyncRawServerCursor,
    AsyncServerCursor,
    ClientCursor,
    Cursor,
    RawCursor,
    RawServerCursor,
    ServerCursor,
    install,
    install_async,
    predicting,
)

__all__ = [
    "AsyncClientCursor",
    "AsyncConnectionCatalog",
    "AsyncCursor",
    "AsyncRawCursor",
    "AsyncRawServerCursor",
    "AsyncServerCursor",
    "ClientCursor",
    "Cursor",
    "RawCursor",
    "RawServerCursor",
    "ServerCursor",
    "install",
    "install_async",
    "predicting",
]
