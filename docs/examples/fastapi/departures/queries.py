"""What is asked of the database. Predictions are expressions among others."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from sqlalchemy import Executable, Row, literal, select
from sqlalchemy.dialects.postgresql import Insert, insert

from pgpredict.sqlalchemy import predict, probability

from .models import LATE, Departure, DeployedModel, Forecast
from .settings import settings

# Who tells which version has predicted asks for the one that answers at present, and then asks that one:
# another may be deployed meanwhile.
DEPLOYED = select(DeployedModel).where(DeployedModel.name == LATE.name, DeployedModel.version.is_not(None))


@dataclass(frozen=True)
class Expected:
    """A departure and what is expected of it.

    :ivar late: yes or no
    :ivar risk: probability of yes
    """

    departure: Departure
    late: str
    risk: float

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Return what a row of :func:`page_of` says."""
        return cls(row.Departure, row.late, row.risk)


@dataclass(frozen=True)
class Detail(Expected):
    """The same for one departure.

    :ivar on_time_risk: what the risk would be, had it left on time
    """

    on_time_risk: float

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Return what the row of :func:`detail` says."""
        return cls(row.Departure, row.late, row.risk, row.on_time_risk)


class Filters(BaseModel):
    """What a list is asked for; a form sends what is left empty as an empty text.

    :ivar likely: only those that are predicted to arrive late
    :ivar on_time: only those that left less than 15 minutes late
    """

    day: datetime.date = settings.today
    origin: str | None = None
    carrier: str | None = None
    dest: str | None = None
    likely: bool = False
    on_time: bool = False
    page: int = Field(1, ge=1, le=10_000)

    @field_validator("*", mode="before")
    @classmethod
    def _without_empty(cls, value: object, info: ValidationInfo) -> object:
        return cls.model_fields[info.field_name or ""].default if value == "" else value


def page_of(filters: Filters, version: int) -> Executable:
    """Return departures of a day, the likeliest to be late first: a page and one more, if there is."""
    late = predict(LATE, Departure, version=version)
    risk = probability(LATE, Departure, for_="yes", version=version).label("risk")
    query = select(Departure, late.label("late"), risk).where(Departure.day == filters.day)
    if filters.origin:
        query = query.where(Departure.origin == filters.origin)
    if filters.carrier:
        query = query.where(Departure.carrier == filters.carrier)
    if filters.dest:
        query = query.where(Departure.dest == filters.dest.upper())
    if filters.on_time:
        query = query.where(Departure.dep_delay < 15)
    if filters.likely:
        query = query.where(late == "yes")
    skipped = (filters.page - 1) * settings.page_size
    return query.order_by(risk.desc(), Departure.id).offset(skipped).limit(settings.page_size + 1)


def detail(departure_id: int, version: int) -> Executable:
    """Return one departure with its prediction, and what would be had it left on time."""
    return select(
        Departure,
        predict(LATE, Departure, version=version).label("late"),
        probability(LATE, Departure, for_="yes", version=version).label("risk"),
        probability(LATE, Departure, dep_delay=0, for_="yes", version=version).label("on_time_risk"),
    ).where(Departure.id == departure_id)


def forecasts(version: int) -> Insert:
    """Return the statement that predicts all upcoming departures, and keeps what is new.

    Run again, it writes what has changed: other features, or another version of the model.
    """
    predictions = (
        select(
            Departure.id,
            predict(LATE, Departure, version=version),
            probability(LATE, Departure, for_="yes", version=version),
            literal(version),
        )
        .where(Departure.day >= settings.today)
        # two jobs at once lock rows in the same order
        .order_by(Departure.id)
    )
    statement = insert(Forecast).from_select(["departure_id", "late", "risk", "version"], predictions)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[Forecast.departure_id],
        set_={"late": new.late, "risk": new.risk, "version": new.version, "made_at": new.made_at},
        where=(Forecast.risk != new.risk) | (Forecast.version != new.version),
    )
