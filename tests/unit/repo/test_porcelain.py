"""A commit holds the named files and nothing else, and is made only on top of what its author has read."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kemudi.repo.errors import GitLockedError, HeadMovedError
from kemudi.repo.git import NO_COMMIT, Git
from kemudi.repo.porcelain import (
    KEMUDI,
    Author,
    commit_all,
    commit_paths,
    enclosing_repository,
    identity,
    initialise,
)
from kemudi.schema.errors import ConflictError, UsageError

ANN = Author("Ann Author", "ann@example.org")


@pytest.fixture(autouse=True)
def _no_personal_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name, raising=False)


def test_a_commit_has_the_named_files_its_author_and_its_message(sandbox) -> None:
    """And leaves a clean work tree behind."""
    before = sandbox.git("rev-parse", "HEAD")
    sandbox.write({"base/sync.yaml": "A: 7\n", "prod/sync.yaml": "A: 8\n"})
    sha = commit_paths(
        sandbox.root, ["base/sync.yaml", "prod/sync.yaml"], "Raise A\n\nBecause.", ANN, expected=before
    )
    assert sandbox.git("rev-parse", "HEAD") == sandbox.git("rev-parse", "main") == sha
    assert (
        sandbox.git("log", "-1", "--format=%an <%ae>|%s|%b|%P")
        == f"Ann Author <ann@example.org>|Raise A|Because.\n|{before}"
    )
    assert sandbox.git("diff", "--name-only", before, sha).split() == ["base/sync.yaml", "prod/sync.yaml"]
    assert sandbox.git("status", "--porcelain") == ""
    assert sandbox.git("reflog", "-1", "--format=%gs") == "commit: Raise A"
    assert sandbox.git("fsck", "--strict") == ""


def test_what_else_is_staged_or_changed_stays_as_it_is(sandbox) -> None:
    """A user's half-done work is neither committed nor lost."""
    sandbox.write(
        {"dev/sync.yaml": "A: 99\n", "staged.txt": "s", "kemudi.yaml": "format: 1\n# c\n", "untracked": "u"}
    )
    sandbox.git("add", "dev/sync.yaml", "staged.txt")
    sandbox.write({"base/sync.yaml": "A: 7\n"})
    sha = commit_paths(sandbox.root, ["base/sync.yaml"], "one", ANN)
    assert sandbox.git("show", "--name-only", "--format=", sha) == "base/sync.yaml"
    assert sandbox.git("diff", "--cached", "--name-only").split() == ["dev/sync.yaml", "staged.txt"]
    assert sandbox.git("diff", "--name-only") == "kemudi.yaml"
    assert "?? untracked" in sandbox.git("status", "--porcelain")


def test_a_missing_file_is_a_deletion(sandbox) -> None:
    """In the commit and in the index."""
    sandbox.write({"dev/sync.yaml": None})
    commit_paths(sandbox.root, [sandbox.root / "dev/sync.yaml"], "gone", ANN)
    assert "dev/sync.yaml" not in sandbox.git("ls-tree", "-r", "--name-only", "HEAD")
    assert sandbox.git("status", "--porcelain") == ""


def test_nothing_new_makes_no_commit(sandbox) -> None:
    """The SHA of HEAD comes back."""
    before = sandbox.git("rev-parse", "HEAD")
    assert commit_paths(sandbox.root, ["base/sync.yaml"], "nothing", ANN) == before


def test_the_first_commit_of_a_new_repository(tmp_path: Path) -> None:
    """`expected=NO_COMMIT` says that none was there."""
    root = tmp_path / "new"
    initialise(root, branch="trunk")
    (root / "kemudi.yaml").write_text("format: 1\n")
    sha = commit_paths(root, ["kemudi.yaml"], "first", ANN, expected=NO_COMMIT)
    assert Git(root / ".git").rev_parse("trunk") == sha
    with pytest.raises(HeadMovedError):
        commit_paths(root, ["kemudi.yaml"], "again", ANN, expected=NO_COMMIT)


