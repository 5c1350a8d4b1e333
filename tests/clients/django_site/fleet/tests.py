"""What a project's own tests may look like: run by Django, in databases that Django makes.

The migrations have trained a model that says 6 a + 2.
"""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import Sum
from django.test import TestCase, TransactionTestCase

from fleet.models import Flight
from pgpredict.django import Predict


class InTransaction(TestCase):  # type: ignore[misc]
    """Each test is rolled back."""

    @classmethod
    def setUpTestData(cls) -> None:
        """Make a flight that other classes do not see."""
        Flight.objects.create(label="mine", a=7.0)

    def test_predicts_for_rows_that_are_not_committed(self) -> None:
        flight = Flight.objects.annotate(p=Predict("trained", "a")).get(label="mine")
        self.assertAlmostEqual(flight.p, 44.0)

    def test_counts_one_query(self) -> None:
        with self.assertNumQueries(1):
            list(Flight.objects.annotate(p=Predict("trained", "a")).filter(p__gt=43.5, label="mine"))


class Committed(TransactionTestCase):  # type: ignore[misc]
    """Tables are emptied after each test; models stay."""

    def test_predicts_for_rows_that_are(self) -> None:
        Flight.objects.create(label="mine", a=1.0)
        total = Flight.objects.filter(label="mine").aggregate(p=Sum(Predict("trained", "a")))
        self.assertAlmostEqual(total["p"], 8.0)

    def test_again(self) -> None:
        self.assertEqual(Flight.objects.filter(label="mine").count(), 0)
        Flight.objects.create(label="mine", a=2.0)
        flights = Flight.objects.filter(label="mine").values_list(Predict("trained", "a"), flat=True)
        self.assertAlmostEqual(flights.get(), 14.0)


class Elsewhere(TestCase):  # type: ignore[misc]
    """In a process of its own, where tests run in parallel."""

    def test_predicts(self) -> None:
        row: Any = Flight.objects.create(label="mine", a=3.0)
        found = Flight.objects.filter(pk=row.pk).annotate(p=Predict("trained", "a"))
        self.assertAlmostEqual(found.get().p, 20.0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            self.assertTrue(cursor.fetchone()[0].startswith("test_"))
