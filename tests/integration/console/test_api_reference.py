"""The reference of the REST API as a page: made from the same document as `/openapi.json`, and complete."""

import html
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from kemudi.console.access import accounts
from kemudi.console.app import make_api
from kemudi.console.languages import load_languages
from kemudi.schema.manifest import RoleGrant


def operations(site: Any) -> set[str]:
    """Every method and address of the REST API, from the router."""
    found: set[str] = set()
    waiting = list(make_api(site.parts).routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if isinstance(route, APIRoute):
            found |= {f"{method} {route.path}" for method in route.methods if route.path.startswith("/api/")}
        elif inner is not None:
            waiting.extend(inner.routes)
    return found


@pytest.mark.parametrize("language", ["en", "id"])
def test_the_page_has_every_route_of_the_router(site: Any, language: str) -> None:
    """None is missing and none is left over; each link in the page leads to a part of it."""
    browser = site.sign_in()
    browser.http.cookies.set("kemudi_language", language)
    page = browser.get("/e/dev/api").text
    shown = set(re.findall(r'data-operation="([^"]+)"', page))
    assert shown == operations(site)
    assert len(shown) > 20
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page)) | {"main"}
    assert ("Referensi API" in page) == (language == "id")
    assert "src=" not in page.replace('src="/static/', "").replace("src=/static/", "")


def test_the_examples_are_requests_that_the_console_understands(site: Any) -> None:
    """Each curl line has an address of the router and JSON that fits: what names no sample of a commit is done."""
    browser = site.sign_in()
    token = accounts.add_token(site.parts.settings.state, "reader", RoleGrant("", "admin"), days=1)
    page = browser.get("/e/dev/api").text
    examples = [html.unescape(each) for each in re.findall(r"<pre[^>]*>(curl .*?)</pre>", page, re.DOTALL)]
    assert len(examples) == len(operations(site))
    http = site.anonymous()
    for each in examples:
        words = shlex.split(each.replace("$TOKEN", token).replace("\\\n", " "))
        address = next(word for word in words if word.startswith(site.url))
        if address.endswith("/events"):
            continue  # has no end
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        headers = dict(words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "-H")
        body = words[words.index("-d") + 1] if "-d" in words else None
        answer = http.request(method, address, headers=headers, content=body)
        # The commit, the proposal and the tag of the examples are samples, and the end of a pause may be far away.
        sampled = any(name in each for name in ("revision", "/changes/", "If-Match", "until"))
        assert answer.status_code in ({404, 412, 422} if sampled else {200, 202}), (each, answer.text)


def test_every_description_is_said_in_indonesian(site: Any) -> None:
    """What it says of addresses, parameters, answers and members is in the catalogue, and on the page."""
    browser = site.sign_in()
    browser.http.cookies.set("kemudi_language", "id")
    page = html.unescape(re.sub(r"<[^>]*>", "", browser.get("/e/dev/api").text))
    document = browser.http.get("/openapi.json").json()
    texts = set(descriptions(document["paths"])) | set(descriptions(document["components"]["schemas"]))
    assert len(texts) > 100
    words = load_languages()["id"]
    assert [text for text in texts if words.gettext(text) == text] == []
    plain = {text: words.gettext(text).replace("`", "") for text in texts}
    assert [text for text, said in plain.items() if said not in page] == []


def descriptions(part: Any) -> Iterator[str]:
    """Every description in a part of an OpenAPI document; those of headers have no place on the page."""
    if isinstance(part, dict):
        if isinstance(part.get("description"), str) and part["description"]:
            yield part["description"]
        for name, inner in part.items():
            if name != "headers":
                yield from descriptions(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from descriptions(inner)
