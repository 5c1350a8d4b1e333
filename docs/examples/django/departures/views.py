"""The list and the page of a departure."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.views.generic import DetailView, ListView

from .forms import Filters
from .models import Departure, DepartureQuerySet, DeployedModel


class DepartureList(ListView):
    """A day's departures, the likeliest to be late first."""

    paginate_by = settings.PAGE_SIZE
    context_object_name = "departures"

    def get_queryset(self) -> DepartureQuerySet:
        """Return what the form asks for; a form that is wrong finds nothing, and says what is wrong."""
        self.deployed = DeployedModel.late()
        self.filters = Filters({"day": settings.TODAY, **self.request.GET.dict()})
        if not self.filters.is_valid():
            return Departure.objects.none()
        departures = Departure.objects.with_risk(self.deployed.version).select_related("carrier", "dest")
        return self.filters.apply(departures).order_by("-risk", "id")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the form and the model."""
        day = self.filters.cleaned_data.get("day") or settings.TODAY
        return super().get_context_data(model=self.deployed, filters=self.filters, day=day, **kwargs)


class DepartureDetail(DetailView):
    """One departure, with the model that predicts it and the forecast that was kept."""

    context_object_name = "departure"

    def get_queryset(self) -> DepartureQuerySet:
        """Return all of them, with what the page shows."""
        self.deployed = DeployedModel.late()
        version = self.deployed.version
        departures = Departure.objects.with_risk(version).with_on_time_risk(version)
        return departures.select_related("carrier", "dest", "forecast")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the model."""
        return super().get_context_data(model=self.deployed, **kwargs)
