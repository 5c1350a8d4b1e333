"""Writes the SQL of a planned block."""

from __future__ import annotations

from .block import emit

__all__ = ["emit"]
