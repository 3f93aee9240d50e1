"""A writer that is killed at any instant leaves branch, index and files before or after: never in between."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kemudi.repo.changes import ChangeRequest, Edit, apply, recover
from kemudi.repo.git import environment
from kemudi.repo.layout import find
from kemudi.repo.people import Author

ROOT = Path(__file__).parents[3]
PERSON = Author("Author", "author@example.org")
POINTS = (
    "changes.objects",
    "changes.journal",
    "changes.file",
    "changes.file:kill@2",
    "changes.index",
    "changes.ref",
    "changes.landed",
)
BEFORE = {"prod/sync.yaml": "SYNC_BATCH_SIZE: 5000", "prod/performance.yaml": "CACHE_TTL: 900"}
AFTER = {"prod/sync.yaml": "SYNC_BATCH_SIZE: 400", "prod/performance.yaml": "CACHE_TTL: 30"}
WRITER = """
import sys
from pathlib import Path
from kemudi.repo.changes import ChangeRequest, Edit, apply
from kemudi.repo.people import Author
print("ready", flush=True)
sys.stdin.readline()
edits = (Edit("prod", "SYNC_BATCH_SIZE", 400), Edit("prod", "CACHE_TTL", 30))
apply(Path(sys.argv[1]), ChangeRequest(edits, "why", Author("Author", "author@example.org")))
"""


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, env=environment(), capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worked example in git, to be copied."""
    root = tmp_path_factory.mktemp("crash") / "template"
    shutil.copytree(ROOT / "config-repo", root)
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "Author")
    git(root, "config", "user.email", "author@example.org")
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", "first")
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "repo"
    shutil.copytree(template, copied)
    git(copied, "status")  # the copy's files are known to its index
    return copied


def start(root: Path, **environ: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)],
        env=os.environ | environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def end(process: subprocess.Popen[bytes]) -> int:
    with process:
        return process.wait(timeout=30)


def holds(root: Path, expected: dict[str, str]) -> bool:
    return all(line in (root / path).read_text() for path, line in expected.items())


def is_before_or_after(root: Path, first: str) -> str:
    """Which of the two it is; branch, index and files say the same, and nothing lies about."""
    head = git(root, "rev-parse", "HEAD")
    which = "before" if head == first else "after"
    assert holds(root, BEFORE if which == "before" else AFTER)
    assert git(root, "status", "--porcelain") == ""
    git(root, "fsck", "--strict")
    assert not (root / ".git/index.lock").exists()
    assert not [path for path in root.rglob("*.tmp") if ".git" not in path.parts]
    if which == "after":
        assert git(root, "rev-parse", "HEAD~1") == first
    return which


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_point(root: Path, point: str) -> None:
    """Before the branch has moved everything is undone by the next writer; from then on everything is done."""
    first = git(root, "rev-parse", "HEAD")
    process = start(root, KEMUDI_FAILPOINT=point)
    go(process)
    assert end(process) == -signal.SIGKILL
    # What git itself says meanwhile is true: at worst a change that is not committed. Never the reverse of a commit.
    if git(root, "rev-parse", "HEAD") == first:
        assert "MM" not in git(root, "status", "--porcelain")
    else:
        assert git(root, "status", "--porcelain") == ""
    recover(find(root))
    assert is_before_or_after(root, first) == (
        "after" if point in ("changes.ref", "changes.landed") else "before"
    )
    again = apply(root, ChangeRequest((Edit("prod", "SYNC_TIMEOUT", 60),), "next", PERSON))
    assert again.changed
    assert git(root, "status", "--porcelain") == ""


def test_killed_at_any_instant(root: Path) -> None:
    """Twenty seeded instants between the start and the end of a change, each time from the beginning."""
    first = git(root, "rev-parse", "HEAD")
    chance = random.Random(20)
    seen = set()
    longest = duration(root)
    reset(root, first)
    for _ in range(20):
        process = start(root)
        go(process)
        time.sleep(chance.uniform(0, longest))  # the instant is the test: no condition is waited for
        process.kill()
        end(process)
        recover(find(root))
        seen.add(is_before_or_after(root, first))
        reset(root, first)
    assert seen


def duration(root: Path) -> float:
    process = start(root)
    begun = time.monotonic()
    go(process)
    assert end(process) == 0
    return time.monotonic() - begun


def reset(root: Path, first: str) -> None:
    git(root, "reset", "-q", "--hard", first)


@pytest.mark.parametrize("point", ["changes.file", "changes.file:kill@2", "changes.index"])
def test_what_was_edited_after_the_crash_is_the_users(root: Path, point: str) -> None:
    """Undoing leaves it alone, and the next change of that file is refused."""
    process = start(root, KEMUDI_FAILPOINT=point)
    go(process)
    end(process)
    path = root / "prod/performance.yaml"
    path.write_text(path.read_text() + "# mine\n")
    recover(find(root))
    assert path.read_text().endswith("# mine\n")
    assert holds(root, {"prod/sync.yaml": BEFORE["prod/sync.yaml"]})


def test_a_commit_of_the_users_after_the_crash_stays(root: Path) -> None:
    """They may well have found the half change good: then it is theirs, and nothing is undone."""
    process = start(root, KEMUDI_FAILPOINT="changes.index")
    go(process)
    end(process)
    git(root, "commit", "-q", "-am", "as it lies there")
    recover(find(root))
    assert holds(root, AFTER)
    assert git(root, "status", "--porcelain") == ""


def test_a_stopped_writer_is_waited_for_and_then_told(root: Path) -> None:
    """The one that holds the lock may be alive: its files are not touched by anybody else."""
    process = start(root, KEMUDI_FAILPOINT="changes.index:stop")
    go(process)
    until_stopped(process.pid)
    waiting = start(root)
    go(waiting)
    with contextlib.suppress(subprocess.TimeoutExpired):
        waiting.wait(timeout=0.5)
    assert waiting.poll() is None
    process.send_signal(signal.SIGCONT)
    assert end(process) == 0
    assert end(waiting) == 0  # the same values: nothing was left to change
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "rev-list", "--count", "HEAD") == "2"


def until_stopped(pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return
        time.sleep(0.01)
    raise AssertionError("it did not stop")
