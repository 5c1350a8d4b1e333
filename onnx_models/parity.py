"""The parity gate: the artifact in ONNX Runtime against the fitted estimator in scikit-learn.

No version is stored before both agree, row by row, on held-out rows, on edge rows
(:mod:`onnx_models.edges`) and on one row alone: all labels equal, numbers within a bound.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ParityError
from .families import Estimator
from .preprocessing import Preprocessing
from .scoring import Model
from .table import Columns, for_scoring, row_count, take

#: largest difference of a probability, or of a value: absolute, or relative to values above 1
BOUND = 1e-5


@dataclasses.dataclass(frozen=True)
class Reference:
    """What scikit-learn says of some rows.

    :ivar value: the regression's value or the class index
    :ivar probabilities: (rows, classes), None for regression
    """

    value: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted pipeline in Python, the side that is not ONNX.

    :ivar classes: number of classes, 0 for regression
    """

    preprocessing: Preprocessing
    estimator: Estimator
    classes: int

    def predict(self, columns: Columns) -> Reference:
        """Predict with scikit-learn."""
        # scikit-learn's own checks overflow on values near float32's end, without harm
        with np.errstate(all="ignore"):
            return self._predict(self.preprocessing.transform(columns))

    def _predict(self, matrix: NDArray[np.float64]) -> Reference:
        value = np.asarray(self.estimator.predict(matrix), np.float64).reshape(-1)
        if not self.classes:
            return Reference(value, None)
        return Reference(value, np.asarray(self.estimator.predict_proba(matrix), np.float64))


def verify(
    artifact: bytes, fitted: Fitted, held_out: Columns, reference: Reference, edges: Columns
) -> dict[str, Any]:
    """Compare both sides and return what goes into the version's ``parity``.

    :param artifact: the ONNX file with its signature
    :param held_out: rows that ``reference`` is about
    :param edges: edge rows
    :raises ParityError: if they differ by more than :data:`BOUND`, or in a label
    """
    model = Model.load(artifact)
    worst = compare(model, held_out, reference, "held-out")
    worst = max(worst, compare(model, edges, fitted.predict(edges), "edge"))
    single = take(held_out, np.zeros(1, np.int64))
    worst = max(worst, compare(model, single, fitted.predict(single), "single"))
    return {
        "rows": row_count(held_out),
        "edge_rows": row_count(edges) + 1,
        "labels_equal": bool(fitted.classes) or None,
        "max_difference": worst,
        "bound": BOUND,
    }


def compare(model: Model, columns: Columns, reference: Reference, rows_called: str) -> float:
    """Score rows in chunks as the runtime does, and return the largest difference.

    :raises ParityError: as :func:`verify`
    """
    worst, rows, chunk = 0.0, row_count(columns), 20_000
    for start in range(0, rows, chunk):
        at = np.arange(start, min(start + chunk, rows))
        scores = model.predict(for_scoring(take(columns, at)), len(at))
        expected = reference.value[at]
        if reference.probabilities is None or scores.probabilities is None:
            difference = _difference(scores.value, expected)
        else:
            wrong = scores.value != expected
            if wrong.any():
                row = int(np.argmax(wrong))
                raise ParityError(
                    f"{int(wrong.sum())} labels of {len(at)} {rows_called} rows differ between ONNX Runtime "
                    f"and scikit-learn, first {scores.value[row]:.0f} against {expected[row]:.0f}",
                    hint="nothing was stored; choose another --algorithm, and report this",
                )
            difference = _difference(scores.probabilities, reference.probabilities[at])
        worst = max(worst, difference)
    # not <=: NaN must not pass
    if not worst <= BOUND:
        raise ParityError(
            f"ONNX Runtime and scikit-learn differ by {worst:.3g} on {rows_called} rows, "
            f"allowed is {BOUND:g}",
            hint="nothing was stored; choose another --algorithm, and report this",
        )
    return worst


def _difference(actual: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    if not len(expected):
        return 0.0
    both = np.isnan(actual) & np.isnan(expected)
    gap = np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.max(np.where(both | (actual == expected), 0.0, gap)))
