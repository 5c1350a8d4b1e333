"""SQLAlchemy's ways to a database with models: each driver, with the plugin, and through the proxy."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from onnx_models import storing
from onnx_models.signature import Binding, Signature, Target
from tests import graphs
from tests.fix_clients import PASSWORD, Address
from tests.fix_flights import copy_database
from tests.fix_proxy import RunningProxy
from tests.fix_server import TEMPLATE, Database, Server
from tests.orm import make

#: drivers; those that begin with + are asynchronous
DRIVERS = ("psycopg", "psycopg2", "+psycopg", "+asyncpg")
T = TypeVar("T")


@dataclasses.dataclass
class Way:
    """A driver and a route.

    :ivar name: such as ``psycopg through``
    :ivar engine: the synchronous engine, or the one within the asynchronous one
    """

    name: str
    driver: str
    is_direct: bool
    engine: Engine
    asynchronous: AsyncEngine | None
    runner: asyncio.Runner

    def run(self, work: Callable[[Session], T], **options: Any) -> T:
        """Call a function with a session of its own, and roll back what it did.

        :param options: of the session
        """
        if self.asynchronous is None:
            with Session(self.engine, **options) as session:
                return work(session)
        return self.runner.run(self._run(work, options))

    async def _run(self, work: Callable[[Session], T], options: dict[str, Any]) -> T:
        async with AsyncSession(self.asynchronous, **options) as session:
            return await session.run_sync(work)


@dataclasses.dataclass
class Ways:
    """All ways to one database.

    :ivar database: as the superuser has it
    """

    database: Database
    direct: Address
    through: Address
    all: list[Way]

    def __iter__(self) -> Iterator[Way]:
        return iter(self.all)

    def same(self, work: Callable[[Session], T], expected: T | None = None) -> T:
        """Do something in every way, and return what it gives, which must be the same in all of them.

        :param expected: what it must give; None if only that it is the same matters
        """
        results = {way.name: way.run(work) for way in self}
        first = next(iter(results.values()))
        for name, result in results.items():
            assert result == (first if expected is None else expected), name
        return first


def url(address: Address, driver: str) -> URL:
    """Return the address as SQLAlchemy takes it."""
    return URL.create(
        f"postgresql+{driver.removeprefix('+')}",
        address.user,
        address.password,
        address.host,
        address.port,
        address.dbname,
    )


def make_way(
    address: Address, driver: str, runner: asyncio.Runner, *, is_direct: bool, **options: Any
) -> Way:
    """Return one way, with an engine of its own."""
    name = f"{driver} {'direct' if is_direct else 'through'}"
    options = {"plugins": ["pgpredict"] if is_direct else [], **options}
    if driver.startswith("+"):
        asynchronous = create_async_engine(url(address, driver), **options)
        return Way(name, driver, is_direct, asynchronous.sync_engine, asynchronous, runner)
    return Way(name, driver, is_direct, create_engine(url(address, driver), **options), None, runner)


@pytest.fixture(scope="session")
def models_template(server: Server) -> Iterator[Database]:
    """A database with tables, rows, and models of which everybody can say what they answer."""
    database = copy_database(server, TEMPLATE, "sqlalchemy")
    engine = create_engine("postgresql+psycopg://", creator=database.connect)
    with Session(engine) as session:
        make(session)
        session.commit()
    engine.dispose()
    with database.connect() as connection:
        store_models(connection)
        connection.execute("ANALYZE")
    yield database
    database.drop()


def store_models(connection: Any) -> None:
    """Store and deploy models; ``tests/orm.py`` tells what they answer."""

    def number(
        weight: float, target: str = "double precision", feature: str = "a"
    ) -> tuple[Signature, bytes]:
        signature = graphs.regression([feature], target=Target("y", target))
        graph = f"""g (double[N, 1] X) => (double[N, 1] y) {{
            w = Constant<value = double {{{weight}}}>()
            y = Mul(X, w)
        }}"""
        return signature, graphs.build(graph, signature)

    def classes(names: tuple[str, str], target: str) -> tuple[Signature, bytes]:
        binding = Binding("columns", ("x",), "label", "p")
        signature = Signature("binary", Target("y", target), graphs.features(["x"]), binding, names)
        return signature, graphs.classifier(names)

    models = {
        "weight": number(10.0),
        "Odd Model": number(2.0),
        "select": number(3.0),
        "odd_feature": number(4.0, feature="Odd %(Feature)s"),
        "rounded": number(1.0, "integer"),
        "exact": number(1.0, "numeric"),
        "chance": classes(("no", "yes"), "text"),
        "is_likely": classes(("false", "true"), "boolean"),
        "feeling": classes(("sad", "happy"), "mood"),
    }
    for name, (signature, onnx) in models.items():
        storing.deploy(connection, name, storing.register(connection, name, signature, onnx, {}))


@pytest.fixture(scope="module")
def ways(server: Server, models_template: Database, tcp_proxy: RunningProxy) -> Iterator[Ways]:
    """Every driver's two ways to a database whose tables and models everybody knows."""
    assert server.cluster is not None
    role = models_template.role("sqlalchemy", f"PASSWORD '{PASSWORD}'")
    with models_template.connect() as connection:
        for grant in (
            "SELECT ON ALL TABLES IN SCHEMA models",
            'ALL ON SCHEMA public, "Other"',
            'ALL ON ALL TABLES IN SCHEMA public, "Other"',
            "ALL ON ALL SEQUENCES IN SCHEMA public",
        ):
            connection.execute(f"GRANT {grant} TO {role}")
    direct = Address("127.0.0.1", server.cluster.port, role, PASSWORD, models_template.name)
    through = dataclasses.replace(direct, port=tcp_proxy.port)
    with asyncio.Runner() as runner:
        found = [
            make_way(address, driver, runner, is_direct=address is direct)
            for address in (direct, through)
            for driver in DRIVERS
        ]
        yield Ways(models_template, direct, through, found)
        for way in found:
            if way.asynchronous is None:
                way.engine.dispose()
            else:
                runner.run(way.asynchronous.dispose())


def sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE of an error, as each driver has it."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return None if state is None else str(state)
