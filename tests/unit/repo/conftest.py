"""Real git repositories, made by the real git without any of the developer's configuration."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from kemudi.repo.repository import ConfigRepository


@dataclass
class Sandbox:
    """One repository with a work tree, and git in it."""

    root: Path

    def git(
        self, *arguments: str, date: int = 1_700_000_000, data: bytes | None = None, check: bool = True
    ) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env |= {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "Author",
            "GIT_AUTHOR_EMAIL": "author@example.org",
            "GIT_COMMITTER_NAME": "Committer",
            "GIT_COMMITTER_EMAIL": "committer@example.org",
            "GIT_AUTHOR_DATE": f"{date} +0000",
            "GIT_COMMITTER_DATE": f"{date} +0000",
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env=env, input=data, capture_output=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"git {arguments}: {done.stderr.decode()}")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Put files into the work tree; None deletes one."""
        for name, content in files.items():
            path = self.root / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(
        self, files: Mapping[str, str | bytes | None], message: str = "change", date: int = 1_700_000_000
    ) -> str:
        """Write files and commit the whole work tree."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message, date=date)
        return self.git("rev-parse", "HEAD")

    def object_path(self, sha: str) -> Path:
        return self.root / ".git" / "objects" / sha[:2] / sha[2:]

    def damage(self, sha: str, content: bytes) -> None:
        """Overwrite a loose object's file."""
        path = self.object_path(sha)
        path.chmod(0o644)
        path.write_bytes(content)


@pytest.fixture
def new_sandbox(tmp_path: Path) -> Callable[..., Sandbox]:
    """Make a repository: name of its folder, further arguments of `git init`."""

    def make(name: str = "repo", *arguments: str) -> Sandbox:
        folder = tmp_path / name
        folder.mkdir()
        sandbox = Sandbox(folder)
        sandbox.git("init", "--quiet", "--initial-branch=main", *arguments)
        return sandbox

    return make


@pytest.fixture
def sandbox(new_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """A repository with one commit of a small config repo in its root."""
    made = new_sandbox()
    made.commit(
        {"kemudi.yaml": "format: 1\n", "base/sync.yaml": "A: 1\n", "dev/sync.yaml": "A: 2\n"}, "first"
    )
    return made


@pytest.fixture
def opened() -> Iterator[Callable[..., ConfigRepository]]:
    """`ConfigRepository.open` that is closed at the end of the test."""
    with ExitStack() as stack:

        def open_(path: Path, **options: str) -> ConfigRepository:
            return stack.enter_context(ConfigRepository.open(path, **options))

        yield open_
