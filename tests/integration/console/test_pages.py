"""Pages as they are without any script: filter, preview, save, go back; in two languages, and never with a secret."""

import html
import json
import re
from typing import Any

import pytest

from kemudi.console.access.people import Person

SECRET = "kemudi-canary-7f3a9d"
CHANGE = "/e/dev/settings/GRAPH_CLASSMATES_LIMIT/change"
PAGES = (
    "/e/dev/",
    "/e/dev/settings",
    "/e/dev/settings/GRAPH_CLASSMATES_LIMIT",
    CHANGE,
    "/e/dev/settings/NEO4J_PASSWORD/change",
    "/e/dev/switches",
    "/e/dev/changes?show=all",
    "/e/dev/compare?from=prod&show=all",
    "/e/dev/audit",
    "/e/dev/people",
    "/e/dev/audit?who=nobody-of-this-name&since=tomorrow",
    "/e/dev/settings/SYNC_TIMEOUT/change?unset=1",
    "/e/dev/sync",
)


def field(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return html.unescape(found[1])


def test_a_setting_is_changed_without_a_script(site):
    """Form, preview, save: three requests, one commit by the person, and the page shows it."""
    browser = site.sign_in()
    start = browser.get(CHANGE).text
    assert "Save to git" not in start
    first_button = re.search(r'<button[^>]*name="action" value="(\w+)"', start)
    assert first_button is not None
    assert first_button[1] == "preview"
    fields = {"value": "40", "layer": "dev", "reason": "Bigger classes", "expected": field(start, "expected")}
    before = site.repo.head
    preview = browser.form(CHANGE, **fields, action="preview").text
    assert site.repo.head == before
    assert "-GRAPH_CLASSMATES_LIMIT: 25" in preview
    assert "+GRAPH_CLASSMATES_LIMIT: 40" in preview
    assert "Save to git" in preview
    saved = browser.form(CHANGE, **fields, once=field(preview, "once"), action="commit")
    assert (saved.status_code, saved.headers["location"]) == (303, "/e/dev/settings/GRAPH_CLASSMATES_LIMIT")
    page = browser.get(saved.headers["location"]).text
    assert '25</code> → <code class="value">40' in page
    assert "Bigger classes" in page
    assert "Bigger classes" in site.repo.git("log", "-1", "--format=%b")


def test_save_pressed_twice_makes_one_commit(site):
    """The same form sent again, also after the first answer, changes nothing more."""
    browser = site.sign_in()
    fields = {"value": "40", "expected": site.repo.head, "once": "press-1", "action": "commit"}
    assert browser.form(CHANGE, **fields).status_code == 303
    assert browser.form(CHANGE, **fields).status_code == 303
    assert site.repo.git("rev-list", "--count", "HEAD") == "2"


def test_somebody_was_faster(site):
    """412: what was typed stays, who changed it to what is shown; then the next save goes over it."""
    browser = site.sign_in()
    seen = site.repo.head
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=26)
    fields = {"value": "40", "expected": seen, "once": "a", "action": "commit"}
    answer = browser.form(CHANGE, **fields)
    assert answer.status_code == 412
    assert "Author changed this setting while you were editing" in answer.text
    assert "<code>26</code>" in answer.text
    assert 'value="40"' in answer.text
    fields |= {"expected": field(answer.text, "expected"), "once": field(answer.text, "once")}
    assert browser.form(CHANGE, **fields).status_code == 303


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "Must be a whole number of at least 1."), ("id", "Harus bilangan bulat paling sedikit 1.")],
)
def test_a_wrong_value_is_said_in_words_beside_the_field(site, language, said):
    """In both languages; nothing reaches git, and the text stays in the field."""
    browser = site.sign_in()
    browser.http.cookies.set("kemudi_language", language)
    before = site.repo.head
    for text in ("0", "many", "1.5"):
        answer = browser.form(CHANGE, value=text, action="commit")
        assert answer.status_code == 422
        assert said in answer.text
        assert f'value="{text}"' in answer.text
        assert 'aria-invalid="true"' in answer.text
    assert site.repo.head == before


