"""Migration operations: the extension, and models that are made, granted and dropped.

A model's version has to be committed before it is deployed, because the runtime reads it from a session of
its own. So operations that make one want ``atomic = False`` in their migration, as those have that build
indexes concurrently.
"""

from __future__ import annotations

from .making import ImportModel, TrainModel
from .others import DropModel, GrantModel, PgpredictExtension

__all__ = ["DropModel", "GrantModel", "ImportModel", "PgpredictExtension", "TrainModel"]

# a squashed migration imports them from where they are documented
for _operation in (DropModel, GrantModel, ImportModel, PgpredictExtension, TrainModel):
    _operation.__module__ = __name__
