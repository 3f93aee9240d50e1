"""Who gets in, and what they may do: every route, every role, and what browsers send from elsewhere."""

import json
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from kemudi.console.access import accounts, once
from kemudi.console.access.gate import GatedRoute, demand_of
from kemudi.console.access.guard import CSP
from kemudi.console.access.oidc import OidcSettings
from kemudi.console.access.people import Person
from kemudi.console.access.sessions import Sessions
from kemudi.console.app import make_api
from kemudi.schema.manifest import RoleGrant

VIEWER = Person("viewer-1", "Viewer One", "viewer@example.org")
EDITOR = Person("editor-1", "Editor One", "editor@example.org")
GRANTS = (
    {"who": "viewer@example.org", "role": "viewer", "environments": ["dev"]},
    {"who": "editor@example.org", "role": "editor", "environments": ["dev"], "categories": ["sync"]},
    {"who": "approver@example.org", "role": "approver"},
)


def routes_of(site: Any) -> list[APIRoute]:
    found: list[APIRoute] = []
    waiting = list(make_api(site.parts).routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if isinstance(route, APIRoute):
            found.append(route)
        elif inner is not None:
            waiting.extend(inner.routes)
        else:
            raise AssertionError(f"a route that is not behind the gate: {route!r}")
    return found


def test_every_route_says_whom_it_lets_in(site):
    """No route passes the gate by accident: each has a demand, and is a gated one."""
    routes = routes_of(site)
    assert len(routes) > 25
    assert all(isinstance(route, GatedRoute) for route in routes)
    assert [route.path for route in routes if demand_of(route.endpoint) is None] == []


def test_categories_bound_a_role(site):
    """An editor of `sync` sees and changes that category and no other one."""
    site.repo.roles(*GRANTS)
    site.refresh()
    browser = site.sign_in(EDITOR, owner=False)
    items = browser.api("GET", "/environments/dev/settings").json()["items"]
    assert {item["category"] for item in items} == {"sync"}
    assert browser.api("GET", "/environments/dev/settings/CACHE_TTL").status_code == 404
    body = {"env": "dev", "changes": [{"key": "CACHE_TTL", "value": 9}], "reason": "try"}
    assert browser.api("POST", "/changes", body).status_code == 404
    body["changes"] = [{"key": "SYNC_TIMEOUT", "value": 900}]
    assert browser.api("POST", "/changes", body).status_code == 200
    body["changes"] = [{"key": "SYNC_TIMEOUT", "value": 901, "layer": "base"}]
    refused = browser.api("POST", "/changes", body)
    assert (refused.status_code, refused.json()["environment"]) == (403, "staging")


def test_the_viewer_has_no_form_that_writes(site):
    """A viewer's pages hold the preferences and the sign-out, and no other form that posts."""
    site.repo.roles(*GRANTS)
    site.refresh()
    browser = site.sign_in(VIEWER, owner=False)
    for path in (
        "/e/dev/",
        "/e/dev/settings",
        "/e/dev/settings/SYNC_PAUSED",
        "/e/dev/switches",
        "/e/dev/changes",
        "/e/dev/sync",
    ):
        page = browser.get(path).text
        posts = [
            part.split('action="')[1].split('"')[0] for part in page.split("<form")[1:] if "post" in part[:30]
        ]
        assert set(posts) == {"/preferences", "/sign-out"}, path
        assert '/change"' not in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
)
def test_requests_from_elsewhere_change_nothing(site, headers):
    """Another origin, a sibling site, or nothing said at all: 403 and no commit, even with cookie and token."""
    browser = site.sign_in()
    before = site.repo.head
    fields = {"csrf": browser.csrf, "value": "77", "action": "commit"}
    answer = browser.http.post("/e/dev/settings/GRAPH_CLASSMATES_LIMIT/change", data=fields, headers=headers)
    assert answer.status_code == 403
    assert site.repo.head == before


def test_a_form_without_the_session_s_token_changes_nothing(site):
    """The cookie alone is not enough, and the token of another session does not fit."""
    browser, other = site.sign_in(), site.sign_in()
    before = site.repo.head
    for token in ("", other.csrf, "x" * 88):
        browser.csrf = token
        answer = browser.form("/e/dev/settings/GRAPH_CLASSMATES_LIMIT/change", value="77", action="commit")
        assert answer.status_code == 403
        body = {"env": "dev", "changes": [{"key": "GRAPH_CLASSMATES_LIMIT", "value": 77}]}
        assert browser.api("POST", "/changes", body).status_code == 403
    assert site.repo.head == before


def test_the_api_takes_json_only(site):
    """A form posted to the API, which needs no preflight, is refused by its media type."""
    browser = site.sign_in()
    headers = {"Origin": site.url, "X-Kemudi-CSRF": browser.csrf, "Content-Type": "text/plain"}
    assert browser.http.post("/api/v1/changes", content=b"{}", headers=headers).status_code == 415


