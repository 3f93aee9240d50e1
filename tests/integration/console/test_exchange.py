"""Two consoles of one remote: what one person proposes, approves or asks in one of them is there in the other."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kemudi.console.access.approval_key import FILE as KEY_FILE
from kemudi.console.access.people import Person
from kemudi.console.app import build_app
from kemudi.console.runtime import open_parts
from kemudi.console.settings import ConsoleSettings
from kemudi.web.logs import make_log
from kemudi.web.server import HttpServer, listen

EDITOR = Person("editor-1", "Editor One", "editor@example.org")
FIRST = Person("approver-1", "Approver One", "first@example.org")
SECOND = Person("approver-2", "Approver Two", "second@example.org")
GRANTS = (
    {"who": EDITOR.email, "role": "editor"},
    {"who": FIRST.email, "role": "approver"},
    {"who": SECOND.email, "role": "approver"},
)
BODY = {
    "env": "prod",
    "changes": [{"key": "SYNC_TIMEOUT", "value": 900}],
    "reason": "Slow registry",
    "mode": "propose",
}
NOTES = "refs/notes/kemudi/approvals"


class Console:
    """A console over its own clone."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.waiting = site.parts.waiting

    def git(self, *arguments: str) -> str:
        return str(self.site.repo.git(*arguments))

    def person(self, person: Person) -> Any:
        return self.site.sign_in(person, owner=False)

    def follow(self) -> None:
        """What happens by itself every 20 seconds, and soon after somebody looks."""
        self.site.parts.pusher.exchange()

    def notes(self) -> str:
        return self.git("for-each-ref", "--format=%(objectname)", NOTES)

    def seen(self) -> dict[str, Any]:
        return {each.id: each for each in self.waiting.all()}


@pytest.fixture
def remote(repo: Any, tmp_path: Path) -> Path:
    """A bare remote of the config repo, with two approvals needed in prod."""
    repo.roles(*GRANTS)
    repo.policies({"rule": "approvals", "environments": ["prod"], "required": 2})
    bare = tmp_path / "remote.git"
    repo.git("clone", "-q", "--bare", str(repo.path), str(bare))
    repo.git("remote", "add", "origin", str(bare))
    repo.git("fetch", "-q", "origin")
    return bare


@pytest.fixture
def consoles(
    remote: Path, repo: Any, daemon: Any, start: Callable[..., Any], tmp_path: Path
) -> Iterator[tuple[Console, Console]]:
    """Two, with the same key for approvals."""
    first = start()
    with ExitStack() as stack:
        clone = type(repo)(tmp_path / "clone")
        subprocess.run(["git", "clone", "-q", str(remote), str(clone.path)], check=True, timeout=30)
        state = tmp_path / "other-state"
        state.mkdir(mode=0o700)
        (state / KEY_FILE).touch(0o600)
        (state / KEY_FILE).write_bytes((tmp_path / "state" / KEY_FILE).read_bytes())
        parts = stack.enter_context(open_parts(ConsoleSettings(clone.path, daemon.url, state), make_log()))
        server = HttpServer(build_app(parts), listen("127.0.0.1", 0, who="the test"), name="console-http")
        stack.callback(server.close)
        stack.callback(parts.hub.close)
        server.start()
        second = type(first)(server.url, parts, clone, daemon, stack)
        yield Console(first), Console(second)


def propose(console: Console, **changed: Any) -> Any:
    answer = console.person(EDITOR).api("POST", "/changes", BODY | changed)
    assert answer.status_code == 202, answer.text
    return console.seen()[answer.json()["id"]]


def there(remote: Path, ref: str) -> str:
    """A ref of the remote; empty without one."""
    argv = ["git", "--git-dir", str(remote), "for-each-ref", "--format=%(objectname)", ref]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def approve(console: Console, person: Person, found: Any) -> None:
    answer = console.person(person).api("POST", f"/changes/{found.id}/approvals", {"revision": found.tip})
    assert answer.status_code == 200, answer.text


def agree(
    until: Any, consoles: tuple[Console, Console], question: Callable[[Console], bool], what: str
) -> None:
    """Both have followed the remote until the answer is the same in both."""

    def asked() -> bool:
        for each in consoles:
            each.follow()
        return all(question(each) for each in consoles)

    until(asked, what, timeout=60)


