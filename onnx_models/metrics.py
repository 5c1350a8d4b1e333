"""Held-out metrics fit for the task, beside those of a guess without features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def evaluate(
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    probabilities: NDArray[np.float64] | None,
    classes: Sequence[str],
    known: NDArray[np.float64],
) -> dict[str, Any]:
    """Return metrics of held-out rows as a JSON object.

    :param truth: class indexes, or values
    :param predicted: likewise
    :param probabilities: (rows, classes) for classification
    :param classes: labels; empty for regression
    :param known: the target of the training rows, from which the baseline guesses
    :returns: metrics, ``rows``, and ``baseline``: the same metrics of always guessing the same
    """
    if not classes:
        guess = np.full(len(truth), known.mean())
        return {"rows": len(truth), **_regression(truth, predicted), "baseline": _regression(truth, guess)}
    if probabilities is None:
        raise ValueError("classification without probabilities")
    shares = np.bincount(known.astype(np.int64), minlength=len(classes)) / len(known)
    guess = np.full(len(truth), float(np.argmax(shares)))
    baseline = _classification(truth, guess, np.tile(shares, (len(truth), 1)), classes)
    del baseline["confusion_matrix"]
    return {
        "rows": len(truth),
        **_classification(truth, predicted, probabilities, classes),
        "baseline": baseline,
    }


def _regression(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    error = predicted - truth
    spread = float(np.square(truth - truth.mean()).sum())
    squared = float(np.square(error).sum())
    return {
        # a constant truth has no variance to explain
        "r2": 1.0 - squared / spread if spread else float(squared == 0.0),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
    }


def _classification(
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
) -> dict[str, Any]:
    from sklearn import metrics

    labels = list(range(len(classes)))
    y, guess = truth.astype(np.int64), predicted.astype(np.int64)
    binary = len(classes) == 2
    average = "binary" if binary else "macro"
    one_hot = np.eye(len(classes))[y]
    # a class that is not among the held-out rows has no curve
    present = np.flatnonzero((one_hot.sum(axis=0) > 0) & (one_hot.sum(axis=0) < len(y)))
    measured = [1] if binary else present.tolist()
    curves = [c for c in measured if c in present]
    return {
        "accuracy": float(np.mean(y == guess)),
        "f1": float(
            metrics.f1_score(y, guess, labels=None if binary else labels, average=average, zero_division=0.0)
        ),
        "roc_auc": _mean([metrics.roc_auc_score(one_hot[:, c], probabilities[:, c]) for c in curves]),
        "average_precision": _mean(
            [metrics.average_precision_score(one_hot[:, c], probabilities[:, c]) for c in curves]
        ),
        "log_loss": float(-np.mean(np.log(np.clip(probabilities[np.arange(len(y)), y], 1e-15, 1.0)))),
        "confusion_matrix": metrics.confusion_matrix(y, guess, labels=labels).tolist(),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