def test_a_required_reason_is_asked_for(site):
    """A policy wants a reason: without one nothing is saved and the form says so; with one it is the body."""
    site.repo.policies({"rule": "reason", "minimum": 5})
    site.refresh()
    browser = site.sign_in()
    fields = {"value": "40", "expected": site.repo.head, "action": "commit"}
    assert "(required)" in browser.form(CHANGE, **(fields | {"action": "preview"})).text
    before = site.repo.head
    answer = browser.form(CHANGE, **fields)
    assert answer.status_code == 403
    assert "Say why" in answer.text
    assert site.repo.head == before
    assert browser.form(CHANGE, **fields, reason="Because of the load").status_code == 303


def test_where_approval_is_needed_save_becomes_propose(site):
    """The protected environment offers Propose, which makes a branch; a forged Save is refused."""
    site.repo.policies({"rule": "approvals", "environments": ["prod"], "required": 1})
    site.refresh()
    browser, before = site.sign_in(), site.repo.head
    path = CHANGE.replace("dev", "prod")
    fields = {"value": "40", "expected": before, "reason": "More"}
    page = browser.form(path, **fields, action="preview").text
    assert "Propose change" in page
    assert "1 person has to approve this" in page
    assert (
        "--propose" not in page.partition("<pre")[0]
    )  # the button says it; the command line's flag helps nobody here
    assert "Save to git" not in page
    assert browser.form(path, **fields, action="commit").status_code == 403
    assert browser.form(path, **fields, action="propose").status_code == 303
    assert site.repo.head == before
    assert "kemudi/" in site.repo.git("branch", "--list")


def test_a_proposal_without_its_reason_is_asked_for_it(site):
    """Where a policy wants a reason nobody proposes without one: later it could not be given any more."""
    site.repo.policies(
        {"rule": "approvals", "environments": ["prod"], "required": 1},
        {"rule": "reason", "environments": ["prod"], "minimum": 10},
    )
    site.refresh()
    browser, path = site.sign_in(), CHANGE.replace("dev", "prod")
    fields = {"value": "40", "expected": site.repo.head, "action": "propose"}
    asked = browser.form(path, **fields, reason="")
    assert (asked.status_code, "Say why" in asked.text) == (403, True)
    short = browser.form(path, **fields, reason="More")
    assert (short.status_code, "at least 10 characters, and this one has 4" in short.text) == (403, True)
    assert "kemudi/" not in site.repo.git("branch", "--list")
    assert browser.form(path, **fields, reason="More of them").status_code == 303


def test_a_secret_is_replaced_and_never_shown(site):
    """The new secret is sealed on the way: it is in no answer, no log and no commit; nor is the old one."""
    browser = site.sign_in()
    path = "/e/dev/settings/NEO4J_PASSWORD/change"
    new = "kemudi-canary-typed-55"
    fields = {"value": new, "expected": site.repo.head, "reason": "Rotated"}
    answers = [browser.get(path), browser.form(path, **fields, action="preview")]
    answers.append(browser.form(path, **fields, action="commit"))
    assert answers[-1].status_code == 303, answers[-1].text
    answers.append(browser.form(path, **(fields | {"value": ""}), action="commit"))
    everything = "".join(answer.text for answer in answers) + site.repo.git("log", "-p", "--all")
    everything += (site.parts.settings.state / "audit.jsonl").read_text()
    assert new not in everything
    assert SECRET not in everything


def test_a_secret_is_typed_once_and_saved_as_it_was_previewed(site):
    """Its preview seals it; saving without typing again commits that very text. For another layer it is asked again."""
    browser = site.sign_in()
    path = "/e/dev/settings/NEO4J_PASSWORD/change"
    fields = {"expected": site.repo.head, "reason": "Rotated"}
    page = browser.form(path, **fields, value="kemudi-canary-typed-56", action="preview").text
    kept = re.search(r'name="kept" value="([^"]+)"', page)[1]
    shown = re.search(r"\+NEO4J_PASSWORD: (ENC\[[^]]+\])", page)[1]
    elsewhere = browser.form(path, **fields, kept=kept, value="", layer="base", action="commit")
    assert elsewhere.status_code == 422
    assert "Type the secret again" in elsewhere.text
    again = browser.form(path, **fields, kept=kept, value="", action="preview").text
    assert shown in again
    assert browser.form(path, **fields, kept=kept, value="", action="commit").status_code == 303
    assert f"NEO4J_PASSWORD: {shown}" in (site.repo.path / "dev/neo4j.yaml").read_text()
    unknown = browser.form(path, expected=site.repo.head, kept="nothing", value="", action="commit")
    assert unknown.status_code == 422


