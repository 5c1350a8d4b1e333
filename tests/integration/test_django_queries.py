"""Django's queries with predictions, each way: what they give is what was calculated by hand.

The models of the project are ``weight`` = 10 a, ``both`` = a + 10 b, ``whole``, which is ``weight`` as an
integer, and ``late``, which says yes where x is above a half, with x as its probability; ``sure`` is
``late`` as a boolean. Flights f1 to f6 have a = 1 to 6 and x = 0.1, 0.3, 0.6, 0.9, 0.5, 0.7. The first three
are of plane one, whose b is 1, the next two of plane two, whose b is 2, and the last of none.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_clients import Place
from tests.fix_django import Configuration, each_way, tell

pytestmark = pytest.mark.one_server

PREDICT = 'PREDICT("late" USING "fleet_flight"."x" AS "x")'
#: by scenario of tests/clients/django_site/queries.py
EXPECTED: dict[str, Any] = {
    "asynchronous": [
        [["f3", 30.0], ["f4", 40.0], ["f6", 60.0]],
        [10.0, 20.0, 30.0, 40.0, 50.0, 60.0],
        {"w__sum": 210.0},
        20.0,
        4,
    ],
    "annotated": [
        ["f1", 10.0, "no", 0.1],
        ["f2", 20.0, "no", 0.3],
        ["f3", 30.0, "yes", 0.6],
        ["f4", 40.0, "yes", 0.9],
        ["f5", 50.0, "no", 0.5],
        ["f6", 60.0, "yes", 0.7],
    ],
    "own_columns": [
        ["f1", "one", 10.0, 0.9],
        ["f2", "one", 20.0, 0.7],
        ["f3", "one", 30.0, 0.4],
        ["f4", "two", 40.0, 0.1],
        ["f5", "two", 50.0, 0.5],
        ["f6", None, 60.0, 0.3],
    ],
    "related": [
        [
            [11.0, 12.0, 13.0, 24.0, 25.0],
            [11.0, 12.0, 13.0, 24.0, 25.0],
            [11.0, 12.0, 13.0, 24.0, 25.0],
            [11.0, 12.0, 13.0, 24.0, 25.0],
        ],
        ["f6"],
        ["f4", "f5"],
    ],
    "inherited": [[51.0, 10.0, 0.8], [["two", 51.0]], [["two", 5.0]], 6],
    "expressions": [
        [[20.0, 75.0, 11.0, 5.0], [40.0, 75.0, 22.0, 10.0]],
        [30.0, 50.0],
        [21.0, 32.0],
        [11.0, 22.0],
        [11.0, 21.0],
    ],
    "filtered": [
        ["f4", "f5", "f6"],
        ["f1"],
        ["f3"],
        ["f1", "f2", "f4", "f5"],
        ["f3"],
        ["f4", "f5", "f6"],
        ["f2", "f3"],
        ["f1", "f2"],
        ["f3", "f4", "f6"],
        ["f1", "f2"],
        ["f1", "f2", "f3", "f4", "f5", "f6"],
        ["f4"],
    ],
    "ordered": [
        ["f4", "f6", "f3", "f5", "f2", "f1"],
        ["f4", "f6"],
        ["f6", "f4", "f3", "f5", "f2", "f1"],
        ["f1", "f2", "f3", "f4", "f5", "f6"],
    ],
    "aggregated": [
        {"total": 210.0, "mean": 35.0, "late": 3, "direct": 60.0},
        [["no", 3, 5.0], ["yes", 3, 6.0]],
        2,
        [20.0, 45.0],
        {"w__sum": 110.0},
        ["no", "yes"],
        5,
        False,
    ],
    "aggregated_inside": [
        {"s": 30.0, "m": 0.3, "n": 2},
        {"s": 210.0},
        {"s": 210.0},
        {"s": 150.0, "m": 5},
        {"s": 36.0},
        {"s": 85.0},
        True,
        {"s": 50.0, "d": 55.0},
        {"n": 3},
        {"s": 33.0},
        {"s": 210.0, "n": 5},
        [[10.0], [20.0]],
    ],
    "valued": [{"label": "f1", "w": 10.0}, ["f6", 60.0], "yes", True],
    "cased": [
        ["no", "light", "light", "light", "heavy", "heavy"],
        [10.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [["NO", 2], ["NO", 2], ["YES", 3]],
        [10.0, 20.0],
        20.0,
    ],
    "subqueries": [
        [30.0, 50.0],
        [11.0, 12.0, 13.0, 24.0, 25.0],
        [11.0, 12.0, 13.0, 24.0, 25.0],
        ["two"],
        ["f5", "f6"],
    ],
    "windows": [
        [[6, 1, 10.0], [5, 2, 30.0], [3, 1, 60.0], [1, 2, 40.0], [4, 3, 90.0], [2, 3, 60.0]],
        ["f4", "f6"],
    ],
    "combined": [[["f6", 60.0], ["f1", 10.0]], ["yes"]],
    "updated": [
        5,
        1,
        [[11.0, None], [20.0, "no"], [30.0, "yes"], [40.0, "yes"], [50.0, "no"], [60.0, "yes"]],
        2,
        20.0,
        [20.0, 40.0, 24.0],
    ],
    "written": [[40.0, 0.0, 10.0, 20.0], 1, 9],
    "streamed": [125025000.0, 125025000.0, 125025000.0],
    "loaded": [[[30.0, 20.0], [50.0, 40.0]], [10.0, 20.0], 60.0, [30.0, 40.0, 50.0]],
    "outputs": [
        [[{"prediction": "no", "probability": 0.9}], [{"prediction": "no", "probability": 0.9}]],
        [[{"prediction": "yes", "probability": 0.9}], [{"prediction": "yes", "probability": 0.9}]],
        ["f3", "f4", "f6"],
        "TextField",
        ["FloatField", "CharField", "FloatField", "IntegerField", "BooleanField"],
        [[10, False], [20, False]],
        [[10.0, 0.9], [20.0, 0.7]],
        ["nan"],
        [None],
    ],
    "copied": [["f4", "f5", "f6"], [40.0, 50.0, 60.0], ["f4", "f5", "f6"], ["f4", "f5", "f6"]],
    "model_table": [None, 40.0, '{"a": 4}', 40.0, [10.0, 20.0]],
    "explained": True,
    "shown": [
        f"""SELECT {PREDICT} AS "p" FROM "fleet_flight" WHERE {PREDICT} = 'yes' ORDER BY 1 ASC""",
        """SELECT COUNT(*) AS "__count" FROM "fleet_flight" WHERE "fleet_flight"."label" = 'it''s 5 %'""",
        "SELECT PREDICT(weight USING 2.0 AS a)",
    ],
    "raw": [20.0, ["PREDICT %s", 1], [10.0, 20.0], [11.0, 22.0, None]],
}


@each_way
def test_queries(site: Place, way: Configuration) -> None:
    seen = tell(way, site, "queries.py")
    driver = way.variables.get("SITE_DRIVER", "psycopg")
    assert seen.pop("way") == [driver, way.older, not way.name.startswith("proxy")]
    assert set(seen) == set(EXPECTED)
    assert {name: seen[name] for name in EXPECTED if seen[name] != EXPECTED[name]} == {}
