"""Clients of every kind, at a database with a model: by the server's own port, and through a proxy.

Everything goes over TCP with a password, so that each client's own way to authenticate is used.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from onnx_models import storing
from tests import graphs
from tests.fix_proxy import RunningProxy, running_proxy
from tests.fix_server import Database, Server
from tests.killing import waiting_backend

PROGRAMS = Path(__file__).parent / "clients"
#: where scripts/clients puts what pip does not have
INSTALLED = Path(sys.prefix) / "clients"
PASSWORD = "pass word"
#: that a client program may take, on a machine that is busy with other things
SECONDS = 240


@dataclass(frozen=True)
class Address:
    """Where a client connects to, and as whom."""

    host: str
    port: int
    user: str
    password: str
    dbname: str

    @property
    def dsn(self) -> str:
        """Connection string, with the password."""
        return make_conninfo(**self.parameters)

    @property
    def parameters(self) -> dict[str, Any]:
        """As libpq and most drivers name them."""
        return dict(vars(self))

    @property
    def environment(self) -> dict[str, str]:
        """Variables that libpq and node-postgres read."""
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
        given = {names[key]: str(value) for key, value in vars(self).items() if key in names}
        own = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return {**own, **given, "PGPASSWORD": self.password}

    def connect(self, **kwargs: Any) -> psycopg.Connection[Any]:
        """Connect with psycopg; in autocommit unless told otherwise."""
        return psycopg.connect(self.dsn, **{"autocommit": True, **kwargs})


@dataclass(frozen=True)
class Place:
    """A database with the model ``weight``, which multiplies ``a`` by 10, and a role that may use it.

    :ivar direct: the role's way to it without the proxy
    :ivar through: and with it
    """

    database: Database
    direct: Address
    through: Address

    def wait_sleeping(self) -> None:
        """Wait until a statement is within ``pg_sleep``: a request to cancel one before is for nothing."""
        waiting_backend(self.database.dsn, "PgSleep")

    @property
    def ways(self) -> tuple[Address, Address]:
        """Both, for what must be the same."""
        return self.direct, self.through


@pytest.fixture(scope="session")
def tcp_proxy(server: Server) -> Iterator[RunningProxy]:
    """A proxy that reaches the server over TCP, where it asks for passwords."""
    if server.cluster is None:
        pytest.skip("the tests do not know how to reach this server over TCP")
    with running_proxy(server.cluster.tcp_dsn()) as proxy:
        yield proxy
        assert "event=defect" not in proxy.logged(), proxy.logged()


@pytest.fixture
def place(database: Database, tcp_proxy: RunningProxy) -> Place:
    """See :class:`Place`."""
    assert database.server.cluster is not None
    role = database.role("client", f"PASSWORD '{PASSWORD}'")
    with database.connect() as connection:
        version = storing.register(connection, "weight", graphs.regression(["a"]), graphs.linear((10.0,)), {})
        storing.deploy(connection, "weight", version)
        for grant in (
            "SELECT ON models.weight",
            "ALL ON SCHEMA public",
            f"CREATE ON DATABASE {database.name}",
        ):
            connection.execute(f"GRANT {grant} TO {role}")
    direct = Address("127.0.0.1", database.server.cluster.port, role, PASSWORD, database.name)
    return Place(database, direct, replace(direct, port=tcp_proxy.port))


def found(program: str) -> str:
    """Return the path of a program of the machine's; the test is skipped without it."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        pytest.skip(f"no {program} here: scripts/clients could not install it")
    return path


def run(
    command: Sequence[str | Path], address: Address, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a client program; the caller looks at how it ended.

    :param variables: of its environment, besides those of the address
    """
    environment = {**address.environment, **variables}
    return subprocess.run(
        [str(word) for word in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def told(command: Sequence[str | Path], address: Address, **variables: str) -> dict[str, Any]:
    """Run a client program that tells what it has seen as JSON, and return that."""
    ended = run(command, address, **variables)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


@dataclass(frozen=True)
class Programs:
    """The programs of the server under test."""

    directory: Path
    variables: dict[str, str]

    def run(self, name: str, address: Address, *options: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one; the caller looks at how it ended."""
        return run([self.directory / name, *options], address, PSQLRC="/dev/null", **self.variables)

    def output(self, name: str, address: Address, *options: str | Path) -> str:
        """What it prints; it must not fail or complain."""
        ended = self.run(name, address, *options)
        assert ended.returncode == 0, ended.stderr + ended.stdout
        return ended.stdout


@pytest.fixture
def programs(place: Place) -> Programs:
    """PostgreSQL's own programs, of the server under test."""
    cluster = place.database.server.cluster
    assert cluster is not None
    variables = {
        name: value for name, value in cluster.psql_command()[1].items() if os.environ.get(name) != value
    }
    return Programs(cluster.install.bindir, variables)


#: what every program of ours in tests/clients tells, whatever the language
EXPECTED: dict[str, Any] = {
    "plain": [[1, "one", None], [2, "zwei €", 2.5]],
    "predict": 20.0,
    # what this model makes of it
    "null": "NaN",
    "array": [10.0, None, 30.0],
    "prepared": [10.0 * number for number in range(50)],
    "large": [100_000, 10.0 * 100_000 * 100_001 / 2],
    "wide": 20_000_000,
    "error": ["42704", 16, "did you mean weight?"],
    "failed": "25P02",
    "rolled_back": 0,
    "after": 20.0,
    "canceled": "57014",
    "notified": ["channel", "hello"],
}
