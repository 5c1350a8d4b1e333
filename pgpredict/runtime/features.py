"""One row of features, given as a JSON object, as columns of one element."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onnx_models.errors import InvalidFeatures
from onnx_models.scoring import Column
from onnx_models.signature import Feature, Kind, Signature

_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=datetime.UTC)
_TRUTH = {"true": 1.0, "t": 1.0, "1": 1.0, "false": 0.0, "f": 0.0, "0": 0.0}


def decode_row(signature: Signature, values: Mapping[str, Any]) -> dict[str, Column]:
    """Return one row's features by name; names that the model does not know are ignored.

    Texts that read as the feature's type are taken, since a float8 reaches the wrapper as text and
    dates are texts in JSON. A date, timestamp or time may also be its number of seconds.

    :param signature: the model's
    :param values: JSON values by feature name, None for NULL
    :raises InvalidFeatures: for a value that is not of its feature's kind
    """
    columns: dict[str, Column] = {}
    numbers: dict[str, float] = {}
    for feature in signature.features:
        if feature.name not in values:
            continue  # scoring names all that are missing at once
        value = values[feature.name]
        if feature.kind == "text":
            columns[feature.name] = [None if value is None else _text(feature, value)]
        else:
            numbers[feature.name] = math.nan if value is None else _number(feature, value)
    # parts of one array: an array for each takes five times as long to make
    vector = np.fromiter(numbers.values(), np.float64, len(numbers))
    columns.update((name, vector[place : place + 1]) for place, name in enumerate(numbers))
    return columns


def _text(feature: Feature, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise InvalidFeatures(f"feature {feature.name!r} must be text, not {value!r}")


def _number(feature: Feature, value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, bool) and feature.kind != "boolean":
        raise InvalidFeatures(f"feature {feature.name!r} must be a {feature.kind}, not {value!r}")
    try:
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            return _READERS[feature.kind](value)
    except (ValueError, OverflowError, KeyError) as error:
        raise _wrong(feature, value) from error
    raise _wrong(feature, value)


def _wrong(feature: Feature, value: Any) -> InvalidFeatures:
    return InvalidFeatures(
        f"feature {feature.name!r} must be a {feature.kind}, not {value!r}",
        hint=f"its SQL type is {feature.type}",
    )


def _boolean(text: str) -> float:
    return _TRUTH[text.lower()]


def _date(text: str) -> float:
    if text.lstrip("-") == "infinity":
        return float(text)
    return _timestamp(text)


def _timestamp(text: str) -> float:
    if text.lstrip("-") == "infinity":
        return float(text)
    moment = datetime.datetime.fromisoformat(text)
    return _seconds(moment - (_EPOCH if moment.tzinfo is None else _EPOCH_UTC))


def _time(text: str) -> float:
    if text == "24:00:00":
        return 86400.0
    moment = datetime.time.fromisoformat(text)
    return _seconds(datetime.datetime.combine(_EPOCH, moment) - _EPOCH)


def _seconds(span: datetime.timedelta) -> float:
    # as PostgreSQL's extract(epoch): whole seconds plus microseconds, rounded once
    return (span.days * 86_400_000_000 + span.seconds * 1_000_000 + span.microseconds) / 1e6


_READERS: Mapping[Kind, Callable[[str], float]] = {
    "number": float,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamp,
    "time": _time,
}
