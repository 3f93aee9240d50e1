"""What the service answers, for its OpenAPI description. The routes send plain dictionaries of these shapes."""

from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from kemudi.graph.service import Reason


class Student(BaseModel):
    """A student."""

    nim: str
    nama: str


class Class(BaseModel):
    """A class."""

    kode: str
    nama: str


class StudentWithClasses(Student):
    """A student and the classes taken."""

    classes: list[Class]


class Classmate(Student):
    """Somebody who shares classes with the student."""

    shared_classes: int = Field(ge=1, description="Classes that both take.")


class Friend(Student):
    """A classmate of classmates who shares no class with the student."""

    via: int = Field(ge=1, description="Classmates between.")


class ByClassmate(BaseModel):
    """A classmate who takes the class."""

    nim: str
    weight: int = Field(ge=1, description="Classes that the student and the classmate share.")


class ByClass(BaseModel):
    """A class of the student that the same students take."""

    kode: str
    weight: float = Field(gt=0, le=1, description="The Jaccard similarity of both classes.")


class Recommendation(Class):
    """A class to take next."""

    score: float = Field(description="Higher is better; comparable within one answer only.")
    because: list[ByClassmate | ByClass]


class _Listed(BaseModel):
    next: str | None = Field(description="The cursor of the next page; null on the last.")
    revision: str | None = Field(description="Of the settings that the answer obeyed.")
    generation: str | None = Field(description="The place of that revision in order.")


class Students(_Listed):
    """A page of students."""

    items: list[Student]


class _Ranked(_Listed):
    reason: Reason | None = Field(description="Why there is nothing; null when there is something.")


class Classmates(_Ranked):
    """Most shared classes first, then by nim."""

    items: list[Classmate]


class Friends(_Ranked):
    """Most classmates between first, then by nim."""

    items: list[Friend]


class Recommendations(_Ranked):
    """Best first, then by kode."""

    items: list[Recommendation]


class Alive(BaseModel):
    """The process lives."""

    alive: Literal[True]


class Ready(BaseModel):
    """Whether it can answer, and why not, or what to know."""

    ready: bool
    reason: str | None


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(description="An address below /problems/, where its meaning can be read.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path of the request.")
    errors: list[dict[str, str]] | None = Field(
        None, description="Of `invalid-request`: each parameter as `pointer`, and what is wrong as `detail`."
    )


_PROBLEM: Final = "application/problem+json"
_MEANINGS: Final = {
    304: "What If-None-Match names is still the answer.",
    404: "There is no such student, or nothing of that kind in this process.",
    409: "Switched off.",
    422: "A parameter is not valid.",
    429: "Too many requests in a minute; Retry-After says when to go on.",
    500: "The store refuses, or a mistake of the service.",
    503: "Switched off, or a store that is away.",
    504: "GRAPH_QUERY_TIMEOUT ended a query.",
}

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """The problems that a route may answer with, for its `responses`."""
    content = {_PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


def revalidated(*statuses: int) -> Responses:
    """The same, of a route whose answers carry an ETag."""
    tag = {"description": "Of this answer; send it as If-None-Match.", "schema": {"type": "string"}}
    return problems(*statuses) | {
        200: {"headers": {"ETag": tag}},
        304: {"description": _MEANINGS[304]},
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        app.openapi_schema = made
    return app.openapi_schema
