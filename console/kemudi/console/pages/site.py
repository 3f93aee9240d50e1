"""What belongs to no environment: static files, health, and the pages that explain the types of problems."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from kemudi.console.access.gate import GatedRoute, not_signed_in, public
from kemudi.console.pages.frame import plain
from kemudi.console.parts import Parts
from kemudi.console.problems import TYPES, not_found
from kemudi.console.rendering import MEDIA_TYPES, load_static


def routes(parts: Parts) -> APIRouter:
    """Routes that everybody may ask for; none holds a setting."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)
    static = load_static()

    @router.get("/static/{name}")
    @public
    async def file(name: str) -> Response:
        data, kind = static.get(name), MEDIA_TYPES.get(f".{name.rpartition('.')[2]}")
        if data is None or kind is None:
            raise not_found()
        # The address holds a digest of the content.
        return Response(
            data, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"}
        )

    @router.get("/favicon.ico")
    @public
    async def icon() -> Response:
        return Response(static["wheel.svg"], media_type=MEDIA_TYPES[".svg"])

    @router.get("/healthz")
    @public
    async def healthz() -> JSONResponse:
        return JSONResponse({"alive": True})

    @router.get("/readyz")
    @public
    async def readyz() -> JSONResponse:
        board = parts.board
        ready = board.state is not None and not board.git_problem
        reason = board.git_problem or ("" if board.reachable else "the daemon does not answer")
        return JSONResponse({"ready": ready, "reason": reason}, status_code=200 if ready else 503)

    @router.get("/metrics")
    @public
    async def metrics(request: Request) -> Response:
        # As the daemon's: for whoever is on this machine; else, and behind a proxy, with a token or a session.
        only_here = parts.settings.loopback and not parts.settings.public_url
        if not only_here and request.state.caller is None:
            raise not_signed_in()
        text = await run_in_threadpool(request.app.state.metrics.text)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    @router.get("/problems/{name}")
    @public
    async def explained(request: Request, name: str) -> HTMLResponse:
        if name not in TYPES:
            raise not_found()
        title, text = TYPES[name]
        return plain(request, parts, "problem_type.html", title=title, text=text)

    return router
