"""The algorithm ``auto``: a quick choice among sensible ones by cross-validation on a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .families import ALGORITHMS, Algorithm
from .fitting import Options, Progress, Report, fit
from .metrics import evaluate
from .table import TrainingTable, take
from .task import EncodedTarget

#: a straight line, an average of trees, and boosting: unlike enough that one of them fits
_CANDIDATES = {
    "regression": ("ridge", "random_forest", "hist_gradient_boosting"),
    "binary": ("logistic", "random_forest", "hist_gradient_boosting"),
    "multiclass": ("logistic", "random_forest", "hist_gradient_boosting"),
}
#: what is compared, and whether more is better
_SCORES = {"regression": ("rmse", False), "binary": ("log_loss", False), "multiclass": ("log_loss", False)}
_SAMPLE = 10_000
_FOLDS = 3


def choose_algorithm(
    table: TrainingTable, target: EncodedTarget, rows: NDArray[np.int64], options: Options, tell: Report
) -> tuple[Algorithm, dict[str, float]]:
    """Return the best candidate and the scores of all.

    :param rows: the training rows; held-out rows take no part
    """
    generator = np.random.default_rng(options.seed)
    sample = generator.permutation(rows)[:_SAMPLE]
    fold_of = _folds(target, sample)
    measure, more_is_better = _SCORES[target.task]
    scores: dict[str, float] = {}
    for name in _CANDIDATES[target.task]:
        tell(Progress("choosing", f"{name} on {len(sample):,} rows"))
        folds = [
            _score(table, target, sample[fold_of != fold], sample[fold_of == fold], ALGORITHMS[name], options)
            for fold in range(_FOLDS)
        ]
        scores[name] = round(float(np.mean([fold[measure] for fold in folds])), 6)
        tell(Progress("choosing", f"{name}: {measure} {scores[name]:.4g}"))
    best = (max if more_is_better else min)(scores, key=lambda name: scores[name])
    tell(Progress("choosing", f"{best} has the best {measure}"))
    return ALGORITHMS[best], scores


def _folds(target: EncodedTarget, sample: NDArray[np.int64]) -> NDArray[np.int64]:
    """Deal rows out by class, so that every fold has some of each."""
    fold_of = np.arange(len(sample)) % _FOLDS
    for c in range(len(target.classes)):
        of_class = np.flatnonzero(target.values[sample] == c)
        fold_of[of_class] = np.arange(len(of_class)) % _FOLDS
    return fold_of


def _score(
    table: TrainingTable,
    target: EncodedTarget,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    algorithm: Algorithm,
    options: Options,
) -> dict[str, float]:
    parameters = algorithm.read_parameters({})
    if target.classes:
        # a rare class may be missing from this fold; estimators number the classes they see
        train, test, target = _present(target, train, test)
    if not len(test):
        return {"log_loss": 0.0, "rmse": 0.0}
    fitted, _ = fit(table, target, train, algorithm, parameters, options)
    found = fitted.predict(take(table.columns, test))
    return evaluate(
        target.values[test], found.value, found.probabilities, target.classes, target.values[train]
    )


def _present(
    target: EncodedTarget, train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], EncodedTarget]:
    classes = np.unique(target.values[train])
    test = test[np.isin(target.values[test], classes)]
    values = np.searchsorted(classes, target.values).astype(np.float64)
    labels = tuple(target.classes[int(c)] for c in classes)
    return train, test, EncodedTarget(target.task, values, labels)
