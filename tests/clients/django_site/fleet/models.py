"""Planes and their flights, and a model table."""

from __future__ import annotations

from django.db import models


class Plane(models.Model):
    """Has the feature ``b``."""

    name = models.TextField()
    b = models.FloatField(null=True)


class Flight(models.Model):
    """Has the features ``a`` and ``x``, and columns for what is predicted."""

    plane = models.ForeignKey(Plane, models.CASCADE, null=True, related_name="flights")
    label = models.TextField()
    a = models.FloatField(null=True)
    power = models.FloatField(db_column="x", null=True)
    day = models.DateField(null=True)
    predicted = models.FloatField(null=True)
    late = models.TextField(null=True)


class LongFlight(Flight):
    """Has its own table; ``a`` and ``x`` are in its parent's."""

    b = models.FloatField()


class Weight(models.Model):
    """The model table of ``weight``."""

    features = models.TextField(primary_key=True)
    a = models.FloatField()
    prediction = models.FloatField()

    class Meta:
        """Nothing of it is Django's to make."""

        managed = False
        db_table = '"models"."weight"'
