"""The graph service over HTTP: JSON, problems, paging, and the sync's routes."""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from kemudi.graph.errors import InvalidRequestError
from kemudi.graph.metrics import Metrics
from kemudi.graph.problems import install, problem
from kemudi.graph.rates import RateLimiter
from kemudi.graph.service import GraphService
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.loop import SyncLoop
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify
from kemudi.schema.errors import KemudiError

LIMITED: Final = "/students"
"""The rate limit is for what is below; operators and probes must get through."""

_LARGEST_PAGE: Final = 500

Next = Callable[[Request], Awaitable[Response]]
Limit = Annotated[int | None, Query(ge=1, description="At most so many; above the setting it is cut.")]
PageSize = Annotated[int, Query(ge=1, description=f"Students a page; above {_LARGEST_PAGE} it is cut.")]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with, made by `kemudi.graph.runtime`.

    Attributes:
        config: The `kemudi.client`, or its twin for tests.
        service: The graph service.
        store: The graph, for the readiness check.
        runner: The sync; None where this process has no registry.
        loop: The thread that runs it; None with `runner`.
        limiter: Of requests.
        metrics: Of everything.
        prepared: Whether the store's tables or constraints are there; else why not.
    """

    config: Any
    service: GraphService
    store: GraphStore
    runner: SyncRunner | None = None
    loop: SyncLoop | None = None
    limiter: RateLimiter = field(default_factory=RateLimiter)
    metrics: Metrics = field(default_factory=Metrics)
    unprepared: Callable[[], str | None] = lambda: None


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
    def students(limit: PageSize = 100, cursor: str | None = None) -> dict[str, Any]:
        """All students, a page at a time; `next` is the cursor of the next page."""
        most = min(limit, _LARGEST_PAGE)
        answer = listed(lambda service: service.students(_opened(cursor), most + 1))
        if len(answer["items"]) > most:
            answer["items"] = answer["items"][:most]
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
        """Ask for a run over every row; the answer is the status once it has begun, or that of the present run."""
        if parts.loop is None or parts.runner is None:
            return absent(request)
        if not parts.runner.enabled:
            return problem(request, 409, "sync-disabled", "Sync disabled", "NEO4J_ENABLE_SYNC is false")
        return parts.loop.request().as_json()

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
    async def healthz() -> dict[str, bool]:
        """The process lives: answered without a thread, which a store that hangs may hold for a while."""
        return {"alive": True}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Settings are there and the store answers."""
        reason = parts.unprepared()
        try:
            parts.store.ping()
        except KemudiError as error:
            reason = str(error)
        if reason is not None:
            return JSONResponse({"ready": False, "reason": reason}, status_code=503)
        if parts.config.generation is None:
            reason = "no settings from Redis yet; declared defaults are used"
        return JSONResponse({"ready": True, "reason": reason})

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(parts.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _measure_and_limit(app: FastAPI, parts: Parts) -> None:
    @app.middleware("http")
    async def around(request: Request, call_next: Next) -> Response:
        began, status = time.perf_counter(), 500
        try:
            response = await _limited(request, parts)
            if response is None:
                response = await call_next(request)
            status = response.status_code
            return response
        finally:
            # The route's pattern, never the address: its parts would make endless label values.
            route = getattr(request.scope.get("route"), "path", "other")
            parts.metrics.answered(route, status, time.perf_counter() - began)


async def _limited(request: Request, parts: Parts) -> Response | None:
    if not request.url.path.startswith(LIMITED):
        return None
    allowed = parts.config["API_RATE_LIMIT"]
    # The peer, never a header: anybody can write one.
    client = request.client.host if request.client else "unknown"
    seconds = await run_in_threadpool(parts.limiter.wait, client, allowed)
    if seconds is None:
        return None
    detail = f"more than {allowed} requests a minute"
    headers = {"Retry-After": str(seconds)}
    return problem(request, 429, "rate-limited", "Rate limited", detail, headers=headers)


def _cursor(nim: str) -> str:
    return base64.urlsafe_b64encode(nim.encode()).decode().rstrip("=")


def _opened(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise InvalidRequestError("this cursor was not given by an earlier page") from None
