"""Two environments side by side: only differences, no secret, and what is ticked as one commit or proposal."""

import re

import pytest

from kemudi.console.access.people import Person

SECRET = "kemudi-canary-7f3a9d"
EDITOR = Person("editor", "Editor", "editor@example.org")
VIEWER = Person("viewer", "Viewer", "viewer@example.org")
COMPARE = "/e/dev/compare"


def field(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


def keys_of(page: str) -> set[str]:
    """The settings in the table."""
    return set(re.findall(r'id="pair-(\w+)"', page))


def ticked(browser, keys, action="preview", before="", **more):
    """Post the form with these settings ticked; `before` is the page with its preview."""
    hidden = {name: field(before, name) for name in ("expected", "seen", "once")} if before else {}
    fields = {"from": "staging", "action": action, "key": list(keys), **hidden, **more}
    return browser.form(COMPARE, **fields)


def test_only_differences_and_no_secret(site):
    """What is equal is not in the list unless asked for; a secret is a fingerprint, and cannot be ticked."""
    browser = site.sign_in()
    page = browser.get(f"{COMPARE}?from=staging").text
    rows = {env: site.parts.board.environments[env].rows for env in ("dev", "staging")}
    plain = {key for key, row in rows["dev"].items() if not row.spec.sensitive}
    unlike = {key for key in plain if rows["dev"][key].value != rows["staging"][key].value}
    assert keys_of(page) == unlike | {"NEO4J_PASSWORD"}
    assert keys_of(browser.get(f"{COMPARE}?from=staging&show=all").text) == set(rows["dev"])
    assert SECRET not in page
    assert rows["dev"]["NEO4J_PASSWORD"].seal in page
    assert rows["staging"]["NEO4J_PASSWORD"].seal in page
    row = page[page.index('id="pair-NEO4J_PASSWORD"') :]
    assert "disabled" in row[: row.index("</tr>")]
    assert keys_of(browser.get(f"{COMPARE}?from=staging&q=sync_timeout").text) == {"SYNC_TIMEOUT"}


def test_what_is_ticked_becomes_one_commit(site):
    """Two ticks: a preview with the diff of both, no effect; then one commit, and both are equal."""
    browser, before = site.sign_in(), site.repo.head
    page = ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"]).text
    assert "+SYNC_TIMEOUT: 3600" in page
    assert "+CACHE_TTL: " in page
    assert site.repo.head == before
    saved = ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"], "commit", page, reason="As in staging")
    assert saved.status_code == 303
    assert site.repo.git("rev-list", "--count", f"{before}..HEAD") == "1"
    assert "As in staging" in site.repo.git("log", "-1", "--format=%b")
    assert not {"SYNC_TIMEOUT", "CACHE_TTL"} & keys_of(browser.get(saved.headers["location"]).text)
    again = ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"], "commit", page, reason="As in staging")
    assert again.status_code == 303
    assert site.repo.git("rev-list", "--count", f"{before}..HEAD") == "1"


def test_only_what_was_previewed_is_saved(site):
    """Another tick, or another value on the left since the preview: nothing is saved, the new preview is shown."""
    browser = site.sign_in()
    page = ticked(browser, ["SYNC_TIMEOUT"]).text
    before = site.repo.head
    answer = ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"], "commit", page)
    assert "look once more" in answer.text
    assert "+CACHE_TTL" in answer.text
    assert site.repo.head == before
    now = site.repo.change("staging", "sync", SYNC_TIMEOUT=4321)
    answer = ticked(browser, ["SYNC_TIMEOUT"], "commit", page)
    assert "look once more" in answer.text
    assert "+SYNC_TIMEOUT: 4321" in answer.text
    assert site.repo.head == now


def test_what_a_policy_refuses_says_so(site):
    """The row of a refused setting has the rule's words, Save is away, and a forged Save changes nothing."""
    site.repo.policies({"rule": "change-size", "environments": ["dev"], "percent": 10})
    site.refresh()
    browser, before = site.sign_in(), site.repo.head
    page = ticked(browser, ["SYNC_TIMEOUT"]).text
    row = page[page.index('id="pair-SYNC_TIMEOUT"') :]
    assert "Refused:" in row[: row.index("</tr>")]
    assert 'value="commit"' not in page
    assert ticked(browser, ["SYNC_TIMEOUT"], "commit", page).status_code == 403
    assert site.repo.head == before


def test_where_approval_is_needed_the_ticks_become_one_proposal(site):
    """One branch with both; a second one for the same setting only when somebody insists."""
    site.repo.policies({"rule": "approvals", "environments": ["dev"], "required": 1})
    site.refresh()
    browser, before = site.sign_in(), site.repo.head
    page = ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"]).text
    assert "Propose change" in page
    assert ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"], "commit", page).status_code == 403
    made = ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"], "propose", page)
    assert made.headers["location"].startswith("/e/dev/changes/")
    assert site.repo.head == before
    proposal = browser.get(made.headers["location"]).text
    assert "+SYNC_TIMEOUT: 3600" in proposal
    assert "+CACHE_TTL" in proposal
    page = ticked(browser, ["SYNC_TIMEOUT"]).text
    again = ticked(browser, ["SYNC_TIMEOUT"], "propose", page)
    assert again.status_code == 409
    assert "Propose a second change" in again.text


def test_ticks_can_be_proposed_where_saving_is_allowed(site):
    """Who wants somebody to look first proposes; without a policy it can then be put into effect at once."""
    browser, before = site.sign_in(), site.repo.head
    page = ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"]).text
    assert 'value="propose"' in page
    assert 'value="commit"' in page
    made = ticked(browser, ["SYNC_TIMEOUT", "CACHE_TTL"], "propose", page)
    assert site.repo.head == before
    assert "+SYNC_TIMEOUT: 3600" in browser.get(made.headers["location"]).text
    page = ticked(browser, ["SYNC_TIMEOUT"]).text
    assert "Propose a second change" in ticked(browser, ["SYNC_TIMEOUT"], "propose", page).text


def test_a_required_reason_is_asked_for(site):
    """Without it nothing is saved, and the field says so."""
    site.repo.policies({"rule": "reason", "minimum": 5})
    site.refresh()
    browser, before = site.sign_in(), site.repo.head
    page = ticked(browser, ["SYNC_TIMEOUT"]).text
    answer = ticked(browser, ["SYNC_TIMEOUT"], "commit", page)
    assert answer.status_code == 403
    assert "Say why" in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert site.repo.head == before


def test_rights_are_those_of_both_environments(site):
    """A viewer sees and has no box to tick; an editor of one category copies that; no hidden environment."""
    site.repo.roles(
        {"who": VIEWER.email, "role": "viewer", "environments": ["dev", "staging"]},
        {"who": EDITOR.email, "role": "viewer", "environments": ["dev", "staging"]},
        {"who": EDITOR.email, "role": "editor", "environments": ["dev"], "categories": ["sync"]},
    )
    site.refresh()
    before = site.repo.head
    viewer, editor = site.sign_in(VIEWER, owner=False), site.sign_in(EDITOR, owner=False)
    page = viewer.get(f"{COMPARE}?from=staging").text
    assert keys_of(page)
    assert "checkbox" not in page
    assert 'action="/e/dev/compare"' not in page
    assert 'name="action"' not in page
    assert ticked(viewer, ["SYNC_TIMEOUT"]).status_code == 403
    assert viewer.get(f"{COMPARE}?from=prod").status_code == 404
    assert viewer.get("/e/prod/compare?from=dev").status_code == 404
    page = ticked(editor, ["SYNC_TIMEOUT"]).text
    assert ticked(editor, ["CACHE_TTL"], "commit", page).status_code == 403
    assert site.repo.head == before
    assert ticked(editor, ["SYNC_TIMEOUT"], "commit", page).status_code == 303


@pytest.mark.parametrize(
    "key", ["NEO4J_PASSWORD", "NO_SUCH_SETTING", "../../etc/passwd", "<script>alert(1)</script>"]
)
def test_a_forged_key_changes_nothing(site, key):
    """A secret, an unknown name, a path, markup: a refusal, and git stays as it is."""
    browser, before = site.sign_in(), site.repo.head
    for action in ("preview", "commit", "propose"):
        answer = ticked(browser, ["SYNC_TIMEOUT", key], action)
        assert answer.status_code in {404, 409}
        assert "<script>alert" not in answer.text
    assert site.repo.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert site.repo.head == before


def test_hostile_addresses_are_text(site):
    """Markup in a filter stays text; an unknown environment is not there; the same one twice differs in nothing."""
    browser = site.sign_in()
    page = browser.get(f"{COMPARE}?from=staging&q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").text
    assert "<script>alert" not in page
    assert "Clear the filter" in page
    assert browser.get(f"{COMPARE}?from=%3Cscript%3E").status_code == 404
    same = browser.get(f"{COMPARE}?from=dev")
    assert same.status_code == 200
    assert keys_of(same.text) == set()
    assert ticked(browser, []).status_code == 422


def test_it_works_with_the_daemon_away(site, daemon):
    """The comparison is of git: it needs no daemon, and saving neither."""
    daemon.away = True
    site.refresh()
    browser = site.sign_in()
    page = ticked(browser, ["SYNC_TIMEOUT"]).text
    assert "The daemon does not answer" in page
    assert ticked(browser, ["SYNC_TIMEOUT"], "commit", page).status_code == 303


def test_a_value_is_copied_from_the_page_of_a_setting(site):
    """Copy to… opens the change of the other environment with this value; a secret has none."""
    browser = site.sign_in()
    page = browser.get("/e/dev/settings/SYNC_TIMEOUT").text
    assert "/e/staging/settings/SYNC_TIMEOUT/change?from=dev" in page
    form = browser.get("/e/staging/settings/SYNC_TIMEOUT/change?from=dev").text
    assert "+SYNC_TIMEOUT: 600" in form
    assert "Copy to" not in browser.get("/e/dev/settings/NEO4J_PASSWORD").text
    assert SECRET not in browser.get("/e/staging/settings/NEO4J_PASSWORD/change?from=dev").text
    assert browser.get("/e/staging/settings/SYNC_TIMEOUT/change?from=nowhere").status_code == 404


def test_a_value_is_taken_away_on_the_change_page(site):
    """The line goes, and the page says before what holds then; the commit takes that one line out."""
    browser, path = site.sign_in(), "/e/dev/settings/SYNC_TIMEOUT/change"
    assert f"{path}?unset=1" in browser.get(path).text
    page = browser.get(f"{path}?unset=1").text
    assert "Then layer base sets it." in page
    assert "<code>3600</code>" in page
    assert "-SYNC_TIMEOUT: 600" in page
    sent = {name: field(page, name) for name in ("expected", "once", "layer", "unset")}
    assert browser.form(path, action="commit", reason="Not needed", **sent).status_code == 303
    assert site.parts.board.environments["dev"].rows["SYNC_TIMEOUT"].value == 3600
    assert site.repo.git("diff", "--numstat", "HEAD~1").split()[:2] == ["0", "1"]
    assert "unset=1" not in browser.get(path).text
