"""A runtime's status as Prometheus reads it, for the textfile collector of its node exporter.

The runtime itself has no port: it reaches no network, and none reaches it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_GAUGES = {
    "uptime": ("pgpredict_runtime_uptime_seconds", "Since the worker was started"),
    "rss": ("pgpredict_runtime_resident_bytes", "Memory of the worker"),
    "memory": ("pgpredict_runtime_models_bytes", "Estimated memory of loaded models"),
    "memory_limit": ("pgpredict_runtime_models_limit_bytes", "Bound on it"),
    "connections": ("pgpredict_runtime_connections", "Sessions of the server that are connected"),
}
_COUNTERS = {
    "restarts": ("pgpredict_runtime_restarts", "Workers that had to be replaced"),
    "loads": ("pgpredict_runtime_loads", "Models loaded"),
    "evictions": ("pgpredict_runtime_evictions", "Models that had to make room"),
}
_MODEL_COUNTERS = {
    "requests": ("pgpredict_runtime_requests", "Requests, rows or batches"),
    "rows": ("pgpredict_runtime_rows", "Rows predicted"),
    "errors": ("pgpredict_runtime_errors", "Requests that failed"),
}
_LABELS = ("artifact", "target")


class StatusCollector(Collector):
    """Metrics of one status.

    :param status: as the runtime answers
    """

    def __init__(self, status: dict[str, Any]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        for key, (name, text) in _GAUGES.items():
            yield GaugeMetricFamily(name, text, value=self._status[key])
        for key, (name, text) in _COUNTERS.items():
            yield CounterMetricFamily(name, text, value=self._status[key])
        for key, (name, text) in _MODEL_COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=_LABELS)
            for model in self._status["models"]:
                counter.add_metric(_labels(model), model.get(key, 0))
            yield counter
        latency = GaugeMetricFamily(
            "pgpredict_runtime_latency_seconds",
            "Of the requests seen last, by form and percentile",
            labels=(*_LABELS, "form", "percentile"),
        )
        for model in self._status["models"]:
            for form, percentile, key in _PERCENTILES:
                summary = model.get(form, {})
                if summary.get("count"):
                    latency.add_metric((*_labels(model), form, percentile), summary[key] / 1000)
        yield latency


_PERCENTILES = [
    (form, percentile, key)
    for form in ("point", "batch")
    for percentile, key in (("50", "p50_ms"), ("99", "p99_ms"))
]


def _labels(model: dict[str, Any]) -> tuple[str, str]:
    return str(model["artifact"])[:12], str(model.get("target", ""))


def exposition(status: dict[str, Any]) -> str:
    """Return a status in Prometheus' text format.

    :param status: as the runtime answers
    """
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    return generate_latest(registry).decode()
