"""The extension and the tables."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models

from pgpredict.django.operations import PgpredictExtension


class Migration(migrations.Migration):  # type: ignore[misc]
    """See above."""

    initial = True
    operations: ClassVar[list[object]] = [
        PgpredictExtension(),
        migrations.CreateModel(
            "Plane",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.TextField()),
                ("b", models.FloatField(null=True)),
            ],
        ),
        migrations.CreateModel(
            "Flight",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("label", models.TextField()),
                ("a", models.FloatField(null=True)),
                ("power", models.FloatField(db_column="x", null=True)),
                ("day", models.DateField(null=True)),
                ("predicted", models.FloatField(null=True)),
                ("late", models.TextField(null=True)),
                (
                    "plane",
                    models.ForeignKey("fleet.plane", models.CASCADE, null=True, related_name="flights"),
                ),
            ],
        ),
        migrations.CreateModel(
            "LongFlight",
            [
                (
                    "flight_ptr",
                    models.OneToOneField(
                        "fleet.flight",
                        models.CASCADE,
                        parent_link=True,
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("b", models.FloatField()),
            ],
            bases=("fleet.flight",),
        ),
        migrations.CreateModel(
            "Weight",
            [
                ("features", models.TextField(primary_key=True, serialize=False)),
                ("a", models.FloatField()),
                ("prediction", models.FloatField()),
            ],
            options={"db_table": '"models"."weight"', "managed": False},
        ),
    ]
