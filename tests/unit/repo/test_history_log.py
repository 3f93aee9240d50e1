"""The log of a repository is whole, or it is an error."""

import itertools
from pathlib import Path

import pytest

from kemudi.repo.errors import GitFailedError
from kemudi.repo.git import Git
from kemudi.repo.history_log import _ARGUMENTS, _parsed, _tokens, steps


def test_a_log_that_breaks_off_anywhere_is_the_error_that_git_gives(
    sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git dies within a record, within a name, or between two: what was read until then is not believed."""
    sandbox.commit({"base/sync.yaml": "A: 9\n"}, "Raise A\n\nBecause.")
    git = Git(sandbox.root / ".git")
    head = sandbox.git("rev-parse", "HEAD")
    whole = git.run(*_ARGUMENTS, head, "--")
    assert len(steps(git, head)) == 2
    (tmp_path / "git").write_text(
        '#!/bin/sh\nhead -c "$CUT" "$WHOLE"\necho "fatal: bad object" >&2\nexit 128\n'
    )
    (tmp_path / "git").chmod(0o755)
    (tmp_path / "whole").write_bytes(whole)
    monkeypatch.setenv("WHOLE", str(tmp_path / "whole"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for cut in range(0, len(whole), 23):
        monkeypatch.setenv("CUT", str(cut))
        with pytest.raises(GitFailedError, match="git log failed: fatal: bad object"):
            steps(git, head)


def test_the_portions_in_which_git_writes_change_nothing(sandbox, tmp_path: Path) -> None:
    """A record may begin in one and end in another."""
    sandbox.commit({"base/sync.yaml": "A: 9\n", "base/b.yaml": "B: 1\n"}, "Two files")
    git = Git(sandbox.root / ".git")
    head = sandbox.git("rev-parse", "HEAD")
    file = tmp_path / "whole"
    file.write_bytes(git.run(*_ARGUMENTS, head, "--"))
    wanted = steps(git, head)
    assert [each.sha for each in wanted] == sandbox.git("rev-list", "--reverse", "HEAD").split()
    for size in itertools.chain(range(2, 50), (4096,)):
        with file.open("rb", buffering=size) as output:
            assert list(_parsed(_tokens(output))) == wanted
