"""The Django project of the tests, in processes of its own: its settings are of a process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onnx_models import storing
from onnx_models.scoring import Model
from onnx_models.signature import Signature, Target
from tests import graphs
from tests.fix_clients import INSTALLED, PROGRAMS, Address, Place, run, told

SITE = PROGRAMS / "django_site"
OURS, PLAIN = "pgpredict.django", "django.db.backends.postgresql"
#: where scripts/clients puts Django 4.2
OLDER = INSTALLED / "django-4.2"


@dataclass(frozen=True)
class Configuration:
    """A way to use Django.

    :ivar name: of the test
    :ivar through: whether the proxy stands between
    :ivar variables: that the settings read
    :ivar older: whether it is Django 4.2
    """

    name: str
    through: bool
    variables: dict[str, str]
    older: bool = False

    def address(self, place: Place) -> Address:
        """Where it connects to."""
        return place.through if self.through else place.direct

    def environment(self, place: Place) -> dict[str, str]:
        """Variables of its processes; the test is skipped where its Django cannot be used."""
        server = place.database.server.name
        if not self.older and server == "pg13":
            pytest.skip(f"the current Django takes PostgreSQL 14 or later, and this is {server}")
        if self.older and not (OLDER / "django").exists():
            pytest.skip(f"no Django 4.2 in {OLDER}: scripts/clients could not install it")
        path = str(OLDER) if self.older else ""
        return {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "settings", **self.variables}


def _configuration(name: str, **variables: str) -> Configuration:
    engine = OURS if "engine" in name else PLAIN
    return Configuration(name, "proxy" in name, {"SITE_ENGINE": engine, **variables}, "4.2" in name)


CONFIGURATIONS = [
    _configuration("engine"),
    _configuration("engine, server-side binding", SITE_BINDING="server"),
    _configuration("engine, psycopg2", SITE_DRIVER="psycopg2"),
    _configuration("app", SITE_APP="yes"),
    _configuration("engine through the proxy"),
    _configuration("proxy"),
    _configuration("proxy, server-side binding", SITE_BINDING="server"),
    _configuration("proxy, psycopg2", SITE_DRIVER="psycopg2"),
    _configuration("engine, Django 4.2"),
    _configuration("app, Django 4.2, server-side binding", SITE_BINDING="server", SITE_APP="yes"),
    _configuration("engine, Django 4.2, psycopg2", SITE_DRIVER="psycopg2"),
    _configuration("proxy, Django 4.2"),
]


def named(configuration: Configuration) -> str:
    """Of the test."""
    return configuration.name.replace(", ", "-").replace(" ", "-")


each_way = pytest.mark.parametrize("way", CONFIGURATIONS, ids=named)
#: for what does not depend on the driver
some_ways = pytest.mark.parametrize(
    "way", [CONFIGURATIONS[0], CONFIGURATIONS[5], CONFIGURATIONS[8]], ids=named
)


@pytest.fixture
def site(place: Place) -> Place:
    """A place with the models of the project; the role may use them, and make others."""
    with place.database.connect() as connection:
        role = place.direct.user
        for name, signature, artifact in models():
            version = storing.register(connection, name, signature, artifact, {})
            storing.deploy(connection, name, version)
            connection.execute(f"GRANT SELECT ON models.{name} TO {role}")
        connection.execute(f"GRANT CREATE ON SCHEMA models TO {role}")
    return place


def models() -> list[tuple[str, Signature, bytes]]:
    """The models beside ``weight``: ``both`` is a + 10 b, ``late`` says yes where x is above a half."""
    whole: dict[str, Any] = {"target": Target("y", "integer")}
    late, sure = graphs.classifier(), graphs.classifier(("false", "true"), target="boolean")
    return [
        ("both", graphs.regression(["a", "b"]), graphs.linear((1.0, 10.0))),
        ("whole", graphs.regression(["a"], **whole), graphs.linear((10.0,), **whole)),
        ("late", Model.load(late).signature, late),
        ("sure", Model.load(sure).signature, sure),
    ]


def tell(way: Configuration, place: Place, script: str, *arguments: str, **variables: str) -> dict[str, Any]:
    """Run a program of the project that tells what it has seen as JSON."""
    return told(
        [sys.executable, SITE / script, *arguments],
        way.address(place),
        **{**way.environment(place), **variables},
    )


def manage(way: Configuration, place: Place, *arguments: str | Path, **variables: str) -> Any:
    """Run one of Django's commands; the caller looks at how it ended."""
    command = [sys.executable, SITE / "manage.py", *arguments]
    return run(command, way.address(place), **{**way.environment(place), **variables})
