"""Statements that cannot be rewritten for reasons that are not in their text."""

from __future__ import annotations

from pgpredict.errors import PgpredictError


class StatementRefused(PgpredictError):
    """A statement that cannot be rewritten; the session goes on."""

    sqlstate = "42000"


class TransactionFailed(StatementRefused):
    """The transaction has failed before; in PostgreSQL's own words."""

    sqlstate = "25P02"

    def __init__(self) -> None:
        super().__init__("current transaction is aborted, commands ignored until end of transaction block")


class Untranslatable(StatementRefused):
    """A name that the statement leads to does not exist in the client's encoding.

    :param error: Python's
    """

    sqlstate = "22P05"

    def __init__(self, error: UnicodeError | LookupError) -> None:
        what = str(error)
        if isinstance(error, UnicodeEncodeError):
            letters = error.object[error.start : error.end]
            what = f"{letters!r} in {error.object[max(error.start - 20, 0) : error.end + 20]!r}"
        super().__init__(
            f"a name that the statement leads to has no equivalent in the client's encoding: {what}",
            "SET client_encoding = 'UTF8'",
        )


def refused(error: dict[str, str]) -> StatementRefused:
    """Return an error of the server's to a question of ours as one that the client is told.

    :param error: its fields, by the letters of the protocol
    """
    told = StatementRefused(
        error.get("M", "the server refuses a question about the statement"), error.get("H")
    )
    told.sqlstate = error.get("C", "XX000")
    return told
