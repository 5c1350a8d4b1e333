"""Errors of the runtime; each becomes an error answer with its SQLSTATE."""

from __future__ import annotations

from pgpredict.errors import PgpredictError


class RuntimeFailure(PgpredictError):
    """Root of the runtime's errors."""

    sqlstate = "58000"


class InvalidRequest(RuntimeFailure):
    """A request that no wrapper of ours sends."""

    sqlstate = "08P01"


class InvalidBatch(RuntimeFailure):
    """A batch text that breaks its format."""

    sqlstate = "22023"


class ArtifactNotFound(RuntimeFailure):
    """The caller's database has no such artifact that the runtime can see."""

    sqlstate = "42704"


class ArtifactCorrupt(RuntimeFailure):
    """An artifact whose bytes do not have the sha256 that names it."""

    sqlstate = "XX001"


class DatabaseUnreachable(RuntimeFailure):
    """The runtime cannot read artifacts from the caller's database."""

    sqlstate = "08001"


class DatabaseGone(DatabaseUnreachable):
    """The server has no such database, or has it no longer."""

    sqlstate = "3D000"


class OutOfMemory(RuntimeFailure):
    """A model or a batch larger than the memory allowed."""

    sqlstate = "53200"


class ShuttingDown(RuntimeFailure):
    """The runtime finishes what runs and takes nothing new."""

    sqlstate = "57P01"


class TooManyConnections(RuntimeFailure):
    """More connections than the runtime takes."""

    sqlstate = "53300"


class AlreadyRunning(RuntimeFailure):
    """Another runtime serves the same socket."""

    sqlstate = "55006"


class NotRunning(RuntimeFailure):
    """No runtime answers on the socket."""

    sqlstate = "08001"