def test_headers_and_cookie(site):
    """Exactly the policy of the design on every answer; the session's cookie is strict and out of reach of scripts."""
    link = once.make_link(site.parts.settings.state, site.url, Person("owner", "Owner", "owner@example.org"))
    http = site.anonymous()
    answer = http.get(link)
    cookie = answer.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/"))
    for path in ("/", "/e/dev/settings", "/sign-in", "/api/v1/status", "/static/console.css", "/nowhere"):
        headers = http.get(path).headers
        assert headers["content-security-policy"] == CSP
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
    assert http.get("/e/dev/settings").headers["cache-control"] == "no-store"


def test_behind_https_the_cookie_is_secure(start, repo, daemon):
    """With a public https address: Secure, HSTS, and only that origin may post."""
    site = start(public_url="https://console.example.org")
    accounts.set_user(site.parts.settings.state, VIEWER, "a long enough password")
    http = site.anonymous()
    fields = {"login": "viewer-1", "password": "a long enough password"}
    assert http.post("/sign-in", data=fields, headers={"Origin": site.url}).status_code == 403
    answer = http.post("/sign-in", data=fields, headers={"Origin": "https://console.example.org"})
    assert "secure" in answer.headers["set-cookie"].lower()
    assert "strict-transport-security" in answer.headers


def test_a_link_works_once(site):
    """The second use, and a browser that only loads ahead, do not sign in."""
    link = once.make_link(site.parts.settings.state, site.url, Person("owner", "Owner", "owner@example.org"))
    assert site.anonymous().get(link, headers={"Sec-Purpose": "prefetch"}).status_code == 400
    assert site.anonymous().get(link).status_code == 200
    assert site.anonymous().get(link).status_code == 401


def test_signing_out_ends_the_session_on_the_server(site):
    """The cookie is worth nothing afterwards, also for whoever copied it."""
    browser = site.sign_in()
    copied = browser.http.cookies["kemudi_session"]
    assert browser.get("/e/dev/settings").status_code == 200
    browser.form("/sign-out")
    thief = site.anonymous()
    thief.cookies.set("kemudi_session", copied)
    assert thief.get("/e/dev/settings").status_code == 401


