"""Rewriting in the client: what the hooks of all drivers share."""

from __future__ import annotations

from .lately import Lately
from .placeholders import Template
from .rewriting import AsyncSession, Prepared, Session, prepare, prepare_async

__all__ = ["AsyncSession", "Lately", "Prepared", "Session", "Template", "prepare", "prepare_async"]