def test_from_a_proposal_in_one_to_its_effect_in_the_other(consoles, remote, until):
    """Proposed and approved here, approved and merged there; then the remote has the merge and the branch is gone."""
    here, other = consoles
    found = propose(here)
    until(lambda: there(remote, f"refs/heads/{found.branch}") == found.tip, "the proposal on the remote")
    approve(here, FIRST, found)
    agree(
        until,
        consoles,
        lambda each: found.id in each.seen() and len(each.seen()[found.id].counted) == 1,
        "one approval",
    )
    approve(other, SECOND, found)
    merged = other.person(EDITOR).api("POST", f"/changes/{found.id}/merge", {"revision": found.tip})
    assert merged.status_code == 200, merged.text
    until(lambda: there(remote, "refs/heads/main") == merged.json()["revision"], "the merge on the remote")
    agree(until, consoles, lambda each: each.seen() == {}, "no proposal")
    until(lambda: there(remote, "refs/heads/kemudi") == "", "no branch on the remote")
    said = other.git("log", "-1", "--format=%b")
    assert "Approved-by: Approver One <first@example.org>" in said
    assert "Approved-by: Approver Two <second@example.org>" in said
    assert here.git("for-each-ref", "refs/kemudi/gone") == other.git("for-each-ref", "refs/kemudi/gone") == ""


def test_both_approve_at_once(consoles, remote, until):
    """Neither has heard of the other: after a while both approvals are in both, and on the remote."""
    here, other = consoles
    found = propose(here)
    agree(until, consoles, lambda each: found.id in each.seen(), "the proposal")
    approve(here, FIRST, found)
    approve(other, SECOND, found)
    agree(until, consoles, lambda each: each.seen()[found.id].state == "ready", "both approvals")
    until(lambda: not here.site.parts.pusher.pending and not other.site.parts.pusher.pending, "nothing left")
    agree(until, consoles, lambda each: each.notes() == there(remote, NOTES), "the same notes")


def test_what_is_withdrawn_is_gone_everywhere(consoles, remote, until):
    """Also one that somebody pushed by hand; a branch deleted on the remote disappears in the consoles."""
    here, other = consoles
    found = propose(here)
    agree(until, consoles, lambda each: found.id in each.seen(), "the proposal")
    gone = other.person(SECOND).api("DELETE", f"/changes/{found.id}?revision={found.tip}")
    assert gone.json()["state"] == "withdrawn"
    agree(until, consoles, lambda each: each.seen() == {}, "no proposal")
    until(lambda: there(remote, "refs/heads/kemudi") == "", "no branch on the remote")
    here.git("push", "-q", "origin", f"{found.tip}:refs/heads/kemudi/by-hand")
    agree(until, consoles, lambda each: "by-hand" in each.seen(), "the proposal made by hand")
    here.git("push", "-q", "origin", ":refs/heads/kemudi/by-hand")
    agree(until, consoles, lambda each: each.seen() == {}, "no proposal again")


def test_two_proposals_of_one_name_are_both_kept(consoles, remote, until):
    """Made at the same time, with the remote away from one of them: the later one gets another name."""
    here, other = consoles
    moved = remote.with_name("away.git")
    remote.rename(moved)
    first, second = propose(here), propose(other, changes=[{"key": "SYNC_TIMEOUT", "value": 901}])
    assert (first.id, first.tip == second.tip) == (second.id, False)
    moved.rename(remote)
    agree(
        until,
        consoles,
        lambda each: {one.tip for one in each.seen().values()} == {first.tip, second.tip},
        "both",
    )
    assert sorted(here.seen()) == sorted(other.seen()) == [first.id, f"{first.id}-2"]


