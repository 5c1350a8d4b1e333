"""Metrics for Prometheus and a health check, over HTTP, from a thread of their own."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from pgpredict.errors import ServerError

from .errors import ServerUnreachable, TooManyClients
from .settings import parse_address
from .stats import Histogram, Stats

logger = logging.getLogger(__name__)

#: messages of clients that begin or run a statement, by the byte of their kind
_MESSAGES = {
    "Q": "query",
    "P": "parse",
    "B": "bind",
    "E": "execute",
    "F": "function_call",
    "d": "copy_data",
    "S": "sync",
}
#: why connections are refused that alerts look at: there from the beginning, or the step from nothing to the
#: first one would be none to Prometheus
_WATCHED = (ServerUnreachable.sqlstate, TooManyClients.sqlstate)
#: a caller of the HTTP server is waited for so many seconds
_PATIENCE = 5


class StatsCollector(Collector):
    """Gives the counters of a proxy to Prometheus.

    :param stats: the counters
    """

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        stats = self._stats
        refused = {**dict.fromkeys(_WATCHED, 0), **stats.refused.copy()}
        yield CounterMetricFamily("pgpredict_connections", "Connections taken", value=stats.connections)
        yield GaugeMetricFamily("pgpredict_sessions", "Sessions that run", value=stats.active)
        yield CounterMetricFamily("pgpredict_cancels", "Cancel requests passed on", value=stats.cancels)
        yield _labelled(
            "pgpredict_messages",
            "Messages of clients",
            "kind",
            ((name, stats.messages[ord(kind)]) for kind, name in _MESSAGES.items()),
        )
        yield _labelled(
            "pgpredict_bytes",
            "Bytes passed on",
            "source",
            (("client", stats.client_bytes), ("server", stats.server_bytes)),
        )
        yield _labelled(
            "pgpredict_statements",
            "Statements with a word of ours, by what became of them",
            "outcome",
            (
                ("rewritten", stats.rewritten),
                ("unchanged", stats.unchanged),
                ("refused", sum(stats.errors.copy().values())),
            ),
        )
        yield _labelled(
            "pgpredict_rewrite_cache",
            "Statements looked for among those kept",
            "outcome",
            (("hit", stats.cache_hits), ("miss", stats.cache_misses)),
        )
        yield _labelled(
            "pgpredict_refused_statements", "Statements refused", "sqlstate", stats.errors.copy().items()
        )
        yield _labelled("pgpredict_refused_connections", "Connections refused", "sqlstate", refused.items())
        yield _histogram("pgpredict_rewrite_seconds", "From a statement to its decision", stats.rewriting)
        yield _histogram("pgpredict_login_seconds", "From a connection to its session", stats.login)


def _labelled(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values:
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    counts, total, buckets = list(histogram.counts), 0, []
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.total)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, without asking for the host's name, which may take its time."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *args: Any) -> None:
        """Log as the rest does."""
        logger.debug("event=http %s", format % args)


class HttpEndpoint:
    """Serves ``/metrics`` and ``/health`` until it is closed.

    :param address: ``host:port``
    :param stats: counters
    :param health: returns whether all is well, and what is told about it
    :raises ServerError: if the address cannot be had
    """

    def __init__(self, address: str, stats: Stats, health: Callable[[], tuple[bool, dict[str, Any]]]) -> None:
        registry = CollectorRegistry()
        registry.register(StatsCollector(stats))
        ProcessCollector(registry=registry)
        metrics = make_wsgi_app(registry)

        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            path = environ.get("PATH_INFO")
            if path == "/metrics":
                answered: Iterable[bytes] = metrics(environ, start_response)
                return answered
            if path != "/health":
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b"/metrics and /health are here\n"]
            well, told = health()
            start_response(
                "200 OK" if well else "503 Service Unavailable", [("Content-Type", "application/json")]
            )
            return [json.dumps(told).encode() + b"\n"]

        host, port = parse_address(address)
        try:
            self._server = make_server(host, port, application, _Server, _Handler)
        except OSError as error:
            raise ServerError(f"cannot serve HTTP on {address!r}: {error.strerror}") from error
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
