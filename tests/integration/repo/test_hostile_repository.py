"""A repository whose configuration, hooks, filters and attributes start programs: none of them ever runs."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kemudi.repo.local import LocalRefs
from kemudi.repo.mirror import Mirror
from kemudi.repo.porcelain import Author, commit_paths
from kemudi.repo.repository import ConfigRepository
from kemudi.repo.worktree import WorkTree

ANN = Author("Ann Author", "ann@example.org")
HOOKS = [
    "pre-commit",
    "post-commit",
    "commit-msg",
    "prepare-commit-msg",
    "post-index-change",
    "reference-transaction",
]
HOOKS += [
    "post-checkout",
    "pre-receive",
    "update",
    "post-update",
    "post-rewrite",
    "pre-auto-gc",
    "fsmonitor-watchman",
]


def _git(folder: Path, *arguments: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_NAME": "Author", f"GIT_{role}_EMAIL": "author@example.org"}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _traps(trap: Path, hooks: Path) -> str:
    """Every way in which a configuration of git starts a program."""
    return f"""
[core]
\tfsmonitor = {trap}
\thooksPath = {hooks}
\tsshCommand = {trap}
\tgitProxy = {trap}
\tpager = {trap}
\teditor = {trap}
\taskPass = {trap}
\talternateRefsCommand = {trap}
[pager]
\tcat-file = {trap}
\trev-list = {trap}
[filter "evil"]
\tclean = {trap}
\tsmudge = {trap}
\tprocess = {trap}
\trequired = true
[diff "evil"]
\ttextconv = {trap}
\tcommand = {trap}
[diff]
\texternal = {trap}
[merge "evil"]
\tdriver = {trap}
[gpg]
\tprogram = {trap}
[commit]
\tgpgSign = true
[credential]
\thelper = !{trap}
[uploadpack]
\tpackObjectsHook = {trap}
[alias]
\tcat-file = !{trap}
\trev-parse = !{trap}
[extensions]
\tpartialClone = evil
[remote "evil"]
\turl = ssh://nowhere.invalid/x
\tpromisor = true
\tuploadpack = {trap}
\tvcs = evil
[remote "origin"]
\turl = ext::{trap}
\tuploadpack = {trap}
"""


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """A repository full of traps, and the file that each of them would write."""
    root, canary = tmp_path / "hostile", tmp_path / "canary"
    (root / "base").mkdir(parents=True)
    (root / "kemudi.yaml").write_text("format: 1\n")
    (root / "base/sync.yaml").write_text("A: 1\n")
    _git(root, "init", "--quiet", "--initial-branch=main")
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "-m", "first")
    trap = tmp_path / "trap"
    trap.write_text(f'#!/bin/sh\necho "$0 $*" >> {canary}\ncat\n')
    trap.chmod(0o755)
    hooks = root / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in HOOKS:
        (hooks / name).write_text(trap.read_text())
        (hooks / name).chmod(0o755)
    with (root / ".git/config").open("a") as file:
        file.write(_traps(trap, hooks))
    (root / ".git/info").mkdir(exist_ok=True)
    (root / ".git/info/attributes").write_text("* filter=evil diff=evil merge=evil\n")
    return root, canary


def test_reading_starts_nothing(hostile: tuple[Path, Path]) -> None:
    """Names, objects, history, a missing object of a partial clone, and the work tree."""
    root, canary = hostile
    with ConfigRepository.open(root) as repository:
        head = repository.resolve("main")
        assert repository.files(head)["base/sync.yaml"].data == b"A: 1\n"
        assert repository.depth(head) == 1
        assert repository.git.is_ancestor(head, head)
        with pytest.raises(Exception, match="missing"):
            repository.objects.blob("a" * 40)
        tree = WorkTree(root)
        tree.scan()
        assert tree.matches(repository.file_ids(head))
    assert not canary.exists()


def test_committing_starts_nothing(hostile: tuple[Path, Path]) -> None:
    """Not even what `git commit` itself would: no filter changes the bytes, no hook refuses or sees them."""
    root, canary = hostile
    (root / "base/sync.yaml").write_text("A: 2\n")
    sha = commit_paths(root, ["base/sync.yaml"], "two", ANN)
    with ConfigRepository.open(root) as repository:
        assert repository.head().sha == sha
        assert repository.files(sha)["base/sync.yaml"].data == b"A: 2\n"
    assert not canary.exists()


def test_mirroring_it_starts_nothing(hostile: tuple[Path, Path], tmp_path: Path) -> None:
    """The mirror has its own configuration; the remote's is not asked what to run."""
    root, canary = hostile
    mirror = Mirror(str(root), tmp_path / "mirror.git", "main")
    fetched = mirror.fetch()
    with ConfigRepository.open(mirror.folder) as repository:
        assert repository.files(fetched.sha)["base/sync.yaml"].data == b"A: 1\n"
    assert not (mirror.folder / "hooks").exists()
    assert not canary.exists()


