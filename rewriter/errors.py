"""Errors of the rewriter: what a statement asks for and cannot have, and where it asks for it."""

from __future__ import annotations


class RewriteError(Exception):
    """Root of the rewriter's errors.

    :param message: lower-case clause that names the offending value
    :param hint: what the user can do about it
    :param position: 1-based character position in the user's statement, as PostgreSQL counts it
    :param sqlstate: SQLSTATE where it differs from the class's own
    """

    sqlstate = "42000"

    def __init__(
        self, message: str, hint: str | None = None, position: int | None = None, sqlstate: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.position = position
        if sqlstate is not None:
            self.sqlstate = sqlstate


class MalformedForm(RewriteError):
    """A PREDICT or PROBABILITY that breaks its own syntax."""

    sqlstate = "42601"


class EmptyClause(RewriteError):
    """A clause of a SELECT without anything in it."""

    sqlstate = "42601"


class UnknownModel(RewriteError):
    """A model that does not exist, or that the caller may not see."""

    sqlstate = "42704"


class UndeployedModel(RewriteError):
    """A model of which no version is deployed."""

    sqlstate = "55000"


class UnknownVersion(RewriteError):
    """A version that the model does not have."""

    sqlstate = "42704"


class UnknownFeature(RewriteError):
    """A feature that is missing, or a name that is no feature of the model."""

    sqlstate = "42703"


class AmbiguousFeature(RewriteError):
    """A feature's name that several sources offer."""

    sqlstate = "42702"


class WrongType(RewriteError):
    """A column whose type cannot become the feature's type."""

    sqlstate = "42804"


class CannotImpute(RewriteError):
    """ON MISSING IMPUTE of a model that takes no NULL."""

    sqlstate = "22023"


class UnknownClass(RewriteError):
    """A class label that the model does not have."""

    sqlstate = "22023"


class InvalidSetting(RewriteError):
    """A setting of the session, or an argument, with a value that there is not."""

    sqlstate = "22023"


class NotSupported(RewriteError):
    """A place or a form that cannot be answered rightly yet, and is refused therefore."""

    sqlstate = "0A000"


class Aggregated(NotSupported):
    """A feature that is computed from a group of rows."""


class InvalidSource(RewriteError):
    """PostgreSQL's own complaint about a FROM clause, placed into the user's statement."""

    sqlstate = "42P01"


class WrongTask(RewriteError):
    """A form that a model of this task has no answer to."""

    sqlstate = "42809"
