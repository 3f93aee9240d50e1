"""Rights, sessions, form tokens, links, accounts and the audit log, each by itself."""

import json
import threading
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from kemudi.console.access import accounts, once
from kemudi.console.access.people import Caller, Person, grants_of
from kemudi.console.access.sessions import Sessions, csrf_token, is_csrf_token
from kemudi.console.audit import Audit
from kemudi.schema.errors import UsageError
from kemudi.schema.manifest import RoleGrant

PERSON = Person("viewer-1", "Viewer One", "viewer@example.org", ("ops",))


def caller(*grants: RoleGrant) -> Caller:
    return Caller(PERSON, grants, "session", "s")


def test_the_highest_fitting_grant_counts():
    """By environment and category; a grant for some categories gives no right over the whole environment."""
    who = caller(
        RoleGrant("x", "viewer"),
        RoleGrant("x", "editor", ("dev",)),
        RoleGrant("x", "approver", ("dev",), ("sync",)),
    )
    assert who.role("dev", "sync") == "approver"
    assert who.role("dev", "neo4j") == "editor"
    assert who.role("dev") == "editor"
    assert who.role("prod", "sync") == "viewer"
    assert who.highest("dev") == "approver"
    assert not who.may("approver", "dev")
    assert caller(RoleGrant("x", "admin", ("dev",))).role("prod") is None


def test_people_are_named_by_login_address_or_group():
    """Whatever the case; somebody else's line does not count."""
    lines = [
        RoleGrant("VIEWER@example.org", "viewer"),
        RoleGrant("viewer-1", "editor"),
        RoleGrant("group:OPS", "admin"),
        RoleGrant("ops", "admin"),
    ]
    assert grants_of(PERSON, lines) == tuple(lines[:3])


def test_sessions_live_over_a_restart_and_end(tmp_path):
    """The file holds digests only; an old session and one that was ended are none."""
    now = [1000.0]
    path = tmp_path / "sessions.json"
    sessions = Sessions(path, lambda: now[0], issuer="https://id.example.org")
    first, second = sessions.begin(PERSON, "oidc"), sessions.begin(PERSON, "link")
    assert first not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    again = Sessions(path, lambda: now[0], issuer="https://id.example.org")
    found = again.find(first)
    assert found is not None
    assert found.person == PERSON
    again.end(first)
    assert again.find(first) is None
    now[0] += 13 * 3600
    assert again.find(second) is None
    assert again.find("") is None


def test_form_tokens_differ_each_time_and_fit_their_session_only():
    """Masked anew, so that compression gives nothing away."""
    one, other = csrf_token("a"), csrf_token("a")
    assert one != other
    assert is_csrf_token("a", one)
    assert is_csrf_token("a", other)
    for wrong in ("", "!", one[:-4], csrf_token("b"), "A" * len(one)):
        assert not is_csrf_token("a", wrong)


def test_one_link_is_taken_by_one(tmp_path):
    """Of many who use it at once, one gets in."""
    code = once.make_link(tmp_path, "http://x", PERSON).partition("code=")[2]
    assert code not in (tmp_path / once.FILE).read_text()
    got: list[Person | None] = []
    threads = [threading.Thread(target=lambda: got.append(once.take(tmp_path, code))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each for each in got if each is not None] == [PERSON]


def test_accounts(tmp_path):
    """Passwords and tokens are stored as digests; short passwords and taken names are refused."""
    with pytest.raises(UsageError):
        accounts.set_user(tmp_path, PERSON, "short")
    accounts.set_user(tmp_path, PERSON, "long enough, surely")
    assert "long enough" not in (tmp_path / accounts.USERS).read_text()
    assert accounts.check_password(tmp_path, "viewer-1", "long enough, surely") is not None
    assert accounts.check_password(tmp_path, "nobody", "long enough, surely") is None
    token = accounts.add_token(tmp_path, "ci", RoleGrant("ci", "viewer"), days=1)
    with pytest.raises(UsageError):
        accounts.add_token(tmp_path, "ci", RoleGrant("ci", "admin"), days=1)
    assert accounts.find_token(tmp_path, token) is not None
    assert accounts.find_token(tmp_path, token + "x") is None
    stored = json.loads((tmp_path / accounts.TOKENS).read_text())
    stored["ci"]["ends"] = "2020-01-01T00:00:00+00:00"
    (tmp_path / accounts.TOKENS).write_text(json.dumps(stored))
    assert accounts.find_token(tmp_path, token) is None


def test_a_password_is_hashed_anew_when_a_hash_costs_more_than_it_did(tmp_path, monkeypatch):
    """At the next sign-in that fits, and not by a wrong password; afterwards it still opens."""
    accounts.set_user(tmp_path, PERSON, "long enough, surely")
    before = accounts.read_json(tmp_path / accounts.USERS, default={})["viewer-1"]
    monkeypatch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=4))
    assert accounts.check_password(tmp_path, "viewer-1", "not the right one") is None
    assert accounts.read_json(tmp_path / accounts.USERS, default={})["viewer-1"] == before
    assert accounts.check_password(tmp_path, "viewer-1", "long enough, surely") is not None
    after = accounts.read_json(tmp_path / accounts.USERS, default={})["viewer-1"]
    assert "t=4" in after["argon2"]
    assert after == before | {"argon2": after["argon2"]}
    assert accounts.check_password(tmp_path, "viewer-1", "long enough, surely") is not None


def test_a_file_that_others_can_read_is_refused(tmp_path: Path):
    """A digest can be guessed at; the file belongs to its owner alone."""
    accounts.add_token(tmp_path, "ci", RoleGrant("ci", "viewer"), days=1)
    (tmp_path / accounts.TOKENS).chmod(0o644)
    with pytest.raises(UsageError, match="can be read by others"):
        accounts.find_token(tmp_path, "x")


def test_the_audit_log_only_grows(tmp_path):
    """One line an entry, newest first when read; a line that a crash cut off is left out."""
    audit = Audit(tmp_path / "audit.jsonl")
    for number in range(3):
        audit.note("who", "change", "done", env="dev", key=f"KEY_{number}", detail='a"\n\x1b[0m')
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"at": "2026')
    assert [entry.key for entry in audit.latest(2)] == ["KEY_2", "KEY_1"]
    assert len((tmp_path / "audit.jsonl").read_bytes().split(b"\n")) == 4
