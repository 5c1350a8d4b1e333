"""A catalog of fixed answers, for tests without a server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from onnx_models.signature import Binding, Feature, Signature, Target
from rewriter import Column, DescribeError, ModelInfo

_LATE = Signature(
    "binary",
    Target("late", "boolean"),
    (
        Feature("carrier", "text", "text"),
        Feature("distance", "integer", "number"),
        Feature("hour", "timestamp with time zone", "timestamptz"),
    ),
    Binding("columns", ("carrier", "distance", "hour"), "label", "probabilities"),
    ("false", "true"),
)
_DELAY = Signature(
    "regression",
    Target("delay", "integer"),
    (Feature("Carrier's \\ name", "text", "text"), Feature("distance", "integer", "number")),
    Binding("columns", ("c", "d"), "value"),
)
COLUMNS = {
    "f": (
        Column("flight", "integer", 23),
        Column("carrier", "text", 25),
        Column("distance", "integer", 23),
        Column("hour", "timestamp with time zone", 1184),
        Column("tags", "text[]", 1009, is_array=True),
        Column("Carrier's \\ name", "text", 25),
    ),
    "w": (Column("origin", "character(3)", 1042), Column("temp", "double precision", 701)),
}


class StaticCatalog:
    """Knows the models ``late`` and ``delay``, and sources by the aliases ``f`` and ``w``."""

    def __init__(self, functions: Sequence[str] = ()) -> None:
        self.functions = functions
        self.described: list[str] = []

    def model(self, name: str, version: int | None = None) -> ModelInfo | None:
        models = {"late": ModelInfo("late", 1, _LATE), "delay": ModelInfo("delay", 2, _DELAY)}
        return models.get(name)

    def settings(self) -> Mapping[str, str]:
        return {}

    def texts_are_bytes(self) -> bool:
        return True

    def model_names(self) -> Sequence[str]:
        return ["late", "delay"]

    def has_function(self, name: str) -> bool:
        return name in self.functions

    def is_volatile(self, names: Sequence[str]) -> bool:
        return "random" in names

    def describe(self, sql: str) -> Sequence[Column]:
        self.described.append(sql)
        columns: list[Column] = []
        star: list[Column] = []
        for alias in re.findall(r"COALESCE\((\w+)\.\*\)", sql):
            if alias not in COLUMNS:
                raise DescribeError(f'relation "{alias}" does not exist', "42P01")
            columns += [*COLUMNS[alias], Column("pgpredict: next source", alias, 99, is_composite=True)]
            star += COLUMNS[alias]
        return [*columns, *star]

    def primary_key(self, table: str) -> Sequence[str]:
        return ["flight"] if table == "f" else []

    def is_steady(self, relations: Sequence[str], functions: Sequence[str]) -> bool:
        return not functions

    def estimate(self, sql: str) -> float | None:
        return None
