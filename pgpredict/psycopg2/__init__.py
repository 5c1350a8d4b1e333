"""PREDICT with psycopg2: cursors that rewrite what they send.

``psycopg2.connect(dsn, cursor_factory=pgpredict.psycopg2.Cursor)``, or :func:`install` on a connection that
is there already. Threads that share a connection must not commit or roll back while another one executes.
"""

from __future__ import annotations

from .cursors import Cursor, install, predicting

__all__ = ["Cursor", "install", "predicting"]
