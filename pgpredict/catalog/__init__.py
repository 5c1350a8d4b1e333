"""Answers the rewriter's questions from a database."""

from __future__ import annotations

from .connection import ConnectionCatalog
from .deployments import Deployments

__all__ = ["ConnectionCatalog", "Deployments"]
