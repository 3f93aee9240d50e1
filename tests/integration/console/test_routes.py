"""Every route of the router, with every role: who is let in, what is answered, and that no answer holds a secret."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from kemudi.console.access.gate import GatedRoute, demand_of
from kemudi.console.access.people import ORDER, Person
from kemudi.console.app import make_api

SECRET = "kemudi-canary-7f3a9d"
TYPED = "kemudi-canary-typed-91c4e7"
FORBIDDEN = {401, 403, 404}


@dataclass(frozen=True)
class Expected:
    """What a route is expected to do.

    Attributes:
        least: The role that it takes; empty: it is public.
        good: Its answer to who has that role.
        form: Fields of the form that is posted.
        body: JSON that is sent.
        query: Of the address.
        alone: Whether it answers somebody without any role, with nothing in it.
        key: The setting in its address.
    """

    least: str
    good: int = 200
    form: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    query: str = ""
    alone: bool = False
    key: str = "SYNC_TIMEOUT"


ENV = {"env": "dev"}
CHANGE = {"env": "dev", "changes": [{"key": "SYNC_TIMEOUT", "value": 900}], "reason": "Slow"}
TIP = {"revision": "{tip}"}
ASK = TIP | {"comment": "Another value"}
STOP = {"reason": "Overload", "minutes": "15"}
V1 = "/api/v1"
ROUTES: dict[str, Expected] = {
    "GET /": Expected("viewer", 303),
    "GET /e/{env}/": Expected("viewer"),
    "GET /e/{env}/api": Expected("viewer"),
    "GET /e/{env}/audit": Expected("viewer"),
    "GET /e/{env}/audit/export": Expected("viewer"),
    "GET /e/{env}/changes": Expected("viewer"),
    "GET /e/{env}/changes/{id}": Expected("viewer"),
    "POST /e/{env}/changes/{id}/approve": Expected("approver", 303, TIP),
    "POST /e/{env}/changes/{id}/merge": Expected("editor", 303, TIP),
    "POST /e/{env}/changes/{id}/request": Expected("approver", 303, ASK),
    "POST /e/{env}/changes/{id}/withdraw": Expected("approver", 303, TIP),
    "GET /e/{env}/compare": Expected("viewer"),
    "POST /e/{env}/compare": Expected("editor", 422, {"from": "dev"}),
    "POST /e/{env}/drift": Expected("editor"),
    "POST /e/{env}/pause": Expected("approver", 303, STOP),
    "POST /e/{env}/reconcile": Expected("editor", 303),
    "POST /e/{env}/cache": Expected("admin"),
    "POST /e/{env}/resume": Expected("approver", 303),
    "GET /e/{env}/people": Expected("viewer"),
    "GET /e/{env}/settings": Expected("viewer"),
    "GET /e/{env}/settings/{key}": Expected("viewer"),
    "GET /e/{env}/settings/{key}/change": Expected("editor"),
    "POST /e/{env}/settings/{key}/change": Expected("editor", 303, {"value": "900", "action": "commit"}),
    "POST /e/{env}/settings/{key}/go-on": Expected("approver", 303, key="SYNC_PAUSED"),
    "GET /e/{env}/settings/{key}/row": Expected("viewer"),
    "GET /e/{env}/settings/{key}/stop": Expected("approver", key="SYNC_PAUSED"),
    "POST /e/{env}/settings/{key}/stop": Expected("approver", 303, STOP, key="SYNC_PAUSED"),
    "GET /e/{env}/switches": Expected("viewer"),
    "GET /e/{env}/sync": Expected("viewer"),
    "GET /e/{env}/transfer": Expected("viewer"),
    "POST /e/{env}/transfer": Expected("editor", form={"text": "SYNC_TIMEOUT: 900"}),
    "GET /favicon.ico": Expected(""),
    "GET /healthz": Expected(""),
    "GET /metrics": Expected(""),
    "GET /openapi.json": Expected(""),
    "POST /preferences": Expected("", 303),
    "GET /problems/{name}": Expected(""),
    "GET /readyz": Expected(""),
    "GET /sign-in": Expected(""),
    "POST /sign-in": Expected("", 401),
    "GET /sign-in/oidc": Expected("", 404),  # without a provider
    "GET /sign-in/oidc/back": Expected("", 404),
    "GET /sign-in/oidc/end": Expected("", 404),
    "GET /sign-in/once": Expected("", 401),
    "POST /sign-out": Expected("viewer", 303, alone=True),
    "POST /sign-out-others": Expected("viewer", 303, alone=True),
    "GET /static/{name}": Expected(""),
    f"GET {V1}/audit": Expected("admin"),
    f"POST {V1}/cache/clear": Expected("admin", body=ENV),
    f"GET {V1}/changes": Expected("viewer", alone=True),
    f"POST {V1}/changes": Expected("editor", body=CHANGE),
    f"GET {V1}/changes/{{id}}": Expected("viewer"),
    f"POST {V1}/changes/{{id}}/requests": Expected("approver", body=ASK),
    f"DELETE {V1}/changes/{{id}}": Expected("approver", query="revision={tip}"),
    f"POST {V1}/changes/{{id}}/approvals": Expected("approver", body=TIP),
    f"POST {V1}/changes/{{id}}/merge": Expected("editor", body=TIP),
    f"GET {V1}/compare": Expected("viewer", query="left=dev&right=dev"),
    f"GET {V1}/environments": Expected("viewer", alone=True),
    f"GET {V1}/environments/{{env}}/settings": Expected("viewer"),
    f"GET {V1}/environments/{{env}}/settings/{{key}}": Expected("viewer"),
    f"PUT {V1}/environments/{{env}}/settings/{{key}}": Expected("editor", body={"value": 900}),
    f"GET {V1}/events": Expected("viewer", alone=True),
    f"GET {V1}/export": Expected("viewer", query="env=dev"),
    f"POST {V1}/plans": Expected("editor", body=CHANGE),
    f"DELETE {V1}/publishing/pause": Expected("approver", query="env=dev"),
    f"PUT {V1}/publishing/pause": Expected(
        "approver", 422, body=ENV | {"reason": "x", "until": "2020-01-01"}
    ),
    f"POST {V1}/reconcile": Expected("editor", 202, body=ENV),
    f"GET {V1}/settings/{{key}}/history": Expected("viewer", query="env=dev"),
    f"POST {V1}/settings/{{key}}/rollback": Expected("editor", body=ENV | {"revision": "{first}"}),
    f"GET {V1}/status": Expected("viewer", alone=True),
}
"""A new route is added here, with the least role that it is meant for."""


def test_every_route_of_the_router_is_in_the_table_and_gated(site: Any) -> None:
    """None is missing, none is left over, and each says whom it lets in: nothing passes the gate by accident."""
    routes = dict(_routes(site))
    assert set(routes) == set(ROUTES)
    assert all(isinstance(route, GatedRoute) for route in routes.values())
    assert [name for name, route in routes.items() if demand_of(route.endpoint) is None] == []
    public = {name for name, route in routes.items() if demand_of(route.endpoint).kind == "public"}  # type: ignore[union-attr]  # asserted above
    assert public == {name for name, expected in ROUTES.items() if not expected.least}


def test_without_a_session_only_public_routes_answer(site: Any) -> None:
    """Every other one is 401 as a problem, also for a token that nobody has."""
    http = site.anonymous()
    for name, expected in ROUTES.items():
        answer = _ask(site, http, name, {})
        if not expected.least:
            assert answer.status_code == expected.good, name
            continue
        assert answer.status_code == 401, name
        assert answer.headers["content-type"] == "application/problem+json", name
        unknown = _ask(site, http, name, {"Authorization": "Bearer kemudi_nobodys"})
        assert unknown.status_code == 401, name


@pytest.mark.parametrize("role", ["nobody", *ORDER])
def test_the_table_of_roles_and_routes(site: Any, role: str) -> None:
    """Let in, refused by the name of the missing role, or not there at all: in dev, elsewhere, and without a role."""
    _prepare(site)
    for name, expected in ROUTES.items():
        if not expected.least:
            continue
        http, token = _signed_in(site, role)
        answer = _ask(site, http, name, token)
        if role == "nobody":
            assert answer.status_code in ({expected.good} if expected.alone else {403, 404}), name
        elif ORDER.index(role) >= ORDER.index(expected.least):  # type: ignore[arg-type]  # see Expected
            assert answer.status_code == expected.good, (name, answer.text)
        else:
            assert answer.status_code == 403, (name, answer.text)
            if (
                "json" in answer.headers["content-type"]
            ):  # a form may answer with its page, and the reason in it
                assert answer.json()["type"] == "/problems/read-only", name
                assert ORDER.index(answer.json()["role"]) > ORDER.index(role), name
        if "{env}" in name:
            for env in ("prod", "nowhere"):
                http, token = _signed_in(site, role)
                hidden = _ask(site, http, name, token, env=env)
                assert hidden.status_code == 404, (name, env)


def test_no_write_passes_without_the_token_of_a_form(site: Any) -> None:
    """A session alone changes nothing: each unsafe route answers 403 to the owner, and git stays as it is."""
    _prepare(site)
    tip, before = site.proposal().tip, site.repo.git("for-each-ref")
    for name, expected in ROUTES.items():
        if name.startswith("GET ") or not expected.least:
            continue
        http, _ = _signed_in(site, "admin")
        for token in ({}, {"X-Kemudi-CSRF": "A" * 88}):
            answer = _ask(site, http, name, token)
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/cross-site"), name
        assert http.get("/api/v1/status").status_code == 200  # nobody was signed out either
    assert (site.proposal().tip, site.repo.git("for-each-ref")) == (tip, before)
    assert site.daemon.asked == []


@pytest.mark.parametrize("role", ORDER)
def test_no_route_answers_with_a_secret(site: Any, role: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the one in git nor one that is typed: in no page, answer, header, error, event, commit or log line."""
    _prepare(site)
    said: list[str] = []
    for name, expected in ROUTES.items():
        takes_value = {"value", "changes"} & {*expected.form, *(expected.body or ())}
        for typed in (TYPED, [TYPED], {TYPED: TYPED}) if takes_value else (None,):
            http, token = _signed_in(site, role)
            answer = _ask(site, http, name, token, key="NEO4J_PASSWORD", typed=typed)
            said.append(f"{answer.headers!r}{answer.text}")
    http, token = _signed_in(site, role)
    said += [http.get(f"/api/v1/export?env=dev&format={kind}").text for kind in ("yaml", "json", "env")]
    assert http.get(f"/api/v1/environments/dev/settings?q={SECRET}").json()["items"] == []
    said += [site.repo.git("log", "-p", "--all"), (site.parts.settings.state / "audit.jsonl").read_text()]
    said += capfd.readouterr()
    everything = "".join(said)
    assert "SYNC_TIMEOUT" in everything
    assert SECRET not in everything
    assert TYPED not in everything


