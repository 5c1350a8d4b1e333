"""Rows to learn from: ``predicted`` is 3 a + 1."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations


def fill(apps: Any, schema_editor: Any) -> None:
    """Make them."""
    flight = apps.get_model("fleet", "Flight")
    flight.objects.using(schema_editor.connection.alias).bulk_create(
        flight(label=f"f{n}", a=float(n), power=(n % 10) / 10, predicted=3.0 * n + 1.0) for n in range(200)
    )


def empty(apps: Any, schema_editor: Any) -> None:
    """Remove them."""
    apps.get_model("fleet", "Flight").objects.using(schema_editor.connection.alias).all().delete()


class Migration(migrations.Migration):  # type: ignore[misc]
    """See above."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("fleet", "0001_initial")]
    operations: ClassVar[list[object]] = [migrations.RunPython(fill, empty)]