def test_with_the_remote_away_nothing_is_lost(consoles, remote, until):
    """The proposal and its approval are kept, the page says that they are not pushed yet, and later they are."""
    here, _ = consoles
    moved = remote.with_name("away.git")
    remote.rename(moved)
    found = propose(here)
    approve(here, FIRST, found)
    wanted = {found.branch, "approvals"}
    until(
        lambda: wanted == {each.branch for each in here.site.parts.pusher.pending}, "both pending", timeout=60
    )
    assert f"not pushed to the remote yet: {found.branch}" in here.person(EDITOR).get("/e/prod/changes").text
    moved.rename(remote)
    here.follow()
    until(lambda: not here.site.parts.pusher.pending, "nothing left", timeout=60)
    assert there(remote, f"refs/heads/{found.branch}") == found.tip
    assert there(remote, NOTES) == here.notes()


FORGED = "Approved-by: {name} <{email}> at 2026-01-01T00:00:00+00:00 as {email}"


def test_a_forged_note_does_not_count(consoles, remote, until):
    """Whoever may push refs can write a note: for an approver, for nobody, or copied from another commit."""
    here, other = consoles
    found, second = propose(here), propose(here, changes=[{"key": "CACHE_TTL", "value": 61}])
    approve(here, FIRST, second)
    good = here.git("notes", "--ref=kemudi/approvals", "show", second.tip)
    lines = [
        FORGED.format(name="Approver Two", email=SECOND.email),
        FORGED.format(name="Nobody", email="nobody@example.org") + " seal " + 64 * "0",
        good,
        "Approved-by: broken <x> at never",
        "\x00\x1b[31m",
    ]
    agree(until, consoles, lambda each: {found.id, second.id} <= set(each.seen()), "both proposals")
    until(lambda: there(remote, NOTES) == other.notes() != "", "the notes in the other clone")
    other.git("notes", "--ref=forged", "add", "-m", "\n".join(lines).replace("\x00", ""), found.tip)
    other.git("push", "-qf", "origin", f"refs/notes/forged:{NOTES}")
    agree(until, consoles, lambda each: len(each.seen()[found.id].approvals) == 3, "the forged lines")
    for each in consoles:
        proposal = each.seen()[found.id]
        assert (proposal.state, proposal.counted) == ("waiting", ())
        assert {one.against for one in proposal.approvals} == {"seal"}
        # The forced push has lost the good one on the remote: whoever had it has put it there again.
        assert [one.by.email for one in each.seen()[second.id].counted] == [FIRST.email]
    page = here.person(EDITOR).get(f"/e/prod/changes/{found.id}").text
    assert "does not count" in page
    answer = here.person(EDITOR).api("GET", f"/changes/{found.id}").json()
    assert {one["against"] for one in answer["approvals"]} == {"seal"}
    refused = here.person(EDITOR).api("POST", f"/changes/{found.id}/merge", {"revision": found.tip})
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/approval-required")


def test_who_lost_the_role_does_not_count_any_more(consoles):
    """The roles of today decide, not those of the day of the approval."""
    here, _ = consoles
    found = propose(here)
    approve(here, FIRST, found)
    here.site.repo.roles(*(grant for grant in GRANTS if grant["who"] != FIRST.email))
    here.site.refresh()
    now = here.seen()[found.id]
    assert ([one.against for one in now.approvals], now.counted) == (["role"], ())


def test_changes_are_asked_for_until_they_are_made(consoles, until):
    """A comment is needed; no merge in either console until the same reviewer approves."""
    here, other = consoles
    found = propose(here)
    agree(until, consoles, lambda each: found.id in each.seen(), "the proposal")
    for person in (FIRST, SECOND):
        approve(here, person, found)
    page = f"/e/prod/changes/{found.id}"
    reviewer, editor = here.person(FIRST), other.person(EDITOR)
    assert reviewer.form(f"{page}/request", revision=found.tip, comment="  ").status_code == 422
    asked = reviewer.form(f"{page}/request", revision=found.tip, comment="600 < 900:\n<b>why</b>?")
    assert asked.headers["location"] == page
    agree(until, consoles, lambda each: each.seen()[found.id].state == "changes", "the question")
    shown = editor.get(page).text
    assert "Approver One asks for changes" in shown
    assert "600 &lt; 900:\n&lt;b&gt;why&lt;/b&gt;?" in shown
    told = editor.api("GET", f"/changes/{found.id}").json()
    assert (told["state"], told["changes_asked"][0]["by"]) == ("changes", "Approver One")
    merge = editor.api("POST", f"/changes/{found.id}/merge", {"revision": found.tip})
    assert (merge.status_code, merge.json()["type"]) == (409, "/problems/changes-asked")
    approve(here, FIRST, found)
    agree(until, consoles, lambda each: each.seen()[found.id].state == "ready", "the answer")
    assert other.seen()[found.id].asked == ()


