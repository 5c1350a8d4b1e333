"""Settings, from the environment."""

from __future__ import annotations

import datetime

from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    """Each field is a variable of the environment, in capitals.

    :ivar database_url: what it leaves out, libpq's own variables tell: PGHOST, PGPORT, PGUSER and so on
    :ivar today: the demo's flights are those of 2013; this day's are shown, and from it on they are forecast
    :ivar page_size: departures on a page
    """

    database_url: str = "postgresql+psycopg://"
    today: datetime.date = datetime.date(2013, 12, 10)
    page_size: int = 20


settings = Settings()
