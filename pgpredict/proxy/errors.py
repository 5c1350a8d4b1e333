"""Errors of the proxy; each is told to the client as PostgreSQL would tell one of its own."""

from __future__ import annotations

from pgpredict.catalog.errors import StatementRefused
from pgpredict.errors import PgpredictError

from . import frames


class ProxyError(PgpredictError):
    """Root of the proxy's errors.

    :ivar severity: FATAL where the connection ends with it
    """

    sqlstate = "08000"
    severity = "FATAL"

    def message_for_client(self) -> bytes:
        """Return the ErrorResponse."""
        return error_response(self.message, self.sqlstate, self.hint, severity=self.severity)


class Malformed(ProxyError):
    """Bytes that are not the protocol."""

    sqlstate = "08P01"


class TooManyClients(ProxyError):
    """The limit of connections is reached."""

    sqlstate = "53300"


class ServerUnreachable(ProxyError):
    """The server cannot be connected to."""

    sqlstate = "08006"


class NotAllowed(ProxyError):
    """A client that may not connect in this way."""

    sqlstate = "28000"


class Draining(ProxyError):
    """The proxy is shutting down."""

    sqlstate = "57P01"


class TooSlow(ProxyError):
    """A client or server did not do its part of the start-up in time."""

    sqlstate = "08006"


class RewriteTooSlow(StatementRefused):
    """Rewriting took longer than it may."""

    sqlstate = "57014"


class Canceled(StatementRefused):
    """The client's cancel request came while its statement was rewritten; in PostgreSQL's own words."""

    sqlstate = "57014"

    def __init__(self) -> None:
        super().__init__("canceling statement due to user request")


def error_response(
    message: str,
    sqlstate: str,
    hint: str | None = None,
    position: int | None = None,
    *,
    severity: str = "ERROR",
    encoding: str = "utf-8",
) -> bytes:
    """Return an ErrorResponse.

    :param position: in the client's statement, in characters from 1
    :param encoding: Python's name of the client's encoding
    """
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": message}
    if hint:
        fields["H"] = hint
    if position is not None:
        fields[frames.POSITION] = str(position)
    return frames.error(fields, encoding)
