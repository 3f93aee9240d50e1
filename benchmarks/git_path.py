"""What one new commit costs the daemon in git, against starting a single `git rev-parse`.

The repository: 10,000 settings in 100 files, one commit more in every round. A round asks what the daemon asks: where
is the branch, which files changed and what is in them, how deep is the commit, does it follow the applied one. The
floor is measured in the same round. Run: `python benchmarks/git_path.py [--rounds N]`.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kemudi.repo.local import LocalRefs
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.worktree import WorkTree

FILES, SETTINGS_A_FILE = 100, 100
GOAL = 1.0


def git(folder: Path, *arguments: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": "Author", f"GIT_{role}_EMAIL": "author@example.org"}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def content(number: int, value: int) -> str:
    return "".join(f"KEY_{number:03}_{each:03}: {each + value}\n" for each in range(SETTINGS_A_FILE))


def seed(root: Path) -> None:
    (root / "base").mkdir(parents=True)
    (root / "kemudi.yaml").write_text("format: 1\n")
    for number in range(FILES):
        (root / f"base/c{number:03}.yaml").write_text(content(number, 0))
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "seed")


def clocked(times: dict[str, list[float]], name: str, call: Callable[[], object]) -> object:
    start = time.perf_counter()
    answer = call()
    times.setdefault(name, []).append((time.perf_counter() - start) * 1000)
    return answer


def one_commit(repository: ConfigRepository, known: tuple[str, int]) -> tuple[str, int]:
    """All that the daemon asks of git when a commit has come."""
    sha = repository.branch_tip("main")
    assert sha is not None
    changes = repository.changes(known[0], sha)
    depth = repository.depth(sha, known)
    assert repository.is_ancestor(known[0], sha)
    assert len(changes) == 1
    return sha, depth


def run(root: Path, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    local = LocalRefs(root.parent / "local.git")
    tree = WorkTree(root)
    with ConfigRepository.open(root) as repository:
        sha = repository.resolve("main")
        clocked(times, "read 100 files", lambda: repository.files(sha))
        clocked(times, "first look at the work tree", tree.scan)
        known = sha, repository.depth(sha)
        for number in range(rounds):
            path = root / f"base/c{number % FILES:03}.yaml"
            path.write_text(content(number % FILES, number + 1))
            clocked(times, "a named save in the work tree", lambda path=path: tree.scan([path]))
            git(root, "commit", "--quiet", "--all", "-m", f"n{number}")
            clocked(times, "floor: git rev-parse", lambda: git(root, "rev-parse", "main"))
            clocked(times, "a poll without news", lambda: (repository.head(), repository.branch_tip("main")))
            known = clocked(times, "a new commit", lambda known=known: one_commit(repository, known))  # type: ignore[assignment]  # what it returns
            clocked(times, "a serial, on disk", lambda number=number: local.advance("dev", f"n{number}"))
        assert known == (git(root, "rev-parse", "main"), rounds + 1)
    return times


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=60)
    rounds = arguments.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "repo"
        seed(root)
        times = run(root, rounds)
    floor = statistics.median(times["floor: git rev-parse"])
    print(f"{FILES * SETTINGS_A_FILE:,} settings in {FILES} files, {rounds} commits; median of {rounds}\n")
    print(f"{'':32}{'ms':>9}{'min':>9}{'x floor':>9}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:32}{median:9.3f}{min(values):9.3f}{median / floor:9.2f}")
    ratio = statistics.median(times["a new commit"]) / floor
    print(f"\na new commit costs {ratio:.2f} x one process (goal <= {GOAL})")


if __name__ == "__main__":
    main()
