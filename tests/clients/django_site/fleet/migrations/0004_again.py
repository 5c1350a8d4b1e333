"""Another version, and a model that is dropped."""

from __future__ import annotations

import os
from typing import ClassVar

from django.db import migrations

from pgpredict.django.operations import DropModel, ImportModel, TrainModel

FILE = os.environ.get("SITE_ONNX", "")


class Migration(migrations.Migration):  # type: ignore[misc]
    """See above."""

    atomic = False
    dependencies: ClassVar[list[tuple[str, str]]] = [("fleet", "0003_models")]
    operations: ClassVar[list[object]] = [
        TrainModel(
            "trained",
            "SELECT a, predicted * 2 AS predicted FROM fleet_flight",
            "predicted",
            retrain=True,
            algorithm="linear",
        ),
        DropModel("imported", ImportModel("imported", FILE)),
    ]