def test_a_new_repository_brings_no_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither git's samples nor the user's template."""
    (tmp_path / "template/hooks").mkdir(parents=True)
    (tmp_path / "template/hooks/pre-commit").write_text("#!/bin/sh\ntouch canary\n")
    (tmp_path / "gitconfig").write_text(f"[init]\n\ttemplateDir = {tmp_path}/template\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    initialise(tmp_path / "new")
    assert not (tmp_path / "new/.git/hooks").exists()
    assert (tmp_path / "new/.git/HEAD").read_text() == "ref: refs/heads/main\n"


def test_commit_all_takes_every_file_that_is_not_ignored(tmp_path: Path) -> None:
    """As `git add --all` would."""
    root = tmp_path / "new"
    initialise(root)
    files = {
        ".gitignore": "secret\n",
        "kemudi.yaml": "format: 1\n",
        "secret": "no",
        "base/a b.yaml": "A: 1\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    sha = commit_all(root, "Start")
    git = Git(root / ".git")
    listed = git.run("ls-tree", "-r", sha).decode()
    assert "secret" not in listed
    assert "100755 blob" in next(line for line in listed.splitlines() if "run.sh" in line)
    assert len(listed.splitlines()) == 4
    (root / "run.sh").unlink()
    assert "run.sh" not in git.run("ls-tree", "-r", commit_all(root, "Without")).decode()


def test_head_that_moved_is_a_conflict(sandbox) -> None:
    """Exit 4: read again, then retry. Nothing was written."""
    old = sandbox.git("rev-parse", "HEAD")
    new = sandbox.commit({"dev/sync.yaml": "A: 5\n"})
    sandbox.write({"base/sync.yaml": "A: 7\n"})
    with pytest.raises(HeadMovedError, match=new) as caught:
        commit_paths(sandbox.root, ["base/sync.yaml"], "late", ANN, expected=old)
    assert isinstance(caught.value, ConflictError)
    assert sandbox.git("rev-parse", "HEAD") == new
    assert sandbox.git("status", "--porcelain") == "M base/sync.yaml"


def test_a_commit_that_comes_in_between_is_a_conflict(sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push into the branch while the commit is being made: git compares and sets."""
    import kemudi.repo.porcelain as porcelain

    sandbox.write({"base/sync.yaml": "A: 7\n"})
    other = sandbox.git("commit-tree", "-p", "HEAD", "-m", "theirs", "HEAD^{tree}")
    real = porcelain._move

    def late(*arguments):
        sandbox.git("update-ref", "refs/heads/main", other)
        return real(*arguments)

    monkeypatch.setattr(porcelain, "_move", late)
    with pytest.raises(HeadMovedError):
        commit_paths(sandbox.root, ["base/sync.yaml"], "mine", ANN)
    assert sandbox.git("rev-parse", "HEAD") == other
    assert not (sandbox.root / ".git/index.lock").exists()


