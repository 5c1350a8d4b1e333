"""Counters of one proxy; plain numbers, because some of them are counted for every message."""

from __future__ import annotations

from dataclasses import dataclass, field


class Histogram:
    """Counts measurements in buckets, as Prometheus wants them.

    :param bounds: upper bounds of the buckets, in seconds, in order
    """

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def record(self, seconds: float) -> None:
        """Count one measurement."""
        self.total += seconds
        for index, bound in enumerate(self.bounds):
            if seconds <= bound:
                self.counts[index] += 1
                return
        self.counts[-1] += 1


def _latencies() -> Histogram:
    return Histogram(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass
class Stats:
    """What has happened since the start.

    :ivar messages: of clients, by the byte of their kind
    :ivar refused: connections that were not let in, by SQLSTATE
    :ivar rewritten: statements that got another text
    :ivar unchanged: statements with one of our words that turned out to have none of our syntax
    :ivar errors: statements that were refused, by SQLSTATE
    :ivar rewriting: seconds from a statement's arrival to its decision
    """

    connections: int = 0
    active: int = 0
    cancels: int = 0
    messages: list[int] = field(default_factory=lambda: [0] * 256)
    client_bytes: int = 0
    server_bytes: int = 0
    rewritten: int = 0
    unchanged: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    rewriting: Histogram = field(default_factory=_latencies)
    login: Histogram = field(default_factory=_latencies)


def count(counters: dict[str, int], key: str) -> None:
    """Count one more of a kind."""
    counters[key] = counters.get(key, 0) + 1
