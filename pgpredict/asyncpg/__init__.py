"""PREDICT with asyncpg: a connection class that rewrites what it sends.

``await asyncpg.connect(dsn, connection_class=pgpredict.asyncpg.Connection)``, and the same for
``asyncpg.create_pool``.
"""

from __future__ import annotations

from .connection import Catalog, Connection, listen_with, rewritten

__all__ = ["Catalog", "Connection", "listen_with", "rewritten"]
