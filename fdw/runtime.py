"""Answers of the runtime."""

from __future__ import annotations

from typing import Any

from .errors import PredictionFailed
from .protocol import Header


def check_answer(header: Header) -> None:
    """Raise the error that an answer reports.

    :raises PredictionFailed: with the runtime's message, hint and SQLSTATE
    """
    if header.get("ok") is True:
        return
    message, hint, sqlstate = (_text(header.get(key)) for key in ("message", "hint", "sqlstate"))
    raise PredictionFailed(message or "the inference runtime refused the request", hint, _valid(sqlstate))


def _text(value: Any) -> Any:
    return value if isinstance(value, str) and value else None


def _valid(sqlstate: Any) -> Any:
    """Return the SQLSTATE if PostgreSQL would take it as one of an error."""
    if isinstance(sqlstate, str) and len(sqlstate) == 5 and sqlstate.isalnum() and sqlstate.isupper():
        return sqlstate
    if isinstance(sqlstate, str) and len(sqlstate) == 5 and sqlstate.isdigit() and sqlstate != "00000":
        return sqlstate
    return None
