"""Errors of the command line, the local server and the runtime."""

from __future__ import annotations


class PgpredictError(Exception):
    """Root of the errors of this package.

    :param message: lower-case clause that names the offending value
    :param hint: what the user can do about it
    """

    sqlstate = "58000"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ServerError(PgpredictError):
    """The local server or the runtime cannot be set up, started or reached."""

    sqlstate = "08001"


class InvalidInput(PgpredictError):
    """An argument that cannot be used."""

    sqlstate = "22023"
