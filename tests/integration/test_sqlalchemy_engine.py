"""The plugin: which engines it is for, what is cached, errors, and models that change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Double, create_engine, event, func, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, column_property, mapped_column
from sqlalchemy.pool import NullPool

import pgpredict.asyncpg
from onnx_models import storing
from pgpredict.catalog import Deployments
from pgpredict.catalog.session import SessionCatalog
from pgpredict.client import known
from pgpredict.sqlalchemy import predict, probability, refresh
from pgpredict.sqlalchemy.registry import registry
from pgpredict.sqlalchemy.types import Untold
from tests import graphs
from tests.fix_clients import Address
from tests.fix_proxy import store_weight
from tests.fix_sqlalchemy import DRIVERS, Way, Ways, make_way, sqlstate, url
from tests.orm import ROWS, Base, Item, chance

pytestmark = pytest.mark.one_server

item = Base.metadata.tables["item"]


@pytest.fixture
def spare(ways: Ways) -> Iterator[Ways]:
    """A database of the test's own, which may be changed, with the model ``factor``."""
    database = ways.database
    with database.connect() as connection:
        store_weight(connection, 10.0, "factor")
        connection.execute(f"GRANT SELECT ON models.factor TO {ways.direct.user}")
    yield ways
    with database.connect() as connection:
        if connection.execute("SELECT FROM ml.models WHERE name = 'factor'").fetchone():
            storing.drop(connection, "factor")


def value(statement: Any) -> Any:
    return lambda session: session.scalar(statement)


def test_engines_that_it_is_not_for() -> None:
    for name in ("sqlite://", "mysql://", "postgresql+pg8000://u@h/d", "postgresql+psycopg2cffi://u@h/d"):
        with pytest.raises(sqlalchemy.exc.ArgumentError, match=r"pgpredict is not for .*postgresql\+psycopg"):
            create_engine(name, plugins=["pgpredict"])


def test_ways_to_name_it(ways: Ways) -> None:
    statement = select(predict("weight", a=2.0))
    by_url = url(ways.direct, "psycopg").update_query_dict({"plugin": "pgpredict"})
    for engine in (
        create_engine(by_url),
        create_engine(url(ways.direct, "psycopg2"), plugins=["pgpredict"], poolclass=NullPool),
        create_engine(url(ways.direct, "psycopg"), plugins=["pgpredict"], isolation_level="AUTOCOMMIT"),
        create_engine(url(ways.direct, "psycopg"), plugins=["pgpredict"], pool_pre_ping=True),
        create_engine("postgresql+psycopg://", creator=ways.direct.connect, plugins=["pgpredict"]),
        # nothing is left to do there
        create_engine(url(ways.through, "psycopg"), plugins=["pgpredict"]),
        create_engine(url(ways.through, "psycopg2"), plugins=["pgpredict"]),
    ):
        for _ in range(2):
            with engine.connect() as connection:
                assert connection.scalar(statement) == 20.0
            engine.dispose()


def test_asyncpg_in_other_ways(ways: Ways) -> None:
    statement = select(predict("weight", a=2.0))

    class Own(pgpredict.asyncpg.Connection):
        pass

    async def work() -> None:
        for address, arguments in (
            (ways.direct, {"prepared_statement_cache_size": 0, "statement_cache_size": 0}),
            (ways.direct, {"connection_class": Own}),
            (ways.through, {}),
        ):
            engine = create_async_engine(
                url(address, "asyncpg"), plugins=["pgpredict"], connect_args=arguments
            )
            async with engine.connect() as connection:
                for _ in range(3):
                    assert await connection.scalar(statement) == 20.0
                raw: Any = (await connection.get_raw_connection()).driver_connection
                assert await raw.fetchval("SELECT PREDICT(weight USING $1::float8 AS a)", 3.0) == 30.0
                assert (type(raw) is Own) is (arguments.get("connection_class") is Own)
            await engine.dispose()

    asyncio.run(work())


