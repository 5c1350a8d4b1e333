"""Shapes of a model's SQL form."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .nodes import Body, Column, Input, Link, Rule, Split, Trees, nodes_of


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
    """A subselect that the outputs read, by its columns' names alone, which begin with its alias.

    :ivar alias: of the subselect
    :ivar columns: (name, expression) pairs, which read the inputs and the columns of :attr:`inner`
    :ivar inner: the stage before, whose columns this one hands on
    :ivar fenced: whether it must be computed once a row (``OFFSET 0``), because it is used many times
    """

    alias: str
    columns: tuple[tuple[str, str], ...]
    inner: Stage | None = None
    fenced: bool = True

    @property
    def sql(self) -> str:
        """The stage with its alias, to stand behind ``LATERAL`` or, alone, behind ``FROM``.

        One stage inside the other, rather than one LATERAL beside the other: PostgreSQL puts a cache between
        those, which costs more than all the rest (measured: three in 4 microseconds a row against 0.2).
        """
        items = [f"{expression} AS {name}" for name, expression in self.columns]
        handed = [] if self.inner is None else [f"{self.inner.alias}.*"]
        source = "" if self.inner is None else f" FROM {self.inner.sql}"
        fence = " OFFSET 0" if self.fenced else ""
        return f"(SELECT {', '.join([*handed, *items])}{source}{fence}) AS {self.alias}"


@dataclasses.dataclass(frozen=True)
class Rendered:
    """SQL of a model: stages in their order, and one expression for each wanted output.

    :ivar stages: none, or one, to be joined by ``CROSS JOIN LATERAL <stage.sql>``, or to be what the outputs
        are selected from; it reads the inputs
    :ivar outputs: they read the stage's columns and the inputs, and may be put in parentheses
    """

    stages: tuple[Stage, ...]
    outputs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class InlineForm:
    """A model as arithmetic and comparisons of its features.

    :ivar features: those that it reads, in the signature's order
    :ivar inputs: the same with their types
    :ivar columns: what the body's questions and sums are about
    :ivar link: what becomes of the scores
    :ivar rule: when the second of two classes is predicted
    :ivar classes: labels in the order of the signature; empty for regression
    """

    features: tuple[str, ...]
    inputs: tuple[Input, ...]
    columns: tuple[Column, ...]
    body: Body
    link: Link
    rule: Rule = "above"
    classes: tuple[str, ...] = ()

    @functools.cached_property
    def splits(self) -> int:
        """Number of questions that are written out; 0 for sums."""
        if not isinstance(self.body, Trees):
            return 0
        return sum(isinstance(node, Split) for tree in self.body.trees for node in nodes_of(tree))

    def render(self, inputs: Mapping[str, str], wanted: Sequence[Wanted], alias: str) -> Rendered:
        """Return SQL that gives what the ONNX form gives.

        :param inputs: for each of :attr:`features` the SQL of its value: double precision (see
            :data:`onnx_models.signature.Kind`) or text, NULL where missing; evaluated several times, and put
            in parentheses here unless it is a plain name
        :param alias: our own prefix for the aliases of stages
        :raises ValueError: for an output or a class that the model does not have
        """
        from .render import render

        return render(self, inputs, wanted, alias)

    def to_json(self) -> dict[str, Any]:
        """Return the form as a JSON object."""
        from .codec import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> InlineForm:
        """Read what :meth:`to_json` wrote; nothing in it is trusted, since it becomes SQL that others run.

        :raises InvalidForm: if it is not of this shape, or too large or too deep
        """
        from .codec import from_json

        return from_json(value)
