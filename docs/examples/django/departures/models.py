"""The demo's relations, which are not Django's to manage, and a table of our own."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.urls import reverse

from pgpredict.django import Predict, Probability

from .problems import NOT_DEPLOYED, Unavailable

#: yes or no: does a flight arrive 15 minutes late or more?
LATE = "late_arrival"


class Airline(models.Model):
    """Whose flight it is."""

    carrier = models.TextField(primary_key=True)
    name = models.TextField()

    class Meta:
        """The demo's table."""

        managed = False
        db_table = "airlines"
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class Airport(models.Model):
    """Where it goes."""

    faa = models.TextField(primary_key=True)
    name = models.TextField(null=True)

    class Meta:
        """The demo's table."""

        managed = False
        db_table = "airports"

    def __str__(self) -> str:
        return str(self.name or self.faa)


class DeployedModel(models.Model):
    """A model, and the version that answers at present."""

    name = models.TextField(primary_key=True)
    version = models.IntegerField()
    algorithm = models.TextField()
    trained_at = models.DateTimeField()
    metrics = models.JSONField()

    class Meta:
        """A view of the extension's."""

        managed = False
        db_table = '"ml"."models"'

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @classmethod
    def late(cls) -> DeployedModel:
        """Return the one that says whether a flight is late.

        Who tells which version has predicted asks for the one that answers at present, and then asks that
        one: another may be deployed meanwhile.

        :raises Unavailable: if there is none
        """
        found = cls.objects.filter(name=LATE, version__isnull=False).first()
        if found is None:
            raise Unavailable(NOT_DEPLOYED)
        return found


class DepartureQuerySet(models.QuerySet):
    """Departures with predictions, which are expressions among others."""

    def with_risk(self, version: int) -> DepartureQuerySet:
        """Add what the model says; all columns of the view are offered to it as features."""
        return self.annotate(
            late=Predict(LATE, version=version),
            risk=Probability(LATE, for_="yes", version=version),
        )

    def with_on_time_risk(self, version: int) -> DepartureQuerySet:
        """Add what the risk would be, had it left on time."""
        return self.annotate(on_time_risk=Probability(LATE, "*", dep_delay=0, for_="yes", version=version))


class Departure(models.Model):
    """A row of the view ``departures``: what is known of a flight when it departs.

    The columns have the names of the model's features, so that PREDICT finds them by itself.
    """

    id = models.BigIntegerField(primary_key=True)
    carrier = models.ForeignKey(Airline, models.DO_NOTHING, db_column="carrier")
    flight = models.IntegerField()
    origin = models.TextField()
    dest = models.ForeignKey(Airport, models.DO_NOTHING, db_column="dest")
    distance = models.IntegerField()
    day = models.DateField()
    departs = models.TimeField()
    arrives = models.TimeField()
    dep_delay = models.IntegerField()
    arr_delay = models.IntegerField(null=True)
    temp = models.FloatField(null=True)
    wind_speed = models.FloatField(null=True)
    precip = models.FloatField(null=True)
    visib = models.FloatField(null=True)
    manufacturer = models.TextField(null=True)
    built = models.SmallIntegerField(null=True)
    seats = models.SmallIntegerField(null=True)

    objects = DepartureQuerySet.as_manager()

    class Meta:
        """The demo's view."""

        managed = False
        db_table = "departures"

    def __str__(self) -> str:
        return f"{self.carrier_id} {self.flight}"

    def get_absolute_url(self) -> str:
        """Return the address of its page."""
        return str(reverse("departure", args=[self.pk]))


class Forecast(models.Model):
    """A prediction that is kept, to be judged by what happens; the command ``forecast`` writes them."""

    departure = models.OneToOneField(
        # a view has no key to refer to
        Departure, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="forecast"
    )  # fmt: skip
    late = models.TextField()
    risk = models.FloatField()
    version = models.IntegerField()
    made_at = models.DateTimeField(default=Now)

    def __str__(self) -> str:
        return f"{self.departure_id}: {self.risk:.1%}"
