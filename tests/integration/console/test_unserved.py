"""An environment that this console's daemon does not serve: what only a daemon does is not offered, with the reason."""

from datetime import UTC, datetime, timedelta

import pytest

BREAK_GLASS = {"rule": "break-glass", "environments": ["prod"], "keys": ["GRAPH_FEATURE_ENABLED"]}


@pytest.mark.parametrize(
    ("language", "why"),
    [
        ("en", "does not serve prod: it publishes nothing there, so there is nothing to pause"),
        ("id", "tidak melayani prod: tidak ada yang diterbitkan di sana, jadi tidak ada yang dapat dijeda"),
    ],
)
def test_nothing_is_offered_that_the_daemon_cannot_do(site, language, why):
    """No way to pause, and none to turn off at once; the page says why. Where it serves, both are there."""
    site.repo.policies(BREAK_GLASS | {"environments": ["dev", "prod"]})
    site.refresh()
    browser = site.sign_in()
    browser.http.cookies.set("kemudi_language", language)
    pages = {env: browser.get(f"/e/{env}/switches").text for env in ("dev", "prod")}
    assert why in pages["prod"]
    assert why.replace("prod", "dev") not in pages["dev"]
    for env, offered in (("dev", True), ("prod", False)):
        assert (f'action="/e/{env}/pause"' in pages[env]) == offered
        assert ("/settings/GRAPH_FEATURE_ENABLED/stop" in pages[env]) == offered
        assert (f'href="/e/{env}/switches#publishing"' in browser.get(f"/e/{env}/").text) == offered


def test_asked_all_the_same_the_answer_says_why(site):
    """The API and the forms are refused before the daemon is asked; a daemon that is away is another problem."""
    site.repo.policies(BREAK_GLASS)
    site.refresh()
    browser = site.sign_in()
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"env": "prod", "reason": "Enrolment week", "until": until}
    for refused in (
        browser.api("PUT", "/publishing/pause", body),
        browser.api("DELETE", "/publishing/pause?env=prod"),
    ):
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not-served")
        assert "does not serve prod" in refused.json()["detail"]
    forms = {
        "pause": {"confirm": "prod"},
        "resume": {},
        "settings/GRAPH_FEATURE_ENABLED/stop": {"confirm": "prod"},
    }
    for path, fields in forms.items():
        answer = browser.form(f"/e/prod/{path}", reason="Exam week", minutes="60", **fields)
        assert (answer.status_code, "does not serve prod" in answer.text) == (409, True), path
    assert site.daemon.asked == []
    assert "publishes nothing there" in browser.get("/problems/not-served").text
    site.daemon.away = True
    site.refresh()
    assert browser.api("PUT", "/publishing/pause", body).status_code == 503
    page = browser.get("/e/prod/switches").text
    assert "The daemon does not answer, so publishing cannot be paused now." in page
