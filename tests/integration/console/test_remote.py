"""A remote that is there, away, or ahead: saving always works here, and what is not pushed yet is said."""


def body(value: int) -> dict[str, object]:
    return {"env": "dev", "changes": [{"key": "SYNC_TIMEOUT", "value": value}], "reason": "Slow registry"}


def test_a_saved_change_is_pushed(site, tmp_path, until):
    """With a remote the commit is there a moment later; nothing is pending then."""
    remote = tmp_path / "remote.git"
    site.repo.git("clone", "-q", "--bare", str(site.repo.path), str(remote))
    site.repo.git("remote", "add", "origin", str(remote))
    answer = site.sign_in().api("POST", "/changes", body(901))
    revision = answer.json()["revision"]
    until(lambda: site.repo.git("ls-remote", "origin", "main").split()[0] == revision, "the push")
    until(lambda: not site.parts.pusher.pending, "nothing left to push")


def test_with_the_remote_away_the_commit_is_kept_and_pushed_later(site, tmp_path, until):
    """Saving commits here, every page says that it is not pushed yet, and when the remote is back it gets it."""
    remote = tmp_path / "remote.git"
    site.repo.git("remote", "add", "origin", str(remote))
    browser = site.sign_in()
    answer = browser.api("POST", "/changes", body(902))
    assert (answer.status_code, answer.json()["pushed"]) == (200, False)
    assert site.repo.head == answer.json()["revision"]
    until(lambda: [each for each in site.parts.pusher.pending if each.last is not None], "a failed push")
    assert "not pushed to the remote yet" in browser.get("/e/dev/settings").text
    assert browser.api("GET", "/status").json()["git"]["not_pushed"][0]["branch"] == "main"
    site.repo.git("clone", "-q", "--bare", str(site.repo.path), str(remote))
    site.repo.git("--git-dir", str(remote), "update-ref", "refs/heads/main", "HEAD~1")
    until(lambda: not site.parts.pusher.pending, "the push", timeout=60)
    assert site.repo.git("ls-remote", "origin", "main").split()[0] == answer.json()["revision"]
    assert "not pushed" not in browser.get("/e/dev/settings").text
