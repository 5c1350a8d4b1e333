"""Predictions in Django: a database engine or an app, query expressions, migration operations.

``ENGINE = "pgpredict.django"`` in ``DATABASES``, or ``"pgpredict.django"`` in ``INSTALLED_APPS`` beside any
other engine over PostgreSQL, is all that the expressions need; through the proxy they need neither.
"""

from __future__ import annotations

from .expressions import Predict, PredictionSet, Probability
from .unknown import PredictionField

__all__ = ["Predict", "PredictionField", "PredictionSet", "Probability"]
