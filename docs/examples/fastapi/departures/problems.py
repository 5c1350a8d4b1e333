"""What a visitor is told when there can be no predictions."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

NOT_DEPLOYED = "the model is not deployed at present"
#: SQLSTATEs of a model that is not there, or has no version that is deployed
NO_MODEL = frozenset({"42704", "55000"})


class Unavailable(Exception):
    """There are no predictions for now; the text says why."""


def explain(error: DBAPIError) -> str | None:
    """Return why the service cannot answer for now; None for what is a defect of its own."""
    # psycopg says sqlstate; it is empty where no connection came about
    state: str = getattr(error.orig, "sqlstate", None) or "08001"
    if state in NO_MODEL:
        return NOT_DEPLOYED
    if error.connection_invalidated or state[:2] in ("08", "53", "57"):
        return "the database, or what makes its predictions, does not answer"
    return None
