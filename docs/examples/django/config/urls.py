"""Addresses of the site."""

from __future__ import annotations

from departures import views
from django.urls import path

urlpatterns = [
    path("", views.DepartureList.as_view(), name="departures"),
    path("departures/<int:pk>", views.DepartureDetail.as_view(), name="departure"),
]
