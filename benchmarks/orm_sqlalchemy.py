"""SQLAlchemy: the plugin beside an engine without it, and ORM entities predicted in SQL and in Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pandas as pd
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, Connection, Engine, create_engine, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgpredict.sqlalchemy import predict

from .library import (
    BACKEND,
    BARE,
    PREDICT,
    Contender,
    apart,
    batch_findings,
    hook_findings,
    in_turn,
    predicted,
)
from .report import Finding

NAME = "SQLAlchemy"
OLDEST = 0
#: of psycopg, so that every statement is planned as it comes: a generic plan may be another one
_OPTIONS: dict[str, dict[str, Any]] = {"psycopg": {"prepare_threshold": None}}


class Base(DeclarativeBase):
    """Of the two classes."""


class Numbers(Base):
    """A row of ``bench.numbers``."""

    __tablename__ = "numbers"
    __table_args__ = {"schema": "bench"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    x0: Mapped[float]
    x1: Mapped[float]
    x2: Mapped[float]
    x3: Mapped[float]
    x4: Mapped[float]
    x5: Mapped[float]
    x6: Mapped[float]
    x7: Mapped[float]
    x8: Mapped[float]
    x9: Mapped[float]
    y: Mapped[float]


class Mixed(Base):
    """A row of ``bench.mixed``."""

    __tablename__ = "mixed"
    __table_args__ = {"schema": "bench"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    x0: Mapped[float]
    x1: Mapped[float]
    x2: Mapped[float]
    x3: Mapped[float]
    x4: Mapped[float]
    c0: Mapped[str]
    c1: Mapped[str]
    c2: Mapped[str]
    c3: Mapped[str]
    c4: Mapped[str]
    y: Mapped[float]


def hooks(dsn: str, rewritten: str, rows: int, queries: int) -> list[Finding]:
    """Measure what the plugin adds to a query of each driver.

    :param rewritten: what :data:`~benchmarks.library.PREDICT` is rewritten to, with ``$1``
    """
    found: list[Finding] = []
    for driver in ("psycopg", "psycopg2"):
        options = {"connect_args": _OPTIONS.get(driver, {})}
        plain = create_engine(url(dsn, driver), **options)
        hooked = create_engine(url(dsn, driver), plugins=["pgpredict"], **options)
        with plain.connect() as one, hooked.connect() as other:
            found += compared(f"{NAME}, {driver}", one, other, rewritten, rows, queries)
        dispose(plain, hooked)
    return found + asyncio.run(_asynchronous(dsn, rewritten, rows, queries))


async def _asynchronous(dsn: str, rewritten: str, rows: int, queries: int) -> list[Finding]:
    plain = create_async_engine(url(dsn, "asyncpg"))
    hooked = create_async_engine(url(dsn, "asyncpg"), plugins=["pgpredict"])
    async with plain.connect() as one, hooked.connect() as other:
        # within one greenlet: what is measured is the statement, not the way to it
        found = await one.run_sync(
            lambda connection: compared(
                f"{NAME}, asyncpg", connection, other.sync_connection, rewritten, rows, queries
            )
        )
    await plain.dispose()
    await hooked.dispose()
    return found


def compared(
    subject: str, plain: Connection, hooked: Connection | None, rewritten: str, rows: int, queries: int
) -> list[Finding]:
    """Measure one driver; each connection is in one transaction, as a session's is."""
    assert hooked is not None
    bare, predicting = text(BARE.format(":id")), text(PREDICT.format(":id"))
    sent = text(rewritten.replace("$1", ":id"))

    def run(connection: Connection, statement: Any) -> Callable[[int], object]:
        return lambda key: connection.execute(statement, {"id": key}).all()

    ways = [run(plain, bare), run(hooked, bare), run(plain, sent), run(hooked, predicting)]
    backends = [connection.scalar(text(BACKEND)) for connection in (plain, hooked)]
    with apart(*backends):
        return hook_findings(subject, in_turn(ways, rows, queries))


def batch(dsn: str, contender: Contender, rows: int, runs: int) -> list[Finding]:
    """Compare ``select(Row.id, predict(...))`` with objects, and with rows, that scikit-learn predicts."""
    engine = create_engine(url(dsn, "psycopg"), plugins=["pgpredict"])
    row = Mixed if contender.case.texts else Numbers
    names = ["id", *contender.case.features]
    wanted = row.id <= rows
    form = predict(contender.model, row, type_=str if contender.case.texts else float)
    columns = [getattr(row, name) for name in names]

    def ours() -> list[tuple[int, Any]]:
        with Session(engine) as session:
            found = session.execute(select(row.id, form).where(wanted))
            return sorted((key, value) for key, value in found)

    def objects() -> list[tuple[int, Any]]:
        with Session(engine) as session:
            found = session.scalars(select(row).where(wanted)).all()
            frame = pd.DataFrame([{name: getattr(each, name) for name in names} for each in found])
            return predicted(contender, frame)

    def fetched() -> list[tuple[int, Any]]:
        with Session(engine) as session:
            found = session.execute(select(*columns).where(wanted)).all()
            return predicted(contender, pd.DataFrame(found, columns=names))

    others = [
        ("ORM objects, a DataFrame, scikit-learn", objects),
        ("rows of the columns, a DataFrame, scikit-learn", fetched),
    ]
    findings = batch_findings(
        f"{NAME}: {contender.title}, {rows:,} rows", ours, others, runs, contender.agreeing
    )
    dispose(engine)
    return findings


def url(dsn: str, driver: str) -> URL:
    """Return a connection string as SQLAlchemy has it."""
    known = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    query = {str(key): known[key] for key in ("host", "port") if key in known}
    return URL.create(
        f"postgresql+{driver}",
        known.get("user"),
        known.get("password"),
        database=known["dbname"],
        query=query,
    )


def dispose(*engines: Engine) -> None:
    """Close what these have opened."""
    for engine in engines:
        engine.dispose()
