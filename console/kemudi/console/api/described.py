"""What `/openapi.json` says beyond what FastAPI finds by itself: problems, headers, and who is let in."""

from typing import Annotated, Any, Final

from fastapi import FastAPI, Path, Query
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from kemudi.console.access.gate import COOKIE, CSRF_HEADER
from kemudi.console.problems import MEDIA_TYPE, TYPES
from kemudi.console.wording import first_sentence

Responses = dict[int | str, dict[str, Any]]

Env = Annotated[str, Path(description="Name of an environment.", examples=["dev"])]
InEnv = Annotated[str, Query(description="Name of an environment.", examples=["dev"])]
Key = Annotated[str, Path(description="Name of a setting.", examples=["SYNC_BATCH_SIZE"])]


class Flaw(BaseModel):
    """One place of the body or one rule that does not fit."""

    pointer: str = Field(
        description="Where in the body, or in a document of the config repo.", examples=["#/value"]
    )
    detail: str = Field(description="What is wrong, in a sentence.")
    hint: str | None = Field(None, description="How to mend it.")
    rule: str | None = Field(None, description="The rule, such as KEM012, that has a page of its own.")
    key: str | None = Field(None, description="The setting.")
    place: str | None = Field(None, description="file:line:column in the config repo.")


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(
        description="Address of a page that explains it.", examples=[f"/problems/{name}" for name in TYPES]
    )
    title: str
    status: int
    detail: str = Field(description="What happened here, in a sentence.")
    instance: str | None = Field(None, description="Path of the request.")
    errors: list[Flaw] | None = Field(None, description="Each place that is wrong.")
    role: str | None = Field(None, description="Of `read-only`: the role that is missing.")
    environment: str | None = Field(None, description="Of `read-only`: where it is missing.")
    holders: list[str] | None = Field(None, description="Of `read-only`: who has it.")
    current: dict[str, Any] | None = Field(
        None, description="Of `stale-revision`: the setting as it is now, as a GET of it answers."
    )
    proposal: str | None = Field(
        None, description="Of `proposal-open`: the one that waits; null when it is not shown to you."
    )


_DEFAULT: Final = "Successful Response"
_MEANINGS: Final = {
    200: "What was asked for.",
    304: "If-None-Match names what is still so. No body.",
    400: "A token in the address, or a body that cannot be read.",
    401: "No token, or one that is not valid (any more).",
    403: "The role is missing (`read-only`), a policy refuses it (`refused`, `approval-required`), or a browser sent "
    "it from elsewhere (`cross-site`).",
    404: "Not there, or not shown to you.",
    409: "The state moved (`conflict`), a proposal waits (`proposal-open`), an earlier secret cannot be read "
    "(`secret-not-readable`), the daemon does not serve the environment (`not-served`), "
    "or the first request still runs (`idempotency`).",
    412: "The setting was changed since it was read; `current` has it as it is now.",
    413: "More than 1 MiB.",
    415: "Send `Content-Type: application/json`.",
    421: "This console does not answer to the name in `Host`.",
    422: "A value that does not fit its contract, or a parameter or body that is not as described.",
    428: "Send `If-Match`.",
    500: "A mistake of the console; its log has the trace.",
    503: "Git or the daemon does not answer now, or too many connections are open.",
}
_ALWAYS: Final = (400, 401, 421, 500, 503)
_UNSAFE: Final = (403, 413, 415)
_SAFE_METHODS: Final = frozenset({"get", "head", "options"})


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


REVISION: Final = {"X-Kemudi-Revision": _header("The commit that the answer stands on; empty without one.")}
ETAG: Final = {"ETag": _header("Of this setting in this environment; send it as If-Match or If-None-Match.")}
LINK: Final = {"Link": _header('Address of the next page, with rel="next"; not there on the last one.')}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": _header("`Bearer`.")},
    412: ETAG,
    503: {"Retry-After": _header("Seconds.")},
}
_DESCRIPTION: Final = """Settings that live in git: what changes them makes a commit or a proposal.

Programs send a bearer token (`kemudi console token add`). Every error is `application/problem+json`. Times are
RFC 3339 in UTC. Values of sensitive settings are taken, and come back in no answer."""


def problems(*statuses: int) -> Responses:
    """The problems that a route may answer with, beside those that every route has; for its `responses`."""
    return {status: _problem(status) for status in statuses}


def with_headers(headers: dict[str, Any]) -> Responses:
    """The headers of a good answer, for a route's `responses`."""
    return {200: {"headers": headers}}


def not_modified() -> Responses:
    """304, which has no body."""
    return {304: {"description": _MEANINGS[304], "headers": ETAG | REVISION}}


def operation_name(route: APIRoute) -> str:
    """The `operationId`: group and function."""
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary="The REST API of the Kemudi console.",
            description=_DESCRIPTION,
            routes=app.routes,
        )
        _add_components(made)
        for item in made["paths"].values():
            for method, operation in item.items():
                _complete(method, operation)
        app.openapi_schema = made
    return app.openapi_schema


def _add_components(made: dict[str, Any]) -> None:
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem}
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "Of a program; it carries a role."},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Of a browser."},
        "form": {
            "type": "apiKey",
            "in": "header",
            "name": CSRF_HEADER,
            "description": "With a session, for whatever is not a GET: the token of a page of the console.",
        },
    }


def _complete(method: str, operation: dict[str, Any]) -> None:
    """One operation: who is let in, the problems that each has, and its first sentence as a summary."""
    by_browser: dict[str, list[str]] = {"session": []}
    if method not in _SAFE_METHODS:
        by_browser["form"] = []
    operation["security"] = [{"token": []}, by_browser]
    answers = operation["responses"]
    statuses = {*_ALWAYS, *(() if method in _SAFE_METHODS else _UNSAFE)}
    if "422" in answers:
        statuses.add(422)
    answers |= {str(status): _problem(status) for status in statuses}
    for answer in answers.values():
        if answer.get("description") == _DEFAULT:
            answer["description"] = _MEANINGS[200]
    operation["responses"] = dict(sorted(answers.items()))
    operation["summary"] = first_sentence(str(operation.get("description", "")))


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": _MEANINGS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
    }
