"""Training data of the tests: every kind of column, NULL in most of them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from onnx_models.signature import Feature
from onnx_models.table import Column, Texts, TrainingTable

Task = Literal["binary", "multiclass", "regression"]
ROWS = 500


def mixed_table(task: Task, rows: int = ROWS, seed: int = 1) -> TrainingTable:
    """A table with every kind of feature, constants, NULL columns, and names that no language likes."""
    generator = np.random.default_rng(seed)
    number = generator.normal(50.0, 20.0, rows)
    number[::9] = np.nan
    large = generator.integers(2**24, 2**40, rows).astype(np.float64)
    flag = (generator.random(rows) > 0.5).astype(np.float64)
    flag[::13] = np.nan
    day = np.floor(generator.uniform(0.0, 2e9, rows) / 86_400.0) * 86_400.0
    moment = np.round(generator.uniform(-1e9, 2e9, rows), 6)
    moment[::20] = np.nan
    clock = np.round(generator.uniform(0.0, 86_400.0, rows), 6)
    level = generator.integers(0, 4, rows).astype(np.float64)
    letters = [
        None if generator.random() < 0.1 else "abcdefé"[int(k)] * 2 for k in generator.integers(0, 7, rows)
    ]
    features = (
        Feature("a number", "double precision", "number"),
        Feature("large", "bigint", "number"),
        Feature('fl"ag', "boolean", "boolean"),
        Feature("day", "date", "date"),
        Feature("moment", "timestamp without time zone", "timestamp"),
        Feature("moment tz", "timestamp with time zone", "timestamptz"),
        Feature("clock", "time without time zone", "time"),
        Feature("lettré", "text", "text"),
        Feature("id", "uuid", "text"),
        Feature("constant", "integer", "number"),
        Feature("nothing", "real", "number"),
        Feature("no text", "character varying", "text"),
        Feature("level", "smallint", "number"),
    )
    values: list[Column] = [number, large, flag, day, moment, moment + 3600.0, clock, Texts.of(letters)]
    values += [Texts.of([f"id {row}" for row in range(rows)]), np.full(rows, 3.0), np.full(rows, np.nan)]
    values += [Texts.of([None] * rows), level]
    columns = {feature.name: column for feature, column in zip(features, values, strict=True)}
    signal = np.nan_to_num(number, nan=50.0) / 20.0 + level
    signal += np.array([0.0 if text is None else ord(text[0]) % 7 for text in letters])
    signal += generator.normal(size=rows)
    if task == "regression":
        return TrainingTable(features, columns, signal * 1000.0, Feature("y", "numeric", "number"))
    if task == "binary":
        late = (signal > np.median(signal)).astype(np.float64)
        return TrainingTable(features, columns, late, Feature("y", "boolean", "boolean"))
    parts = np.digitize(signal, np.quantile(signal, [0.33, 0.66]))
    named = Texts.of([("low", "middle", "high")[int(part)] for part in parts])
    return TrainingTable(features, columns, named, Feature("y", "text", "text"))


@pytest.fixture(scope="session")
def mixed_tables() -> dict[Task, TrainingTable]:
    """A mixed table for each task."""
    tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")
    return {task: mixed_table(task) for task in tasks}
