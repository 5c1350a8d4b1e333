"""The database engine ``pgpredict.django``: Django's for PostgreSQL, with PREDICT."""

from __future__ import annotations

from django.db.backends.postgresql import base

from .hook import Predicting
from .introspection import DatabaseIntrospection
from .validation import DatabaseValidation, register

register()


class DatabaseWrapper(Predicting, base.DatabaseWrapper):
    """Django's wrapper; the cursors of its connections know PREDICT."""

    introspection_class = DatabaseIntrospection
    validation_class = DatabaseValidation
