"""Calendar arithmetic against Python's datetime, and the graph against NumPy, for any moment."""

from __future__ import annotations

import datetime

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_models.calendar import COMPONENTS, FIRST_SECOND, LAST_SECOND, components
from onnx_models.graph import Graph
from onnx_models.signature import Kind

EPOCH = datetime.datetime(1970, 1, 1)
moments = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999))


def _parts(seconds: float, kind: Kind) -> dict[str, float]:
    values = components(np.array([[seconds]]), kind, np)
    return {name: float(value[0, 0]) for name, value in zip(COMPONENTS[kind], values, strict=True)}


@given(moments)
def test_timestamps(moment: datetime.datetime) -> None:
    seconds = (moment - EPOCH) / datetime.timedelta(seconds=1)
    back = EPOCH + datetime.timedelta(seconds=seconds)
    parts = _parts(seconds, "timestamp")
    assert (parts["year"], parts["month"], parts["day of month"]) == (back.year, back.month, back.day)
    assert parts["day of week"] == back.isoweekday() % 7
    assert parts["day of year"] == back.timetuple().tm_yday
    assert (parts["hour"], parts["minute of day"]) == (back.hour, back.hour * 60 + back.minute)


@given(st.dates())
def test_dates(day: datetime.date) -> None:
    days = (day - EPOCH.date()).days
    parts = _parts(days * 86_400.0, "date")
    assert parts["day"] == days
    assert (parts["year"], parts["month"], parts["day of month"]) == (day.year, day.month, day.day)


@given(st.times())
def test_times(clock: datetime.time) -> None:
    seconds = clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1e6
    parts = _parts(seconds, "time")
    assert (parts["hour"], parts["minute of day"]) == (clock.hour, clock.hour * 60 + clock.minute)


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    graph = Graph()
    x = graph.input("seconds")
    parts = [part for kind in COMPONENTS for part in components(x, kind, graph)]
    graph.output(graph.concat(parts), "parts", (None, len(parts)))
    return ort.InferenceSession(graph.to_model("calendar").SerializeToString())


@settings(max_examples=50)
@given(
    st.lists(st.floats() | st.floats(-1e11, 1e12) | st.integers(-(10**11), 10**12), min_size=1, max_size=50)
)
def test_the_graph_gives_the_same_bits(session: ort.InferenceSession, seconds: list[float]) -> None:
    column = np.array(seconds, np.float64).reshape(-1, 1)
    (actual,) = session.run(None, {"seconds": column})
    expected = [part for kind in COMPONENTS for part in components(column, kind, np)]
    assert np.array_equal(actual, np.concatenate(expected, axis=1), equal_nan=True)


def test_infinity_is_the_end_of_the_range() -> None:
    assert _parts(float("inf"), "date")["year"] == _parts(LAST_SECOND, "date")["year"] > 200_000
    assert _parts(float("-inf"), "date")["year"] == _parts(FIRST_SECOND, "date")["year"] < -4000
    assert all(np.isnan(value) for value in _parts(float("nan"), "timestamptz").values())
