"""Changes that wait: proposed by one person, approved by another, put into effect, by form and by API."""

from typing import Any

import pytest

from kemudi.console.access.people import Person

EDITOR = Person("editor-1", "Editor One", "editor@example.org")
APPROVER = Person("approver-1", "Approver One", "approver@example.org")
VIEWER = Person("viewer-1", "Viewer One", "viewer@example.org")
SYNC_ONLY = Person("cache-1", "Cache One", "cache@example.org")
GRANTS = (
    {"who": EDITOR.email, "role": "editor"},
    {"who": APPROVER.email, "role": "approver"},
    {"who": VIEWER.email, "role": "viewer"},
    {"who": SYNC_ONLY.email, "role": "approver", "categories": ["performance"]},
)
BODY = {
    "env": "prod",
    "changes": [{"key": "SYNC_TIMEOUT", "value": 900}],
    "reason": "Slow registry",
    "mode": "propose",
}


@pytest.fixture
def guarded(site: Any) -> Any:
    """One approval is needed in prod."""
    site.repo.roles(*GRANTS)
    site.repo.policies({"rule": "approvals", "environments": ["prod"], "required": 1})
    site.refresh()
    return site


def propose(browser: Any, **changed: Any) -> dict[str, Any]:
    answer = browser.api("POST", "/changes", BODY | changed)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = browser.api("GET", f"/changes/{answer.json()['id']}").json()
    return found


def test_from_proposal_to_effect_by_the_api(guarded):
    """The author cannot approve; the approver can, and then the editor puts it into effect: a merge commit."""
    editor, approver = (guarded.sign_in(each, owner=False) for each in (EDITOR, APPROVER))
    found = propose(editor)
    assert (found["state"], found["missing"], found["author"]) == ("waiting", 1, "Editor One")
    assert "SYNC_TIMEOUT" in found["text"]
    assert "+SYNC_TIMEOUT: 900" in found["diff"]
    tip, path = {"revision": found["revision"]}, f"/changes/{found['id']}"
    early = editor.api("POST", f"{path}/merge", tip)
    assert (early.status_code, early.json()["type"]) == (403, "/problems/approval-required")
    assert editor.api("POST", f"{path}/approvals", tip).json()["role"] == "approver"
    approved = approver.api("POST", f"{path}/approvals", tip)
    assert (approved.json()["state"], approved.json()["approvals"][0]["by"]) == ("ready", "Approver One")
    merged = editor.api("POST", f"{path}/merge", tip)
    assert (merged.status_code, merged.json()["state"]) == (200, "merged"), merged.text
    assert guarded.repo.head == merged.json()["revision"]
    assert "Approved-by: Approver One <approver@example.org>" in guarded.repo.git("log", "-1", "--format=%b")
    assert editor.api("GET", path).status_code == 404
    assert editor.api("GET", "/changes").json()["items"] == []
    assert editor.api("GET", "/environments/prod/settings/SYNC_TIMEOUT").json()["value"] == 900
    audit = (guarded.parts.settings.state / "audit.jsonl").read_text()
    assert '"approve"' in audit
    assert '"merge"' in audit


def test_from_proposal_to_effect_by_forms(guarded):
    """Without the script: propose, see it in the list and in the row, approve, put into effect."""
    editor, approver = (guarded.sign_in(each, owner=False) for each in (EDITOR, APPROVER))
    change = "/e/prod/settings/SYNC_TIMEOUT/change"
    sent = editor.form(change, value="900", expected=guarded.repo.head, reason="Slow", action="propose")
    page = sent.headers["location"]
    assert page == "/e/prod/changes/set-sync-timeout-in-prod"
    mine = editor.get(page).text
    assert "Somebody else has to approve" in mine
    assert "/approve" not in mine
    assert page in editor.get("/e/prod/changes?show=mine").text
    assert page not in editor.get("/e/prod/changes").text
    assert page in approver.get("/e/prod/changes").text
    assert page in editor.get("/e/prod/settings?q=SYNC_TIMEOUT").text
    assert page not in editor.get("/e/dev/settings?q=SYNC_TIMEOUT").text
    tip = guarded.repo.git("rev-parse", "kemudi/set-sync-timeout-in-prod")
    assert editor.form(f"{page}/approve", revision=tip).status_code == 403
    assert approver.form(f"{page}/approve", revision=tip).headers["location"] == page
    assert "Put into effect" in editor.get(page).text
    assert editor.form(f"{page}/merge", revision=tip).status_code == 303
    assert guarded.repo.git("log", "-1", "--format=%an %s") == "Editor One Merge: Set SYNC_TIMEOUT in prod"
    assert guarded.parts.board.environments["prod"].rows["SYNC_TIMEOUT"].value == 900


def test_an_approval_of_what_was_not_seen_is_refused(guarded):
    """The proposal moves between looking and approving: nobody approves, or merges, what they did not see."""
    editor, approver = (guarded.sign_in(each, owner=False) for each in (EDITOR, APPROVER))
    found = propose(editor)
    path, tip = f"/changes/{found['id']}", {"revision": found["revision"]}
    assert approver.api("POST", f"{path}/approvals", tip).json()["state"] == "ready"
    made = guarded.repo.git("commit-tree", f"{tip['revision']}^{{tree}}", "-p", tip["revision"], "-m", "more")
    guarded.repo.git("update-ref", f"refs/heads/{found['branch']}", made)
    for step in ("approvals", "merge"):
        stale = approver.api("POST", f"{path}/{step}", tip)
        assert stale.status_code in {403, 409}, stale.text
    again = approver.api("GET", path).json()
    assert (again["state"], again["approvals"], again["revision"]) == ("waiting", [], made)


