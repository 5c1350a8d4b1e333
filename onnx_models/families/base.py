"""What a family of estimators offers: its hyperparameters, its estimators and its export."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from onnx_models.errors import InvalidParameter
from onnx_models.graph import Graph, Tensor
from onnx_models.inline.raw import Raw
from onnx_models.preprocessing import Needs

#: a fitted or unfitted scikit-learn estimator, which has no types of its own
Estimator = Any
ParameterValue = int | float | str | bool | None


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A hyperparameter that a user may set.

    :ivar kind: type of its values
    :ivar default: ours, which may differ from scikit-learn's
    :ivar low, high: bounds, both allowed
    :ivar above: greater than, where ``low`` itself is not allowed
    :ivar choices: for texts
    :ivar optional: whether ``none`` is allowed
    """

    kind: Literal["integer", "number", "choice", "switch"]
    default: ParameterValue
    low: float = 0.0
    high: float = float("inf")
    above: bool = False
    choices: tuple[str, ...] = ()
    optional: bool = False

    def describe(self) -> str:
        """Say what is allowed, in a few words."""
        if self.kind == "choice":
            text = " | ".join(self.choices)
        elif self.kind == "switch":
            text = "true | false"
        else:
            low = f"> {self.low:g}" if self.above else f">= {self.low:g}"
            text = f"{self.kind} {low}" + ("" if self.high == float("inf") else f", <= {self.high:g}")
        return text + (" | none" if self.optional else "")

    def read(self, name: str, value: ParameterValue) -> ParameterValue:
        """Check a value, given as text or in its own type.

        :raises InvalidParameter: naming the parameter, the value and what is allowed
        """
        if self.optional and (value is None or value == "none"):
            return None
        try:
            return self._checked(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidParameter(
                f"{name} = {value!r} is not allowed", hint=f"{name}: {self.describe()}"
            ) from error

    def _checked(self, value: ParameterValue) -> ParameterValue:
        if self.kind == "choice":
            if value not in self.choices:
                raise ValueError
            return value
        if self.kind == "switch":
            if str(value).lower() not in ("true", "false"):
                raise ValueError
            return str(value).lower() == "true"
        if value is None or isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number) or (self.kind == "integer" and not number.is_integer()):
            raise ValueError
        if not (self.low < number if self.above else self.low <= number) or number > self.high:
            raise ValueError
        return int(number) if self.kind == "integer" else number


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What an exported estimator gives.

    :ivar prediction: regression: the value, (rows, 1) float64; classification: class index, (rows,) int64
    :ivar probabilities: (rows, classes) float64; None for regression
    """

    prediction: Tensor
    probabilities: Tensor | None = None


Make = Callable[[Mapping[str, Any], int], Estimator]
Export = Callable[[Graph, Tensor, Estimator], Outputs]


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """One algorithm of the table in :mod:`onnx_models.families`.

    :ivar title: a line about it
    :ivar needs: the matrix that it wants
    :ivar classifier, regressor: make an estimator of hyperparameters and seed; None: not for this task
    :ivar export: write a fitted estimator into a graph
    :ivar most_rows: rows that it is trained with at most, where time or size grow too fast
    :ivar thresholds: (column, value) pairs at which a fitted estimator's answer jumps
    :ivar raw: a fitted estimator as trees or weighted sums, which can be written as SQL; None: it is neither
    """

    name: str
    title: str
    needs: Needs
    parameters: Mapping[str, Parameter]
    export: Export
    classifier: Make | None = None
    regressor: Make | None = None
    most_rows: int | None = None
    thresholds: Callable[[Estimator], list[tuple[int, float]]] | None = None
    raw: Callable[[Estimator], Raw] | None = None

    def read_parameters(self, given: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """Check hyperparameters and fill in the defaults.

        :raises InvalidParameter: for one that this algorithm does not have or a value that is not allowed
        """
        for name in given:
            if name not in self.parameters:
                raise InvalidParameter(f"{self.name} has no parameter {name!r}", hint=self._list_parameters())
        return {
            name: parameter.read(name, given[name]) if name in given else parameter.default
            for name, parameter in self.parameters.items()
        }

    def _list_parameters(self) -> str:
        if not self.parameters:
            return f"{self.name} has no parameters"
        return "parameters: " + ", ".join(
            f"{name} ({parameter.describe()})" for name, parameter in self.parameters.items()
        )


def positive(default: ParameterValue, high: float = float("inf"), *, optional: bool = False) -> Parameter:
    """Return a number above 0."""
    return Parameter("number", default, 0.0, high, above=True, optional=optional)


def count(
    default: ParameterValue, low: int = 1, high: float = float("inf"), *, optional: bool = False
) -> Parameter:
    """Return a whole number."""
    return Parameter("integer", default, low, high, optional=optional)


def choice(default: str | None, *choices: str, optional: bool = False) -> Parameter:
    """Return one of some texts."""
    return Parameter("choice", default, choices=choices, optional=optional)


CLASS_WEIGHT = choice(None, "balanced", optional=True)


def without(parameters: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return hyperparameters but some: those of the other task."""
    return {name: value for name, value in parameters.items() if name not in names}


def in_units_of_target(estimator: Estimator) -> Estimator:
    """Train a regressor on a target of mean 0 and standard deviation 1.

    Penalties and learning rates then mean the same for cents and for millions.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    return TransformedTargetRegressor(estimator, transformer=StandardScaler())


def target_units(estimator: Estimator) -> tuple[Estimator, float, float]:
    """Return the inner regressor, and the mean and scale of :func:`in_units_of_target`."""
    transformer = getattr(estimator, "transformer_", None)
    if transformer is None:
        return estimator, 0.0, 1.0
    return estimator.regressor_, float(transformer.mean_[0]), float(transformer.scale_[0])


def binary_outputs(graph: Graph, second: Tensor, is_second: Tensor) -> Outputs:
    """Return outputs of two classes.

    :param second: the second class's probability, (rows, 1)
    :param is_second: whether it is the prediction, (rows, 1) boolean
    """
    first = graph.op("Sub", 1.0, second)
    label = graph.op("Reshape", graph.integer(is_second), np.array([-1], np.int64))
    return Outputs(label, graph.concat([first, second]))


def multiclass_outputs(graph: Graph, scores: Tensor, probabilities: Tensor) -> Outputs:
    """Return outputs of the first class with the highest score.

    :param scores: (rows, classes)
    """
    return Outputs(graph.argmax(scores), probabilities)
