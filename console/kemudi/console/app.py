"""The application: routes behind the gate, errors as problems, and nothing that is answered without a header."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from kemudi.console.access.gate import API, GatedRoute, public
from kemudi.console.access.guard import BodyTooLargeError, Guard
from kemudi.console.api import changes as api_changes
from kemudi.console.api import events as api_events
from kemudi.console.api import operations as api_operations
from kemudi.console.api import proposals as api_proposals
from kemudi.console.api import settings as api_settings
from kemudi.console.api.described import describe, operation_name
from kemudi.console.metrics import Counted, Metrics
from kemudi.console.pages import (
    api_reference,
    audit,
    change,
    changes,
    compare,
    dashboard,
    frame,
    people,
    setting,
    settings_list,
    sign_in,
    sign_in_oidc,
    site,
    stop,
    switches,
    sync,
    transfer,
)
from kemudi.console.parts import Parts
from kemudi.console.problems import ProblemError, from_error, not_found
from kemudi.schema.errors import KemudiError
from kemudi.schema.sentences import sentence

PAGES = (
    site,
    sign_in,
    sign_in_oidc,
    dashboard,
    settings_list,
    setting,
    change,
    changes,
    compare,
    switches,
    stop,
    sync,
    audit,
    people,
    transfer,
    api_reference,
)
"""Modules with a function `routes(parts)`. A page is added by adding its module here."""

API_GROUPS = (api_settings, api_changes, api_proposals, api_operations, api_events)
"""The same for the REST API."""


def build_app(parts: Parts) -> ASGIApp:
    """The application. Nothing is started here."""
    app = make_api(parts)
    inner = GZipMiddleware(app, minimum_size=600, compresslevel=6)
    return Counted(Guard(inner, parts.settings, parts.log), app.state.metrics)


def make_api(parts: Parts) -> FastAPI:
    """The routes without what stands around them."""
    app = FastAPI(title="Kemudi", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.generate_unique_id_function = operation_name
    app.state.gate = parts.gate
    app.state.metrics = Metrics(parts)
    app.router.route_class = GatedRoute
    for module in (*PAGES, *API_GROUPS):
        app.include_router(module.routes(parts))
    _describe(app)
    _explain_errors(app, parts)
    return app


def _describe(app: FastAPI) -> None:
    """The description of the API for programs."""

    @app.get("/openapi.json", include_in_schema=False)
    @public
    async def openapi() -> JSONResponse:
        return JSONResponse(describe(app))


def _explain_errors(app: FastAPI, parts: Parts) -> None:
    """The one boundary where errors become answers."""

    def answer(request: Request, error: ProblemError) -> Response:
        if request.url.path.startswith(API) or "text/html" not in request.headers.get("accept", ""):
            return error.as_response(request.url.path)
        return _page(request, parts, error)

    _explain_requests(app, answer)

    @app.exception_handler(ProblemError)
    async def problem(request: Request, error: ProblemError) -> Response:
        return answer(request, error)

    @app.exception_handler(KemudiError)
    async def explained(request: Request, error: KemudiError) -> Response:
        return answer(request, from_error(error))

    @app.exception_handler(BodyTooLargeError)
    async def too_large(request: Request, _error: BodyTooLargeError) -> Response:
        return answer(request, ProblemError(413, "too-large", sentence("the request is too large")))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _error: Exception) -> Response:
        return answer(
            request, ProblemError(500, "internal", sentence("the log of the console has the trace"))
        )


def _explain_requests(app: FastAPI, answer: Callable[[Request, ProblemError], Response]) -> None:
    """What is wrong with a request before any of our code sees it."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # Without the input: it may be a secret that somebody typed.
        errors = [_wrong_input(each) for each in error.errors()]
        return answer(
            request, ProblemError(422, "validation", sentence("the request is not valid"), errors=errors)
        )

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            found = ProblemError(
                405, "method-not-allowed", sentence("this address does not take that method")
            )
            found.headers = dict(error.headers or {})
            return answer(request, found)
        if error.status_code == 400:
            return answer(request, ProblemError(400, "validation", sentence("the body cannot be read")))
        return answer(request, not_found())


def _wrong_input(error: Mapping[str, Any]) -> dict[str, str]:
    """One thing that is wrong with a request, and its place in it."""
    if error["type"] == "json_invalid":
        # The place is a number of characters there, and no member of what was sent.
        place, why = error["loc"][-1], error.get("ctx", {}).get("error", "")
        return {"pointer": "#", "detail": f"the body is no JSON: {why}, at character {place} of it"}
    return {"pointer": "#/" + "/".join(str(part) for part in error["loc"][1:]), "detail": error["msg"]}


def _page(request: Request, parts: Parts, error: ProblemError) -> Response:
    """An error as a person sees it: sign in first, arrive properly, or what is wrong."""
    if error.status == 401 and request.method == "GET" and request.url.path != "/sign-in":
        here = frame.local_path(frame.here_of(request))
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A link from elsewhere arrives without the strict cookie; asking again from a page of ours brings it.
            response: HTMLResponse = frame.plain(request, parts, "moved.html", to=here)
            return response
        return RedirectResponse(f"/sign-in?next={frame.quoted(here)}", status_code=303)
    page = frame.plain(request, parts, "problem.html", status=error.status, problem=error)
    page.headers.update(error.headers)
    return page
