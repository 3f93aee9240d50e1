"""The page for code that moves from a settings table, top to bottom, against real git."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def test_the_example_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reads are typed, and the two writes are two commits."""
    import kemudi.client
    from kemudi.client.testing import InMemoryClient
    from kemudi.repo.git import environment

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=repo, env=environment(), capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    repo = tmp_path / "config-repo"
    shutil.copytree(ROOT / "config-repo", repo)
    git("init", "-q", "-b", "main")
    git("add", "--all")
    git("-c", "user.name=Author", "-c", "user.email=author@example.org", "commit", "-q", "-m", "first")
    client = InMemoryClient({"SYNC_BATCH_SIZE": 300}, contracts=repo / "contracts")
    monkeypatch.setattr(kemudi.client, "connect", lambda *_arguments: client)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/how-to/move-from-a-config-manager.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile("\n".join(line.removeprefix("   ") for line in block.splitlines()), "page", "exec"), names)
    assert (names["batch"], names["same"], names["sync"]["SYNC_BATCH_SIZE"]) == (300, 300, 300)
    assert len(names["everything"]) == 20
    assert git("log", "--format=%an|%s").splitlines() == [
        "Kemudi|Change 2 settings in dev",
        "operator|Set SYNC_TIMEOUT in dev",
        "Author|first",
    ]
