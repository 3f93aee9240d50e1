"""A push that fails loses nothing and says what to do."""

from pathlib import Path
from typing import Any

import pytest

from kemudi.repo.errors import UnknownRevisionError
from kemudi.repo.push import push, unpushed
from kemudi.schema.errors import UsageError


@pytest.fixture
def remote(sandbox: Any, tmp_path: Path) -> Path:
    """A bare repository that `origin` of the sandbox names; it has the first commit."""
    bare = tmp_path / "remote.git"
    sandbox.git("clone", "--quiet", "--bare", ".", str(bare))
    sandbox.git("remote", "add", "origin", str(bare))
    sandbox.git("fetch", "--quiet", "origin")
    return bare


def test_a_push_brings_the_branch_over(sandbox: Any, remote: Path) -> None:
    """Before it is known what is waiting, without asking the remote; afterwards nothing is."""
    sha = sandbox.commit({"base/sync.yaml": "A: 2\n"}, "second")
    assert unpushed(sandbox.root, "main").commits == 1
    result = push(sandbox.root, "main")
    assert (result.state, result.revision, result.is_done) == ("pushed", sha, True)
    assert sandbox.git("--git-dir", str(remote), "rev-parse", "main") == sha
    assert unpushed(sandbox.root, "main").commits == 0


def test_a_remote_that_moved_is_told_and_never_overwritten(
    sandbox: Any, remote: Path, tmp_path: Path
) -> None:
    """Both sides keep what they have."""
    other = tmp_path / "other"
    sandbox.git("clone", "--quiet", str(remote), str(other))
    sandbox.git("-C", str(other), "commit", "--quiet", "--allow-empty", "-m", "theirs")
    sandbox.git("-C", str(other), "push", "--quiet", "origin", "main")
    theirs = sandbox.git("--git-dir", str(remote), "rev-parse", "main")
    mine = sandbox.commit({"base/sync.yaml": "A: 2\n"}, "second")
    result = push(sandbox.root, "main")
    assert (result.state, result.revision) == ("moved", mine)
    assert "git pull --no-rebase" in result.advice
    assert sandbox.git("--git-dir", str(remote), "rev-parse", "main") == theirs
    assert sandbox.git("rev-parse", "main") == mine
    assert unpushed(sandbox.root, "main").commits == 1


def test_a_remote_that_does_not_take_the_branch(sandbox: Any, remote: Path) -> None:
    """As a git host does with a protected branch: by its hook."""
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho protected branch >&2\nexit 1\n")
    hook.chmod(0o755)
    sandbox.commit({"base/sync.yaml": "A: 2\n"}, "second")
    result = push(sandbox.root, "main")
    assert result.state == "rejected"
    assert "--propose" in result.advice


def test_a_remote_that_is_away(sandbox: Any, remote: Path) -> None:
    """Its credentials are in no message; the commit is safe, and waits."""
    sandbox.git("remote", "set-url", "origin", "http://user:hunter2@127.0.0.1:9/x.git")
    sandbox.commit({"base/sync.yaml": "A: 2\n"}, "second")
    result = push(sandbox.root, "main")
    assert result.state == "unreachable"
    assert "hunter2" not in str(result.as_json())
    assert remote.exists()


def test_what_cannot_be_pushed(sandbox: Any) -> None:
    """No remote is a state, as an author may well have none; impossible names are errors."""
    assert push(sandbox.root, "main").state == "no-remote"
    assert unpushed(sandbox.root, "main").remote is None
    with pytest.raises(UnknownRevisionError):
        push(sandbox.root, "nowhere")
    for name in ("--upload-pack=x", "a/b", ""):
        with pytest.raises(UsageError):
            push(sandbox.root, "main", name)
