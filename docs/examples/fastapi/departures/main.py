"""The service: ``uvicorn departures.main:app``."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException as StarletteHTTPException

from .database import Session, engine
from .models import Airline, Base, DeployedModel, Forecast
from .problems import NOT_DEPLOYED, Unavailable, explain
from .queries import DEPLOYED, Detail, Expected, Filters, detail, page_of
from .settings import settings

logger = logging.getLogger("uvicorn.error")
templates = Jinja2Templates(Path(__file__).parent / "templates")
ORIGINS = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "La Guardia"}


async def make_tables() -> None:
    """Make our table if it is not there; an application with more of them has Alembic for this."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.tables[Forecast.__tablename__].create, checkfirst=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Begin with the table, and end without connections."""
    await make_tables()
    yield
    await engine.dispose()


app = FastAPI(title="Departures", lifespan=lifespan)


async def find_model(session: Session) -> DeployedModel:
    """Return the model, with the version that answers at present.

    :raises Unavailable: if there is none, which is 503
    """
    model = await session.scalar(DEPLOYED)
    if model is None:
        raise Unavailable(NOT_DEPLOYED)
    return model


Deployed = Annotated[DeployedModel, Depends(find_model)]


async def find_page(
    session: Session, model: Deployed, filters: Annotated[Filters, Query()]
) -> list[Expected]:
    """Return a page of the list, and one departure more if it is not the last."""
    return [Expected.of(row) for row in await session.execute(page_of(filters, model.version))]


async def find(
    session: Session, model: Deployed, departure_id: Annotated[int, PathParameter(le=2**63 - 1)]
) -> Detail:
    """Return one departure.

    :raises HTTPException: if there is none, which is 404
    """
    row = (await session.execute(detail(departure_id, model.version))).one_or_none()
    if row is None:
        raise HTTPException(404, f"there is no departure {departure_id}")
    return Detail.of(row)


@app.get("/", response_class=HTMLResponse)
async def show_list(
    request: Request,
    session: Session,
    model: Deployed,
    filters: Annotated[Filters, Query()],
    found: Annotated[list[Expected], Depends(find_page)],
) -> Response:
    """Show a day's departures, the likeliest to be late first."""
    airlines = await session.scalars(select(Airline).order_by(Airline.name))
    context = {
        "model": model,
        "departures": found[: settings.page_size],
        "has_more": len(found) > settings.page_size,
        "filters": filters,
        "first": (filters.page - 1) * settings.page_size + 1,
        "airlines": airlines.all(),
        "origins": ORIGINS,
    }
    return templates.TemplateResponse(request, "departures.html", context)


@app.get("/departures/{departure_id}", response_class=HTMLResponse)
async def show_detail(
    request: Request, session: Session, model: Deployed, expected: Annotated[Detail, Depends(find)]
) -> Response:
    """Show one departure, with the model that predicts it and the forecast that was kept."""
    forecast = await session.get(Forecast, expected.departure.id)
    context = {"model": model, "expected": expected, "forecast": forecast}
    return templates.TemplateResponse(request, "departure.html", context)


class Answer(BaseModel):
    """A prediction, for programs."""

    id: int
    flight: str
    late: str
    risk: float
    version: int


@app.get("/api/departures")
async def list_departures(
    model: Deployed, found: Annotated[list[Expected], Depends(find_page)]
) -> list[Answer]:
    """Return what the page shows."""
    return [
        Answer(
            id=each.departure.id,
            flight=f"{each.departure.carrier} {each.departure.flight}",
            late=each.late,
            risk=each.risk,
            version=model.version,
        )
        for each in found[: settings.page_size]
    ]


@app.exception_handler(DBAPIError)
async def on_database_error(request: Request, error: DBAPIError) -> Response:
    """Tell that there are no predictions for now; what is a defect is raised again, and logged."""
    problem = explain(error)
    if problem is None:
        raise error
    logger.error("%s: %s", problem, error.orig)
    return await on_unavailable(request, Unavailable(problem))


@app.exception_handler(Unavailable)
async def on_unavailable(request: Request, error: Unavailable) -> Response:
    """Tell that there are no predictions for now, and why."""
    return answer(request, 503, f"No predictions for now: {error}.")


@app.exception_handler(StarletteHTTPException)
async def on_http_error(request: Request, error: StarletteHTTPException) -> Response:
    """Show an error as a page."""
    return answer(request, error.status_code, error.detail)


@app.exception_handler(RequestValidationError)
async def on_invalid(request: Request, error: RequestValidationError) -> Response:
    """Show which part of an address is wrong; where it names a departure, there is none."""
    if any(each["loc"][0] == "path" for each in error.errors()):
        return answer(request, 404, "there is no such departure")
    wrong = ", ".join(sorted({str(each["loc"][-1]) for each in error.errors()}))
    return answer(request, 422, f"This address has a wrong {wrong}.")


def answer(request: Request, status: int, message: str) -> Response:
    """Return an error, for people or for programs."""
    headers = {"Retry-After": "30"} if status == 503 else None
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": message}, status, headers)
    context: dict[str, Any] = {"status": status, "message": message}
    return templates.TemplateResponse(request, "error.html", context, status, headers)
