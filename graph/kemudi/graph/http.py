"""The graph service over HTTP: JSON, problems, pages, tags, and the sync's routes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import orjson
from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from kemudi.graph import answers
from kemudi.graph.answers import describe, problems, revalidated
from kemudi.graph.metrics import Metrics
from kemudi.graph.middleware import Around
from kemudi.graph.pages import Page, Place, by, ranked_page, students_page
from kemudi.graph.problems import install, problem
from kemudi.graph.rates import RateLimiter
from kemudi.graph.service import Answer, GraphService, Settings
from kemudi.graph.settings import Algorithm
from kemudi.graph.stores.base import GraphStore, Record
from kemudi.graph.sync.loop import SyncLoop
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify
from kemudi.graph.tracing import Tracing
from kemudi.schema.errors import KemudiError

_LARGEST_PAGE: Final = 500
_TAG_BYTES: Final = 16

Nim = Annotated[str, Path(description="The student.", min_length=1)]
Limit = Annotated[
    int | None, Query(ge=1, description="Items a page; all pages together have as many as the setting says.")
]
PageSize = Annotated[int, Query(ge=1, description=f"Students a page; above {_LARGEST_PAGE} it is cut.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.")]
OtherAlgorithm = Annotated[Algorithm | None, Query(description="Instead of GRAPH_RECOMMENDATION_ALGORITHM.")]
Ask = Callable[[GraphService, Settings], dict[str, Any]]
"""Makes the body of an answer by a service and the settings that it obeys."""

IfNoneMatch = Annotated[str | None, Header(description="Tags of answers that the caller has.")]


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
        unprepared: Why the store's tables or constraints are not there; None when they are.
        version: The graph's data version; None: answers carry no tag.
        tracing: Of requests; None: no spans.
    """

    config: Any
    service: GraphService
    store: GraphStore
    runner: SyncRunner | None = None
    loop: SyncLoop | None = None
    limiter: RateLimiter = field(default_factory=RateLimiter)
    metrics: Metrics = field(default_factory=Metrics)
    unprepared: Callable[[], str | None] = lambda: None
    version: Callable[[], int] | None = None
    tracing: Tracing | None = None


def build_app(parts: Parts) -> FastAPI:
    """The application. Nothing is started and nothing is connected here."""
    app = FastAPI(
        title="Kemudi graph service",
        version="1",
        description="Classmates, friends of friends and course recommendations, steered by settings.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # where to would be the caller's Host
    )
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # how FastAPI has it replaced
    install(app)
    app.add_middleware(
        Around,
        config=parts.config,
        limiter=parts.limiter,
        metrics=parts.metrics,
        tracing=parts.tracing,
    )
    _student_routes(app, parts)
    _ranked_routes(app, parts)
    _sync_routes(app, parts)
    _operator_routes(app, parts)
    return app


def _student_routes(app: FastAPI, parts: Parts) -> None:
    @app.get("/students", response_model=answers.Students, responses=revalidated(422, 429, 500, 503, 504))
    def students(
        request: Request, limit: PageSize = 100, cursor: Cursor = None, if_none_match: IfNoneMatch = None
    ) -> Response:
        """All students, a page at a time; `next` is the cursor of the next page."""

        def ask(service: GraphService, settings: Settings) -> dict[str, Any]:
            page = students_page(service.students, min(limit, _LARGEST_PAGE), cursor)
            return _listed(page, settings)

        return _answered(request, parts, if_none_match, ask)

    @app.get(
        "/students/{nim}",
        response_model=answers.StudentWithClasses,
        responses=revalidated(404, 422, 429, 500, 503, 504),
    )
    def student(request: Request, nim: Nim, if_none_match: IfNoneMatch = None) -> Response:
        """One student and the classes taken."""
        return _answered(request, parts, if_none_match, lambda service, _settings: service.student(nim))


