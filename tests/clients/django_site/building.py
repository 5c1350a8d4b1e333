"""Querysets that are made while nothing is known of the models, and no connection is there.

usage: building.py types | condition | later | forked | silent | forbidden
"""

from __future__ import annotations

import datetime
import json
import os
import pickle
import socket
import sys
import threading
import unittest
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from unittest import mock

from start import tables

# isort: split
from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Avg, Case, F, Max, OuterRef, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Concat
from django.db.utils import Error
from django.test import SimpleTestCase
from fleet.models import Flight, Plane

from pgpredict.django import Predict, PredictionField, output

flights = Flight.objects.order_by("id")
WEIGHT, WHOLE = Predict("weight", "a"), Predict("whole", "a")
LATE, SURE = Predict("late", "power"), Predict("sure", "power")
PRICE, DAY, MOMENT = Predict("price", "a"), Predict("day", "power"), Predict("moment", "power")
MIDNIGHT = datetime.datetime(2024, 6, 1)
#: made while nothing is known, and again when all is
QUERIES: dict[str, Callable[[], Any]] = {
    "compared": lambda: flights.annotate(p=WEIGHT).filter(p__gt=15, p__lt="35").values_list("p"),
    "whole": lambda: flights.annotate(p=WHOLE).filter(p__gte=19.5, p__lt=41).values_list("p"),
    "small": lambda: flights.annotate(p=Predict("small", "a")).filter(p__lt=1000).values_list("p"),
    "text": lambda: flights.annotate(p=LATE).filter(p__in=["yes"], p__startswith="y").values_list("a"),
    "text and number": lambda: flights.annotate(p=Predict("coded", "power")).filter(p=2).values_list("a"),
    "boolean": lambda: flights.annotate(p=SURE).filter(p=True).values_list("a", "p"),
    "condition": lambda: flights.filter(SURE).values_list("a"),
    "decimal": lambda: flights.annotate(p=PRICE).filter(p__in=["10", Decimal(20)]).values_list("p"),
    "date": lambda: flights.annotate(p=DAY).filter(p=datetime.date(2024, 6, 1)).values_list("p", "a"),
    "date and time": lambda: (
        flights.annotate(p=DAY).filter(p=datetime.datetime(2024, 6, 1, 5)).values_list("a")
    ),
    "moment": lambda: flights.annotate(p=MOMENT).filter(p__gte=MIDNIGHT).values_list("p", "a"),
    "year": lambda: flights.annotate(p=DAY).filter(p__year=2024, p__month__gt=5).values_list("a"),
    "local date": lambda: flights.annotate(p=MOMENT).filter(p__date="2024-06-01").values_list("a"),
    "mean": lambda: (
        Plane.objects.annotate(m=Avg(Predict("whole", "flights__a"))).order_by("m").values_list("m")
    ),
    "largest": lambda: (
        Plane.objects.annotate(m=Max(Predict("whole", "flights__a"))).filter(m__gt=30.5).values_list("m")
    ),
    "arithmetic": lambda: flights.annotate(p=WHOLE * 2 + F("a")).filter(p__gt=100.5).values_list("p"),
    "case": lambda: (
        flights.annotate(k=Case(When(a__gt=3, then=LATE), default=Value("n"))).filter(k="n").values_list("k")
    ),
    "mixed case": lambda: (
        flights.annotate(k=Case(When(a=6, then=Value(0)), default=WEIGHT / 4))
        .filter(k__gt=9.5)
        .values_list("k")
    ),
    "default": lambda: flights.annotate(k=Coalesce(WEIGHT, 0.0)).filter(k__gt=45).values_list("k"),
    "default first": lambda: (
        flights.annotate(k=Coalesce(Value(None), 1, WEIGHT)).filter(k=1).values_list("k")[:1]
    ),
    "joined": lambda: flights.annotate(k=Concat(LATE, Value("!"))).filter(k="yes!").values_list("k"),
    "joined numbers": lambda: flights.annotate(k=Concat(WHOLE, Value("!"))).filter(k="10!").values_list("k"),
    "subquery": lambda: (
        Plane.objects.annotate(
            m=Subquery(Flight.objects.filter(plane=OuterRef("pk")).order_by("-a").values(p=WHOLE)[:1])
        )
        .filter(m__gt=30.5)
        .values_list("m")
    ),
    "pickled": lambda: _again(flights.annotate(p=WHOLE).filter(p__gte=49.5, p__in=[50, 60])).values_list("p"),
    "none of them": lambda: flights.annotate(p=WHOLE).filter(p__in=[]).values_list("p"),
}
SENT = flights.annotate(p=LATE, w=WEIGHT).filter(p="yes", w__gt=25).values_list("w", flat=True)


def _again(queryset: Any) -> Any:
    copied = Flight.objects.all()
    copied.query = pickle.loads(pickle.dumps(queryset.query))
    return copied


def text(queryset: Any) -> str:
    """Return what a queryset would send, as a debugger shows it."""
    try:
        return str(queryset.query)
    except EmptyResultSet:
        return "nothing"