def test_two_writers_at_once_lose_nothing(sandbox) -> None:
    """Each retries on a conflict; in the end both files are as their writers left them, in a straight history."""
    conflicts = []

    def write(name: str) -> None:
        for number in range(5):
            (sandbox.root / name).write_text(f"A: {number}\n")
            while True:
                try:
                    commit_paths(sandbox.root, [name], f"{name} {number}", ANN)
                    break
                except ConflictError as error:
                    conflicts.append(error)

    threads = [threading.Thread(target=write, args=(f"base/w{number}.yaml",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.git("rev-list", "--count", "HEAD") == "11"
    assert sandbox.git("status", "--porcelain") == ""
    assert sandbox.git("show", "HEAD:base/w0.yaml") == sandbox.git("show", "HEAD:base/w1.yaml") == "A: 4"


def test_a_stale_index_lock_is_named_with_its_age(sandbox) -> None:
    """It is left where it is; nothing was committed."""
    lock = sandbox.root / ".git/index.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    before = sandbox.git("rev-parse", "HEAD")
    sandbox.write({"base/sync.yaml": "A: 7\n"})
    with pytest.raises(GitLockedError, match=r"index\.lock \(\d{9,} s old\)") as caught:
        commit_paths(sandbox.root, ["base/sync.yaml"], "x", ANN)
    assert caught.value.exit_code == 4
    assert lock.exists()
    assert sandbox.git("rev-parse", "HEAD") == before


def test_in_the_middle_of_a_merge_nothing_is_committed(sandbox) -> None:
    """Neither the merge nor the change would be right. Exit 4; after the merge it works."""
    sandbox.git("checkout", "--quiet", "-b", "other")
    sandbox.commit({"base/sync.yaml": "A: 5\n"})
    sandbox.git("checkout", "--quiet", "main")
    head = sandbox.commit({"base/sync.yaml": "A: 6\n"})
    sandbox.git("merge", "other", check=False)
    with pytest.raises(ConflictError, match="a merge is under way"):
        commit_paths(sandbox.root, ["dev/sync.yaml"], "x", ANN)
    assert sandbox.git("rev-parse", "HEAD") == head
    sandbox.git("merge", "--abort")
    sandbox.write({"dev/sync.yaml": "A: 7\n"})
    assert commit_paths(sandbox.root, ["dev/sync.yaml"], "x", ANN) != head


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/passwd", ".git/config", "base/../.git/config", ".", ".GIT/config"]
)
def test_a_path_outside_of_the_work_tree_is_not_committed(sandbox, path: str) -> None:
    """Nor one of git's own."""
    with pytest.raises(UsageError, match="no file of the work tree"):
        commit_paths(sandbox.root, [path], "x", ANN)


def test_a_link_is_not_committed_and_not_followed(sandbox, tmp_path: Path) -> None:
    """Neither as a file nor as a folder on the way."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/sync.yaml").write_text("TOP: secret\n")
    (sandbox.root / "link.yaml").symlink_to(tmp_path / "secret/sync.yaml")
    (sandbox.root / "folder").symlink_to(tmp_path / "secret")
    for path in ("link.yaml", "folder/sync.yaml"):
        with pytest.raises(UsageError, match="cannot be committed"):
            commit_paths(sandbox.root, [path], "x", ANN)
    with pytest.raises(UsageError, match="not a regular file"):
        commit_paths(sandbox.root, ["base"], "x", ANN)


@pytest.mark.parametrize("name", ["--output=canary", "a\nb.yaml", "-", "é.yaml", "a\tb", "a b", ":(glob)**"])
def test_hostile_file_names_are_committed_like_any_other(sandbox, name: str) -> None:
    """They travel as data."""
    sandbox.write({f"base/{name}": "A: 1\n"})
    commit_paths(sandbox.root, [f"base/{name}"], "odd", ANN)
    assert f"base/{name}" in sandbox.git("ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")
    assert sandbox.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("name", "email"),
    [
        ("A\nparent x", "a@b"),
        ("A <x@y>", "a@b"),
        ("A", "a@b> 0 +0000\ncommitter"),
        ("", "a@b"),
        ("A", ""),
        (" ", "a@b"),
        ("A\0", "a@b"),
    ],
)
def test_an_author_that_would_forge_a_header_is_refused(name: str, email: str) -> None:
    """Before anything is written."""
    with pytest.raises(UsageError):
        Author(name, email)


@pytest.mark.parametrize("message", ["--amend", "-F /etc/passwd", "a\0b", "x\n\nparent " + "a" * 40])
def test_a_message_is_only_a_message(sandbox, message: str) -> None:
    """Whatever it looks like."""
    sandbox.write({"base/sync.yaml": "A: 7\n"})
    commit_paths(sandbox.root, ["base/sync.yaml"], message, ANN)
    assert sandbox.git("log", "-1", "--format=%B") == message.replace("\0", "")
    assert sandbox.git("rev-list", "--count", "HEAD") == "2"


def test_an_empty_message_is_refused(sandbox) -> None:
    """A commit without a reason explains nothing."""
    with pytest.raises(UsageError, match="message"):
        commit_paths(sandbox.root, ["base/sync.yaml"], " \n\0", ANN)


def test_a_detached_head_moves_itself_and_no_branch(sandbox) -> None:
    """As `git commit` does."""
    main = sandbox.git("rev-parse", "main")
    sandbox.git("checkout", "--quiet", "--detach")
    sandbox.write({"base/sync.yaml": "A: 7\n"})
    sha = commit_paths(sandbox.root, ["base/sync.yaml"], "detached", ANN)
    assert sandbox.git("rev-parse", "HEAD") == sha
    assert sandbox.git("rev-parse", "main") == main


def test_in_a_linked_worktree_its_own_branch_moves(sandbox, tmp_path: Path) -> None:
    """With an index of its own."""
    sandbox.git("worktree", "add", "--quiet", "-b", "feature", str(tmp_path / "linked"))
    (tmp_path / "linked/base/sync.yaml").write_text("A: 7\n")
    sha = commit_paths(tmp_path / "linked", ["base/sync.yaml"], "feature", ANN)
    assert sandbox.git("rev-parse", "feature") == sha
    assert sandbox.git("-C", str(tmp_path / "linked"), "status", "--porcelain") == ""
    assert sandbox.git("status", "--porcelain") == ""


def test_a_bare_repository_has_no_files_to_commit(sandbox, tmp_path: Path) -> None:
    """Exit 2."""
    sandbox.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    with pytest.raises(UsageError, match="bare"):
        commit_paths(tmp_path / "bare.git", ["x"], "x", ANN)


def test_the_author_is_the_users_own_identity(
    sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From git's configuration or environment; Kemudi's where there is none."""
    from kemudi.repo import layout

    where = layout.find(sandbox.root)
    assert identity(where) == KEMUDI
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Bea\n\temail = bea@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert identity(where) == Author("Bea", "bea@example.org")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Cleo")
    assert identity(where) == Author("Cleo", "bea@example.org")


def test_the_enclosing_repository_is_its_work_tree(sandbox, tmp_path: Path, new_sandbox: Callable) -> None:
    """None outside of git, and for a bare one."""
    assert enclosing_repository(sandbox.root / "base") == sandbox.root
    assert enclosing_repository(tmp_path) is None