def test_statements_are_compiled_and_rewritten_once(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    rewritten: list[str] = []
    rewrite = SessionCatalog.rewrite

    def counted(self: SessionCatalog, sql: str, *arguments: Any) -> Any:
        rewritten.append(sql)
        return rewrite(self, sql, *arguments)

    monkeypatch.setattr(SessionCatalog, "rewrite", counted)

    def work(session: Session) -> list[Any]:
        hits: list[bool] = []
        connection = session.connection()

        def executed(
            connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: Any
        ) -> None:
            hits.append(context.cache_hit.name == "CACHE_HIT")

        event.listen(connection, "after_cursor_execute", executed)
        found = [
            session.scalars(
                select(Item.id)
                .where(probability("chance", Item, for_="yes") > least, predict("weight", Item.a) < 100)
                .order_by(Item.id)
            ).all()
            for least in (0.65, 0.85, 0.75)
        ]
        return [hits[1:], found]

    expected = [
        [row["id"] for row in ROWS if row["share"] > least and row["a"] < 10] for least in (0.65, 0.85, 0.75)
    ]
    for way in ways:
        way.run(work)
        rewritten.clear()
        # another session, often another connection
        assert way.run(work) == [[True, True], expected], way.name
        assert not rewritten, way.name


def test_types_are_those_of_the_models(ways: Ways) -> None:
    for way in ways:
        if way.is_direct:
            way.run(lambda session: session.connection())
    names = {
        "weight": "DOUBLE",
        "rounded": "INTEGER",
        "exact": "NUMERIC",
        "chance": "TEXT",
        "is_likely": "BOOLEAN",
    }
    assert {name: str(predict(name).type) for name in names} == names
    assert isinstance(predict("feeling").type, Untold)
    assert isinstance(predict("weight", version=1).type, Untold)
    assert isinstance(predict("nothing").type, Untold)


def test_types_that_databases_differ_in() -> None:
    class Source:
        pass

    one, two = Source(), Source()
    try:
        registry.learn(one, {"differs": "text", "same": "text"})
        assert str(predict("differs").type) == "TEXT"
        registry.learn(two, {"differs": "integer", "same": "text"})
        assert isinstance(predict("differs").type, Untold)
        assert str(predict("same").type) == "TEXT"
        registry.learn(two, {})
        assert str(predict("differs").type) == "TEXT"
        late = predict("learned later")
        assert isinstance(late.type, Untold)
        registry.learn(two, {"learned later": "date"})
        assert str(late.type) == "DATE"
    finally:
        registry.learn(one, {})
        registry.learn(two, {})


def test_refresh_by_hand(spare: Ways) -> None:
    for way in spare:
        if way.is_direct:
            continue
        registry.learn(way.engine, {})
        if way.asynchronous is None:
            refresh(way.engine)
        else:
            way.run(lambda session: refresh(session.connection()))
        assert isinstance(predict("factor").type, Double)
        registry.learn(way.engine, {})


def test_errors(ways: Ways) -> None:
    """Wrapped by SQLAlchemy, around the driver's own exception."""
    cases = [
        (select(predict("wieght", item.c.a)), "42704", "does not exist", "did you mean weight?"),
        (select(predict("weight", item.c.name)), "42703", "has no feature 'name'", "its features: a"),
        (select(predict("chance", x=item.c.name)), "42804", "is of type", None),
        (
            select(probability("chance", item, for_=sqlalchemy.bindparam("c", "maybe"))),
            "22023",
            "maybe",
            None,
        ),
        (select(probability("chance", item, for_="it's 100% %(x)s :y")), "22023", "100% %(x)s :y", None),
        (select(probability("weight", item)), "42809", "predicts a number", None),
        (select(predict("weight", item, version=7)), "42704", "has no version 7", "its only version is 1"),
    ]
    for way in ways:
        for statement, state, message, hint in cases:
            with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
                way.run(value(statement.limit(1)))
            error, orig = caught.value, caught.value.orig
            assert sqlstate(error) == state, (way.name, str(error))
            assert message in str(error), (way.name, str(error))
            # what the user's program said, and nothing that was made of it
            assert error.statement is not None
            assert "unnest" not in error.statement
            assert ("PREDICT(" in error.statement) or ("PROBABILITY(" in error.statement)
            assert isinstance(orig, way.engine.dialect.loaded_dbapi.Error)
            if hint is not None:
                cause = orig.__cause__ if "asyncpg" in way.driver else orig.diag
                found = getattr(cause, "hint", None) or getattr(cause, "message_hint", None)
                assert hint in str(found), way.name


def test_a_refused_statement_leaves_the_transaction(ways: Ways) -> None:
    """Nothing has been sent; through the proxy a savepoint does the same."""

    def work(session: Session) -> Any:
        session.add(found := Item(id=500, place_id=1, a=1, share=0.1, name="x"))
        session.flush()
        with pytest.raises(sqlalchemy.exc.DBAPIError), session.begin_nested():
            session.execute(select(predict("nothing", Item)))
        return session.scalar(select(predict("weight", Item)).where(Item.id == found.id))

    ways.same(work, 10.0)


def test_an_unknown_model_at_import() -> None:
    class Own(DeclarativeBase):
        pass

    class Thing(Own):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        a: Mapped[float] = mapped_column()
        guess: Mapped[float] = column_property(predict("not there yet", a), deferred=True)

    assert 'PREDICT("not there yet" USING thing.a)' in str(select(Thing.guess))


def keeps_prepared(way: Way) -> bool:
    """Tell whether the server keeps what the proxy made of a statement once: asyncpg's have names."""
    return way.driver == "+asyncpg" and not way.is_direct


def dispose(way: Way) -> None:
    if way.asynchronous is None:
        way.engine.dispose()
    else:
        way.runner.run(way.asynchronous.dispose())


def test_deployed_meanwhile(spare: Ways) -> None:
    """The next statement sees it, whatever is cached; also if it has other features."""
    statement = select(predict("factor", item)).where(item.c.id == 2)
    spare.same(value(statement), 10.0)
    with spare.database.connect() as connection:
        store_weight(connection, 20.0, "factor")
        time.sleep(0.2)
        spare.same(value(statement), 20.0)
        signature = graphs.regression(["a", "x"])
        graph = """g (double[N, 2] X) => (double[N, 1] y) {
            w = Constant<value = double[2, 1] {100.0, 1000.0}>()
            y = MatMul(X, w)
        }"""
        version = storing.register(connection, "factor", signature, graphs.build(graph, signature), {})
        storing.deploy(connection, "factor", version)
        time.sleep(0.2)
        for way in filter(keeps_prepared, spare):
            with pytest.raises(sqlalchemy.exc.DBAPIError, match="missing feature 'x'"):
                way.run(value(statement))
            dispose(way)
        row = ROWS[1]
        spare.same(value(statement), 100.0 * row["a"] + 1000.0 * row["share"])
        storing.rollback(connection, "factor")
        time.sleep(0.2)
        for way in filter(keeps_prepared, spare):
            dispose(way)
        spare.same(value(statement), 20.0)


def test_dropped_meanwhile(spare: Ways) -> None:
    statement = select(predict("factor", item)).where(item.c.id == 2)
    spare.same(value(statement), 10.0)
    with spare.database.connect() as connection:
        storing.drop(connection, "factor")
    time.sleep(0.2)
    for way in spare:
        with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
            way.run(value(statement))
        assert sqlstate(caught.value) == "42704", way.name
        assert way.run(value(select(predict("weight", item)).where(item.c.id == 2))) == 10.0


def test_dropped_while_it_is_taken_for_granted(spare: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a transaction, as all of a session's statements are, nothing can be sent again."""
    monkeypatch.setattr("pgpredict.client.lately.WINDOW", 60.0)
    rows = text("SELECT PREDICT(factor USING a) FROM (VALUES (1.0), (2.0)) AS v (a)")

    def work(session: Session) -> list[float]:
        session.execute(text("SET pgpredict.way = 'batch'"))
        session.commit()
        return list(session.scalars(rows))

    for way in filter(lambda way: way.is_direct, spare):
        with spare.database.connect() as connection:
            store_weight(connection, 10.0, "factor")
            connection.execute(f"GRANT SELECT ON models.factor TO {spare.direct.user}")
            assert way.run(work) == [10.0, 20.0]
            assert way.run(lambda session: list(session.scalars(rows))) == [10.0, 20.0]
            storing.drop(connection, "factor")
        for _ in range(2):
            with pytest.raises(sqlalchemy.exc.DBAPIError, match='model "factor" does not exist') as caught:
                way.run(lambda session: list(session.scalars(rows)))
            assert sqlstate(caught.value) == "42704", way.name


def test_deployments_are_heard_of(spare: Ways) -> None:
    statement = select(predict("factor", item)).where(item.c.id == 2)
    with Deployments(spare.database.dsn, seconds=1e9) as deployments:
        assert deployments.wait(60)
        for driver in ("psycopg", "psycopg2"):
            with spare.database.connect() as connection:
                store_weight(connection, 10.0, "factor")
            engine = create_engine(
                url(spare.direct, driver), plugins=["pgpredict"], pgpredict_deployments=deployments
            )
            with Session(engine) as session:
                # outside of a transaction: what is asked within one is forgotten with it
                session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
                assert session.scalar(statement) == 10.0
                before, until = deployments.number, time.monotonic() + 60
                with spare.database.connect() as connection:
                    store_weight(connection, 30.0, "factor")
                while deployments.number == before:
                    assert time.monotonic() < until
                    time.sleep(0.01)
                assert session.scalar(statement) == 30.0
                assert known(session.connection().connection.driver_connection).deployments is deployments
            engine.dispose()


def test_the_plugin_through_the_proxy_prepares_what_is_due(spare: Ways) -> None:
    statement = select(predict("factor", item)).where(item.c.id == 2)
    way = make_way(spare.through, "+asyncpg", spare.all[0].runner, is_direct=False, plugins=["pgpredict"])
    assert way.run(value(statement)) == 10.0
    with spare.database.connect() as connection:
        storing.drop(connection, "factor")
    time.sleep(0.2)
    with pytest.raises(sqlalchemy.exc.DBAPIError, match=r"factor. does not exist"):
        way.run(value(statement))
    dispose(way)


def test_a_database_without_the_extension(ways: Ways) -> None:
    with asyncio.Runner() as runner:
        for driver in DRIVERS:
            address = Address(**{**vars(ways.direct), "dbname": "postgres"})
            way = make_way(address, driver, runner, is_direct=True)
            assert way.run(value(text("SELECT 1"))) == 1
            with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
                way.run(value(select(predict("weight", a=1))))
            assert "pgpredict" in str(caught.value) or sqlstate(caught.value) == "42704", str(caught.value)
            dispose(way)


@pytest.mark.parametrize("level", ["READ COMMITTED", "AUTOCOMMIT"])
def test_connecting_waits_for_no_lock(ways: Ways, level: str) -> None:
    for driver in DRIVERS:
        way = make_way(ways.direct, driver, ways.all[0].runner, is_direct=True, isolation_level=level)
        with ways.database.connect(autocommit=False) as connection:
            connection.execute("LOCK TABLE ml.model IN ACCESS EXCLUSIVE MODE")
            start = time.monotonic()
            assert way.run(value(text("SELECT 1"))) == 1
            assert time.monotonic() - start < 30
            connection.rollback()
        assert way.run(value(select(predict("weight", a=1.0)))) == 10.0
        # what was set for the question is set no longer
        assert way.run(value(text("SHOW lock_timeout"))) == "0"
        dispose(way)


def test_threads(ways: Ways) -> None:
    statement = select(Item.id, predict("chance", Item)).order_by(Item.id)
    expected = [(row["id"], chance(row)) for row in ROWS]

    def work(way: Way) -> bool:
        return all(
            way.run(lambda session: [tuple(row) for row in session.execute(statement)]) == expected
            for _ in range(5)
        )

    synchronous = [way for way in ways if way.asynchronous is None]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, synchronous * 4))


def test_sql_of_the_users_own(ways: Ways) -> None:
    def work(session: Session) -> list[Any]:
        connection = session.connection()
        found = [
            connection.exec_driver_sql("SELECT PREDICT(weight) FROM item WHERE id = 2").scalar(),
            connection.scalar(
                text("SELECT PREDICT(weight) FROM item WHERE name LIKE 'item 2%' AND id = :id"), {"id": 2}
            ),
        ]
        with connection.begin_nested():
            raw: Any = connection.connection.cursor()
            raw.execute("SELECT PREDICT(weight) FROM item WHERE id = 2")
            found.append(raw.fetchone()[0])
            raw.close()
        return found

    ways.same(work, [10.0] * 3)


def test_nothing_changes_for_other_statements(ways: Ways) -> None:
    """Texts that have our words in them and mean none of it."""
    statement = select(
        func.lower("PREDICT(weight)"), item.c.name.label("predict"), text("'PREDICT(' || 1 AS probability")
    )
    ways.same(
        lambda session: [tuple(row) for row in session.execute(statement.where(item.c.id == 1))],
        [("predict(weight)", "item 1", "PREDICT(1")],
    )
