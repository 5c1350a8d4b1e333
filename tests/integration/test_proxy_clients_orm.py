"""SQLAlchemy, Django and pandas through the proxy."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pandas
import pytest
import sqlalchemy
from sqlalchemy import URL, MetaData, create_engine, func, inspect, literal_column, select, text, type_coerce
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.fix_clients import EXPECTED, PROGRAMS, Address, Place, told
from tests.fix_django import OLDER

pytestmark = pytest.mark.one_server


class Base(DeclarativeBase):
    """Of the tables."""


class Item(Base):
    """A row with the feature ``a``."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[float | None]
    name: Mapped[str] = mapped_column(default="x")


PREDICTED = type_coerce(literal_column("PREDICT(weight)"), sqlalchemy.Float).label("p")
BOUND = text("SELECT PREDICT(weight USING CAST(:a AS float8) AS a) AS p")


def url(address: Address, driver: str) -> URL:
    return URL.create(
        f"postgresql+{driver}", address.user, address.password, address.host, address.port, address.dbname
    )


def in_a_session(session: Session) -> None:
    """What an application does."""
    Base.metadata.create_all(session.connection())
    session.add_all(Item(id=number, a=float(number)) for number in range(1, 101))
    session.flush()
    query = select(Item, PREDICTED).where(PREDICTED > 955).order_by(Item.id.desc())
    assert [(item.id, p) for item, p in session.execute(query)] == [(n, 10.0 * n) for n in range(100, 95, -1)]
    total = select(func.sum(PREDICTED), func.count()).select_from(Item)
    assert session.execute(total).one() == (50_500.0, 100)
    # one statement of the pool's connection, executed again and again: a driver prepares it
    values = [session.scalar(BOUND, {"a": float(number)}) for number in range(50)]
    assert values == EXPECTED["prepared"]
    session.commit()
    session.add(Item(id=101, a=1.0))
    session.flush()
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        session.execute(text("SELECT PREDICT(weihgt) FROM item"))
    assert getattr(caught.value.orig, "sqlstate", None) == "42704"
    session.rollback()
    assert session.scalar(select(func.count()).select_from(Item)) == 100
    with pytest.raises(sqlalchemy.exc.DBAPIError), session.begin_nested():
        session.execute(text("SELECT PREDICT(weight USING nothing)"))
    assert session.scalar(BOUND, {"a": 2.0}) == 20.0  # the savepoint saved the transaction
    streamed = session.execute(
        text("SELECT PREDICT(weight USING i::float8 AS a) FROM generate_series(1, 100000) AS t(i)"),
        execution_options={"stream_results": True, "yield_per": 5000},
    )
    assert sum(p for (p,) in streamed) == EXPECTED["large"][1]
    session.commit()


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_sqlalchemy(place: Place) -> None:
    engine = create_engine(url(place.through, "psycopg"))
    with Session(engine) as session:
        in_a_session(session)
    told = [described(create_engine(url(way, "psycopg2"))) for way in place.ways]
    assert told[0] == told[1]
    engine.dispose()


def described(engine: sqlalchemy.Engine) -> list[Any]:
    """What SQLAlchemy finds out about a database."""
    inspector = inspect(engine)
    found: list[Any] = [inspector.get_schema_names(), inspector.get_view_names("models")]
    for schema in ("public", "ml"):
        for name in inspector.get_table_names(schema):
            found += [name, [str(column) for column in inspector.get_columns(name, schema)]]
            found += [inspector.get_pk_constraint(name, schema), inspector.get_foreign_keys(name, schema)]
            found += [inspector.get_indexes(name, schema), inspector.get_check_constraints(name, schema)]
    metadata = MetaData()
    metadata.reflect(engine)
    found += [(column.name, str(column.type), column.nullable) for column in metadata.tables["item"].columns]
    engine.dispose()
    return found


def test_sqlalchemy_asynchronously(place: Place) -> None:
    async def work() -> None:
        engine = create_async_engine(url(place.through, "asyncpg"))
        async with engine.connect() as connection:
            await connection.run_sync(lambda sync: in_a_session(Session(sync)))
        await engine.dispose()

    asyncio.run(work())


@pytest.mark.parametrize("binding", ["client", "server"])
def test_django(place: Place, binding: str) -> None:
    variables = {}
    with place.direct.connect() as connection:
        if connection.info.server_version < 14_00_00:
            # the current one refuses it
            if not OLDER.exists():
                pytest.skip(f"no Django 4.2 in {OLDER}: scripts/clients could not install it")
            variables["PYTHONPATH"] = str(OLDER)
    seen = told([sys.executable, PROGRAMS / "django_client.py", binding], place.through, **variables)
    assert seen == EXPECTED


def test_pandas(place: Place) -> None:
    frame = pandas.DataFrame({"a": [1.0, float("nan"), 3.0], "name": ["x", "y", "é"]})
    engine = create_engine(url(place.through, "psycopg"))
    with engine.begin() as connection:
        frame.to_sql("t", connection, index=False)
        query = "SELECT a, name, PREDICT(weight ON MISSING NULL) AS p FROM t ORDER BY name"
        read = pandas.read_sql(text(query), connection)
    engine.dispose()
    expected = frame.assign(p=[10.0, float("nan"), 30.0])
    pandas.testing.assert_frame_equal(read, expected, check_dtype=False)