def test_the_daemons_own_counters_start_nothing(
    hostile: tuple[Path, Path], tmp_path: Path, monkeypatch
) -> None:
    """Even when the user's configuration has traps."""
    root, canary = hostile
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(root / ".git/config"))
    assert LocalRefs(tmp_path / "local.git").advance("dev", "save") == 1
    assert not canary.exists()


def test_the_traps_do_work(hostile: tuple[Path, Path]) -> None:
    """Plain git does fire them, so their silence above means something."""
    root, canary = hostile
    (root / "base/sync.yaml").write_text("A: 3\n")
    subprocess.run(["git", "-C", str(root), "status"], capture_output=True, check=False, timeout=30)
    assert canary.exists()


def test_a_symlink_out_of_the_repository_is_never_read(tmp_path: Path) -> None:
    """Neither in a commit nor in the work tree; an audit hook watches every file that this process opens."""
    import sys

    secret = tmp_path / "outside" / "secret.yaml"
    secret.parent.mkdir()
    secret.write_text("TOP: secret\n")
    root = tmp_path / "repo"
    (root / "base").mkdir(parents=True)
    (root / "kemudi.yaml").write_text("format: 1\n")
    (root / "base/sync.yaml").symlink_to(secret)
    (root / "prod").symlink_to(secret.parent)
    (root / "kemudi.yml").symlink_to("/etc/passwd")
    _git(root, "init", "--quiet", "--initial-branch=main")
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "-m", "first")
    opened: list[str] = []
    watching = True

    def audit(event: str, arguments: tuple) -> None:
        if watching and event in ("open", "os.scandir", "os.listdir"):
            opened.append(str(arguments[0]))

    sys.addaudithook(audit)
    with ConfigRepository.open(root) as repository:
        files = dict(repository.files(repository.resolve("HEAD")))
        seen = dict(WorkTree(root).scan().files)
        WorkTree(root).scan(["prod/secret.yaml", "base/sync.yaml", "../outside/secret.yaml"])
    watching = False
    assert files == seen
    assert {path: file.kind for path, file in files.items() if file.kind != "file"} == {
        "base/sync.yaml": "symlink",
        "prod": "symlink",
        "kemudi.yml": "symlink",
    }
    assert not [name for name in opened if "secret" in name or "passwd" in name]


def test_many_hints_of_hostile_names_open_nothing_outside(
    tmp_path: Path, random_names: Callable[[], list[str]]
) -> None:
    """Whatever an event claims."""
    root = tmp_path / "cfg"
    root.mkdir()
    (root / "kemudi.yaml").write_text("format: 1\n")
    (tmp_path / "outside.yaml").write_text("A: 1\n")
    tree = WorkTree(root)
    tree.scan()
    assert dict(tree.scan(random_names()).changes) == {}


@pytest.fixture
def random_names() -> Callable[[], list[str]]:
    """Names made of what is dangerous in paths."""
    import itertools

    parts = ["..", ".", "", "outside.yaml", "%2e%2e", "..\\", "kemudi.yaml/..", "\u2025", "~", "-", "\n"]
    return lambda: ["/".join(words) for words in itertools.product(parts, repeat=3)]
