"""PREDICT in SQLAlchemy 2: an engine plugin, and constructs for Core and the ORM."""

from __future__ import annotations

from .forms import Form
from .functions import Model, predict, prediction_set, probability
from .registry import refresh
from .tables import ModelTable, reflect_models

__all__ = [
    "Form",
    "Model",
    "ModelTable",
    "predict",
    "prediction_set",
    "probability",
    "reflect_models",
    "refresh",
]
