"""The list of flights with a prediction in it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from fleet.models import Flight
from pgpredict.django import Predict, Probability


@admin.register(Flight)
class FlightAdmin(admin.ModelAdmin):  # type: ignore[misc]
    """Sorts by the prediction and by the probability."""

    list_display = ("label", "weight", "risk")

    def get_queryset(self, request: Any) -> Any:
        """Add what the list shows."""
        queryset = super().get_queryset(request)
        return queryset.annotate(weight=Predict("weight"), risk=Probability("late", for_="yes"))

    @admin.display(ordering="weight", description="Predicted weight")
    def weight(self, flight: Any) -> Any:
        """What the model says."""
        return flight.weight

    @admin.display(ordering="risk")
    def risk(self, flight: Any) -> str:
        """The probability, in percent."""
        return f"{100 * flight.risk:.0f} %"
