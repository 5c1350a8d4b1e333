"""What a visitor is told when there can be no predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import Error, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

logger = logging.getLogger(__name__)
NOT_DEPLOYED = "the model is not deployed at present"
#: SQLSTATEs of a model that is not there, or has no version that is deployed
NO_MODEL = frozenset({"42704", "55000"})


class Unavailable(Exception):
    """There are no predictions for now; the text says why."""


def explain(error: Exception) -> str | None:
    """Return why the site cannot answer for now; None for what is a defect of its own."""
    if isinstance(error, Unavailable):
        return str(error)
    if not isinstance(error, Error):
        return None
    state: str = getattr(error.__cause__, "sqlstate", None) or ""
    if state in NO_MODEL:
        return NOT_DEPLOYED
    if isinstance(error, InterfaceError | OperationalError) or state[:2] in ("08", "53", "57"):
        return "the database, or what makes its predictions, does not answer"
    return None


class Explain:
    """Middleware that makes a page of such an error."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass a request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Tell that there are no predictions for now; leave a defect to Django."""
        problem = explain(error)
        if problem is None:
            return None
        logger.error("%s: %s", problem, error)
        response = render(request, "503.html", {"problem": problem}, status=503)
        response["Retry-After"] = "30"
        return response
