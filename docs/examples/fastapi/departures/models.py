"""The demo's relations, and a table of our own."""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from pgpredict.sqlalchemy import Model

#: yes or no: does a flight arrive 15 minutes late or more?
LATE = Model("late_arrival", str)


class Base(DeclarativeBase):
    """Of all classes."""

    type_annotation_map = {dict[str, Any]: JSONB}  # noqa: RUF012 (SQLAlchemy's own way)


class Airline(Base):
    """Whose flight it is."""

    __tablename__ = "airlines"
    carrier: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Airport(Base):
    """Where it goes."""

    __tablename__ = "airports"
    faa: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]


class Departure(Base):
    """A row of the view ``departures``: what is known of a flight when it departs.

    The columns have the names of the model's features, so that PREDICT finds them by itself.
    """

    __tablename__ = "departures"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    carrier: Mapped[str] = mapped_column(ForeignKey("airlines.carrier"))
    flight: Mapped[int]
    origin: Mapped[str]
    dest: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    distance: Mapped[int]
    day: Mapped[datetime.date]
    departs: Mapped[datetime.time]
    arrives: Mapped[datetime.time]
    dep_delay: Mapped[int]
    arr_delay: Mapped[int | None]
    temp: Mapped[float | None]
    wind_speed: Mapped[float | None]
    precip: Mapped[float | None]
    visib: Mapped[float | None]
    manufacturer: Mapped[str | None]
    built: Mapped[int | None]
    seats: Mapped[int | None]

    airline: Mapped[Airline] = relationship(lazy="joined", innerjoin=True)
    destination: Mapped[Airport] = relationship(lazy="joined", innerjoin=True)


class DeployedModel(Base):
    """A model, and the version that answers at present."""

    __tablename__ = "models"
    __table_args__ = {"schema": "ml"}  # noqa: RUF012
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    algorithm: Mapped[str]
    trained_at: Mapped[datetime.datetime]
    metrics: Mapped[dict[str, Any]]


class Forecast(Base):
    """A prediction that is kept, to be judged by what happens."""

    __tablename__ = "departure_forecasts"
    departure_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    late: Mapped[str]
    risk: Mapped[float]
    version: Mapped[int]
    made_at: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
