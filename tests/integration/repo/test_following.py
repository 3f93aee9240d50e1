"""The branch follows the remote where it is only behind: as a whole, and never over anybody's work."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kemudi.repo.changes import recover
from kemudi.repo.following import follow
from kemudi.repo.layout import find
from kemudi.schema.errors import ConflictError

FOLLOWER = """
import sys
from pathlib import Path
from kemudi.repo.following import follow
follow(Path(sys.argv[1]), "main", sys.argv[2])
"""
BEFORE = {
    "kemudi.yaml": "format: 1\n",
    "prod/sync.yaml": "A: 1\n",
    "prod/old.yaml": "B: 1\n",
    "tool": "#!/bin/sh\n",
}
AFTER = {
    "kemudi.yaml": "format: 1\n",
    "prod/sync.yaml": "A: 2\n",
    "prod/new/deep.yaml": "C: 1\n",
    "tool": "#!/bin/ash\n",
}


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Author", "-c", "user.email=author@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=root, capture_output=True, check=True)
    return done.stdout.decode().strip()


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def read(root: Path) -> dict[str, str]:
    """The files of the work tree."""
    paths = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path.relative_to(root)): path.read_text() for path in paths}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A clone that has fetched a commit which its branch has not got yet."""
    origin, root = tmp_path / "origin", tmp_path / "root"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    write(origin, BEFORE)
    (origin / "tool").chmod(0o755)
    git(origin, "add", "--all")
    git(origin, "commit", "-q", "-m", "first")
    git(tmp_path, "clone", "-q", str(origin), str(root))
    git(origin, "rm", "-q", "prod/old.yaml")
    write(origin, AFTER)
    git(origin, "add", "--all")
    git(origin, "commit", "-q", "-m", "second")
    git(root, "fetch", "-q")
    return root


def there(root: Path) -> str:
    return git(root, "rev-parse", "origin/main")


def test_files_index_and_branch_go_over_together(root: Path) -> None:
    """Changed, new and deleted files; what is not committed elsewhere stays. Asked again, there is nothing to do."""
    write(root, {"prod/notes.txt": "mine\n", "kemudi.yaml": "format: 1 # mine\n"})
    assert follow(root, "main", there(root))
    assert git(root, "rev-parse", "HEAD") == there(root)
    assert read(root) == AFTER | {"prod/notes.txt": "mine\n", "kemudi.yaml": "format: 1 # mine\n"}
    assert os.access(root / "tool", os.X_OK)
    assert git(root, "status", "--porcelain") == "M kemudi.yaml\n?? prod/notes.txt"
    assert not follow(root, "main", there(root))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"prod/sync.yaml": "A: 3\n"}, "prod/sync.yaml has changes that are not committed"),
        ({"prod/new/deep.yaml": "mine\n"}, "prod/new/deep.yaml has changes that are not committed"),
    ],
)
def test_nobodys_work_is_overwritten(root: Path, files: dict[str, str], why: str) -> None:
    """A changed file, and a new one that stands in the way: everything stays, and the refusal names it."""
    first = git(root, "rev-parse", "HEAD")
    write(root, files)
    with pytest.raises(ConflictError, match=why):
        follow(root, "main", there(root))
    assert (git(root, "rev-parse", "HEAD"), read(root)) == (first, BEFORE | files)


def test_own_commits_are_never_thrown_away(root: Path) -> None:
    """A branch that is ahead has nothing to follow; one with commits of both sides is somebody's to put together."""
    write(root, {"prod/mine.yaml": "D: 1\n"})
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", "mine")
    mine = git(root, "rev-parse", "HEAD")
    assert not follow(root, "main", git(root, "rev-parse", "HEAD~1"))
    with pytest.raises(ConflictError, match="here and on the remote main has different commits"):
        follow(root, "main", there(root))
    assert git(root, "rev-parse", "HEAD") == mine
    assert git(root, "status", "--porcelain") == ""


def test_what_is_no_plain_file_is_left_to_git(root: Path) -> None:
    """A link, and a program that is new: a landing puts neither in place."""
    origin = root.with_name("origin")
    for make in (lambda path: path.symlink_to("/etc/passwd"), lambda path: (path.touch(), path.chmod(0o755))):
        make(origin / "strange")
        git(origin, "add", "--all")
        git(origin, "commit", "-q", "-m", "strange")
        git(root, "fetch", "-q")
        with pytest.raises(ConflictError, match="strange is no plain file") as refused:
            follow(root, "main", there(root))
        assert "git pull" in str(refused.value.hint)
        (origin / "strange").unlink()
    assert read(root) == BEFORE


@pytest.mark.parametrize("point", ["changes.file:kill@2", "changes.index", "changes.ref"])
def test_killed_half_way(root: Path, point: str) -> None:
    """All as before until the branch has moved, all as there from then on; the next try ends there."""
    argv = [sys.executable, "-c", FOLLOWER, str(root), there(root)]
    killed = subprocess.run(argv, env=os.environ | {"KEMUDI_FAILPOINT": point}, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    recover(find(root))
    assert read(root) == (AFTER if point == "changes.ref" else BEFORE)
    assert git(root, "status", "--porcelain") == ""
    follow(root, "main", there(root))
    assert read(root) == AFTER
    assert git(root, "status", "--porcelain") == ""
    git(root, "fsck", "--strict")
