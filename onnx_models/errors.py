"""Errors of training, conversion, verification and scoring."""

from __future__ import annotations


class ModelError(Exception):
    """Root of the errors about models.

    :param message: lower-case clause that names the offending value
    :param hint: what the user can do about it
    """

    sqlstate = "22000"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidSignature(ModelError):
    """A signature that is incomplete or contradicts itself or its graph."""

    sqlstate = "22023"


class InvalidArtifact(ModelError):
    """Bytes that are no acceptable ONNX model."""

    sqlstate = "22023"


class InvalidFeatures(ModelError):
    """Features that are missing, unknown, or of the wrong type."""

    sqlstate = "22023"


class InvalidTrainingData(ModelError):
    """Training data from which no model can be fitted."""

    sqlstate = "22000"


class InvalidParameter(ModelError):
    """An algorithm, task or hyperparameter that is not offered."""

    sqlstate = "22023"


class ParityError(ModelError):
    """ONNX Runtime and scikit-learn do not agree on the same rows."""

    sqlstate = "XX000"


class ScoringFailed(ModelError):
    """ONNX Runtime failed while it ran a graph."""

    sqlstate = "22000"


class OutOfMemory(ScoringFailed):
    """A graph that needs more memory than there is."""

    sqlstate = "53200"