def test_local_users_sign_in_and_attempts_are_limited(site):
    """The right password opens a session, again and again; after some wrong ones even the right one has to wait."""
    site.repo.roles({"who": "viewer-1", "role": "viewer"})
    site.refresh()
    accounts.set_user(site.parts.settings.state, VIEWER, "a long enough password")
    http = site.anonymous()
    headers = {"Origin": site.url}
    good = {"login": "viewer-1", "password": "a long enough password", "next": "//evil.example"}
    answer = http.post("/sign-in", data=good, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert http.get("/e/dev/settings").status_code == 200
    again = [http.post("/sign-in", data=good, headers=headers).status_code for _ in range(6)]
    assert again == [303] * 6
    tries = [
        http.post("/sign-in", data={"login": "viewer-1", "password": "wrong"}, headers=headers).status_code
        for _ in range(6)
    ]
    assert tries == [401] * 5 + [429]
    assert http.post("/sign-in", data=good, headers=headers).status_code == 429
    accounts.remove_user(site.parts.settings.state, "viewer-1")
    assert http.get("/e/dev/settings").status_code == 401
    log = [(each.action, each.outcome) for each in site.parts.audit.latest(20)]
    assert ("sign-in", "refused") in log
    assert ("sign-in", "done") in log


def test_a_bearer_token_needs_no_origin_and_is_revoked_at_once(site):
    """A program with a token writes; revoked, it is nobody; in the address it is refused."""
    token = accounts.add_token(site.parts.settings.state, "deploy", RoleGrant("", "editor", ("dev",)), days=1)
    http = httpx.Client(base_url=site.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    with http:
        body = {"env": "dev", "changes": [{"key": "SYNC_TIMEOUT", "value": 900}], "reason": "slow registry"}
        assert http.post("/api/v1/changes", json=body).status_code == 200
        assert site.repo.git("log", "-1", "--format=%an") == "deploy (token)"
        assert http.get("/api/v1/environments/prod/settings").status_code == 404
        assert http.get(f"/api/v1/status?token={token}").status_code == 400
        accounts.remove_token(site.parts.settings.state, "deploy")
        assert http.get("/api/v1/status").status_code == 401
    stored = (site.parts.settings.state / accounts.TOKENS).read_text()
    assert token not in stored


def test_a_proxy_is_believed_only_when_it_is_trusted(start, repo, daemon):
    """The header names a user when it comes from the proxy's address, and nobody otherwise."""
    repo.roles({"who": "viewer@example.org", "role": "viewer"})
    header = {"X-Forwarded-User": "viewer@example.org"}
    trusting = start(proxy_header="X-Forwarded-User", proxies=frozenset({"127.0.0.1"}))
    assert trusting.anonymous().get("/e/dev/settings", headers=header).status_code == 200
    other = start(proxy_header="X-Forwarded-User", proxies=frozenset({"192.0.2.1"}))
    assert other.anonymous().get("/e/dev/settings", headers=header).status_code == 401


def test_another_name_for_this_machine_is_refused(site):
    """A page that rebinds its own name to 127.0.0.1 sends that name."""
    assert site.anonymous().get("/healthz", headers={"Host": "evil.example"}).status_code == 421


def test_a_refusal_is_one_line_of_the_audit_log(site):
    """Line breaks and escape sequences stay inside one JSON record."""
    http = site.anonymous()
    login = 'x\n{"who": "owner"}\x1b[2J'
    http.post("/sign-in", data={"login": login, "password": "p"}, headers={"Origin": site.url})
    lines = (site.parts.settings.state / "audit.jsonl").read_text().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["who"] == login


def test_a_large_body_is_refused(site):
    """More than a mebibyte is not read, with or without a declared length."""
    browser = site.sign_in()
    headers = {"Origin": site.url, "X-Kemudi-CSRF": browser.csrf, "Content-Type": "application/json"}
    assert browser.http.post("/api/v1/changes", content=b" " * 2**21, headers=headers).status_code == 413
    pieces = (b" " * 2**17 for _ in range(16))
    assert browser.http.post("/api/v1/changes", content=pieces, headers=headers).status_code == 413


@pytest.mark.parametrize("now", [None, "https://id.example.net"])
def test_sessions_of_a_provider_end_with_it(start, tmp_path, now):
    """Started again without the provider, or with another: who came from there signs in again, others need not."""
    before = "https://id.example.org"
    tmp_path.joinpath("state").mkdir(mode=0o700)
    path = tmp_path / "state" / "sessions.json"
    sessions = Sessions(path, issuer=before)
    from_there = sessions.begin(Person("oidc:7", "Seven", "seven@example.org"), "oidc")
    by_link = sessions.begin(Person("owner", "Owner", "owner@example.org"), "link")
    site = start(oidc=OidcSettings(now, "kemudi") if now else None)
    for session, status in ((from_there, 401), (by_link, 200)):
        http = site.anonymous()
        http.cookies.set("kemudi_session", session)
        assert http.get("/api/v1/environments").status_code == status
    # Ended, not set aside: with the first provider again it is none either.
    assert Sessions(path, issuer=before).find(from_there) is None


def test_sessions_of_the_same_provider_go_on(start, tmp_path):
    """A restart of the console signs nobody out; a file that does not name the provider yet does."""
    issuer = "https://id.example.org"
    tmp_path.joinpath("state").mkdir(mode=0o700)
    path = tmp_path / "state" / "sessions.json"
    session = Sessions(path, issuer=issuer).begin(Person("oidc:7", "Seven", "seven@example.org"), "oidc")
    assert start(oidc=OidcSettings(issuer, "kemudi")).parts.sessions.find(session) is not None
    listed = json.loads(path.read_text())
    path.write_text(json.dumps([{name: each[name] for name in each if name != "issuer"} for each in listed]))
    assert Sessions(path, issuer=issuer).find(session) is None


def test_the_chain_tells_nothing_of_settings_that_are_not_shown(site):
    """A viewer of one category hears that something was rejected or waits, and of other categories no name."""
    wrong = {
        "file": "dev/neo4j.yaml",
        "line": 2,
        "column": 1,
        "key": "NEO4J_URI",
        "message": "NEO4J_URI must be a URI.",
        "hint": None,
    }
    process = {"service": "graph", "instance": "a", "revision": None, "state": "refused"}
    process |= {"reason": "NEO4J_URI", "restart_pending": ["NEO4J_URI", "SYNC_PARALLELISM"]}
    drift = [{"category": "neo4j", "key": "NEO4J_URI", "kind": "setting-altered"}]
    site.repo.roles(
        {"who": "v@example.org", "role": "viewer", "environments": ["dev"], "categories": ["sync"]}
    )
    site.daemon.serves("dev", site.repo.head, errors=[wrong], rejected="x", clients=[process], drift=drift)
    site.refresh()
    viewer = site.sign_in(Person("v", "V", "v@example.org"), owner=False)
    (chain,) = viewer.api("GET", "/status").json()["environments"]
    assert (chain["state"], chain["drifted"], chain["errors"]) == ("rejected", 0, [])
    page = viewer.get("/e/dev/sync").text
    assert ("NEO4J_URI" in page, "SYNC_PARALLELISM" in page) == (False, True)
    assert "NEO4J_URI must be a URI." in site.sign_in().get("/e/dev/sync").text
