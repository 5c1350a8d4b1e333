"""Shapes of a model's SQL form."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Wanted:
    """An output that is wanted of a model.

    :ivar kind: ``value``: the regression's value, double precision; ``label``: the predicted class as text;
        ``probability``: of the class ``label``, or of the predicted class where that is None
    """

    kind: Literal["value", "label", "probability"]
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Stage:
    """A SELECT list that later stages and the outputs refer to as ``<alias>.<name>``.

    :ivar fenced: whether it must be computed once a row (``OFFSET 0``), because it is used many times
    """

    alias: str
    columns: tuple[tuple[str, str], ...]
    fenced: bool = False


@dataclasses.dataclass(frozen=True)
class Rendered:
    """SQL of a model: stages in their order, and one expression for each wanted output."""

    stages: tuple[Stage, ...]
    outputs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class InlineForm:
    """A model as arithmetic and comparisons of its features.

    :ivar features: those that it reads, in the signature's order
    """

    features: tuple[str, ...]

    def render(self, inputs: Mapping[str, str], wanted: Sequence[Wanted], alias: str) -> Rendered:
        """Return SQL that gives what the ONNX form gives.

        :param inputs: for each of :attr:`features` the SQL of its value: double precision (see
            :data:`onnx_models.signature.Kind`) or text, NULL where missing; evaluated several times
        :param alias: our own prefix for the aliases of stages
        """
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return the form as a JSON object."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> InlineForm:
        """Read what :meth:`to_json` wrote; nothing in it is trusted, since it becomes SQL that others run."""
        raise NotImplementedError
