"""The update job: ``python -m departures.forecast``, as often as you like."""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy.exc import DBAPIError

from .database import engine
from .main import make_tables
from .problems import NOT_DEPLOYED, Unavailable, explain
from .queries import DEPLOYED, forecasts


async def run() -> int:
    """Predict all upcoming departures in one statement, and return how many forecasts are new or changed.

    :raises Unavailable: if there is no model
    """
    try:
        await make_tables()
        async with engine.begin() as connection:
            model = (await connection.execute(DEPLOYED)).one_or_none()
            if model is None:
                raise Unavailable(NOT_DEPLOYED)
            statement = forecasts(model.version)
            result = await connection.execute(statement, execution_options={"preserve_rowcount": True})
            return result.rowcount
    finally:
        await engine.dispose()


def main() -> None:
    """Run the job; exit code 1 and a line on standard error if there can be no predictions."""
    try:
        print(f"{asyncio.run(run())} forecasts written")
    except Unavailable as error:
        sys.exit(f"no forecasts: {error}")
    except DBAPIError as error:
        problem = explain(error)
        if problem is None:
            raise
        sys.exit(f"no forecasts: {problem}")


if __name__ == "__main__":
    main()
