"""Models written out as SQL, certified to be equal to their ONNX form."""

from __future__ import annotations

from .codec import InvalidForm
from .form import InlineForm, Rendered, Stage, Wanted

__all__ = ["InlineForm", "InvalidForm", "Rendered", "Stage", "Wanted"]
