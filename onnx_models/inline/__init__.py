"""Models written out as SQL, certified to be equal to their ONNX form."""

from __future__ import annotations

from .bounds import Bounds, bounded, condition
from .codec import InvalidForm
from .form import InlineForm, Rendered, Stage, Wanted
from .regions import Box, regions, threshold

__all__ = [
    "Bounds",
    "Box",
    "InlineForm",
    "InvalidForm",
    "Rendered",
    "Stage",
    "Wanted",
    "bounded",
    "condition",
    "regions",
    "threshold",
]
