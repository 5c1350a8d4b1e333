"""What a list may be asked for."""

from __future__ import annotations

from django import forms
from django.conf import settings

from .models import Airline, DepartureQuerySet

ORIGINS = [("", "anywhere"), ("EWR", "EWR Newark"), ("JFK", "JFK Kennedy"), ("LGA", "LGA La Guardia")]


class Filters(forms.Form):
    """Conditions; without a day it is today."""

    day = forms.DateField(required=False, widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"))
    origin = forms.ChoiceField(choices=ORIGINS, required=False, label="From")
    dest = forms.CharField(
        max_length=3,
        required=False,
        label="To",
        widget=forms.TextInput({"class": "code", "placeholder": "any"}),
    )
    carrier = forms.ModelChoiceField(
        Airline.objects.all(), required=False, empty_label="any", label="Airline"
    )
    likely = forms.BooleanField(required=False, label="predicted late")
    on_time = forms.BooleanField(required=False, label="left on time")

    def apply(self, departures: DepartureQuerySet) -> DepartureQuerySet:
        """Return the departures that are asked for, once the form has been found valid."""
        asked = self.cleaned_data
        found = departures.filter(day=asked["day"] or settings.TODAY)
        if asked["origin"]:
            found = found.filter(origin=asked["origin"])
        if asked["dest"]:
            found = found.filter(dest=asked["dest"].upper())
        if asked["carrier"]:
            found = found.filter(carrier=asked["carrier"])
        if asked["on_time"]:
            found = found.filter(dep_delay__lt=15)
        if asked["likely"]:
            found = found.filter(late="yes")
        return found