def types() -> Any:
    """What queries give that are made without a connection, and what those give that know all types."""
    seen = {}
    for name, make in QUERIES.items():
        connection.close()
        output.forget()
        queryset = make()
        text(queryset)
        assert connection.connection is None, name
        first = repr(list(queryset))
        if name != "none of them":
            assert connection.connection is not None, name
        again = repr(list(make()))
        with transaction.atomic():
            output.forget()
            inside = repr(list(make()))
        seen[name] = first if first == again == inside else f"{first}, known {again}, {inside}"
    totals = []
    for known in (False, True):
        connection.close()
        output.forget()
        if known:
            connection.ensure_connection()
        totals.append(repr(flights.aggregate(m=Avg(WHOLE), s=Sum(WHOLE), p=Sum(PRICE))))
    assert totals[0] == totals[1], totals
    return {**seen, "aggregate": totals[0]}


def condition() -> Any:
    """What is said of a text that is taken for a condition, which nobody could know when it was."""
    connection.close()
    output.forget()
    queryset = flights.filter(LATE)
    try:
        list(queryset)
    except Error as error:
        return type(error).__name__
    raise AssertionError("this should have failed")


def later() -> Any:
    """Names of a model that is not there, over an open connection."""
    connection.ensure_connection()
    later = Predict("later", "a")
    made = [
        flights.annotate(k=Case(When(a__gt=0, then=later), default=Value("n"))).filter(k="n"),
        flights.annotate(k=Coalesce(later, 0.0)).filter(k__gt=1).order_by("-k"),
        flights.annotate(k=Concat(later, Value("x"))).filter(k="x"),
        flights.annotate(k=later).filter(k__year=2020, k__icontains="x", k__month__in=[1, 2]),
        flights.annotate(k=later * 2 + F("a")).filter(k__gt=1),
    ]
    states = []
    for queryset in made:
        assert "PREDICT" in str(queryset.query)
        try:
            list(queryset)
        except Error as error:
            cause: Any = error.__cause__
            states.append(getattr(cause, "sqlstate", None) or cause.pgcode)
    return states


def forked() -> Any:
    """What children see of a module's queryset, each over a connection of its own."""
    connection.close()
    output.forget()
    before = SENT.filter(a__lt=100)
    assert connection.connection is None
    seen = _in_children(lambda: list(before))
    # children of a process with a connection leave it alone while they make querysets
    connection.ensure_connection()
    parent = connection.connection

    def work() -> Any:
        output.forget()
        known = not isinstance(WEIGHT.output_field, PredictionField)
        assert connection.connection is parent
        assert not known
        connection.connection = None  # as servers do that fork
        return list(before)

    seen += _in_children(work)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return [rows for rows, _ in seen], len({pid for _, pid in seen})


def _in_children(work: Callable[[], Any]) -> list[Any]:
    told = []
    for _ in range(2):
        reading, writing = os.pipe()
        if not os.fork():
            try:
                rows = [work()] + [list(SENT.all()) for _ in range(20)]
                assert all(row == rows[0] for row in rows)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_backend_pid()")
                    os.write(writing, json.dumps([rows[0], cursor.fetchone()[0]]).encode())
            finally:
                os._exit(0)
        os.close(writing)
        told.append(reading)
    answers = []
    for reading in told:
        with os.fdopen(reading) as file:
            answers.append(json.loads(file.read()))
        os.wait()
    return answers


def silent() -> Any:
    """How often a server is asked that takes connections and says nothing."""
    connection.close()
    output.forget()
    asked: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(
            target=lambda: [asked.append(server.accept()) for _ in range(9)], daemon=True
        ).start()
        there = {"HOST": "127.0.0.1", "PORT": server.getsockname()[1]}
        settings = {**connection.settings_dict, **there, "OPTIONS": {"connect_timeout": 2}}
        with mock.patch.object(connection, "settings_dict", settings):
            made = [text(make()) for make in QUERIES.values()]
            built = len(asked)
            try:
                list(SENT.all())
            except Error as error:
                # asked but once: it has not waited any longer than it was told to
                return [len(made), built, type(error).__name__, len(asked)]
    raise AssertionError("this should have failed")


class Forbidden(SimpleTestCase):  # type: ignore[misc]
    """May not use the database, but for making querysets."""

    def test_makes_querysets(self) -> None:
        """With a connection that another test has opened, and without."""
        for make in QUERIES.values():
            output.forget()
            self.assertRegex(text(make()), "PREDICT|nothing")
        self.assertIsInstance(WEIGHT.output_field, PredictionField)
        with self.assertRaisesMessage(AssertionError, "not allowed in SimpleTestCase"):
            list(SENT.all())


def forbidden() -> Any:
    """What tests may do that have no database, Django's own and pytest's."""
    ended = []
    for opened in (True, False):
        connection.ensure_connection() if opened else connection.close()
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Forbidden)
        result = unittest.TextTestRunner(stream=sys.stderr).run(suite)
        ended.append([result.testsRun, len(result.failures) + len(result.errors)])
        # as pytest-django does
        blocked = RuntimeError("database access not allowed")
        with mock.patch.object(BaseDatabaseWrapper, "ensure_connection", side_effect=blocked):
            output.forget()
            assert all(text(make()) for make in QUERIES.values())
            try:
                list(SENT.all())
            except RuntimeError as error:
                ended.append(str(error))
    return ended


if __name__ == "__main__":
    with tables():
        sys.stdout.write(json.dumps(globals()[sys.argv[1]]()))
