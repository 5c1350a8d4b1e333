"""Writes the SQL of a planned block, and of forms that are answered where they stand."""

from __future__ import annotations

from .block import emit
from .inline import can_inline, inline_expression, is_fenced
from .row import row_expression

__all__ = ["can_inline", "emit", "inline_expression", "is_fenced", "row_expression"]
