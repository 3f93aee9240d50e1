"""What surrounds every request: its metrics, its span, and the rate limit. Plain ASGI, so that nothing is buffered."""

import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kemudi.graph.metrics import Metrics
from kemudi.graph.problems import problem
from kemudi.graph.rates import RateLimiter
from kemudi.graph.tracing import Tracing

LIMITED: Final = "/students"
"""The rate limit is for what is below; operators and probes must get through."""


class Around:
    """Counts, limits and traces the requests of one application.

    Args:
        app: The application.
        config: A client: API_RATE_LIMIT is read at each request.
        limiter: Of requests.
        metrics: Told of every answer.
        tracing: None: no spans.
    """

    def __init__(
        self, app: ASGIApp, *, config: Any, limiter: RateLimiter, metrics: Metrics, tracing: Tracing | None
    ) -> None:
        self._app = app
        self._config = config
        self._limiter = limiter
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._tracing is None:
            await self._counted(scope, receive, send)
        else:
            with self._tracing.request(scope) as span:
                status = await self._counted(scope, receive, send)
                self._tracing.answered(span, scope["method"], _route(scope), status)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer and count. Returns the status."""
        began, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            answer = await self._refusal(scope) or self._app
            await answer(scope, receive, noted)
        finally:
            self._metrics.answered(_route(scope), status, time.perf_counter() - began)
        return status

    async def _refusal(self, scope: Scope) -> Response | None:
        if not scope["path"].startswith(LIMITED):
            return None
        allowed = self._config["API_RATE_LIMIT"]
        # The peer, never a header: anybody can write one.
        client = scope["client"][0] if scope.get("client") else "unknown"
        seconds = await self._limiter.answer(client, allowed)
        if seconds is None:
            return None
        detail = f"more than {allowed} requests a minute"
        headers = {"Retry-After": str(seconds)}
        return problem(Request(scope), 429, "rate-limited", "Rate limited", detail, headers=headers)


def _route(scope: Scope) -> str:
    # The route's pattern, never the address: its parts would make endless label values.
    path: str = getattr(scope.get("route"), "path", "other")
    return path
