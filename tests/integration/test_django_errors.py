"""What goes wrong in Django: its own exceptions, with SQLSTATE, message and hint of ours, each way."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.fix_clients import Place, run
from tests.fix_django import SITE, Configuration, each_way, manage, some_ways, tell
from tests.fix_proxy import store_weight

pytestmark = pytest.mark.one_server

UNKNOWN = ["ProgrammingError", "42704", 'model "wieght" does not exist', "did you mean weight?"]
REFUSED = (
    "Predict('weight', F(a)) cannot stand in an index, a constraint or a generated column: "
    "what a model predicts changes when it is deployed"
)
EXPECTED: dict[str, Any] = {
    "unknown model": UNKNOWN,
    "unknown model in where": UNKNOWN,
    "unknown version": [
        "ProgrammingError",
        "42704",
        "model 'weight' has no version 7",
        "its only version is 1",
    ],
    "missing feature": [
        "ProgrammingError",
        "42703",
        "model 'both' misses feature 'b' in the USING list",
        "a USING list must give every feature; add the names, or begin it with * to bind the rest by name",
    ],
    "unknown feature": ["ProgrammingError", "42703", "model 'weight' has no feature 'c'", "its features: a"],
    "wrong type": ["DataError", "22P02", 'invalid input syntax for type double precision: "many"', None],
    "null": [
        "DataError",
        "22004",
        "feature 'a' of model 'weight' is NULL",
        "ON MISSING NULL predicts NULL for such rows; "
        "ON MISSING IMPUTE leaves them to the model, if it can impute.",
    ],
    "unknown class": ["DataError", "22023", "model 'late' has no class 'maybe'", "its classes: no, yes"],
    "no classification": [
        "ProgrammingError",
        "42809",
        "model 'weight' predicts a number, which has no probability",
        "write PREDICT(weight)",
    ],
    "window as a feature": [
        "NotSupportedError",
        "0A000",
        "a feature must be computed from one row, without aggregates, window or set-returning functions",
        "compute it in a subquery of FROM",
    ],
    "update": UNKNOWN,
    "stream": UNKNOWN,
    "aggregate": UNKNOWN,
    "dropped": [
        10.0,
        [
            "ProgrammingError",
            "42704",
            'model "dropped" does not exist',
            "SELECT name FROM ml.models lists yours",
        ],
    ],
    "index": REFUSED,
    "constraint": REFUSED,
    "transform": "'day__year' is no column and has no name of its own: give it as feature=F('day__year')",
    "no relation": "'label' is no relation",
    "no field": "Cannot resolve keyword 'b' into field. Choices are: "
    "a, day, id, label, late, longflight, plane, plane_id, power, predicted",
}


@each_way
def test_errors(site: Place, way: Configuration) -> None:
    # the role may drop only what it has made
    with site.database.connect(user=site.direct.user) as connection:
        store_weight(connection, 10.0, "dropped")
    seen = tell(way, site, "errors.py")
    assert set(seen) == set(EXPECTED)
    assert {name: seen[name] for name in EXPECTED if seen[name] != EXPECTED[name]} == {}


@some_ways
def test_a_database_without_the_extension(site: Place, way: Configuration) -> None:
    name = f"{site.database.name}_bare"
    with site.database.server.admin() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {site.direct.user}")
    address = replace(way.address(site), dbname=name)
    try:
        ended = run([sys.executable, SITE / "errors.py", "bare"], address, **way.environment(site))
        check = ("check", "--database", "default")
        there = replace(site, direct=address, through=address)
        checked = manage(way, there, *check, SITE_APP="yes")
    finally:
        with site.database.server.admin() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert json.loads(ended.stdout) == [
        "ProgrammingError",
        "42704",
        'model "weight" does not exist',
        "this database has no pgpredict: CREATE EXTENSION pgpredict CASCADE",
    ]
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr.count("(pgpredict.W001) database 'default': it has no extension pgpredict") == 1
