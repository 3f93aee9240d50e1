"""Which repository a path belongs to, and whether it may be read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kemudi.repo import layout
from kemudi.repo.errors import NoConfigRepositoryError, UnsafeRepositoryError, UnsupportedRepositoryError
from kemudi.repo.layout import check_owner, trusted_folders


def test_a_config_folder_below_a_large_repository_is_found_from_either_end(
    new_sandbox: Callable, opened
) -> None:
    """The config folder, a folder in it, and the top of the repository lead to the same config repo."""
    sandbox = new_sandbox()
    sandbox.commit({"services/config/kemudi.yaml": "format: 1\n", "README.md": "x", "services/app.py": "x"})
    (sandbox.root / "services/config/base").mkdir()
    for path in ("services/config", "services/config/base", "services", "."):
        repository = opened(sandbox.root / path)
        assert repository.prefix == "services/config"
        assert repository.worktree_root == sandbox.root / "services/config"
        assert list(repository.files(repository.head().sha)) == ["kemudi.yaml"]


def test_the_shipped_folder_name_is_found_from_its_parent(new_sandbox: Callable, opened) -> None:
    """`config-repo/` wins over other folders that hold a config repo."""
    sandbox = new_sandbox()
    sandbox.commit({"config-repo/kemudi.yaml": "format: 1\n", "other/kemudi.yaml": "format: 1\n"})
    assert opened(sandbox.root).prefix == "config-repo"


def test_two_config_repos_need_a_choice(new_sandbox: Callable) -> None:
    """Both are named in the error."""
    sandbox = new_sandbox()
    sandbox.commit({"one/kemudi.yaml": "format: 1\n", "two/kemudi.yaml": "format: 1\n"})
    with pytest.raises(NoConfigRepositoryError, match="one, two"):
        _open(sandbox.root)


def test_a_bare_repository_is_searched_in_its_head(
    sandbox, new_sandbox: Callable, opened, tmp_path: Path
) -> None:
    """There is no work tree, so the tree of HEAD says where kemudi.yaml is."""
    sandbox.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    repository = opened(tmp_path / "bare.git")
    assert (repository.prefix, repository.worktree_root) == ("", None)
    below = new_sandbox("below")
    below.commit({"a/b/kemudi.yaml": "format: 1\n"})
    below.git("clone", "--quiet", "--bare", ".", str(tmp_path / "below.git"))
    assert opened(tmp_path / "below.git").prefix == "a/b"


def test_a_linked_worktree_reads_its_own_head_and_the_shared_branches(
    sandbox, opened, tmp_path: Path
) -> None:
    """`.git` is a file there."""
    sandbox.git("worktree", "add", "--quiet", "-b", "feature", str(tmp_path / "linked"))
    repository = opened(tmp_path / "linked")
    assert repository.head().branch == "feature"
    assert repository.branch_tip("main") == sandbox.git("rev-parse", "main")
    assert repository.worktree_root == tmp_path / "linked"


def test_a_linked_worktree_whose_repository_was_moved_says_how_to_mend_it(sandbox, tmp_path: Path) -> None:
    """The hint names the command."""
    sandbox.git("worktree", "add", "--quiet", "-b", "feature", str(tmp_path / "linked"))
    sandbox.root.rename(tmp_path / "moved")
    with pytest.raises(NoConfigRepositoryError) as caught:
        _open(tmp_path / "linked")
    assert "git worktree repair" in str(caught.value.hint)


@pytest.mark.parametrize("content", [b"nonsense", b"gitdir: /nowhere/at/all\n", b"\xff\xfe"])
def test_a_git_file_that_leads_nowhere_is_an_error_of_usage(tmp_path: Path, content: bytes) -> None:
    """Exit 2, with the path."""
    (tmp_path / ".git").write_bytes(content)
    with pytest.raises((NoConfigRepositoryError, UnsupportedRepositoryError)) as caught:
        layout.find(tmp_path)
    assert caught.value.exit_code == 2


def test_a_folder_outside_of_git_is_an_error_of_usage(tmp_path: Path) -> None:
    """Exit 2, and the hint says how to start."""
    with pytest.raises(NoConfigRepositoryError) as caught:
        layout.find(tmp_path)
    assert "kemudi init" in str(caught.value.hint)


def test_a_repository_without_kemudi_yaml_is_an_error_of_usage(new_sandbox: Callable) -> None:
    """The file that was looked for is named."""
    sandbox = new_sandbox()
    sandbox.commit({"README.md": "x"})
    with pytest.raises(NoConfigRepositoryError, match=r"kemudi\.yaml"):
        _open(sandbox.root)


def test_an_unborn_branch_opens_when_the_files_are_there(new_sandbox: Callable, opened) -> None:
    """Before the first commit there is a branch and no commit."""
    sandbox = new_sandbox()
    sandbox.write({"kemudi.yaml": "format: 1\n"})
    head = opened(sandbox.root).head()
    assert (head.branch, head.sha) == ("main", None)


def test_a_sha256_repository_is_refused_by_name(new_sandbox: Callable) -> None:
    """The error says which kind is read."""
    sandbox = new_sandbox("repo", "--object-format=sha256")
    sandbox.commit({"kemudi.yaml": "format: 1\n"})
    with pytest.raises(UnsupportedRepositoryError, match="sha256"):
        _open(sandbox.root)


def test_a_repository_of_another_user_is_not_trusted(sandbox) -> None:
    """Exit 3; the hint is the command that makes an exception, for this folder and never for all."""
    owner = sandbox.root.stat().st_uid
    with pytest.raises(UnsafeRepositoryError) as caught:
        check_owner(sandbox.root / ".git", uid=owner + 1, trusted=frozenset())
    assert caught.value.exit_code == 3
    assert str(caught.value.hint).endswith(f"safe.directory {sandbox.root}")
    check_owner(sandbox.root / ".git", uid=owner, trusted=frozenset())


@pytest.mark.parametrize("trust", ["*", "folder"])
def test_what_the_user_has_declared_safe_is_read(sandbox, trust: str) -> None:
    """The rule is git's: `*` or the folder itself."""
    owner = sandbox.root.stat().st_uid
    check_owner(
        sandbox.root / ".git", uid=owner + 1, trusted=frozenset({"*" if trust == "*" else str(sandbox.root)})
    )


