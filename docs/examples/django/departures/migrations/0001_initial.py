"""The table of forecasts; the other relations are the demo's and the extension's."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """See above."""

    initial = True
    operations: ClassVar[list[object]] = [
        migrations.CreateModel(
            "Airline",
            [
                ("carrier", models.TextField(primary_key=True, serialize=False)),
                ("name", models.TextField()),
            ],
            options={"db_table": "airlines", "ordering": ("name",), "managed": False},
        ),
        migrations.CreateModel(
            "Airport",
            [
                ("faa", models.TextField(primary_key=True, serialize=False)),
                ("name", models.TextField(null=True)),
            ],
            options={"db_table": "airports", "managed": False},
        ),
        migrations.CreateModel(
            "Departure",
            [
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("flight", models.IntegerField()),
                ("origin", models.TextField()),
                ("distance", models.IntegerField()),
                ("day", models.DateField()),
                ("departs", models.TimeField()),
                ("arrives", models.TimeField()),
                ("dep_delay", models.IntegerField()),
                ("arr_delay", models.IntegerField(null=True)),
                ("temp", models.FloatField(null=True)),
                ("wind_speed", models.FloatField(null=True)),
                ("precip", models.FloatField(null=True)),
                ("visib", models.FloatField(null=True)),
                ("manufacturer", models.TextField(null=True)),
                ("built", models.SmallIntegerField(null=True)),
                ("seats", models.SmallIntegerField(null=True)),
            ],
            options={"db_table": "departures", "managed": False},
        ),
        migrations.CreateModel(
            "DeployedModel",
            [
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("version", models.IntegerField()),
                ("algorithm", models.TextField()),
                ("trained_at", models.DateTimeField()),
                ("metrics", models.JSONField()),
            ],
            options={"db_table": '"ml"."models"', "managed": False},
        ),
        migrations.CreateModel(
            "Forecast",
            [
                (
                    "departure",
                    models.OneToOneField(
                        "departures.departure",
                        models.DO_NOTHING,
                        db_constraint=False,
                        primary_key=True,
                        related_name="forecast",
                        serialize=False,
                    ),
                ),
                ("late", models.TextField()),
                ("risk", models.FloatField()),
                ("version", models.IntegerField()),
                ("made_at", models.DateTimeField(default=Now)),
            ],
        ),
    ]
