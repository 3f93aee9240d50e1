"""The guard before a commit: it judges what is staged, whatever the files on disk say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kemudi.repo.repository import ConfigRepository
from kemudi.repo.secrets import generate_identity
from kemudi.repo.staged import Staged, look_at_staged

PASSWORD = "MAIL_PASSWORD"  # a setting's name


def look(root: Path) -> Staged:
    with ConfigRepository.open(root) as repository:
        return look_at_staged(repository)


def told(staged: Staged) -> list[tuple[str, str, str | None]]:
    return [(each.file, each.rule, each.key) for each in staged.findings]


@pytest.fixture
def repo(vault: Any, clone: Callable[[], Any]) -> Any:
    """A clean commit with one sealed value."""
    made = clone()
    made.commit(vault.write({"prod/mail.yaml": f"{PASSWORD}: {vault.seal('prod', PASSWORD, 'x')}\n"}).files)
    return made


def test_nothing_staged_is_fine(repo: Any) -> None:
    """Also with plaintext in a file that was not added."""
    repo.write({"prod/mail.yaml": b"MAIL_PASSWORD: canary\n"})
    assert look(repo.root) == Staged((), ())


def test_staged_plaintext_is_found_though_the_file_was_mended_since(repo: Any) -> None:
    """The index is what will be committed."""
    before = (repo.root / "prod/mail.yaml").read_bytes()
    repo.write({"prod/mail.yaml": b"MAIL_PASSWORD: canary\n"})
    repo.git("add", "prod/mail.yaml")
    repo.write({"prod/mail.yaml": before})
    staged = look(repo.root)
    assert told(staged) == [("prod/mail.yaml", "KEM030", PASSWORD)]
    assert "canary" not in str(staged)
    assert staged.committed == ()


def test_a_copied_ciphertext_and_a_token_are_named(repo: Any) -> None:
    """The copy is an error, the token under a plain key a warning."""
    text = (repo.root / "prod/mail.yaml").read_text()
    token = "ghp_" + "a1B2c3D4" * 5
    repo.write({"staging/mail.yaml": f"{text}MAIL_HOST: {token}\n".encode()})
    repo.git("add", "--all")
    staged = look(repo.root)
    assert told(staged) == [
        ("staging/mail.yaml", "KEM033", PASSWORD),
        ("staging/mail.yaml", "KEM035", "MAIL_HOST"),
    ]
    assert [each.severity for each in staged.findings] == ["error", "warning"]


def test_plaintext_that_is_committed_already_is_told_apart(repo: Any) -> None:
    """Then the secret has to change at its source, whatever is done to the file."""
    repo.commit({"prod/mail.yaml": b"MAIL_PASSWORD: canary\n"})
    staged = look(repo.root)
    assert told(staged) == [("prod/mail.yaml", "KEM030", PASSWORD)]
    assert [each.key for each in staged.committed] == [PASSWORD]


@pytest.mark.parametrize("name", ["notes.txt", "prod/notes.yaml", "deep/er/identity.txt"])
def test_a_private_key_is_refused_in_any_staged_file(repo: Any, name: str) -> None:
    """An identity that somebody is about to share with everybody."""
    identity, _ = generate_identity()
    repo.write(
        {name: f"# created\n{identity}\n".encode(), "manual.md": b"keys begin with AGE-SECRET-KEY-1\n"}
    )
    repo.git("add", "--all")
    assert [each for each in told(look(repo.root)) if each[1] == "KEM030"] == [(name, "KEM030", None)]
    repo.git("rm", "--quiet", "--cached", name)
    assert look(repo.root) == Staged((), ())


def test_before_the_first_commit(vault: Any, clone: Callable[[], Any]) -> None:
    """An unborn branch: everything is staged anew."""
    made = clone()
    made.write(vault.write({"prod/mail.yaml": "MAIL_PASSWORD: canary\n"}).files)
    made.git("add", "--all")
    assert told(look(made.root)) == [("prod/mail.yaml", "KEM030", PASSWORD)]


def test_as_a_hook_of_git_it_stops_the_commit(repo: Any) -> None:
    """The real git, the real program: also `git commit PATH`, whose hooks see an index of its own."""
    import sys  # of this test alone

    hook = repo.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} -m kemudi.cli secret guard\n")
    hook.chmod(0o755)
    repo.write({"prod/mail.yaml": b"MAIL_PASSWORD: canary\n"})
    for arguments in (("-am", "x"), ("-m", "x", "prod/mail.yaml")):
        done = repo.git("commit", "--quiet", *arguments, check=False)
        assert done.returncode == 1
        assert "KEM030" in done.stdout + done.stderr
        assert "canary" not in done.stdout + done.stderr
    repo.write({"prod/mail.yaml": b"MAIL_HOST: mail\n"})
    assert repo.git("commit", "--quiet", "-am", "x", check=False).returncode == 0
