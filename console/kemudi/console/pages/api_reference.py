"""The reference of the REST API, made from its OpenAPI document: nothing is loaded from elsewhere (console.md 6.13)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from kemudi.console.access.gate import GatedRoute, Signed, needs
from kemudi.console.api.described import describe
from kemudi.console.pages.frame import page
from kemudi.console.parts import Parts
from kemudi.schema.documents import JSON

_REF: Final = "#/components/schemas/"
_ERROR: Final = 400

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter, or a member of a body.

    Attributes:
        name: As it is sent.
        where: `path`, `query` or `header`; empty for a member.
        required: Whether it has to be there.
        type: In words; the name of another schema where it is one.
        schema: That other schema, to link to.
        about: What it is for.
    """

    name: str
    where: str
    required: bool
    type: str
    schema: str | None
    about: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back.

    Attributes:
        status: Of HTTP.
        about: When.
        media: Types of the body; none where there is none.
        schema: Of the body.
        headers: That it carries.
    """

    status: str
    about: str
    media: tuple[str, ...]
    schema: str | None
    headers: tuple[str, ...]

    @property
    def is_problem(self) -> bool:
        """Whether something went wrong."""
        return int(self.status) >= _ERROR


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address."""

    id: str
    method: str
    path: str
    description: str
    parameters: tuple[Member, ...]
    body: str | None
    answers: tuple[Answer, ...]
    curl: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The whole document, for the template."""

    groups: Mapping[str, tuple[Operation, ...]]
    schemas: Mapping[str, tuple[Member, ...]]
    abouts: Mapping[str, str]


def routes(parts: Parts) -> APIRouter:
    """One page."""
    router = APIRouter(route_class=GatedRoute, include_in_schema=False)

    @cache
    def made(app: FastAPI) -> Reference:
        return reference(describe(app))

    @router.get("/e/{env}/api")
    @needs("viewer")
    def show(request: Request, caller: Signed, env: str) -> HTMLResponse:
        parts.environment(parts.board, caller, env)
        origin = parts.settings.public_url or str(request.base_url).rstrip("/")
        return page(request, parts, "api.html", env, "api", reference=made(request.app), origin=origin)

    return router


def reference(document: Schema) -> Reference:
    """The document as the page shows it."""
    schemas: Schema = document["components"]["schemas"]
    groups: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(schemas, method, path, operation))
    return Reference(
        {name: tuple(found) for name, found in groups.items()},
        {name: tuple(_members(schema)) for name, schema in schemas.items() if "properties" in schema},
        {name: str(schema.get("description", "")) for name, schema in schemas.items()},
    )


def _operation(schemas: Schema, method: str, path: str, said: Schema) -> Operation:
    parameters = tuple(_parameter(each) for each in said.get("parameters", ()))
    body = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return Operation(
        id=said["operationId"],
        method=method.upper(),
        path=path,
        description=said.get("description", ""),
        parameters=parameters,
        body=_reference_of(body) if body is not None else None,
        answers=tuple(_answer(status, each) for status, each in said["responses"].items()),
        curl=_curl(schemas, method.upper(), path, said, body),
    )


def _parameter(said: Schema) -> Member:
    schema = said["schema"]
    return Member(
        said["name"],
        said["in"],
        bool(said.get("required")),
        _type(schema),
        None,
        said.get("description", ""),
    )


def _members(schema: Schema) -> Iterator[Member]:
    required = schema.get("required", ())
    for name, each in schema["properties"].items():
        about = str(each.get("description", ""))
        yield Member(name, "", name in required, _type(each), _reference_of(each), about)


def _answer(status: str, said: Schema) -> Answer:
    content: Schema = said.get("content", {})
    schema = next((each.get("schema") for each in content.values()), None)
    return Answer(
        status,
        said["description"],
        tuple(content),
        _reference_of(schema) if schema is not None else None,
        tuple(said.get("headers", ())),
    )


def _type(schema: Schema) -> str:
    """The type in the words of JSON Schema, short."""
    if "anyOf" in schema:
        return " | ".join(_type(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REF)
    if "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    kind = str(schema.get("type", "JSON"))
    return f"list of {_type(schema['items'])}" if kind == "array" and schema.get("items") else kind


def _reference_of(schema: Schema) -> str | None:
    """The other schema that one is, or is made of."""
    for each in (schema, schema.get("items") or {}, *schema.get("anyOf", ())):
        if "$ref" in each:
            return str(each["$ref"]).removeprefix(_REF)
    return None


def _curl(schemas: Schema, method: str, path: str, said: Schema, body: Schema | None) -> str:
    """A call from a shell; `$TOKEN` is for the reader to fill in."""
    lines = ['-H "Authorization: Bearer $TOKEN"']
    query = []
    for each in said.get("parameters", ()):
        value = next(iter(_examples(each)), None)
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", str(value))
        elif each["in"] == "query" and each.get("required"):
            query.append(f"{each['name']}={value if value is not None else '…'}")
        elif each["in"] == "header" and value is not None:
            lines.append(f"-H '{each['name']}: {value}'")
    if body is not None:
        sent = json.dumps(_sample(schemas, body), ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d '{sent}'"]
    address = path + ("?" + "&".join(query) if query else "")
    verb = "" if method == "GET" else f"-X {method} "
    return f"curl -s {verb}'$ORIGIN{address}' \\\n  " + " \\\n  ".join(lines)


def _examples(said: Schema) -> list[Any]:
    found = said.get("examples") or said["schema"].get("examples") or ()
    return [each.get("value") if isinstance(each, dict) else each for each in found]


def _sample(schemas: Schema, schema: Schema) -> JSON:
    """A body made of the examples of its members."""
    name = _reference_of(schema)
    if schema.get("type") == "array":
        return [_sample(schemas, schema["items"])]
    if name is not None and "properties" in schemas[name]:
        members: Schema = schemas[name]["properties"]
        return {
            key: _sample(schemas, each)
            for key, each in members.items()
            if key in schemas[name].get("required", ()) or (each.get("examples") and key != "layer")
        }
    found = schema.get("examples") or ["…"]
    sample: JSON = found[0]
    return sample
