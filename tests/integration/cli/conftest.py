"""A scratch repository of the worked example with a bare remote, and the program as its users start it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@dataclass
class Scratch:
    """A clone on the branch `main`, pushed to a bare remote."""

    root: Path
    remote: Path

    def git(self, *arguments: str, at: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=at or self.root,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"git {arguments}: {done.stderr}"
        return done.stdout.strip()

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def kemudi(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """The program in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "kemudi.cli", *arguments],
            cwd=self.root,
            env=environment(variables),
            capture_output=True,
            text=True,
            check=False,
        )


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Git without the developer's configuration, commits of fixed people and times, no variable of Kemudi."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "KEMUDI_", "GITHUB_"))
    }
    fixed = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    for who in ("AUTHOR", "COMMITTER"):
        fixed |= {f"GIT_{who}_NAME": "Author", f"GIT_{who}_EMAIL": "author@example.org"}
        fixed[f"GIT_{who}_DATE"] = "1700000000 +0000"
    return kept | fixed | dict(extra or {})


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    """The worked example as a repository of its own, cloned from a bare remote."""
    made = Scratch(tmp_path / "clone", tmp_path / "remote.git")
    made.git("init", "--quiet", "--bare", "--initial-branch=main", str(made.remote), at=tmp_path)
    shutil.copytree(ROOT / "config-repo", made.root)
    made.git("init", "--quiet", "--initial-branch=main")
    made.git("remote", "add", "origin", str(made.remote))
    made.commit("The example")
    made.git("push", "--quiet", "--set-upstream", "origin", "main")
    made.git("remote", "set-head", "origin", "main")
    return made
