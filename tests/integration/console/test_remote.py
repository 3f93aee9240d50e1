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


def elsewhere(site, tmp_path):
    """A remote, and another clone of it, as somebody has who merges on the git host."""
    remote, clone = tmp_path / "remote.git", type(site.repo)(tmp_path / "clone")
    site.repo.git("clone", "-q", "--bare", str(site.repo.path), str(remote))
    site.repo.git("remote", "add", "origin", str(remote))
    site.repo.git("clone", "-q", str(remote), str(clone.path))
    return clone


def test_what_was_merged_on_the_git_host_is_followed(site, tmp_path, until):
    """It is shown, in the work tree too, and what is saved then stands on it and is pushed."""
    clone = elsewhere(site, tmp_path)
    merged = clone.change("dev", "sync", SYNC_TIMEOUT=777)
    clone.git("push", "-q", "origin", "main")
    site.parts.pusher.exchange()
    until(lambda: site.parts.board.head == merged, "the commit of the git host")
    browser = site.sign_in()
    assert browser.api("GET", "/environments/dev/settings/SYNC_TIMEOUT").json()["value"] == 777
    assert site.repo.git("status", "--porcelain") == ""
    saved = browser.api("POST", "/changes", body(778)).json()["revision"]
    assert site.repo.git("rev-parse", f"{saved}~1") == merged
    until(lambda: site.repo.git("ls-remote", "origin", "main").split()[0] == saved, "the push")


def test_both_sides_have_commits(site, tmp_path, until):
    """Saved here while somebody merged there: nothing is lost, the page says what to do, then it is pushed."""
    clone = elsewhere(site, tmp_path)
    clone.change("staging", "sync", SYNC_TIMEOUT=777)
    clone.git("push", "-q", "origin", "main")
    browser = site.sign_in()
    mine = browser.api("POST", "/changes", body(779)).json()["revision"]
    until(lambda: [each for each in site.parts.pusher.pending if each.last is not None], "a refused push")
    page = browser.get("/e/dev/settings").text
    assert "not pushed to the remote yet: main" in page
    assert "git pull --no-rebase" in page
    assert site.repo.head == mine
    # By its path: the console may be fetching, too, and both would write down where `origin` is.
    site.repo.git("pull", "-q", "--no-rebase", "--no-edit", str(tmp_path / "remote.git"), "main")
    assert mine in site.repo.git("rev-list", "HEAD").split()  # a daemon may have served it
    site.parts.pusher.exchange()
    until(lambda: not site.parts.pusher.pending, "the push", timeout=60)
    assert site.repo.git("ls-remote", "origin", "main").split()[0] == site.repo.head
    values = {each: (site.repo.path / each / "sync.yaml").read_text() for each in ("dev", "staging")}
    assert ("SYNC_TIMEOUT: 779" in values["dev"], "SYNC_TIMEOUT: 777" in values["staging"]) == (True, True)


def test_work_that_is_not_committed_stands_in_the_way(site, tmp_path, until):
    """It stays, every page says which file it is; once it is committed or gone, the remote is followed."""
    clone = elsewhere(site, tmp_path)
    merged = clone.change("dev", "sync", SYNC_TIMEOUT=777)
    clone.git("push", "-q", "origin", "main")
    path = site.repo.path / "dev" / "sync.yaml"
    before = path.read_text()
    path.write_text(before + "# a remark\n")
    site.parts.pusher.exchange()
    until(lambda: site.parts.pusher.behind, "the reason")
    browser = site.sign_in()
    page = browser.get("/e/dev/settings").text
    assert "The remote has changes that are not here yet." in page
    assert "dev/sync.yaml has changes that are not committed" in page
    assert "dev/sync.yaml" in browser.api("GET", "/status").json()["git"]["behind"]
    assert path.read_text().endswith("# a remark\n")
    path.write_text(before)
    site.parts.pusher.exchange()
    until(lambda: site.parts.board.head == merged, "the commit of the git host")
    until(lambda: not site.parts.pusher.behind, "nothing in the way")
    assert "The remote has changes" not in browser.get("/e/dev/settings").text
