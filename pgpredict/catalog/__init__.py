"""Answers the rewriter's questions from a database."""

from __future__ import annotations

from .connection import ConnectionCatalog

__all__ = ["ConnectionCatalog"]
