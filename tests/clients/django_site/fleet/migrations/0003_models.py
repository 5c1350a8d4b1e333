"""A model that is trained, one that is imported, and who may use them."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from django.db import migrations

from pgpredict.django.operations import GrantModel, ImportModel, TrainModel

FILE = os.environ.get("SITE_ONNX", "")


def rows(apps: Any) -> Any:
    """What to learn from."""
    return apps.get_model("fleet", "Flight").objects.filter(label__startswith="f").values("a", "predicted")


class Migration(migrations.Migration):  # type: ignore[misc]
    """See above."""

    atomic = bool(os.environ.get("SITE_ATOMIC"))
    dependencies: ClassVar[list[tuple[str, str]]] = [("fleet", "0002_rows")]
    operations: ClassVar[list[object]] = [
        TrainModel("trained", rows, "predicted", algorithm="linear"),
        ImportModel("imported", FILE),
        GrantModel("imported", "PUBLIC"),
        TrainModel("skipped", "SELECT a, x FROM fleet_flight WHERE a < 0", "x", skip_without_rows=True),
    ]
