"""Model tables: mapped, reflected, by automap; and Alembic, which is to leave them alone."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, Double, MetaData, Table, Text, select
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgpredict.sqlalchemy import ModelTable, reflect_models
from pgpredict.sqlalchemy.alembic import include_name, include_object
from tests import orm
from tests.fix_sqlalchemy import Ways

pytestmark = pytest.mark.one_server


class Base(DeclarativeBase):
    """Of the application's classes."""


class Chance(ModelTable, Base):
    """The model ``chance`` as a class."""

    __tablename__ = "chance"
    x: Mapped[float] = mapped_column(primary_key=True)
    prediction: Mapped[str]
    likely: Mapped[float] = mapped_column("probability_yes")


class Kept(Base):
    """A table of the application's own."""

    __tablename__ = "kept"
    id: Mapped[int] = mapped_column(primary_key=True)


def test_mapped(ways: Ways) -> None:
    assert "models.chance" not in Base.metadata.tables
    assert set(Base.metadata.tables) == {"kept"}
    assert set(Chance.metadata.tables) == {"models.chance"}

    class Again(DeclarativeBase):
        pass

    class ChanceAgain(ModelTable, Again):
        __tablename__ = "chance"
        features: Mapped[str] = mapped_column(primary_key=True)
        prediction: Mapped[str]

    whole = select(ChanceAgain.prediction).where(ChanceAgain.features == '{"x":0.75}')
    ways.same(lambda session: list(session.scalars(whole)), ["yes"])

    def work(session: Session) -> list[Any]:
        chance = session.get_one(Chance, 0.75)
        same = session.scalars(select(Chance).where(Chance.x == 0.75)).one()
        many = session.scalars(select(Chance).where(Chance.x.in_([0.25, 0.75]), Chance.likely > 0.5)).all()
        session.refresh(chance)
        joined = session.execute(
            select(orm.Item.id, Chance.prediction)
            .join(Chance, Chance.x == orm.Item.share)
            .where(orm.Item.id < 3)
            .order_by(orm.Item.id)
        )
        return [
            chance.prediction,
            chance.likely,
            same is chance,
            many == [chance],
            [tuple(row) for row in joined],
        ]

    ways.same(work, ["yes", 0.75, True, True, [(1, "yes"), (2, "no")]])


def test_reflected(ways: Ways) -> None:
    def work(session: Session) -> Any:
        table = reflect_models(session.connection(), ["chance"]).tables["models.chance"]
        rows = session.execute(select(table.c.prediction, table.c.probability).where(table.c.x == 0.25))
        columns = [(column.name, str(column.type), column.primary_key) for column in table.columns]
        return [tuple(row) for row in rows], columns

    rows, columns = ways.same(work)
    assert rows == [("no", 0.75)]
    assert ("x", "DOUBLE PRECISION", True) in columns
    assert [name for name, _, is_key in columns if is_key] == ["x"]


def test_automap(ways: Ways) -> None:
    def work(session: Session) -> Any:
        mapped: Any = automap_base(metadata=reflect_models(session.connection()))
        mapped.prepare()
        names = sorted(mapped.classes.keys())
        return names, session.get_one(mapped.classes["weight"], 2.5).prediction

    names, prediction = ways.same(work)
    # nothing but the models: no batch and version forms
    assert names == sorted(
        ["weight", "Odd Model", "select", "odd_feature", "rounded", "exact", "chance", "is_likely", "feeling"]
    )
    assert prediction == 25.0


def test_reflection_by_engine(ways: Ways) -> None:
    for way in ways:
        if way.asynchronous is None:
            assert "models.weight" in reflect_models(way.engine).tables
    with pytest.raises(sqlalchemy.exc.NoSuchTableError):
        reflect_models(ways.all[0].engine, ["nothing"])


def differences(connection: Connection, metadata: MetaData, **options: Any) -> list[Any]:
    """Return what autogenerate would change."""
    context = MigrationContext.configure(connection, opts=options)
    changes: list[Any] = compare_metadata(context, metadata)
    return changes


def application() -> MetaData:
    """Return metadata that says what the database has, but for our own."""
    return orm.Base.metadata


def test_alembic_by_itself(ways: Ways) -> None:
    """The default schema only, and model tables in metadata of their own: nothing has to be configured."""
    ways.same(lambda session: differences(session.connection(), without_other_schemas()), [])


def without_other_schemas() -> MetaData:
    found = MetaData()
    for table in application().sorted_tables:
        if table.schema is None:
            table.to_metadata(found)
    return found


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_alembic_with_schemas(ways: Ways) -> None:
    options = {"include_schemas": True}
    found = ways.same(
        lambda session: sorted(
            repr(change[0]) for change in differences(session.connection(), application(), **options)
        )
    )
    assert found, "without a filter Alembic would drop the extension's tables"
    filters = {**options, "include_name": include_name, "include_object": include_object}
    ways.same(lambda session: differences(session.connection(), application(), **filters), [])


def test_alembic_with_model_tables_in_the_metadata(ways: Ways) -> None:
    metadata = without_other_schemas()
    Table(
        "chance", metadata, Column("x", Double, primary_key=True), Column("prediction", Text), schema="models"
    )
    assert ways.all[0].run(lambda session: differences(session.connection(), metadata))
    options = {"include_object": include_object}
    ways.same(lambda session: differences(session.connection(), metadata, **options), [])
    # what is the application's is seen all the same
    Table("more", metadata, Column("id", sqlalchemy.Integer, primary_key=True))
    found = ways.same(
        lambda session: [change[0] for change in differences(session.connection(), metadata, **options)]
    )
    assert found == ["add_table"]
