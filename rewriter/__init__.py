"""Rewrites SQL with ``PREDICT`` into joins with model tables."""

from __future__ import annotations

from .asynchronous import AsyncCatalog, rewrite_async
from .cache import CachedRewriter, VersionedAsyncCatalog, VersionedCatalog
from .catalog import Catalog, Column, DescribeError, ModelInfo
from .errors import RewriteError, UndeployedModel
from .rules import RULES
from .script import Script, rewrite_script
from .setting import Setting
from .split import split
from .statement import Rewritten, rewrite

__all__ = [
    "RULES",
    "AsyncCatalog",
    "CachedRewriter",
    "Catalog",
    "Column",
    "DescribeError",
    "ModelInfo",
    "RewriteError",
    "Rewritten",
    "Script",
    "Setting",
    "UndeployedModel",
    "VersionedAsyncCatalog",
    "VersionedCatalog",
    "rewrite",
    "rewrite_async",
    "rewrite_script",
    "split",
]
