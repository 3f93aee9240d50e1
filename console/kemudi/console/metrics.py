"""What the console counts, for Prometheus. Labels are routes, statuses, environments and states: never settings."""

import time
from collections.abc import Iterator
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kemudi.console.board import RowState
from kemudi.console.parts import Parts

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The counters of one console, in a registry of its own; the gauges are read when somebody asks."""

    def __init__(self, parts: Parts) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "kemudi_console_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "kemudi_console_request_seconds",
            "Time until the answer began.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Now(parts))

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request; `route` is the pattern, not the address."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of it, in the text format."""
        return generate_latest(self._registry)


class Counted:
    """ASGI middleware that tells the metrics of every answer; of a stream, of its beginning."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(_route(scope), message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, noted)


class _Now(Collector):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """The gauges of this moment."""
        parts, board = self._parts, self._parts.board
        readable = board.state is not None and not board.git_problem
        yield _gauge("git_readable", "1: the config repo can be read.", readable)
        yield _gauge("daemon_reachable", "1: the daemon answers.", board.reachable)
        yield _gauge("streams", "Open event streams.", parts.hub.watchers)
        yield _gauge(
            "unpushed_branches", "Branches that the remote has not got yet.", len(parts.pusher.pending)
        )
        rows = GaugeMetricFamily("kemudi_console_settings", "Settings by state.", labels=["env", "state"])
        for env, here in board.environments.items():
            for state in get_args(RowState):
                rows.add_metric([env, state], here.count(state))
        yield rows


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"kemudi_console_{name}", text, value=float(value))


def _route(scope: Scope) -> str:
    # The route's pattern, never the address: its parts would make endless label values.
    path: str = getattr(scope.get("route"), "path", "other")
    return path
