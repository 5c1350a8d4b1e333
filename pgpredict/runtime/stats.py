"""Counters and latencies, in bounded memory."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import OrderedDict
from typing import Any

#: buckets grow by 5 %, from 1 µs to beyond an hour: percentiles are right within 2.5 %
_GROWTH = math.log(1.05)
_BUCKETS = 460
_MAX_MODELS = 1_000


class Latencies:
    """A histogram of seconds whose buckets are evenly spaced on a logarithmic scale."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0

    def record(self, seconds: float) -> None:
        """Count one measurement."""
        slot = int(math.log(max(seconds, 1e-6) * 1e6) / _GROWTH)
        self._counts[min(slot, _BUCKETS - 1)] += 1
        self._total += 1

    def percentile(self, share: float) -> float | None:
        """Return the seconds that ``share`` of the measurements do not exceed; None without any."""
        wanted, seen = self._total * share, 0
        for slot, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return math.exp((slot + 0.5) * _GROWTH) * 1e-6
        return None

    def summary(self) -> dict[str, float | int | None]:
        """Return count and percentiles in milliseconds."""
        names = (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))
        found = {name: self.percentile(share) for name, share in names}
        return {
            "count": self._total,
            **{name: None if value is None else round(value * 1e3, 4) for name, value in found.items()},
        }


@dataclasses.dataclass
class ModelStats:
    """What happened to one model."""

    requests: int = 0
    rows: int = 0
    errors: int = 0
    point: Latencies = dataclasses.field(default_factory=Latencies)
    batch: Latencies = dataclasses.field(default_factory=Latencies)


class Stats:
    """Statistics of the models used last, by artifact."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[str, ModelStats] = OrderedDict()

    def record(self, artifact: str, *, rows: int, seconds: float, batch: bool) -> None:
        """Count a request that was answered."""
        with self._lock:
            stats = self._of(artifact)
            stats.requests += 1
            stats.rows += rows
            (stats.batch if batch else stats.point).record(seconds)

    def record_error(self, artifact: str) -> None:
        """Count a request that failed."""
        with self._lock:
            stats = self._of(artifact)
            stats.requests += 1
            stats.errors += 1

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return every model's statistics by artifact."""
        with self._lock:
            return {
                artifact: {
                    "requests": stats.requests,
                    "rows": stats.rows,
                    "errors": stats.errors,
                    "point": stats.point.summary(),
                    "batch": stats.batch.summary(),
                }
                for artifact, stats in self._models.items()
            }

    def _of(self, artifact: str) -> ModelStats:
        stats = self._models.get(artifact)
        if stats is None:
            stats = self._models[artifact] = ModelStats()
            if len(self._models) > _MAX_MODELS:
                self._models.popitem(last=False)
        return stats
