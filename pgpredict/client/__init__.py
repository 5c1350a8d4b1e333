"""Rewriting in the client: what the hooks of all drivers share."""

from __future__ import annotations

from .lately import Lately
from .literals import literal_types
from .placeholders import Template
from .rewriting import AsyncSession, Known, Prepared, Session, known, prepare, prepare_async

__all__ = [
    "AsyncSession",
    "Known",
    "Lately",
    "Prepared",
    "Session",
    "Template",
    "known",
    "literal_types",
    "prepare",
    "prepare_async",
]