def test_pages_are_translated_whole(site):
    """Every sentence of the pages differs between the languages, but for names and values."""
    browser = site.sign_in()
    for path in PAGES:
        browser.http.cookies.set("kemudi_language", "id")
        page = browser.get(path)
        assert 'lang="id"' in page.text
        visible = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page.text, flags=re.DOTALL)
        for english in (
            "Settings",
            "Search",
            "Set by",
            "Save",
            "Cancel",
            "History",
            "Owner",
            "Services",
            "ago",
        ):
            assert not re.search(rf"\b{english}\b", visible), (path, english)


def test_values_are_shown_as_they_are(site):
    """Template and markup in values stay text; numbers are not localised."""
    evil = "bolt://x/<script>alert(1)</script>{{7*7}}${jndi:ldap}"
    site.repo.change("dev", "neo4j", NEO4J_URI=evil)
    site.refresh()
    browser = site.sign_in()
    for path in (
        "/e/dev/settings",
        "/e/dev/settings/NEO4J_URI",
        "/e/dev/settings/NEO4J_URI/change",
        "/e/dev/",
    ):
        page = browser.get(path).text
        assert "<script>alert" not in page
        assert "{{7*7}}" in html.unescape(page)


def test_states_are_said_in_the_row(site):
    """Waiting, drift, paused, rejected and restart each have their badge, and the frame its words."""
    browser = site.sign_in()
    head = site.repo.head
    row = "/e/dev/settings/GRAPH_CLASSMATES_LIMIT/row"

    def shown(**said: Any) -> str:
        site.daemon.serves("dev", head, **said)
        site.refresh()
        return browser.get(row).text

    assert "live" in shown()
    drift = {"category": "graph_query", "key": "GRAPH_CLASSMATES_LIMIT", "kind": "altered"}
    assert "drift" in shown(drift=[drift])
    client = {
        "service": "graph",
        "instance": "a",
        "state": "current",
        "restart_pending": ["GRAPH_CLASSMATES_LIMIT"],
    }
    assert "restart needed" in shown(clients=[client])
    site.repo.change("dev", "graph_query", GRAPH_CLASSMATES_LIMIT=26)
    waiting = shown()
    assert "on its way" in waiting
    assert "Redis has 25" in html.unescape(waiting)
    assert "waits: paused" in shown(paused={"reason": "exam", "until": None})
    error = {"file": "dev/sync.yaml", "line": 3, "column": 1, "message": "wrong", "hint": None}
    assert "rejected" in shown(errors=[error], rejected=site.repo.head)
    assert "dev/sync.yaml:3" in browser.get("/e/dev/sync").text


