"""Sign-in by a real OpenID Connect provider: there and back, groups to roles, what is not believed, and its outage."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from kemudi.console.access.oidc import OidcSettings
from kemudi.schema.secret import Secret

pytestmark = [pytest.mark.oidc, pytest.mark.xdist_group("oidc")]
SECRET = "kemudi-canary-oidc-5b1d0e/+ &"
BACK = "/sign-in/oidc/back"


@pytest.fixture
def open_site(start: Callable[..., Any], repo: Any, daemon: Any, oidc_provider: Any) -> Callable[..., Any]:
    """The console with the provider; settings of the client may be replaced."""

    def make(**changed: Any) -> Any:
        daemon.serves("dev", repo.head)
        said = {"client_id": "kemudi", "client_secret": Secret(SECRET)} | changed
        return start(oidc=OidcSettings(oidc_provider.issuer, **said))

    return make


@pytest.fixture
def site(open_site: Callable[..., Any]) -> Any:
    return open_site()


def _follow(http: httpx.Client, answer: httpx.Response, upto: str) -> httpx.Response:
    """Go where redirects lead, until the address has `upto` in it, which is not asked for; or until a page."""
    while answer.is_redirect and upto not in answer.headers["location"]:
        answer = http.get(answer.next_request.url)  # type: ignore[union-attr]  # it is a redirect
    return answer


def _to_back(site: Any, http: httpx.Client, login: str, to: str = "/", **fields: str) -> str:
    """Sign in at the provider; the address on the console that it sends the browser back to."""
    form = _follow(http, http.get("/sign-in/oidc", params={"next": to}), BACK)
    if not form.is_redirect:  # else the provider knows this browser
        form = _follow(http, http.post(form.url, data={"login": login} | fields), BACK)
    back: str = form.headers["location"]
    assert back.startswith(site.url + BACK)
    return back


def _enter(site: Any, login: str, to: str = "/") -> tuple[httpx.Client, httpx.Response]:
    http = site.anonymous()
    return http, http.get(_to_back(site, http, login, to))


def test_a_group_of_the_provider_gives_its_role(site: Any) -> None:
    """Whoever signs in there has the roles of their groups at once, and is the author of what they save."""
    site.repo.roles({"who": "group:operators", "role": "editor", "environments": ["dev"]})
    site.refresh()
    http, page = _enter(site, "editor-7", "/e/dev/settings")
    assert (page.status_code, 'content="0;url=/e/dev/settings"' in page.text) == (200, True)
    cookie = page.headers.get_list("set-cookie")[-1]
    assert re.fullmatch(r"kemudi_session=[^;]+; HttpOnly; Max-Age=43200; Path=/; SameSite=strict", cookie)
    shown = http.get("/e/dev/settings/SYNC_TIMEOUT/change", headers={"Accept": "text/html"})
    csrf = re.search(r'name="csrf" value="([^"]+)"', shown.text)
    assert csrf is not None
    assert "Editor Seven" in shown.text
    body = {"env": "dev", "changes": [{"key": "SYNC_TIMEOUT", "value": 901}]}
    saved = http.post(
        "/api/v1/changes", json=body, headers={"Origin": site.url, "X-Kemudi-CSRF": csrf.group(1)}
    )
    assert saved.status_code in {200, 201}, saved.text
    assert site.repo.git("log", "-1", "--format=%an <%ae>") == "Editor Seven <editor-7@example.org>"


def test_the_request_carries_pkce_state_and_nonce_and_no_secret(site: Any) -> None:
    """Each time anew, in the address the browser is sent to; the cookie of the attempt reaches nothing else."""
    asked = [site.anonymous().get("/sign-in/oidc") for _ in range(2)]
    queries = [parse_qs(urlsplit(each.headers["location"]).query) for each in asked]
    for query in queries:
        assert query["code_challenge_method"] == ["S256"]
        assert query["scope"] == ["openid profile email groups"]
        assert query["redirect_uri"] == [site.url + BACK]
        assert SECRET not in str(query)
    for name in ("code_challenge", "state", "nonce"):
        assert queries[0][name] != queries[1][name]
    assert "Path=/sign-in/oidc; SameSite=lax" in asked[0].headers["set-cookie"]
    assert "HttpOnly" in asked[0].headers["set-cookie"]


def test_a_sign_in_begun_elsewhere_is_not_taken(site: Any) -> None:
    """Without the cookie, with the cookie of another attempt, with another state or issuer: 401, and no session."""
    mine, others = site.anonymous(), site.anonymous()
    back = _to_back(site, mine, "editor-7")
    others.get("/sign-in/oidc")
    answers = [
        site.anonymous().get(back),
        others.get(back),
        mine.get(re.sub("state=[^&]+", "state=of-somebody-else", back)),
        mine.get(re.sub("iss=[^&]+", "iss=https%3A%2F%2Felsewhere.example.org", back)),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert "does not belong to a sign-in of this browser" in answer.text
        assert "kemudi_session" not in answer.headers.get("set-cookie", "")


def test_a_code_works_once(site: Any) -> None:
    """Whoever reads the address of the way back later gets nothing for it."""
    http = site.anonymous()
    back = _to_back(site, http, "editor-7")
    kept = http.cookies.get("kemudi_sign_in")
    assert http.get(back).status_code == 200
    assert http.cookies.get("kemudi_sign_in") is None
    http.cookies.set("kemudi_sign_in", str(kept))
    assert http.get(back).status_code == 401


def test_turned_down_at_the_provider(site: Any) -> None:
    """A page says so, and offers to try again."""
    http = site.anonymous()
    answer = http.get(_to_back(site, http, "editor-7", deny="yes"))
    assert (answer.status_code, "was not completed" in answer.text) == (401, True)
    assert 'href="/sign-in/oidc?next=' in answer.text


def test_what_is_not_verified_gives_no_role(site: Any) -> None:
    """Neither an address that anybody could have typed, nor a name that reads like a group, stands for a role."""
    site.repo.roles(
        {"who": "editor-7@example.org", "role": "admin"}, {"who": "group:operators", "role": "admin"}
    )
    site.refresh()
    for login in ("unverified", "group:operators"):
        http, page = _enter(site, login)
        assert page.status_code == 200
        assert http.get("/api/v1/environments").json()["items"] == [], login


def test_the_way_back_leads_to_this_origin_only(site: Any) -> None:
    """Whatever `next` says."""
    for to in (
        "https://elsewhere.example.org/",
        "//elsewhere.example.org",
        "/\\elsewhere.example.org",
    ):
        _, page = _enter(site, "editor-7", to)
        assert 'content="0;url=/"' in page.text
        assert "elsewhere" not in page.text


def test_a_wrong_client_secret_is_refused_and_told_to_nobody(
    open_site: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """The provider refuses the console, which says that the sign-in failed; the secret is in no page, log or file."""
    wrong = "kemudi-canary-wrong-c47712"
    site = open_site(client_secret=Secret(wrong))
    _, page = _enter(site, "editor-7")
    assert page.status_code == 401
    audit = (site.parts.settings.state / "audit.jsonl").read_text()
    assert "the provider refused with 401" in audit
    told = page.text + audit + repr(site.parts.settings) + "".join(capfd.readouterr())
    assert wrong not in told


def test_without_the_provider_the_other_ways_still_work(site: Any, oidc_provider: Any) -> None:
    """Away before or in the middle of a sign-in: a page that says so, and the rest of the console as ever."""
    http = site.anonymous()
    back = _to_back(site, http, "editor-7")
    oidc_provider.stop()
    try:
        for answer in (http.get(back), http.get("/sign-in/oidc")):
            assert (answer.status_code, "does not answer now" in answer.text) == (503, True)
        assert site.sign_in().get("/e/dev/settings").status_code == 200
        in_indonesian = http.get("/sign-in/oidc/back", headers={"Accept-Language": "id"})
        assert "Silakan masuk lagi" in in_indonesian.text
    finally:
        oidc_provider.start()
    http, page = _enter(site, "editor-7")
    assert page.status_code == 200


def test_a_provider_that_was_never_there(start: Callable[..., Any]) -> None:
    """The console starts without it, and says that it does not answer."""
    site = start(oidc=OidcSettings("http://127.0.0.1:9", "kemudi"))
    answer = site.anonymous().get("/sign-in/oidc")
    assert (answer.status_code, "does not answer now" in answer.text) == (503, True)
    assert "kemudi console login" in answer.text  # the other way


def test_signed_out_here_and_there(site: Any) -> None:
    """The session ends on the server; the page leads to the provider's own end, which asks, and back again."""
    http, _ = _enter(site, "editor-7")
    site.repo.roles({"who": "editor-7@example.org", "role": "viewer"})
    site.refresh()
    shown = http.get("/e/dev/settings", headers={"Accept": "text/html"})
    csrf = re.search(r'name="csrf" value="([^"]+)"', shown.text)
    assert csrf is not None
    out = http.post("/sign-out", data={"csrf": csrf.group(1)}, headers={"Origin": site.url})
    assert out.headers["location"] == "/sign-in?out=1"
    assert http.get("/api/v1/environments").status_code == 401
    assert 'href="/sign-in/oidc/end"' in http.get("/sign-in?out=1").text
    asked = _follow(http, http.get("/sign-in/oidc/end"), "nowhere")
    xsrf = re.search(r'name="xsrf" value="([^"]+)"', asked.text)
    assert xsrf is not None
    action = re.search(r'action="([^"]+)"', asked.text)
    assert action is not None
    left = http.post(action.group(1), data={"xsrf": xsrf.group(1), "logout": "yes"})
    assert left.headers["location"].startswith(site.url + "/sign-in")
    again = _follow(http, http.get("/sign-in/oidc"), BACK)
    assert not again.is_redirect  # the provider asks for the name again