def reviews(console: Console, browser: Any = None) -> list[tuple[Any, ...]]:
    """What the audit log says of reviewers; it is asked for the whole of prod, by who may do everything."""
    asked = (browser or console.site.sign_in()).get("/e/prod/audit/export?format=json")
    words = ("source", "action", "outcome", "who", "settings", "environments", "why", "revision")
    return [
        tuple(each[word] for word in words)
        for each in asked.json()
        if each["action"] in {"approve", "ask-for-changes"}
    ]


def test_the_audit_log_has_what_was_said_in_other_consoles(consoles, until):
    """Each thing once: by whom, of which settings, why, and that it came from elsewhere; after the merge, too."""
    here, other = consoles
    found = propose(here)
    agree(until, consoles, lambda each: found.id in each.seen(), "the proposal")
    approve(here, FIRST, found)
    page = f"/e/prod/changes/{found.id}"
    other.person(SECOND).form(f"{page}/request", revision=found.tip, comment="Why 900?")
    agree(until, consoles, lambda each: each.seen()[found.id].state == "changes", "both")
    approve(other, SECOND, found)
    agree(until, consoles, lambda each: each.seen()[found.id].state == "ready", "the answer")
    about = (["SYNC_TIMEOUT"], ["prod"])
    theirs = [
        ("other-console", "approve", "done", "Approver Two", *about, "", found.tip),
        ("other-console", "ask-for-changes", "done", "Approver Two", *about, "Why 900?", found.tip),
    ]
    assert [each for each in reviews(here) if each[0] == "other-console"] == theirs
    assert [each[:4] for each in reviews(here) if each[0] == "console"] == [
        ("console", "approve", "done", FIRST.login)
    ]
    assert [each[1] for each in reviews(other) if each[0] == "console"] == ["approve", "ask-for-changes"]
    assert [each for each in reviews(other) if each[0] == "other-console"] == [
        ("other-console", "approve", "done", "Approver One", *about, "", found.tip)
    ]
    shown = here.site.sign_in().get("/e/prod/audit?what=console&who=second@example.org").text
    assert "Another console" in shown
    assert "Why 900?" in shown
    merged = here.person(EDITOR).api("POST", f"/changes/{found.id}/merge", {"revision": found.tip})
    assert merged.status_code == 200, merged.text
    assert [each for each in reviews(here) if each[0] == "other-console"] == theirs


def test_the_audit_log_tells_reviews_only_to_who_may_hear_them(consoles, until):
    """A note that anybody may have written is shown as one; admins of another environment hear of neither."""
    here, other = consoles
    found = propose(here)
    agree(until, consoles, lambda each: found.id in each.seen(), "the proposal")
    line = FORGED.format(name="Approver Two", email=SECOND.email)
    other.git("notes", "--ref=forged", "add", "-m", line, found.tip)
    other.git("push", "-qf", "origin", f"refs/notes/forged:{NOTES}")
    agree(until, consoles, lambda each: each.notes() != "", "the note")
    assert [each[:4] for each in reviews(here)] == [("other-console", "approve", "unsealed", "Approver Two")]
    assert "does not count" in here.site.sign_in().get("/e/prod/audit?what=console").text
    elsewhere = Person("admin-dev", "Admin of dev", "dev@example.org")
    viewer = {"who": elsewhere.email, "role": "viewer"}
    here.site.repo.roles(*GRANTS, viewer, viewer | {"role": "admin", "environments": ["dev"]})
    here.site.refresh()
    assert reviews(here, here.person(elsewhere)) == []
    here.site.repo.roles(*GRANTS, viewer | {"role": "admin", "environments": ["prod"]})
    here.site.refresh()
    assert len(reviews(here, here.person(elsewhere))) == 1