def _routes(site: Any) -> Iterator[tuple[str, APIRoute]]:
    """The routes of the application, and nothing else in it."""
    waiting = list(make_api(site.parts).routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if isinstance(route, APIRoute):
            for method in route.methods:
                yield f"{method} {route.path}", route
        elif inner is not None:
            waiting.extend(inner.routes)
        else:
            raise AssertionError(f"a route that is not behind the gate: {route!r}")


def _prepare(site: Any) -> None:
    """Somebody for each role in dev, and a switch that may be thrown above git."""
    site.repo.roles(
        *({"who": f"{role}@example.org", "role": role, "environments": ["dev"]} for role in ORDER)
    )
    site.repo.policies({"rule": "break-glass", "environments": ["dev"], "keys": ["SYNC_PAUSED"]})
    site.refresh()


def _signed_in(site: Any, role: str) -> tuple[httpx.Client, dict[str, str]]:
    browser = site.sign_in(Person(role, f"The {role}", f"{role}@example.org"), owner=False)
    return browser.http, {"X-Kemudi-CSRF": browser.csrf}


def _ask(
    site: Any,
    http: httpx.Client,
    name: str,
    headers: dict[str, str],
    *,
    env: str = "dev",
    key: str | None = None,
    typed: Any = None,
) -> httpx.Response:
    """One request as the table has it; of a stream that has no end, only its beginning."""
    expected = ROUTES[name]
    method, _, pattern = name.partition(" ")
    waits = site.proposal() if "{tip}" in repr(expected) or "{id}" in pattern else None
    known = {
        "{tip}": waits.tip if waits is not None else "",
        "{first}": site.repo.git("rev-list", "--max-parents=0", "HEAD"),
    }
    file = "wheel.svg" if "static" in pattern else "validation"
    chosen = key or expected.key
    path = pattern.format(env=env, key=chosen, id=waits.id if waits is not None else "", name=file)
    sent = {"Origin": site.url, "Accept": "application/json"} | headers
    if method == "PUT" and "{key}" in pattern and env in site.parts.board.environments:
        sent["If-Match"] = f'"{site.parts.board.environments[env].rows[chosen].etag}"'
    request = http.build_request(
        method,
        f"{path}?{_known(expected.query, known)}",
        headers=sent,
        json=_filled(expected.body, known, key, typed) if expected.body is not None else None,
        data=_filled(expected.form, known, key, str(typed) if typed else None) if expected.form else None,
    )
    answer = http.send(request, stream=True)
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        answer._content = next(answer.iter_bytes())  # what `read` would wait for has no end
        answer.close()
    else:
        answer.read()
    return answer


def _known(text: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        text = text.replace(name, value)
    return text


def _filled(sent: dict[str, Any], known: dict[str, str], key: str | None, typed: Any) -> dict[str, Any]:
    """What is sent, with the names that are known now; for a secret's walk with what was typed as each value."""
    filled = {name: _known(value, known) if isinstance(value, str) else value for name, value in sent.items()}
    if typed is not None:
        if "value" in filled:
            filled["value"] = typed
        if "changes" in filled:
            filled["changes"] = [{"key": key or "NEO4J_PASSWORD", "value": typed}]
    return filled