def _ranked_routes(app: FastAPI, parts: Parts) -> None:
    may_fail = revalidated(404, 422, 429, 500, 503, 504)

    @app.get("/students/{nim}/classmates", response_model=answers.Classmates, responses=may_fail)
    def classmates(
        request: Request,
        nim: Nim,
        limit: Limit = None,
        cursor: Cursor = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Who shares classes with the student."""
        ask = _paged(lambda of, most: of.classmates(nim, most), by("shared_classes", "nim"), limit, cursor)
        return _answered(request, parts, if_none_match, ask)

    @app.get("/students/{nim}/friends-of-friends", response_model=answers.Friends, responses=may_fail)
    def friends_of_friends(
        request: Request,
        nim: Nim,
        limit: Limit = None,
        cursor: Cursor = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Classmates of classmates."""
        ask = _paged(lambda of, most: of.friends_of_friends(nim, most), by("via", "nim"), limit, cursor)
        return _answered(request, parts, if_none_match, ask)

    @app.get("/students/{nim}/recommendations", response_model=answers.Recommendations, responses=may_fail)
    def recommendations(
        request: Request,
        nim: Nim,
        limit: Limit = None,
        algorithm: OtherAlgorithm = None,
        cursor: Cursor = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Classes to take next; `because` says why."""
        ask = _paged(
            lambda of, most: of.recommendations(nim, most, algorithm), by("score", "kode"), limit, cursor
        )
        return _answered(request, parts, if_none_match, ask)


def _paged(
    ask: Callable[[GraphService, int | None], Answer],
    place: Callable[[Record], Place],
    limit: int | None,
    cursor: str | None,
) -> Ask:
    """A page of a ranked list, as the body of an answer."""

    def body(service: GraphService, settings: Settings) -> dict[str, Any]:
        page = ranked_page(lambda most: ask(service, most), place, limit, cursor)
        return _listed(page, settings) | {"reason": page.reason}

    return body


def _answered(
    request: Request,
    parts: Parts,
    if_none_match: str | None,
    ask: Ask,
) -> Response:
    """The answer of one revision of the settings, or 304 where the caller has it."""
    with parts.config.pin() as view:
        service = parts.service.at(view)  # first: its time limit is for all that follows
        # The data version is asked for before the data: a tag may be older than its answer, never newer.
        tag = _tag(request, parts, view)
        headers = {"Cache-Control": "private, no-cache"} | ({"ETag": tag} if tag else {})
        if tag and if_none_match and _names(if_none_match, tag):
            return Response(status_code=304, headers=headers)
        body = orjson.dumps(ask(service, view))
    return Response(body, media_type="application/json", headers=headers)


def _tag(request: Request, parts: Parts, settings: Settings) -> str | None:
    """Of what this address answers by one data version and one generation; None where nothing may be kept."""
    if parts.version is None or settings.generation is None:
        return None
    if not (settings["GRAPH_CACHE_ENABLED"] and settings["GRAPH_FEATURE_ENABLED"]):
        return None
    what = [parts.version(), settings.generation, str(request.url.path), str(request.url.query)]
    return f'W/"{hashlib.sha256(orjson.dumps(what)).hexdigest()[:_TAG_BYTES]}"'


def _names(if_none_match: str, tag: str) -> bool:
    """Whether a list of tags names this one. `*` is not taken: it would make a 304 of a student who is not there."""
    return tag in (each.strip() for each in if_none_match.split(","))


def _listed(page: Page, settings: Settings) -> dict[str, Any]:
    return {
        "items": page.items,
        "next": page.next,
        "revision": settings.revision,
        "generation": settings.generation,
    }


def _sync_routes(app: FastAPI, parts: Parts) -> None:
    def absent(request: Request) -> JSONResponse:
        detail = "this process was started without a registry"
        return problem(request, 404, "sync-unavailable", "No sync service", detail)

    @app.post("/sync/run", status_code=202, responses=problems(404, 409, 503))
    def run(request: Request) -> Any:  # a status or a problem
        """Ask for a run over every row; the answer is the status once it has begun, or that of the present run."""
        if parts.loop is None or parts.runner is None:
            return absent(request)
        if not parts.runner.enabled:
            return problem(request, 409, "sync-disabled", "Sync disabled", "NEO4J_ENABLE_SYNC is false")
        return parts.loop.request().as_json()

    @app.get("/sync/status", responses=problems(404))
    def status(request: Request) -> Any:  # as above
        """How far the sync is."""
        if parts.runner is None:
            return absent(request)
        return parts.runner.status.as_json()

    @app.get("/sync/verify", responses=problems(404, 500, 503))
    def verified(request: Request) -> Any:  # as above
        """Compare registry and graph, pair for pair."""
        if parts.runner is None:
            return absent(request)
        return verify(parts.runner.registry, parts.store)


def _operator_routes(app: FastAPI, parts: Parts) -> None:
    @app.get("/healthz", response_model=answers.Alive)
    async def healthz() -> dict[str, bool]:
        """The process lives: answered without a thread, which a store that hangs may hold for a while."""
        return {"alive": True}

    @app.get(
        "/readyz",
        response_model=answers.Ready,
        responses={503: {"model": answers.Ready, "description": "Not yet, or not any more."}},
    )
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
