"""Errors of the wrapper, shaped for PostgreSQL."""

from __future__ import annotations


class FdwError(Exception):
    """Root of the wrapper's errors.

    :param message: lower-case clause that names the offending value
    :param hint: what the user can do about it
    :param sqlstate: SQLSTATE where it differs from the class's own
    """

    sqlstate = "58000"

    def __init__(self, message: str, hint: str | None = None, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if sqlstate is not None:
            self.sqlstate = sqlstate


class ProtocolError(FdwError):
    """A frame that breaks the format or its bounds."""

    sqlstate = "08P01"


class RuntimeUnavailable(FdwError):
    """No inference runtime answers on its socket."""

    sqlstate = "08001"


class RuntimeTimeout(FdwError):
    """The runtime did not answer within the time allowed."""

    sqlstate = "57014"


class PredictionFailed(FdwError):
    """The runtime answered with an error of its own."""

    sqlstate = "22000"


class InvalidFeatures(FdwError):
    """Features that are missing, unknown, or of the wrong type."""

    sqlstate = "22023"


class InvalidOption(FdwError):
    """An option of the foreign server that cannot be used."""

    sqlstate = "HV024"


class ClientGone(FdwError):
    """The database client has closed its connection; nothing may be committed for it."""

    sqlstate = "08006"


class ServerGone(FdwError):
    """The server's main process has died; nothing may be committed after it."""

    sqlstate = "57P02"


class Interrupted(FdwError):
    """PostgreSQL wants the statement to end and raises its own error; never shown."""

    sqlstate = "57014"
