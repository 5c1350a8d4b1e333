"""Django's querysets are made before anything is known, and without a connection; see the program."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_models import storing
from onnx_models.scoring import Model
from onnx_models.signature import Target
from tests import graphs
from tests.fix_clients import Place
from tests.fix_django import Configuration, each_way, some_ways, tell

pytestmark = pytest.mark.one_server
SCRIPT = "building.py"

LATER = "datetime.datetime(2024, 6, 1, 5, 0, tzinfo=datetime.timezone.utc)"
#: what each query gives, however much is known when it is made
EXPECTED = {
    "aggregate": "{'m': 35.0, 's': 210, 'p': Decimal('210')}",
    "arithmetic": "[(105.0,), (126.0,)]",
    "boolean": "[(3.0, True), (4.0, True), (6.0, True)]",
    "case": "[('n',), ('n',), ('n',)]",
    "compared": "[(20.0,), (30.0,)]",
    "condition": "[(3.0,), (4.0,), (6.0,)]",
    "date": "[" + ", ".join(f"(datetime.date(2024, 6, 1), {a})" for a in (3.0, 4.0, 6.0)) + "]",
    "date and time": "[(3.0,), (4.0,), (6.0,)]",
    "decimal": "[(Decimal('10'),), (Decimal('20'),)]",
    "default": "[(50.0,), (60.0,)]",
    "default first": "[(1.0,)]",
    "joined": "[('yes!',), ('yes!',), ('yes!',)]",
    "joined numbers": "[('10!',)]",
    "largest": "[(50,)]",
    "local date": "[(3.0,), (4.0,), (6.0,)]",
    "mean": "[(20.0,), (45.0,)]",
    "mixed case": "[(10.0,), (12.5,)]",
    "moment": f"[({LATER}, 3.0), ({LATER}, 4.0), ({LATER}, 6.0)]",
    "none of them": "[]",
    "pickled": "[(50,), (60,)]",
    "subquery": "[(50,)]",
    "text": "[(3.0,), (4.0,), (6.0,)]",
    "text and number": "[(3.0,), (4.0,), (6.0,)]",
    "whole": "[(20,), (30,), (40,)]",
    "small": "[(10,), (20,), (30,), (40,), (50,), (60,)]",
    "year": "[(3.0,), (4.0,), (6.0,)]",
}


@pytest.fixture
def models(site: Place) -> Place:
    """Models of more types: ``small``, ``price`` and, by class, ``coded``, ``day`` and ``moment``."""
    role = site.direct.user
    with site.database.connect() as connection:
        made: list[tuple[str, Any, bytes]] = []
        for name, kind in (("small", "smallint"), ("price", "numeric")):
            options: dict[str, Any] = {"target": Target("y", kind)}
            made.append((name, graphs.regression(["a"], **options), graphs.linear((10.0,), **options)))
        for name, kind, classes in (
            ("coded", "text", ("1", "2")),
            ("day", "date", ("2023-06-01", "2024-06-01")),
            # midnight in Chicago, where Django's time is without a setting
            ("moment", "timestamp with time zone", ("2024-06-01 04:59:59+00", "2024-06-01 05:00:00+00")),
        ):
            artifact = graphs.classifier(classes, target=kind)
            made.append((name, Model.load(artifact).signature, artifact))
        for name, signature, artifact in made:
            storing.deploy(connection, name, storing.register(connection, name, signature, artifact, {}))
            connection.execute(f"GRANT SELECT ON models.{name} TO {role}")
    return site


@each_way
def test_types_are_known_when_they_are_needed(models: Place, way: Configuration) -> None:
    seen = tell(way, models, SCRIPT, "types")
    assert seen == EXPECTED


@some_ways
def test_what_turns_out_to_be_no_condition(site: Place, way: Configuration) -> None:
    seen: Any = tell(way, site, SCRIPT, "condition")
    assert seen == "ProgrammingError"


@some_ways
def test_a_model_that_is_not_there_yet(site: Place, way: Configuration) -> None:
    seen: Any = tell(way, site, SCRIPT, "later")
    assert seen == ["42704"] * 5


@some_ways
def test_processes_that_fork(site: Place, way: Configuration) -> None:
    seen: Any = tell(way, site, SCRIPT, "forked")
    assert seen == [[[30.0, 40.0, 60.0]] * 4, 4]


@some_ways
def test_a_server_that_does_not_answer(site: Place, way: Configuration) -> None:
    seen: Any = tell(way, site, SCRIPT, "silent")
    assert seen == [len(EXPECTED) - 1, 0, "OperationalError", 1]


@some_ways
def test_tests_without_a_database(site: Place, way: Configuration) -> None:
    said = "database access not allowed"
    seen: Any = tell(way, site, SCRIPT, "forbidden")
    assert seen == [[1, 0], said] * 2
