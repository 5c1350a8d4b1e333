"""Rewrites SQL with ``PREDICT`` into joins with model tables."""

from __future__ import annotations

from .cache import CachedRewriter, VersionedCatalog
from .catalog import Catalog, Column, DescribeError, ModelInfo
from .errors import RewriteError, UndeployedModel
from .rules import RULES
from .setting import Setting
from .split import split
from .statement import Rewritten, rewrite

__all__ = [
    "RULES",
    "CachedRewriter",
    "Catalog",
    "Column",
    "DescribeError",
    "ModelInfo",
    "RewriteError",
    "Rewritten",
    "Setting",
    "UndeployedModel",
    "VersionedCatalog",
    "rewrite",
    "split",
]
