"""A real server for the tests: one cluster a session for every PostgreSQL found, a fresh database a test.

``PGPREDICT_TEST_SERVERS=pg13`` restricts the run to some of them; ``PGPREDICT_TEST_DSN`` uses a server that
runs already (superuser, Multicorn, our packages and extension installed) instead.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgpredict.server import Cluster, Home, ServerInstall, fetch, find_servers
from pgpredict.server.database import make_database
from pgpredict.server.home import MARKER
from pgpredict.server.private import DIRECTORY
from pgpredict.server.proxy import stop_proxy
from pgpredict.server.runtime import start_runtime, stop_runtime

TEMPLATE = "pgpredict_template"
_numbers = itertools.count(1)


def server_names() -> list[str]:
    """Names of the servers that this run uses."""
    if os.environ.get("PGPREDICT_TEST_DSN"):
        return ["dsn"]
    found = {install.name: install for install in reversed(find_servers())}
    chosen = os.environ.get("PGPREDICT_TEST_SERVERS")
    if not chosen:
        return sorted(found)
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    missing = [name for name in names if name not in found]
    if missing:
        raise pytest.UsageError(f"PGPREDICT_TEST_SERVERS names {missing!r}; found are {sorted(found)!r}")
    return names


def installed_names() -> list[str]:
    """Names of the servers on this machine that this run uses."""
    chosen = os.environ.get("PGPREDICT_TEST_SERVERS")
    names = sorted({install.name for install in find_servers()})
    return [name for name in names if not chosen or name in chosen.split(",")]


def find_server(name: str) -> ServerInstall:
    """A server by its name; the private one is fetched into the default home, once for all runs."""
    install = next(install for install in find_servers() if install.name == name)
    if install.fetched:
        return install
    home = Home.default()
    home.create()
    return fetch(home)


@dataclass
class Server:
    """A running server of the tests.

    :param name: such as ``pg15``
    :param admin_dsn: superuser's connection string to database ``postgres``
    :param cluster: the cluster, None for a server given by ``PGPREDICT_TEST_DSN``
    """

    name: str
    admin_dsn: str
    cluster: Cluster | None

    def admin(self) -> psycopg.Connection:
        """Connection of the superuser to database ``postgres``, in autocommit."""
        return psycopg.connect(self.admin_dsn, autocommit=True)

    def dsn(self, dbname: str, user: str | None = None) -> str:
        """Connection string to one of its databases."""
        return make_conninfo(self.admin_dsn, dbname=dbname, **({"user": user} if user else {}))


@dataclass
class Database:
    """A database of one test.

    :param name: its name
    :param dsn: superuser's connection string
    :param server: where it is
    """

    name: str
    dsn: str
    server: Server
    _roles: list[str] = field(default_factory=list)

    def connect(self, **kwargs: Any) -> psycopg.Connection:
        """Connection of the superuser, or of ``user=``; in autocommit unless told otherwise."""
        parameters = {"autocommit": True, **kwargs}
        return psycopg.connect(self.dsn, **parameters)

    def role(self, prefix: str = "role", options: str = "") -> str:
        """Make a role that may log in and return its name, which is unique in the server.

        :param options: further options of CREATE ROLE
        """
        name = f"{prefix}_{next(_numbers)}_{secrets.token_hex(3)}"
        with self.server.admin() as connection:
            statement = sql.SQL("CREATE ROLE {} LOGIN {}").format(sql.Identifier(name), sql.SQL(options))
            connection.execute(statement)
        self._roles.append(name)
        return name

    def drop(self) -> None:
        """Drop the database and the roles made for it."""
        with self.server.admin() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (self.name,)
            )
            alone(
                connection,
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)),
            )
            for role in self._roles:
                with contextlib.suppress(psycopg.errors.DependentObjectsStillExist):
                    connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def alone(connection: psycopg.Connection, statement: sql.Composed) -> None:
    """Run a statement for which a database must be nobody else's.

    PostgreSQL waits 5 s for others to leave, which are already told to; on a busy machine they may need more.
    """
    for _ in range(10):
        with contextlib.suppress(psycopg.errors.ObjectInUse):
            connection.execute(statement)
            return
    connection.execute(statement)


def pytest_report_header() -> list[str]:
    """Say which servers the run uses, so that a missing one is seen."""
    if os.environ.get("PGPREDICT_TEST_DSN"):
        return ["servers: PGPREDICT_TEST_DSN"]
    found = [
        f"{install.name} (PostgreSQL {install.version}, "
        + (f"Multicorn {install.multicorn_version})" if install.fetched else "private, will be fetched)")
        for install in find_servers()
    ]
    return [
        f"servers: {', '.join(found) or 'none, tests that need one fail'}; used: {', '.join(server_names())}"
    ]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "one_server: the server's version does not matter, the newest will do")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that uses a server on each of them, or on one."""
    for fixture in ("server", "install"):
        if fixture in metafunc.fixturenames:
            names = server_names() if fixture == "server" else installed_names()
            if metafunc.definition.get_closest_marker("one_server") is not None:
                names = names[-1:]
            metafunc.parametrize(fixture, names or ["none"], indirect=True, scope="session")


