"""Departures from New York City, and how likely each is to arrive late: Django and PREDICT."""
