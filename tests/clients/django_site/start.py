"""Starts the project in a process of its own, with the tables of ``fleet`` and rows in them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django

django.setup()

from django.db import connection, transaction
from fleet.models import Flight, LongFlight, Plane

X = (0.1, 0.3, 0.6, 0.9, 0.5, 0.7)


@contextlib.contextmanager
def tables() -> Iterator[None]:
    """Make the tables, with two planes and six flights; drop them afterwards."""
    with connection.schema_editor() as editor:
        for model in (Plane, Flight, LongFlight):
            editor.create_model(model)
    try:
        planes = Plane.objects.bulk_create([Plane(name="one", b=1.0), Plane(name="two", b=2.0)])
        places = [planes[0]] * 3 + [planes[1]] * 2 + [None]
        Flight.objects.bulk_create(
            Flight(label=f"f{n}", a=float(n), power=x, plane=place, day=f"2024-0{n}-01")
            for n, (x, place) in enumerate(zip(X, places, strict=True), 1)
        )
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in (LongFlight, Flight, Plane):
                editor.delete_model(model)


def told(scenarios: dict[str, Callable[[], Any]]) -> None:
    """Run each in a transaction that is rolled back, and print as JSON what they give."""
    kinds = type(connection.cursor().cursor).__mro__
    hooked = any(kind.__module__.startswith("pgpredict.") for kind in kinds)
    seen: dict[str, Any] = {"way": [connection.Database.__name__, django.VERSION[:2] < (5, 0), hooked]}
    for name, scenario in scenarios.items():
        try:
            with transaction.atomic():
                seen[name] = scenario()
                transaction.set_rollback(True)
        except Exception as error:
            error.add_note(f"in {name}")
            raise
    sys.stdout.write(json.dumps(seen, default=str))
