"""The mirror follows a real remote, and survives what happens to remotes, disks and processes."""

import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kemudi.repo.errors import (
    BranchMissingError,
    CorruptObjectError,
    FetchError,
    GitLockedError,
    GitTimeoutError,
    UnsafeRepositoryError,
)
from kemudi.repo.mirror import Mirror
from kemudi.repo.repository import ConfigRepository
from kemudi.schema.errors import UnavailableError, UsageError


@dataclass
class Remote:
    """A repository on a host, here a folder."""

    root: Path

    def git(self, *arguments: str, check: bool = True) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            env |= {f"GIT_{role}_NAME": "Author", f"GIT_{role}_EMAIL": "author@example.org"}
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env=env, capture_output=True, text=True, check=check
        )
        return done.stdout.strip()

    def commit(self, value: int) -> str:
        (self.root / "base").mkdir(exist_ok=True)
        (self.root / "kemudi.yaml").write_text("format: 1\n")
        (self.root / "base/sync.yaml").write_text(f"A: {value}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", f"A is {value}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    made = Remote(tmp_path / "remote")
    made.root.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit(1)
    return made


@pytest.fixture
def mirror(remote: Remote, tmp_path: Path) -> Mirror:
    return Mirror(f"file://{remote.root}", tmp_path / "state" / "mirror.git", "main")


def _value(mirror: Mirror) -> bytes:
    with ConfigRepository.open(mirror.folder) as repository:
        sha = mirror.tip
        assert sha is not None
        return repository.files(sha)["base/sync.yaml"].data


def test_a_fetch_brings_the_branch_and_tells_what_is_new(remote: Remote, mirror: Mirror) -> None:
    """First a clone, then news, then none."""
    first = mirror.fetch()
    assert (first.branch, first.before, first.recloned) == ("main", None, True)
    assert _value(mirror) == b"A: 1\n"
    sha = remote.commit(2)
    second = mirror.fetch()
    assert (second.sha, second.before, second.recloned) == (sha, first.sha, False)
    assert _value(mirror) == b"A: 2\n"
    assert mirror.fetch().before == sha


def test_an_open_reader_sees_what_a_fetch_brings(remote: Remote, mirror: Mirror) -> None:
    """No need to open anything again."""
    mirror.fetch()
    with ConfigRepository.open(mirror.folder) as repository:
        old = repository.branch_tip("main")
        new = remote.commit(2)
        mirror.fetch()
        assert repository.branch_tip("main") == new
        assert list(repository.changes(old, new)) == ["base/sync.yaml"]
        assert repository.is_ancestor(old, new)


def test_without_a_branch_the_remotes_default_is_followed(remote: Remote, tmp_path: Path) -> None:
    """As it was at the first fetch; a renamed default does not move the mirror by itself."""
    remote.git("branch", "-m", "trunk")
    mirror = Mirror(str(remote.root), tmp_path / "mirror.git")
    assert mirror.tip is None
    assert mirror.fetch().branch == "trunk"
    remote.git("branch", "other")
    remote.git("symbolic-ref", "HEAD", "refs/heads/other")
    remote.commit(2)
    assert mirror.fetch().branch == "trunk"
    assert _value(mirror) == b"A: 1\n"


def test_a_force_push_moves_the_branch_and_is_no_descendant(remote: Remote, mirror: Mirror) -> None:
    """The old commit stays readable, so that what is served can still be compared."""
    old = mirror.fetch().sha
    remote.git("commit", "--quiet", "--amend", "-m", "rewritten")
    fetched = mirror.fetch()
    assert fetched.before == old
    assert fetched.sha != old
    with ConfigRepository.open(mirror.folder) as repository:
        assert not repository.is_ancestor(old, fetched.sha)
        assert repository.files(old)["base/sync.yaml"].data == b"A: 1\n"


def test_only_the_branch_comes(remote: Remote, mirror: Mirror) -> None:
    """No tags, no other branches, no FETCH_HEAD."""
    remote.git("tag", "v1")
    remote.git("branch", "other")
    mirror.fetch()
    remote.commit(2)
    remote.git("tag", "v2")
    mirror.fetch()
    listed = subprocess.run(
        ["git", "--git-dir", str(mirror.folder), "for-each-ref", "--format=%(refname)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert listed.stdout.split() == ["refs/heads/main"]
    assert not (mirror.folder / "FETCH_HEAD").exists()


def test_a_remote_that_is_away_is_unavailable_and_the_last_state_stays(
    remote: Remote, mirror: Mirror
) -> None:
    """Exit 3; the mirror is not thrown away for it."""
    mirror.fetch()
    remote.root.rename(remote.root.with_name("gone"))
    with pytest.raises(FetchError, match="cannot be fetched") as caught:
        mirror.fetch()
    assert isinstance(caught.value, UnavailableError)
    assert _value(mirror) == b"A: 1\n"
    remote.root.with_name("gone").rename(remote.root)
    assert mirror.fetch().recloned is False


def test_a_first_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """And the next one starts anew."""
    mirror = Mirror(f"file://{tmp_path}/nowhere", tmp_path / "mirror.git", "main")
    with pytest.raises(FetchError):
        mirror.fetch()
    assert not list(tmp_path.glob("mirror.git*/"))


def test_a_branch_that_is_not_there_or_was_deleted_is_named(
    remote: Remote, tmp_path: Path, mirror: Mirror
) -> None:
    """Its last commit stays."""
    with pytest.raises(BranchMissingError, match="no branch nowhere"):
        Mirror(str(remote.root), tmp_path / "other.git", "nowhere").fetch()
    mirror.fetch()
    remote.git("checkout", "--quiet", "-b", "other")
    remote.git("branch", "-D", "main")
    with pytest.raises(BranchMissingError, match="no branch main"):
        mirror.fetch()
    assert _value(mirror) == b"A: 1\n"


def test_an_empty_remote_names_its_state(tmp_path: Path) -> None:
    """Nothing to follow yet."""
    empty = Remote(tmp_path / "empty")
    empty.root.mkdir()
    empty.git("init", "--quiet", "--bare", "--initial-branch=main")
    with pytest.raises(BranchMissingError):
        Mirror(str(empty.root), tmp_path / "mirror.git").fetch()


def _zap_ref(folder: Path) -> None:
    (folder / "refs/heads/main").write_bytes(b"\0" * 41)


def _zap_head(folder: Path) -> None:
    (folder / "HEAD").unlink()


def _zap_objects(folder: Path) -> None:
    for path in (folder / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"")


def _zap_config(folder: Path) -> None:
    (folder / "config").write_text("[core]\n\trepositoryformatversion = 99\n")


def _zap_tip(folder: Path) -> None:
    _lose(folder, (folder / "refs/heads/main").read_text().strip())


def _lose(folder: Path, sha: str) -> None:
    """Delete one object, wherever it is stored."""
    for pack in (folder / "objects/pack").glob("*.pack"):
        content = pack.read_bytes()
        for part in (folder / "objects/pack").glob(f"{pack.stem}.*"):
            part.unlink()
        command = ["git", "--git-dir", str(folder), "unpack-objects", "-q"]
        subprocess.run(command, input=content, check=True, capture_output=True)
    (folder / "objects" / sha[:2] / sha[2:]).unlink()


@pytest.mark.parametrize(
    ("damage", "recloned"),
    [(_zap_ref, True), (_zap_head, True), (_zap_objects, True), (_zap_config, True), (_zap_tip, False)],
)
def test_a_damaged_mirror_is_mended_by_the_next_fetch(
    remote: Remote, mirror: Mirror, damage: Callable[[Path], None], recloned: bool
) -> None:
    """With or without news on the remote: git fetches a lost tip again, anything worse is cloned anew."""
    mirror.fetch()
    damage(mirror.folder)
    assert mirror.fetch().recloned is recloned
    assert _value(mirror) == b"A: 1\n"
    damage(mirror.folder)
    sha = remote.commit(2)
    assert mirror.fetch().sha == sha
    assert _value(mirror) == b"A: 2\n"
    assert mirror.fetch().recloned is False


def test_damage_below_the_tip_that_stops_a_fetch_is_found(remote: Remote, mirror: Mirror) -> None:
    """Git cannot negotiate over a broken commit; the mirror is checked as a whole, and replaced."""
    old = remote.git("rev-parse", "HEAD")
    remote.commit(2)
    mirror.fetch()
    _lose(mirror.folder, old)
    (mirror.folder / "objects" / old[:2] / old[2:]).write_bytes(b"garbage")
    sha = remote.commit(3)
    fetched = mirror.fetch()
    assert (fetched.sha, fetched.recloned) == (sha, True)
    assert _value(mirror) == b"A: 3\n"


def test_a_remote_of_another_user_is_trusted_as_the_user_says(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git on the other side of a local fetch sees the user's list of safe folders, and nothing else of theirs."""
    config = tmp_path / "gitconfig"
    config.write_text(f"[safe]\n\tdirectory = {remote.root}/.git\n[core]\n\tsshCommand = touch canary\n")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    mirror = Mirror(str(remote.root), tmp_path / "mirror.git", "main")
    if os.geteuid() == 0:  # only root can give a folder away
        for path in [remote.root, *remote.root.rglob("*")]:
            os.chown(path, 12345, 12345)
        with pytest.raises(UnsafeRepositoryError) as caught:
            mirror.fetch()
        assert f"safe.directory {remote.root}" in str(caught.value.hint)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert mirror.fetch().before is None
    trust = tmp_path / "mirror.git.trust"
    assert trust.read_text() == f'[safe]\n\tdirectory = "{remote.root}/.git"\n'


def test_a_reader_that_meets_damage_has_the_mirror_made_anew(remote: Remote, mirror: Mirror) -> None:
    """A blob that no fetch would look at; the same open reader goes on afterwards."""
    mirror.fetch()
    blob = remote.git("rev-parse", "HEAD:base/sync.yaml")
    _lose(mirror.folder, blob)
    with ConfigRepository.open(mirror.folder) as repository:
        sha = repository.branch_tip("main")
        with pytest.raises(CorruptObjectError):
            repository.files(sha)
        assert mirror.reclone().recloned is True
        repository.objects.close()
        assert repository.files(sha)["base/sync.yaml"].data == b"A: 1\n"


def test_a_swap_that_was_interrupted_is_finished(remote: Remote, mirror: Mirror, tmp_path: Path) -> None:
    """Killed between the two renames there is no mirror, only a complete new one beside; even without the remote."""
    mirror.fetch()
    mirror.folder.rename(mirror.folder.with_name("mirror.git.ready"))
    remote.root.rename(remote.root.with_name("gone"))
    with pytest.raises(FetchError):
        mirror.fetch()
    assert _value(mirror) == b"A: 1\n"
    assert sorted(path.name for path in mirror.folder.parent.iterdir()) == ["mirror.git", "mirror.git.lock"]


def test_another_url_is_another_mirror(remote: Remote, mirror: Mirror, tmp_path: Path) -> None:
    """What was mirrored before is not taken for the new remote's."""
    mirror.fetch()
    other = Remote(tmp_path / "second")
    other.root.mkdir()
    other.git("init", "--quiet", "--initial-branch=main")
    sha = other.commit(9)
    fetched = Mirror(str(other.root), mirror.folder, "main").fetch()
    assert (fetched.sha, fetched.recloned) == (sha, True)


def test_a_lock_file_in_the_way_is_named_with_its_age_and_left(remote: Remote, mirror: Mirror) -> None:
    """Its owner may be alive. When it is older than any fetch could be, a new mirror takes the place of this one."""
    mirror.fetch()
    sha = remote.commit(2)
    lock = mirror.folder / "refs/heads/main.lock"
    lock.touch()
    with pytest.raises(GitLockedError, match=r"main\.lock \(\d+ s old\)"):
        mirror.fetch()
    assert lock.exists()
    assert _value(mirror) == b"A: 1\n"
    an_hour_ago = time.time() - 3600
    os.utime(lock, (an_hour_ago, an_hour_ago))
    fetched = mirror.fetch()
    assert (fetched.sha, fetched.recloned) == (sha, True)


def test_one_process_fetches_at_a_time(mirror: Mirror) -> None:
    """The other one is told so at once; the lock of a dead process is free."""
    mirror.fetch()
    with (mirror.folder.parent / "mirror.git.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(GitLockedError, match="another process fetches"):
            mirror.fetch()
    mirror.fetch()


def test_objects_that_fail_gits_checks_do_not_come_in(remote: Remote, mirror: Mirror) -> None:
    """A tree with `.git` in it, as in the attacks on checkouts."""
    mirror.fetch()
    blob = remote.git("rev-parse", "HEAD:base/sync.yaml")
    done = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        cwd=remote.root, input=b"100644 .git\0" + bytes.fromhex(blob), capture_output=True, check=True,
    )  # fmt: skip
    commit = remote.git("commit-tree", "-m", "evil", "-p", "HEAD", done.stdout.decode().strip())
    remote.git("update-ref", "refs/heads/main", commit)
    with pytest.raises(FetchError):
        mirror.fetch()
    assert _value(mirror) == b"A: 1\n"


def test_a_remote_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the time limit, with what it had started."""
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(tmp_path / "ssh"))
    started = time.monotonic()
    with pytest.raises(GitTimeoutError):
        Mirror("ssh://host.invalid/x", tmp_path / "mirror.git", "main", time_limit_seconds=0.5).fetch()
    assert time.monotonic() - started < 30
    assert not (tmp_path / "mirror.git").exists()


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% canary",
        "ext::sh",
        "http://host/x",
        "git://host/x",
        "--upload-pack=touch canary",
        "-oProxyCommand=touch canary:x",
        "ssh://-oProxyCommand=touch/x",
        "ssh://user@-oProxyCommand=touch/x",
        "https:///x",
        "relative/path",
        "https://host/x\n[core]\n\tsshCommand = touch",
        'https://host/x"\\',
        "fd::7",
        "",
    ],
)
def test_a_url_that_could_run_something_is_refused(url: str, tmp_path: Path) -> None:
    """Before anything is written: exit 2."""
    with pytest.raises(UsageError):
        Mirror(url, tmp_path / "mirror.git", "main")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url",
    [
        "https://host/x.git",
        "ssh://git@host:2222/x",
        "git@host:team/x.git",
        "host:x",
        "file:///srv/x",
        "/srv/x",
    ],
)
def test_the_usual_urls_are_taken(url: str, tmp_path: Path) -> None:
    """Four kinds."""
    Mirror(url, tmp_path / "mirror.git", "main")


def test_credentials_are_shown_nowhere(tmp_path: Path) -> None:
    """Not in an error, not to other users of the machine; only in the mirror's own 0600 file."""
    url = "https://deploy:s3cr3t-token@127.0.0.1:1/x.git"
    mirror = Mirror(url, tmp_path / "mirror.git", "main")
    with pytest.raises(FetchError) as caught:
        mirror.fetch()
    shown = f"{caught.value} {caught.value.hint} {caught.value.__cause__} {mirror.shown_url}"
    assert "s3cr3t" not in shown
    assert "https://***@127.0.0.1:1/x.git" in shown


@pytest.mark.parametrize(
    "secret", ["s3cr3t/token", "12/s3cr3t-token", "s3cr3t@token", "s3cr3t token", 's3cr3t"token']
)
def test_a_password_that_makes_a_url_wrong_is_not_shown(secret: str, tmp_path: Path) -> None:
    """It has to be spelled with %2F and the like; the error says so without it."""
    with pytest.raises(UsageError) as caught:
        Mirror(f"https://deploy:{secret}@host/x.git", tmp_path / "mirror.git", "main")
    shown = f"{caught.value} {caught.value.hint}"
    assert "s3cr3t" not in shown
    assert "token" not in shown


def test_a_disk_that_is_full_is_unavailable(
    remote: Remote, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 3, and the next fetch goes on as if nothing had been."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(FetchError, match="No space left"):
            mirror.fetch()
    assert mirror.fetch().recloned is True


def test_the_mirrors_configuration_is_private(mirror: Mirror) -> None:
    """It may hold a token."""
    mirror.fetch()
    assert (mirror.folder / "config").stat().st_mode & 0o777 == 0o600