def test_opening_looks_at_the_owner_and_at_the_users_list(
    sandbox, opened, monkeypatch, tmp_path: Path
) -> None:
    """Who runs this process is not the owner: refused, then declared safe, then read."""
    uid = sandbox.root.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    with pytest.raises(UnsafeRepositoryError):
        layout.find(sandbox.root)
    (tmp_path / "gitconfig").write_text(f"[safe]\n\tdirectory = {sandbox.root}\n")
    assert opened(sandbox.root).head().branch == "main"


def test_root_by_sudo_reads_the_repository_of_who_called_it(sandbox, monkeypatch) -> None:
    """As git does."""
    monkeypatch.setenv("SUDO_UID", str(os.getuid() + 7))
    folder = sandbox.root / ".git"

    class Owned(type(folder)):
        def lstat(self):  # a stand-in for a file of that user, which a test may not make
            return os.stat_result((0, 0, 0, 0, os.getuid() + 7, 0, 0, 0, 0, 0))

    check_owner(Owned(folder), uid=0, trusted=frozenset())
    with pytest.raises(UnsafeRepositoryError):
        check_owner(Owned(folder), uid=1, trusted=frozenset())


def test_the_list_of_safe_folders_is_the_users_own(tmp_path: Path, monkeypatch) -> None:
    """It is the only part of their configuration that is read; an empty entry takes back the ones before."""
    config = tmp_path / "gitconfig"
    config.write_text("[safe]\n\tdirectory = /one\n\tdirectory =\n\tdirectory = /two\n\tdirectory = /three\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    assert trusted_folders() == {"/two", "/three"}


def _open(path: Path) -> None:
    from kemudi.repo.repository import ConfigRepository

    ConfigRepository.open(path).close()
