"""What goes wrong: Django's exceptions, with the driver's own as their cause."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from start import tables

# isort: split
from django.core.exceptions import FieldError
from django.db import connection, transaction
from django.db.models import Count, Index, Max, UniqueConstraint, Value, Window
from django.db.models.functions import Rank
from django.db.utils import Error
from fleet.models import Flight

from pgpredict.django import Predict, Probability

flights = Flight.objects.all()


def failure(action: Callable[[], Any]) -> list[Any]:
    """Return Django's exception, SQLSTATE, message and hint; the connection goes on afterwards."""
    try:
        with transaction.atomic():
            action()
    except Error as error:
        cause: Any = error.__cause__
        state = getattr(cause, "sqlstate", None) or cause.pgcode
        seen = [type(error).__name__, state, cause.diag.message_primary, cause.diag.message_hint]
    else:
        raise AssertionError("this should have failed")
    assert Flight.objects.count() == 6
    return seen


def predicted(*features: Any, **options: Any) -> Callable[[], Any]:
    """Return an action that fetches predictions."""
    return lambda: list(flights.annotate(p=Predict(*features, **options)))


def dropped() -> list[Any]:
    """Drop a model while a queryset, and the connection, have it in use."""
    queryset = flights.order_by("id").values_list(Predict("dropped", "a"), flat=True)
    before = list(queryset)
    with connection.cursor() as cursor:
        cursor.execute("SELECT ml.drop_model('dropped')")
    return [before[0], failure(lambda: list(queryset.all()))]


def refused(action: Callable[[], Any]) -> str:
    """Return what Django itself says."""
    try:
        action()
    except FieldError as error:
        return str(error)
    raise AssertionError("this should have failed")


def indexed() -> None:
    """Try to make an index of predictions."""
    with connection.schema_editor() as editor:
        editor.add_index(Flight, Index(Predict("weight", "a"), name="predicted"))


def constrained() -> None:
    """Try to make a constraint of predictions."""
    with connection.schema_editor() as editor:
        editor.add_constraint(Flight, UniqueConstraint(Predict("weight", "a"), name="predicted"))


def main() -> None:
    """Print what is seen."""
    rank = Window(Rank(), order_by="a")
    seen = {
        "unknown model": failure(predicted("wieght", "a")),
        "unknown model in where": failure(lambda: list(flights.annotate(p=Predict("wieght")).filter(p=1))),
        "unknown version": failure(predicted("weight", "a", version=7)),
        "missing feature": failure(predicted("both", "a")),
        "unknown feature": failure(predicted("weight", "a", c=1)),
        "wrong type": failure(predicted("weight", a=Value("many"))),
        "null": failure(predicted("weight", a=None, on_missing="error")),
        "unknown class": failure(
            lambda: list(flights.annotate(p=Probability("late", "power", for_="maybe")))
        ),
        "no classification": failure(lambda: list(flights.annotate(p=Probability("weight", "a")))),
        "window as a feature": failure(predicted("weight", a=rank)),
        "update": failure(lambda: flights.update(predicted=Predict("wieght", "a"))),
        "stream": failure(lambda: list(flights.annotate(p=Predict("wieght", "a")).iterator(10))),
        "aggregate": failure(lambda: flights.aggregate(n=Max(Predict("wieght", "a")), m=Count("pk"))),
        "dropped": dropped(),
        "index": refused(indexed),
        "constraint": refused(constrained),
        "transform": refused(lambda: list(flights.annotate(p=Predict("weight", "day__year")))),
        "no relation": refused(lambda: list(flights.annotate(p=Predict("weight", "label__*")))),
        "no field": refused(lambda: list(flights.annotate(p=Predict("weight", "b")))),
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    with tables():
        if sys.argv[1:] == ["bare"]:
            sys.stdout.write(json.dumps(failure(predicted("weight", "a"))))
        else:
            main()
