"""The applications of docs/examples, started as their READMEs say, on the flights."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from markdown_it import MarkdownIt

from onnx_models.reading import Source
from onnx_models.train import train
from onnx_models.training import Options
from pgpredict.demo import data, steps
from tests.fix_clients import PASSWORD, Address
from tests.fix_django import OLDER
from tests.fix_flights import Flights, close_database, copy_database
from tests.fix_proxy import free_port
from tests.pages import ROOT

EXAMPLES = ROOT / "docs/examples"
APPLICATIONS = ("django", "fastapi")
#: the port of the READMEs
PORT = "8000"
START_SECONDS = 180
#: the job's command, and its table
JOBS = {
    "fastapi": ("python -m departures.forecast", "departure_forecasts"),
    "django": ("python manage.py forecast", "departures_forecast"),
}


@dataclass
class Site:
    """A running application.

    :ivar name: of its folder
    :ivar address: of the database, as the application has it
    :ivar connection: to the database, as the superuser's
    :ivar log: what the server says
    """

    name: str
    address: Address
    connection: psycopg.Connection[Any]
    port: int
    log: Path
    variables: dict[str, str]

    def get(self, path: str) -> httpx.Response:
        """Ask for a page, as a browser does."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=120)

    def page(self, path: str) -> str:
        """Return a page that there is."""
        response = self.get(path)
        assert response.status_code == 200, f"{response.text}\n{self.log.read_text()}"
        return response.text

    def job(self) -> subprocess.CompletedProcess[str]:
        """Run the job; the caller looks at how it ended."""
        return shell(self.name, self.address, JOBS[self.name][0], **self.variables)

    @property
    def table(self) -> str:
        """Return the table that the job writes."""
        return JOBS[self.name][1]


def readme_commands(name: str) -> tuple[list[str], str]:
    """Return an application's commands: those that end, and the server's."""
    tokens = MarkdownIt().parse((EXAMPLES / name / "README.md").read_text(encoding="utf-8"))
    (block,) = [token.content for token in tokens if token.type == "fence" and token.info.strip() == "sh"]
    export, *commands, server = block.splitlines()
    # the address is of the reader's own
    assert re.fullmatch(r"export( PG[A-Z]+=\S+)+", export), export
    assert PORT in server
    return commands, server


def environment(address: Address) -> dict[str, str]:
    """Return a shell's, in which the project's environment is active and the database is named."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**address.environment, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def variables(name: str, connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Return what an application needs besides: Django 5 is for PostgreSQL 14 and later."""
    if name != "django" or connection.info.server_version >= 140_000:
        return {}
    if not (OLDER / "django").exists():
        pytest.skip(f"no Django 4.2 in {OLDER}: scripts/clients could not install it")
    return {"PYTHONPATH": str(OLDER)}


def shell(name: str, address: Address, command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an application's folder; the caller looks at how it ended."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=EXAMPLES / name,
        env={**environment(address), **more},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@contextlib.contextmanager
def running_site(name: str, flights: Flights, address: Address) -> Iterator[Site]:
    """Start an application as its README says."""
    commands, server = readme_commands(name)
    port = free_port()
    with tempfile.TemporaryDirectory() as directory, flights.connect() as connection:
        more = variables(name, connection)
        for command in commands:
            ended = shell(name, address, command, **more)
            assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        site = Site(name, address, connection, port, Path(directory) / "log", more)
        with site.log.open("wb") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", server.replace(PORT, str(port))],
                cwd=EXAMPLES / name,
                env={**environment(address), **more},
                stdout=log,
                stderr=log,
                # Django's reloader has a child
                start_new_session=True,
            )
        try:
            wait_for(site, process)
            yield site
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(site: Site, process: subprocess.Popen[bytes]) -> None:
    """Wait until the application answers, whatever it says."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, site.log.read_text()
        assert time.monotonic() < deadline, f"{site.name} does not answer\n{site.log.read_text()}"
        with contextlib.suppress(httpx.TransportError):
            site.get("/nowhere")
            return
        time.sleep(0.1)


@pytest.fixture(scope="session")
def examples_template(flights_template: Flights) -> Iterator[Flights]:
    """Flights as the demo leaves them, and a second version of the model that is not deployed."""
    database = copy_database(flights_template.database.server, flights_template.database.name, "examples")
    try:
        with database.connect() as connection:
            data.depart(connection)
            data.arrive(connection)
            plan = steps.MODELS[0]
            source = Source(f"{plan.query.strip()} AND f.id % 40 = 0", plan.target, exclude=("day",))
            options = Options("decision_tree", {"max_depth": 4})
            assert train(connection, plan.name, source, options, deploy=False).version == 2
        close_database(database)
        yield Flights(database, flights_template.trained)
    finally:
        database.drop()


def copied(template: Flights) -> Iterator[Flights]:
    """Yield a copy, and drop it with the roles that were made for it."""
    database = copy_database(template.database.server, template.database.name, "examples")
    yield Flights(database, template.trained)
    database.drop()


@pytest.fixture(scope="module")
def shared_flights(examples_template: Flights) -> Iterator[Flights]:
    """A database for tests that leave flights and models as they are."""
    yield from copied(examples_template)


@pytest.fixture
def lone_flights(examples_template: Flights) -> Iterator[Flights]:
    """A database for one test."""
    yield from copied(examples_template)


def role_of(flights: Flights) -> Address:
    """Make the role of an application, with the rights that its README names; return its direct address."""
    cluster = flights.database.server.cluster
    if cluster is None:
        pytest.skip("the tests do not know how to reach this server over TCP")
    role = flights.database.role("web", f"PASSWORD '{PASSWORD}'")
    with flights.connect() as connection:
        connection.execute(f"GRANT SELECT ON departures, airlines, airports, models.late_arrival TO {role}")
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    return Address("127.0.0.1", cluster.port, role, PASSWORD, flights.database.name)


def through(address: Address, port: int) -> Address:
    """Return an address with the port of a proxy."""
    return replace(address, port=port)
