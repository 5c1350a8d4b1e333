"""Models that add up their features: any types, and the right answer is known without a computer.

A number, boolean, date or time counts as itself (dates and times in seconds), NULL as 1000; a text
counts as 100 if it is ``UA``, NULL as 500, any other as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psycopg

from onnx_models.scoring import Model
from onnx_models.signature import KINDS, NULL_TEXT, Binding, Feature, Signature, Target, Task
from onnx_models.storing import deploy, register

from .graphs import build

#: one column of each accepted type
TYPES: Mapping[str, str] = {
    "i2": "smallint",
    "i4": "integer",
    "i8": "bigint",
    "f4": "real",
    "f8": "double precision",
    "num": "numeric",
    "flag": "boolean",
    "txt": "text",
    "vc": "character varying",
    "ch": "character",
    "uid": "uuid",
    "mood": "mood",
    "day": "date",
    "ts": "timestamp without time zone",
    "tz": "timestamp with time zone",
    "clock": "time without time zone",
}


def features_of(types: Mapping[str, str]) -> tuple[Feature, ...]:
    """Features by name and PostgreSQL type; types that are not listed in KINDS are enums."""
    return tuple(Feature(name, kind, KINDS.get(kind, "text")) for name, kind in types.items())


def regression(types: Mapping[str, str], target_type: str = "double precision", offset: float = 0.0) -> bytes:
    """A regression whose prediction is the sum plus an offset."""
    features = features_of(types)
    binding = Binding("columns", tuple(_inputs(features)), "y")
    signature = Signature("regression", Target("y", target_type), features, binding)
    inputs, steps = _sum(features, offset)
    return build(f"g ({inputs}) => (double[N, 1] y) {{ {steps} y = Identity(total) }}", signature)


def classifier(
    types: Mapping[str, str],
    classes: tuple[str, ...] = ("no", "yes"),
    target_type: str = "text",
    threshold: float = 1000.0,
) -> bytes:
    """A classifier: the second class if the sum exceeds a threshold, with probability 0.75; others get 0."""
    features = features_of(types)
    binding = Binding("columns", tuple(_inputs(features)), "label", "p")
    task: Task = "binary" if len(classes) == 2 else "multiclass"
    signature = Signature(task, Target("y", target_type), features, binding, classes)
    inputs, steps = _sum(features, 0.0)
    high = ", ".join(["0.25", "0.75", *["0.0"] * (len(classes) - 2)])
    low = ", ".join(["0.75", "0.25", *["0.0"] * (len(classes) - 2)])
    graph = f"""g ({inputs}) => (int64[N, 1] label, double[N, {len(classes)}] p) {{ {steps}
        threshold = Constant<value = double {{{threshold!r}}}>()
        above = Greater(total, threshold)
        label = Cast<to = 7>(above)
        high = Constant<value = double[1, {len(classes)}] {{{high}}}>()
        low = Constant<value = double[1, {len(classes)}] {{{low}}}>()
        p = Where(above, high, low)
    }}"""
    return build(graph, signature)


def expected(row: Iterable[float | str | None], offset: float = 0.0) -> float:
    """The sum of features that are given as the runtime gets them: numbers, texts, None."""
    total = offset
    for value in row:
        if isinstance(value, str):
            total += 100.0 if value == "UA" else 0.0
        else:
            total += 1000.0 if value is None else value
    return total


def store(connection: psycopg.Connection, name: str, artifact: bytes, *, deployed: bool = True) -> int:
    """Register a version, deploy it, return its number."""
    version = register(connection, name, Model.load(artifact).signature, artifact, {})
    if deployed:
        deploy(connection, name, version)
    return version


def _inputs(features: Iterable[Feature]) -> list[str]:
    return [f"x{index}" for index, _ in enumerate(features)]


def _sum(features: tuple[Feature, ...], offset: float) -> tuple[str, str]:
    inputs, steps = (
        [],
        [
            f"s = Constant<value = double {{{offset!r}}}>()",
            "null = Constant<value = double {1000.0}>()",
        ],
    )
    total = "s"
    for index, feature in enumerate(features):
        if feature.kind == "text":
            inputs.append(f"string[N, 1] x{index}")
            steps.append(
                f'f{index} = ai.onnx.ml.LabelEncoder<keys_strings = ["UA", "{NULL_TEXT}"], '
                f"values_floats = [100.0, 500.0], default_float = 0.0>(x{index}) "
                f"v{index} = Cast<to = 11>(f{index})"
            )
        else:
            inputs.append(f"double[N, 1] x{index}")
            steps.append(f"n{index} = IsNaN(x{index}) v{index} = Where(n{index}, null, x{index})")
        steps.append(f"t{index} = Add({total}, v{index})")
        total = f"t{index}"
    return ", ".join(inputs), " ".join([*steps, f"total = Identity({total})"])
