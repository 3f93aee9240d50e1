"""The graph service over HTTP: JSON, problems, paging, and the sync's two routes."""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from kemudi.graph.problems import install, problem
from kemudi.graph.service import GraphService
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.loop import SyncLoop
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify
from kemudi.schema.errors import KemudiError

UNLIMITED: Final = frozenset({"/healthz", "/readyz", "/metrics", "/sync/status"})
_LARGEST_PAGE: Final = 500

Next = Callable[[Request], Awaitable[Response]]
Limit = Annotated[int | None, Query(ge=1, description="At most so many; above the setting it is cut.")]


class Parts:
    """What the routes work with, made by `kemudi.graph.runtime`.

    Attributes:
        config: The `kemudi.client`.
        service: The graph service.
        store: The graph, for the readiness check.
        runner, loop: The sync; None where another process runs it.
    """

    def __init__(
        self,
        config: Any,  # a client or its twin for tests
        service: GraphService,
        store: GraphStore,
        runner: SyncRunner | None = None,
        loop: SyncLoop | None = None,
    ) -> None:
        self.config = config
        self.service = service
        self.store = store
        self.runner = runner
        self.loop = loop


def build_app(parts: Parts) -> FastAPI:
    """The application. Nothing is started and nothing is connected here."""
    app = FastAPI(title="Kemudi graph service", version="1", docs_url=None, redoc_url=None)
    install(app)
    _measure_and_limit(app, parts)
    _student_routes(app, parts)
    _sync_routes(app, parts)
    _operator_routes(app, parts)
    return app


def _student_routes(app: FastAPI, parts: Parts) -> None:
    def listed(ask: Callable[[GraphService], list[dict[str, Any]]]) -> dict[str, Any]:
        with parts.config.pin() as view:
            items = ask(parts.service.at(view))
            return {"items": items, "next": None, "revision": view.revision, "generation": view.generation}

    @app.get("/students")
    def students(
        limit: Annotated[int, Query(ge=1, le=_LARGEST_PAGE)] = 100, cursor: str | None = None
    ) -> dict[str, Any]:
        """All students, a page at a time; `next` is the cursor of the next page."""
        answer = listed(lambda service: service.students(_opened(cursor), limit + 1))
        if len(answer["items"]) > limit:
            answer["items"] = answer["items"][:limit]
            answer["next"] = _cursor(answer["items"][-1]["nim"])
        return answer

    @app.get("/students/{nim}")
    def student(nim: str) -> dict[str, Any]:
        """One student and the classes taken."""
        return parts.service.student(nim)

    @app.get("/students/{nim}/classmates")
    def classmates(nim: str, limit: Limit = None) -> dict[str, Any]:
        """Who shares classes with the student."""
        return listed(lambda service: service.classmates(nim, limit))

    @app.get("/students/{nim}/friends-of-friends")
    def friends_of_friends(nim: str, limit: Limit = None) -> dict[str, Any]:
        """Classmates of classmates."""
        return listed(lambda service: service.friends_of_friends(nim, limit))

    @app.get("/students/{nim}/recommendations")
    def recommendations(nim: str, limit: Limit = None, algorithm: str | None = None) -> dict[str, Any]:
        """Classes to take next, with reasons."""
        return listed(lambda service: service.recommendations(nim, limit, algorithm))


def _sync_routes(app: FastAPI, parts: Parts) -> None:
    def absent(request: Request) -> JSONResponse:
        detail = "this process was started without a registry"
        return problem(request, 404, "sync-unavailable", "No sync service", detail)

    @app.post("/sync/run", status_code=202)
    def run(request: Request) -> Any:  # a status or a problem
        """Ask for a run now; the answer is the status at this moment."""
        if parts.loop is None or parts.runner is None:
            return absent(request)
        parts.loop.request()
        return parts.runner.status.as_json()

    @app.get("/sync/status")
    def status(request: Request) -> Any:  # as above
        """How far the sync is."""
        if parts.runner is None:
            return absent(request)
        return parts.runner.status.as_json()

    @app.get("/sync/verify")
    def verified(request: Request) -> Any:  # as above
        """Compare registry and graph, pair for pair."""
        if parts.runner is None:
            return absent(request)
        return verify(parts.runner.registry, parts.store)


def _operator_routes(app: FastAPI, parts: Parts) -> None:
    @app.get("/healthz")
    def healthz() -> dict[str, bool]:
        """The process lives."""
        return {"alive": True}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Settings are there and the store answers."""
        try:
            parts.store.ping()
        except KemudiError as error:
            return JSONResponse({"ready": False, "reason": str(error)}, status_code=503)
        known = parts.config.generation is not None
        reason = None if known else "no settings from Redis yet; declared defaults are used"
        return JSONResponse({"ready": True, "reason": reason})


def _measure_and_limit(app: FastAPI, parts: Parts) -> None:
    registry = CollectorRegistry()
    requests = Counter("kemudi_graph_requests", "Requests.", ["route", "status"], registry=registry)
    seconds = Histogram("kemudi_graph_request_seconds", "Time to answer.", ["route"], registry=registry)
    limiter = FixedWindowRateLimiter(MemoryStorage())

    @app.middleware("http")
    async def around(request: Request, call_next: Next) -> Response:
        began = time.perf_counter()
        response = _limited(request, limiter, parts.config["API_RATE_LIMIT"])
        if response is None:
            response = await call_next(request)
        # The route's pattern, never the address: its parts would make endless label values.
        route = request.scope.get("route")
        name = getattr(route, "path", "other")
        requests.labels(name, str(response.status_code)).inc()
        seconds.labels(name).observe(time.perf_counter() - began)
        return response

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _limited(request: Request, limiter: FixedWindowRateLimiter, allowed: int) -> Response | None:
    if request.url.path in UNLIMITED:
        return None
    item = RateLimitItemPerMinute(allowed)
    client = request.client.host if request.client else "unknown"
    if limiter.hit(item, client):
        return None
    reset = max(1, int(limiter.get_window_stats(item, client).reset_time - time.time()))
    detail = f"more than {allowed} requests a minute"
    return problem(request, 429, "rate-limited", "Rate limited", detail, headers={"Retry-After": str(reset)})


def _cursor(nim: str) -> str:
    return base64.urlsafe_b64encode(nim.encode()).decode().rstrip("=")


def _opened(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ValueError("this cursor was not given by an earlier page") from None
