"""Sizes that a large installation has: ten thousand files, a thousand commits, a repository in constant motion."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kemudi.repo.repository import ConfigRepository
from kemudi.repo.worktree import WorkTree

FILES = 10_000


def _git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": "Author", f"GIT_{role}_EMAIL": "author@example.org"}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=env, input=data, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def _path(number: int) -> str:
    return f"{('base', 'dev', 'staging', 'prod')[number % 4]}/c{number // 4:04}.yaml"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository: one commit of 10,000 files in 4 layers, then 1,000 commits of one file each."""
    folder = tmp_path_factory.mktemp("large")
    _git(folder, "init", "--quiet", "--bare", "--initial-branch=main")
    lines = ["commit refs/heads/main", "committer C <c@d> 1700000000 +0000", "data 1", "x"]
    lines += ["M 100644 inline kemudi.yaml", "data 10", "format: 1\n"]
    for number in range(FILES):
        text = f"KEY_{number}: {number}\n"
        lines += [f"M 100644 inline {_path(number)}", f"data {len(text)}", text]
    for number in range(1000):
        text = f"KEY_{number}: changed\n"
        lines += ["commit refs/heads/main", f"committer C <c@d> {1700000001 + number} +0000", "data 1", "x"]
        lines += [f"M 100644 inline {_path(number)}", f"data {len(text)}", text]
    _git(folder, "fast-import", "--quiet", data=("\n".join(lines) + "\n").encode())
    return folder


@pytest.fixture
def repository(large: Path) -> Iterator[ConfigRepository]:
    with ConfigRepository.open(large) as opened:
        yield opened


def test_ten_thousand_files_are_read_in_about_a_second(repository: ConfigRepository) -> None:
    """Requests are pipelined, nothing stalls; the bound is generous for a busy machine."""
    sha = repository.resolve("main~1000")
    start = time.perf_counter()
    files = repository.files(sha)
    took = time.perf_counter() - start
    assert len(files) == FILES + 1
    assert files[_path(4711)].data == b"KEY_4711: 4711\n"
    assert took < 10


def test_a_burst_of_a_thousand_commits_is_one_comparison(repository: ConfigRepository) -> None:
    """The cost is that of what differs in the end, and the depth is exact."""
    old, new = repository.resolve("main~1000"), repository.resolve("main")
    changes = repository.changes(old, new)
    assert sorted(changes) == sorted(_path(number) for number in range(1000))
    assert repository.depth(new, (old, 1)) == 1001
    assert repository.is_ancestor(old, new)
    steps = repository.first_parents(new, 1001)
    assert (len(steps), steps[-1]) == (1001, old)


def test_following_each_commit_reads_only_what_it_changed(repository: ConfigRepository) -> None:
    """A hundred commits, one by one: one file each, depth kept without counting anew."""
    steps = list(reversed(repository.first_parents(repository.resolve("main"), 101)))
    known = steps[0], 901
    for sha in steps[1:]:
        assert len(repository.changes(known[0], sha)) == 1
        known = sha, repository.depth(sha, known)
    assert known[1] == 1001


def test_the_ids_of_a_commit_follow_step_by_step(repository: ConfigRepository) -> None:
    """Ten thousand entries are not listed again for one that changed."""
    new = repository.resolve("main")
    before = dict(repository.file_ids(repository.resolve("main~1")))
    after = repository.file_ids(new)
    assert len(after) == FILES + 1
    assert [path for path in after if after[path] != before[path]] == [_path(999)]


def test_a_work_tree_of_ten_thousand_files(large: Path, tmp_path: Path) -> None:
    """Clean after a checkout; a named save costs one file, however many there are."""
    _git(tmp_path, "clone", "--quiet", str(large), "work")
    root = tmp_path / "work"
    tree = WorkTree(root)
    assert len(tree.scan().files) == FILES + 1
    with ConfigRepository.open(root) as repository:
        ids = repository.file_ids(repository.resolve("HEAD"))
    assert tree.matches(ids)
    path = root / _path(42)
    costs = []
    for number in range(20):
        path.write_text(f"KEY_42: {number}\n")
        start = time.perf_counter()
        scan = tree.scan([path])
        costs.append(time.perf_counter() - start)
        assert scan.changes[_path(42)].data == f"KEY_42: {number}\n".encode()
    assert min(costs) < 0.002
    assert tree.differences(ids) == (_path(42),)


def test_reading_goes_on_while_the_repository_is_repacked(tmp_path: Path) -> None:
    """Commits, `git gc --prune=now` and a reader at once: every tip that is seen can be read whole."""
    root = tmp_path / "moving"
    (root / "base").mkdir(parents=True)
    (root / "kemudi.yaml").write_text("format: 1\n")
    _git(root, "init", "--quiet", "--initial-branch=main")
    _git(root, "config", "gc.auto", "0")
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "-m", "first")
    done = threading.Event()

    def move() -> None:
        try:
            for number in range(20):
                (root / "base/sync.yaml").write_text(f"A: {number}\n")
                _git(root, "add", "--all")
                _git(root, "commit", "--quiet", "-m", f"n{number}")
                if number % 5 == 4:
                    _git(root, "gc", "--quiet", "--prune=now")
        finally:
            done.set()

    mover = threading.Thread(target=move)
    seen = []
    with ConfigRepository.open(root) as repository:
        known = repository.head().sha, 1
        mover.start()
        while not done.is_set() or repository.head().sha != known[0]:
            head = repository.head()
            assert head.branch == "main"
            assert head.sha is not None
            if head.sha != known[0]:
                assert repository.is_ancestor(known[0], head.sha)
                assert repository.changes(known[0], head.sha).keys() == {"base/sync.yaml"}
                known = head.sha, repository.depth(head.sha, known)
                seen.append(known)
    mover.join()
    assert seen[-1][1] == 21