def test_no_second_proposal_by_accident(guarded):
    """It is refused, the one that waits is named; whoever means it can. The form says so before it is sent."""
    editor = guarded.sign_in(EDITOR, owner=False)
    found = propose(editor)
    second = editor.api("POST", "/changes", BODY | {"reason": "Again"})
    assert (second.status_code, second.json()["proposal"]) == (409, found["id"])
    change = "/e/prod/settings/SYNC_TIMEOUT/change"
    fields = {"value": "901", "expected": guarded.repo.head, "reason": "Other"}
    preview = editor.form(change, **fields, action="preview").text
    assert found["id"] in preview
    assert "Propose a second change" in preview
    assert editor.form(change, **fields, action="propose").status_code == 409
    assert editor.form(change, **fields, action="propose-again").status_code == 303
    assert len(editor.api("GET", "/changes").json()["items"]) == 2


def test_what_does_not_fit_any_more_is_named_and_withdrawn(guarded):
    """The setting changes on the branch: a conflict, by name; its author takes the proposal away."""
    editor, viewer = (guarded.sign_in(each, owner=False) for each in (EDITOR, VIEWER))
    found = propose(editor)
    guarded.repo.change("prod", "sync", SYNC_TIMEOUT=1000)
    guarded.refresh()
    path = f"/changes/{found['id']}"
    now = editor.api("GET", path).json()
    assert (now["state"], "SYNC_TIMEOUT in prod was changed" in now["problem"]) == ("conflict", True)
    assert "does not fit any more" in viewer.get(f"/e/prod{path}").text
    merge = editor.api("POST", f"{path}/merge", {"revision": found["revision"]})
    assert (merge.status_code, merge.json()["type"]) == (409, "/problems/conflict")
    gone = f"{path}?revision={found['revision']}"
    assert viewer.api("DELETE", gone).status_code == 403
    assert editor.api("DELETE", gone).json()["state"] == "withdrawn"
    assert guarded.repo.git("branch", "--list", "kemudi/*") == ""


def test_who_sees_and_decides_what(guarded):
    """A viewer gets no buttons; whoever has no role for what changes does not know that it is there."""
    editor = guarded.sign_in(EDITOR, owner=False)
    found = propose(editor)
    path = f"/changes/{found['id']}"
    viewer, other = (guarded.sign_in(each, owner=False) for each in (VIEWER, SYNC_ONLY))
    page = viewer.get(f"/e/prod{path}").text
    assert 'action="/e/prod/changes' not in page
    assert viewer.api("POST", f"{path}/merge", {"revision": found["revision"]}).status_code == 403
    assert other.api("GET", path).status_code == 404
    assert other.api("GET", "/changes").json()["items"] == []
    assert other.api("POST", f"{path}/approvals", {"revision": found["revision"]}).status_code == 404
    assert found["id"] not in other.get("/e/prod/changes?show=all").text


def test_governing_files_are_decided_by_admins(guarded):
    """A branch that changes roles is not for approvers to put into effect."""
    guarded.repo.git("switch", "-qc", "kemudi/roles")
    guarded.repo.roles({"who": APPROVER.email, "role": "admin"})
    tip = guarded.repo.head
    guarded.repo.git("switch", "-q", "main")
    approver, owner = guarded.sign_in(APPROVER, owner=False), guarded.sign_in()
    refused = approver.api("POST", "/changes/roles/merge", {"revision": tip})
    assert (refused.status_code, refused.json()["role"]) == (403, "admin")
    assert owner.api("POST", "/changes/roles/merge", {"revision": tip}).status_code == 200


def test_a_secret_that_is_proposed_is_not_shown(guarded):
    """Neither typed nor sealed before: no page and no answer about the proposal has it."""
    editor = guarded.sign_in(EDITOR, owner=False)
    new = "kemudi-canary-typed-77"
    found = propose(editor, changes=[{"key": "NEO4J_PASSWORD", "value": new}])
    said = str(found) + editor.get(f"/e/prod/changes/{found['id']}").text + editor.get("/e/prod/changes").text
    assert new not in said
    assert "the secret changes" in said


def test_both_languages(guarded):
    """The page in Indonesian."""
    editor = guarded.sign_in(EDITOR, owner=False)
    found = propose(editor)
    editor.http.cookies.set("kemudi_language", "id")
    page = editor.get(f"/e/prod/changes/{found['id']}").text
    assert "Diusulkan oleh Editor One" in page
    assert "menunggu 1 persetujuan" in page


def test_the_dashboard_counts_what_waits_and_the_end_is_said(guarded):
    """One proposal: it waits for the approver, not for its author; putting it into effect says so on the page."""
    editor, approver = (guarded.sign_in(each, owner=False) for each in (EDITOR, APPROVER))
    found = propose(editor)
    assert "1 waits for you" in approver.get("/e/prod/").text
    assert "1 waits for you" not in editor.get("/e/prod/").text
    path, revision = f"/e/prod/changes/{found['id']}", found["revision"]
    assert approver.form(f"{path}/approve", revision=revision).status_code == 303
    done = editor.form(f"{path}/merge", revision=revision)
    assert "It was put into effect" in editor.get(done.headers["location"]).text
    assert "Nothing waits for approval" in editor.get("/e/prod/").text


def test_a_pause_that_is_refused_keeps_what_was_typed(guarded):
    """The page of the answer has its form, the typed reason, and the address of a page to come back to."""
    approver = guarded.sign_in(APPROVER, owner=False)
    page = approver.form("/e/dev/pause", reason="Exam week", minutes="7")
    assert page.status_code == 422
    assert 'value="Exam week"' in page.text
    assert 'data-here="/e/dev/switches"' in page.text
