"""What the services count, for Prometheus. Labels are routes, outcomes and states: never students."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kemudi.graph.sync.status import State, SyncStatus

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters of one process, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "kemudi_graph_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "kemudi_graph_request_seconds",
            "Time to answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._cache = Counter(
            "kemudi_graph_cache_lookups", "Look-ups in the query cache.", ["outcome"], registry=self._registry
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request; `route` is the pattern, not the address."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def looked_up(self, hit: bool) -> None:
        """A look-up in the cache."""
        self._cache.labels("hit" if hit else "miss").inc()

    def watch_sync(self, status: Callable[[], SyncStatus]) -> None:
        """Show the sync's status whenever the metrics are read."""
        self._registry.register(_SyncCollector(status))

    def text(self) -> bytes:
        """All of it, in the text format."""
        return generate_latest(self._registry)


class _SyncCollector(Collector):
    def __init__(self, status: Callable[[], SyncStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """The gauges of this moment."""
        status = self._status()
        state = GaugeMetricFamily("kemudi_sync_state", "1: the sync is in this state.", labels=["state"])
        for name in get_args(State):
            state.add_metric([name], float(status.state == name))
        yield state
        yield GaugeMetricFamily("kemudi_sync_rows_done", "Rows of this run.", value=status.rows_done)
        yield GaugeMetricFamily(
            "kemudi_sync_rows_total", "Rows this run takes over.", value=status.rows_total
        )
        if status.last_success is not None:
            moment = datetime.fromisoformat(status.last_success).timestamp()
            yield GaugeMetricFamily(
                "kemudi_sync_last_success_timestamp_seconds", "When the graph last equalled.", value=moment
            )
