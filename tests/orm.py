"""Classes of SQLAlchemy's tests, their rows, and what the models of ``fix_sqlalchemy`` answer for these.

``weight`` multiplies ``a`` by 10; ``chance`` says yes where ``x``, its probability, is above a half.
"""

from __future__ import annotations

import enum
from typing import Any

from sqlalchemy import Column, ForeignKey, Table, Text, text
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    mapped_column,
    object_session,
    relationship,
)
from sqlalchemy.sql.elements import ColumnElement

from pgpredict.sqlalchemy import Model, predict, probability

WEIGHT = Model("weight", float)
COUNT = 30


class Mood(enum.Enum):
    """What the model ``feeling`` predicts."""

    sad = 1
    happy = 2


class Base(DeclarativeBase):
    """Of the tables."""


class Place(Base):
    """Where items are."""

    __tablename__ = "place"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    items: Mapped[list[Item]] = relationship(back_populates="place", order_by="Item.id")
    #: joined on what a model says
    likely: Mapped[list[Item]] = relationship(
        primaryjoin=lambda: (Place.id == Item.place_id) & (predict("chance", Item) == "yes"),
        order_by="Item.id",
        viewonly=True,
    )


class Item(Base):
    """A row with the features ``a`` and ``x``; one has another name in Python."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    place_id: Mapped[int] = mapped_column(ForeignKey("place.id"))
    a: Mapped[float] = mapped_column()
    share: Mapped[float] = mapped_column("x")
    name: Mapped[str]
    guess: Mapped[float | None]
    place: Mapped[Place] = relationship(back_populates="items")
    #: made of columns that have no name yet
    weight: Mapped[float] = column_property(predict(WEIGHT, a), deferred=True)

    @hybrid_property
    def risk(self) -> float:
        """Probability of yes, by a query of its own."""
        session = object_session(self)
        assert session is not None
        cls = type(self)
        return session.query(cls.risk).filter(cls.id == self.id).scalar()  # type: ignore[no-any-return]

    @risk.inplace.expression
    @classmethod
    def _risk(cls) -> ColumnElement[float]:
        return probability("chance", cls, for_="yes")


# the table as a whole, when the class is there
Item.chance = column_property(predict("chance", Item.__table__, type_=Text), deferred=True)


class Animal(Base):
    """Has the feature ``a``, its descendants have others."""

    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    a: Mapped[float]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    """In a table of its own, joined."""

    __tablename__ = "dog"
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    x: Mapped[float]
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Cat(Animal):
    """In the same table as all animals."""

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


friends = Table(
    "friend",
    Base.metadata,
    Column("from_id", ForeignKey("item.id"), primary_key=True),
    Column("to_id", ForeignKey("item.id"), primary_key=True),
)


class Saved(Base):
    """Predictions that are kept."""

    __tablename__ = "saved"
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[float | None]
    p: Mapped[float | None]


class Elsewhere(Base):
    """In a schema of its own, with names that need quotes."""

    __tablename__ = "Else Where"
    __table_args__ = {"schema": "Other"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[float]
    odd: Mapped[float] = mapped_column("Odd %(Feature)s")


def rows() -> list[dict[str, Any]]:
    """Return the items."""
    return [
        {
            "id": number,
            "place_id": 1 + number % 3,
            "a": number / 2,
            "share": number * 7 % 10 / 10,
            "name": f"item {number}",
        }
        for number in range(1, COUNT + 1)
    ]


ROWS = rows()


def chance(row: dict[str, Any]) -> str:
    """Return what the model ``chance`` says."""
    return "yes" if row["share"] > 0.5 else "no"


def make(session: Session) -> None:
    """Make tables and fill them."""
    session.execute(text('CREATE SCHEMA "Other"'))
    session.execute(text("CREATE TYPE mood AS ENUM ('sad', 'happy')"))
    Base.metadata.create_all(session.connection())
    session.add_all(Place(id=number, name=f"place {number}") for number in (1, 2, 3))
    session.flush()
    session.add_all(Item(**row) for row in ROWS)
    session.add_all(Dog(a=number, x=number / 10) for number in range(1, 11))
    session.add_all(Cat(a=number) for number in range(11, 14))
    session.add_all(Elsewhere(id=number, a=number, odd=number) for number in range(1, 4))
    session.add_all(Saved(id=number, a=number) for number in range(1, 6))
    session.flush()
    session.execute(friends.insert(), [{"from_id": n, "to_id": n + 1} for n in range(1, COUNT)])