@contextlib.contextmanager
def temporary_home() -> Iterator[Home]:
    """A home of its own; short and outside pytest's directories, which are closed to the server's account."""
    path = Path(tempfile.mkdtemp(prefix="pgp-test-"))
    path.chmod(0o755)
    # 'make clean' removes what killed runs left, and leaves alone what a living one uses
    (path / MARKER).touch()
    (path / "owner.pid").write_text(f"{os.getpid()}\n")
    try:
        yield Home(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server with its runtime, and a template database with our extension."""
    name: str = request.param
    if name == "none":
        pytest.fail("no PostgreSQL with Multicorn was found, and none can be fetched")
    if name == "dsn":
        yield external_server(os.environ["PGPREDICT_TEST_DSN"])
        return
    with temporary_home() as home:
        cluster = Cluster(home, find_server(name), durable=False)
        try:
            cluster.start()
            make_template(cluster)
            start_runtime(cluster)
            yield Server(name, cluster.dsn("postgres"), cluster)
        finally:
            stop_runtime(cluster)
            cluster.stop()


def external_server(dsn: str) -> Server:
    """A server that runs already; one that does not answer ends the whole run."""
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(TEMPLATE)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        with psycopg.connect(make_conninfo(dsn, dbname=TEMPLATE), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pgpredict CASCADE")
    except psycopg.Error as error:
        pytest.exit(f"PGPREDICT_TEST_DSN is set and cannot be used: {error}", returncode=2)
    return Server("dsn", make_conninfo(dsn, dbname="postgres"), None)


def make_template(cluster: Cluster) -> None:
    """Make the database that those of the tests are copies of."""
    make_database(cluster, TEMPLATE)
    with cluster.connect("postgres", autocommit=True) as connection:
        # a template that somebody is connected to cannot be copied
        statement = sql.SQL("ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false")
        connection.execute(statement.format(sql.Identifier(TEMPLATE)))


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """A fresh database with our extension."""
    name = f"test_{next(_numbers)}_{secrets.token_hex(3)}"
    with server.admin() as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        alone(connection, statement.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
    database = Database(name, server.dsn(name), server)
    yield database
    database.drop()


@pytest.fixture(scope="session")
def install(request: pytest.FixtureRequest) -> ServerInstall:
    """A PostgreSQL with Multicorn, for tests of the local server itself."""
    if request.param == "none":
        pytest.fail("no PostgreSQL with Multicorn was found, and none can be fetched")
    return find_server(request.param)


@pytest.fixture
def empty_home() -> Iterator[Home]:
    """A home with nothing in it; what a test left running in it is stopped."""
    with temporary_home() as home:
        # the private server is not fetched again for each
        fetched = Home.default().path / DIRECTORY
        (home.path / DIRECTORY).symlink_to(fetched)
        yield home
        for known in find_servers():
            cluster = Cluster(home, known)
            stop_proxy(cluster)
            stop_runtime(cluster)
            cluster.stop()


@pytest.fixture
def local_home(empty_home: Home, install: ServerInstall) -> Home:
    """A home that is bound to one server, with nothing running in it yet."""
    empty_home.remember(server=install.to_json(), run=str(empty_home.run))
    return empty_home
