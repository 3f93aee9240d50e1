"""Errors as `application/problem+json` (RFC 9457), with a page for each type."""

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from kemudi.graph.errors import (
    FeatureDisabledError,
    GraphUnavailableError,
    QueryTimeoutError,
    StudentNotFoundError,
)

MEDIA_TYPE: Final = "application/problem+json"

PAGES: Final = {
    "student-not-found": "The graph holds no student with this nim. It may be that the sync has not copied it yet.",
    "feature-disabled": "GRAPH_FEATURE_ENABLED is false. The service answers again as soon as it is true.",
    "query-timeout": "The query took longer than GRAPH_QUERY_TIMEOUT seconds, and the store ended it.",
    "graph-unavailable": "The graph store cannot be reached now. Try again later.",
    "invalid-request": "A parameter is not what the address takes; `errors` names each.",
    "rate-limited": "More than API_RATE_LIMIT requests in a minute. `Retry-After` says when to go on.",
    "not-found": "There is nothing at this address.",
    "sync-unavailable": "This process does not run the sync service.",
}


def problem(
    request: Request,
    status: int,
    name: str,
    title: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """A problem of a type that has a page; `more` are extension members."""
    body = {
        "type": f"/problems/{name}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        **more,
    }
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Turn every error of the service into a problem; this is its only boundary."""

    @app.exception_handler(FeatureDisabledError)
    def disabled(request: Request, error: FeatureDisabledError) -> JSONResponse:
        return problem(request, 503, "feature-disabled", "Feature disabled", str(error))

    @app.exception_handler(StudentNotFoundError)
    def unknown(request: Request, error: StudentNotFoundError) -> JSONResponse:
        return problem(request, 404, "student-not-found", "Student not found", str(error))

    @app.exception_handler(QueryTimeoutError)
    def slow(request: Request, error: QueryTimeoutError) -> JSONResponse:
        return problem(request, 504, "query-timeout", "Query timeout", str(error))

    @app.exception_handler(GraphUnavailableError)
    def away(request: Request, error: GraphUnavailableError) -> JSONResponse:
        return problem(
            request, 503, "graph-unavailable", "Graph unavailable", str(error), headers={"Retry-After": "2"}
        )

    @app.exception_handler(ValueError)
    def wrong(request: Request, error: ValueError) -> JSONResponse:
        return problem(request, 422, "invalid-request", "Invalid request", str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Without the input: it may be anything, and is no business of a log.
        named = [
            {"pointer": "#/" + "/".join(str(part) for part in each["loc"]), "detail": each["msg"]}
            for each in error.errors()
        ]
        return problem(
            request, 422, "invalid-request", "Invalid request", "a parameter is not valid", errors=named
        )

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> JSONResponse:
        return problem(request, error.status_code, "not-found", "Not found", str(error.detail))

    @app.get("/problems/{name}", include_in_schema=False)
    def page(request: Request, name: str) -> Any:  # text or a problem
        if name not in PAGES:
            return problem(request, 404, "not-found", "Not found", "there is no such type of problem")
        return PlainTextResponse(PAGES[name] + "\n")