def test_links_from_elsewhere_arrive(site):
    """A link in a chat comes without the strict cookie: a page of ours asks again, and only then for sign-in."""
    http = site.anonymous()
    headers = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site"}
    answer = http.get("/e/dev/settings?q=sync", headers=headers)
    assert 'content="0;url=/e/dev/settings?q=sync"' in html.unescape(answer.text)
    answer = http.get(
        "/e/dev/settings?q=sync", headers={"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    )
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/sign-in?next=/e/dev/settings%3Fq%3Dsync",
    )


def test_somebody_without_a_role_is_told_so(site):
    """Signed in, but not in roles.yaml: 403 with their name and the file."""
    browser = site.sign_in(Person("nobody-1", "Nobody", "nobody@example.org"), owner=False)
    answer = browser.get("/")
    assert answer.status_code == 403
    assert "roles.yaml" in answer.text


def test_the_filter_lives_in_the_address(site):
    """Words, category, type, state and order are in the URL; no match repeats the filter and offers to clear it."""
    browser = site.sign_in()
    page = browser.get("/e/dev/settings?q=sync&category=sync&sort=key").text
    assert page.index("SYNC_BATCH_SIZE") < page.index("SYNC_TIMEOUT")
    assert "CACHE_TTL" not in page
    nothing = html.unescape(browser.get("/e/dev/settings?q=zzz").text)
    assert "No setting fits “zzz”" in nothing
    assert "Clear the filter" in nothing


def test_a_setting_that_is_gone_keeps_its_page(site):
    """Taken out of its contract, it still has its history; what never was has no page."""
    path = site.repo.path / "contracts" / "sync.schema.json"
    contract = json.loads(path.read_text())
    del contract["properties"]["SYNC_PARALLELISM"]
    path.write_text(json.dumps(contract, indent=2) + "\n")
    for layer in ("base", "dev", "staging", "prod"):
        values = site.repo.path / layer / "sync.yaml"
        values.write_text(
            "".join(line for line in values.read_text().splitlines(True) if "PARALLELISM" not in line)
        )
    site.repo.commit("Take SYNC_PARALLELISM away")
    site.refresh()
    browser = site.sign_in()
    page = browser.get("/e/dev/settings/SYNC_PARALLELISM")
    assert page.status_code == 200
    assert "This setting is gone" in page.text
    assert browser.get("/e/dev/settings/NEVER_WAS").status_code == 404


def test_a_kill_switch_needs_policy_role_reason_and_in_production_its_name(site):
    """Offered where break-glass names it; the daemon is asked once everything is said, and then it shows everywhere."""
    site.daemon.serves("prod", site.repo.head)
    site.refresh()
    browser = site.sign_in()
    path = "/e/prod/settings/GRAPH_FEATURE_ENABLED/stop"
    assert browser.get(path).status_code == 404
    site.repo.policies({"rule": "break-glass", "environments": ["prod"], "keys": ["GRAPH_FEATURE_ENABLED"]})
    site.refresh()
    assert path in browser.get("/e/prod/switches").text
    good = {"reason": "The store is overloaded", "minutes": "15", "confirm": "prod"}
    for wrong in ({"reason": " "}, {"minutes": "0"}, {"confirm": "dev"}):
        assert browser.form(path, **(good | wrong)).status_code == 422
    assert site.daemon.asked == []
    assert browser.form(path, **good).status_code == 303
    method, asked, body = site.daemon.asked[0]
    assert (method, asked) == ("PUT", "/overrides")
    sent = json.loads(body)
    assert (sent["env"], sent["key"], sent["value"]) == ("prod", "GRAPH_FEATURE_ENABLED", False)
    override = {"key": "GRAPH_FEATURE_ENABLED", "value": False, "reason": "x", "author": "A <a@example.org>"}
    override |= {"since": "2026-01-01T00:00:00Z", "until": "2036-01-01T00:00:00Z"}
    site.daemon.serves("prod", site.repo.head, overrides=[override])
    site.refresh()
    for page in ("/e/prod/", "/e/prod/settings", "/e/prod/switches", "/e/prod/sync"):
        assert "GRAPH_FEATURE_ENABLED is overridden in prod" in browser.get(page).text
    assert browser.form("/e/prod/settings/GRAPH_FEATURE_ENABLED/go-on", reason="Over").status_code == 303
    assert site.daemon.asked[1][:2] == ("DELETE", "/overrides")
    log = [(entry.action, entry.key) for entry in site.parts.audit.latest(2)]
    assert log == [("end override", "GRAPH_FEATURE_ENABLED"), ("override", "GRAPH_FEATURE_ENABLED")]


def test_publishing_is_paused_with_reason_and_end(site):
    """The form asks for both, in production for its name; the daemon gets them."""
    site.daemon.serves("prod", site.repo.head)
    site.refresh()
    browser = site.sign_in()
    good = {"reason": "Enrolment week", "minutes": "60", "confirm": "prod"}
    for wrong in ({"reason": ""}, {"minutes": "never"}, {"confirm": ""}):
        assert browser.form("/e/prod/pause", **(good | wrong)).status_code == 422
    assert browser.form("/e/prod/pause", **good).status_code == 303
    sent = json.loads(site.daemon.asked[0][2])
    assert (site.daemon.asked[0][:2], sent["env"], sent["reason"]) == (
        ("PUT", "/pause"),
        "prod",
        "Enrolment week",
    )
    site.daemon.serves("prod", site.repo.head, paused={"reason": "Enrolment week", "until": None})
    site.refresh()
    assert "Publishing to prod is paused. Enrolment week" in browser.get("/e/prod/settings").text
    assert browser.form("/e/prod/resume").status_code == 303
    assert browser.form("/e/prod/drift").status_code == 200
    reloaded = browser.form("/e/prod/reconcile", next="https://evil.example")
    assert reloaded.headers["location"] == "/e/prod/sync?done=reload"
    assert "The daemon was asked to look at git" in browser.get(reloaded.headers["location"]).text
    cleared = browser.form("/e/prod/cache").text
    assert re.search(r"\d+ settings were read anew; 0 are different\.", cleared)
    assert 'data-here="/e/prod/sync"' in cleared
