"""Errors as `application/problem+json` (RFC 9457), with a page for each type."""

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from kemudi.graph.errors import (
    FeatureDisabledError,
    GraphRefusedError,
    GraphUnavailableError,
    InvalidRequestError,
    QueryTimeoutError,
    StudentNotFoundError,
)
from kemudi.graph.registry import RegistryRefusedError, RegistryUnavailableError
from kemudi.schema.errors import KemudiError

MEDIA_TYPE: Final = "application/problem+json"

PAGES: Final = {
    "student-not-found": "The graph holds no student with this nim. It may be that the sync has not copied it yet.",
    "feature-disabled": "GRAPH_FEATURE_ENABLED is false. The service answers again as soon as it is true.",
    "query-timeout": "The query took longer than GRAPH_QUERY_TIMEOUT seconds, and the store ended it.",
    "graph-unavailable": "The graph store cannot be reached now. Try again later.",
    "graph-refused": "The graph store refuses user, password or query; somebody has to look.",
    "registry-unavailable": "The registry of students cannot be read now. Try again later.",
    "registry-refused": "The registry lacks a table or column, or refuses to be read; somebody has to look.",
    "invalid-request": "A parameter is not what the address takes; `errors` names each.",
    "rate-limited": "More than API_RATE_LIMIT requests in a minute. `Retry-After` says when to go on.",
    "not-found": "There is nothing at this address.",
    "method-not-allowed": "This address does not take that method; `Allow` names those that it takes.",
    "sync-unavailable": "This process does not run the sync service.",
    "sync-disabled": "NEO4J_ENABLE_SYNC is false: there is no sync service.",
    "internal": "Something went wrong that should not; the log of the service has the trace.",
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

    @app.exception_handler(KemudiError)
    def explained(request: Request, error: KemudiError) -> JSONResponse:
        status, name, title, headers = _known(error)
        return problem(request, status, name, title, str(error), headers=headers)

    @app.exception_handler(Exception)
    def unexpected(request: Request, _error: Exception) -> JSONResponse:
        return problem(request, 500, "internal", "Internal error", "the log of the service has the trace")

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
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 405:
            title = "Method not allowed"
            return problem(request, 405, "method-not-allowed", title, str(error.detail), headers=headers)
        return problem(
            request, error.status_code, "not-found", "Not found", str(error.detail), headers=headers
        )

    @app.get("/problems/{name}", include_in_schema=False)
    def page(request: Request, name: str) -> Any:  # text or a problem
        if name not in PAGES:
            return problem(request, 404, "not-found", "Not found", "there is no such type of problem")
        return PlainTextResponse(PAGES[name] + "\n")


_LATER: Final = {"Retry-After": "2"}
_KNOWN: Final[tuple[tuple[type[KemudiError], int, str, str, dict[str, str] | None], ...]] = (
    (FeatureDisabledError, 503, "feature-disabled", "Feature disabled", None),
    (StudentNotFoundError, 404, "student-not-found", "Student not found", None),
    (QueryTimeoutError, 504, "query-timeout", "Query timeout", None),
    (InvalidRequestError, 422, "invalid-request", "Invalid request", None),
    (GraphUnavailableError, 503, "graph-unavailable", "Graph unavailable", _LATER),
    (RegistryUnavailableError, 503, "registry-unavailable", "Registry unavailable", _LATER),
    (GraphRefusedError, 500, "graph-refused", "Graph refused", None),
    (RegistryRefusedError, 500, "registry-refused", "Registry refused", None),
    (KemudiError, 500, "internal", "Internal error", None),
)
"""Class of error, status, type, title and headers; the first that fits."""


def _known(error: KemudiError) -> tuple[int, str, str, dict[str, str] | None]:
    """Status, type, title and headers of an error."""
    for kind, status, name, title, headers in _KNOWN:
        if isinstance(error, kind):
            return status, name, title, headers
    raise AssertionError("the last kind fits every error")
