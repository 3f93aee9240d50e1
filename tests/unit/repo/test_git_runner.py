"""The one runner of git: nothing from outside becomes an option, a program or a print-out of a credential."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kemudi.repo.errors import (
    GitFailedError,
    GitLockedError,
    GitMissingError,
    GitTimeoutError,
    UnknownRevisionError,
    UnsafeRepositoryError,
    UnsupportedRepositoryError,
)
from kemudi.repo.git import Git, environment, failure, without_credentials
from kemudi.schema.errors import ConflictError, UnavailableError

HOSTILE = [
    "--output=canary",
    "-c",
    "--upload-pack=touch canary",
    "HEAD --output=canary",
    "--",
    "^HEAD",
    "HEAD..HEAD",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_looks_like_an_option_is_only_an_unknown_name(sandbox, name: str, monkeypatch) -> None:
    """No spelling of a revision makes git do something else than look for it."""
    monkeypatch.chdir(sandbox.root)
    before = sorted(path.name for path in sandbox.root.iterdir())
    assert Git(sandbox.root / ".git").rev_parse(name) is None
    assert sorted(path.name for path in sandbox.root.iterdir()) == before


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "HEAD\n", "\x1b[31m"])
def test_a_name_with_control_characters_never_reaches_git(sandbox, name: str) -> None:
    """It is refused as a name that cannot be."""
    with pytest.raises(UnknownRevisionError):
        Git(sandbox.root / ".git").rev_parse(name)


def test_a_branch_that_starts_with_a_dash_is_read_like_any_other(sandbox) -> None:
    """Git makes no such branch by its commands, but a push can; it names its commit and nothing more."""
    sha = sandbox.git("rev-parse", "HEAD")
    sandbox.git("update-ref", "refs/heads/--output=canary", sha)
    git = Git(sandbox.root / ".git")
    assert git.rev_parse("refs/heads/--output=canary") == sha
    assert git.rev_parse("--output=canary") == sha


@pytest.mark.parametrize("bad", ["HEAD", "a" * 39, "A" * 40, "a" * 40 + "\n", "-" * 40])
def test_only_a_full_sha_goes_where_a_sha_is_expected(sandbox, bad: str) -> None:
    """Commands without `--end-of-options` are safe because nothing but 40 hex digits gets there."""
    git = Git(sandbox.root / ".git")
    with pytest.raises(UnknownRevisionError):
        git.count(bad)
    with pytest.raises(UnknownRevisionError):
        git.is_ancestor(bad, "a" * 40)


def test_git_variables_of_the_caller_do_not_steer_git(sandbox, new_sandbox: Callable, monkeypatch) -> None:
    """Run from a hook of another repository, Kemudi still reads the one that it was given."""
    other = new_sandbox("other")
    other.commit({"x": "1"})
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other.root / ".git" / "objects"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare=nonsense'")
    assert Git(sandbox.root / ".git").rev_parse("HEAD") == sandbox.git("rev-parse", "HEAD")
    assert not [
        name for name in environment() if name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_CONFIG_PARAMETERS")
    ]


def test_what_is_read_while_git_writes_ends_as_git_ends(sandbox) -> None:
    """All of it, or the error that git gives; a block that ends early ends git and is no error."""
    git = Git(sandbox.root / ".git")
    head = sandbox.git("rev-parse", "HEAD")
    with git.reading("cat-file", "--batch-check", data=f"{head}\n".encode(), time_limit_seconds=60) as output:
        assert output.read().startswith(f"{head} commit ".encode())
    with (
        pytest.raises(GitFailedError, match="git rev-list failed: fatal: bad object"),
        git.reading("rev-list", "a" * 40, time_limit_seconds=60) as output,
    ):
        assert output.read() == b""
    with git.reading("rev-list", "HEAD", time_limit_seconds=60):
        pass
    with pytest.raises(ZeroDivisionError), git.reading("rev-list", "HEAD", time_limit_seconds=60):
        raise ZeroDivisionError


def test_a_git_that_hangs_is_ended_at_its_time_limit(tmp_path: Path, monkeypatch) -> None:
    """The error is a GitTimeoutError (exit 3), and what git has started ends with it."""
    (tmp_path / "git").write_text('#!/bin/sh\nsleep 600 & echo $! > "$PIDFILE"\nwait\n')
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PIDFILE", str(tmp_path / "pid"))
    started = time.monotonic()
    with pytest.raises(GitTimeoutError, match=r"git rev-parse took more than 0\.5 s") as caught:
        Git(tmp_path, time_limit_seconds=0.5).rev_parse("HEAD")
    assert caught.value.exit_code == 3
    assert time.monotonic() - started < 30
    child = Path("/proc") / (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline, "the process that git started is still there"


def test_a_git_that_is_given_up_may_take_its_locks_with_it(tmp_path: Path, monkeypatch) -> None:
    """It is asked to end before it is killed."""
    (tmp_path / "git").write_text(
        '#!/bin/sh\ntouch "$LOCK"\ntrap \'rm "$LOCK"; exit 1\' TERM\nsleep 600 & wait\n'
    )
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("LOCK", str(tmp_path / "main.lock"))
    with pytest.raises(GitTimeoutError):
        Git(tmp_path, time_limit_seconds=0.5).rev_parse("HEAD")
    assert not (tmp_path / "main.lock").exists()


def _runs(process: Path) -> bool:
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_machine_without_git_is_told_what_to_install(tmp_path: Path, monkeypatch) -> None:
    """The error is a GitMissingError with a hint."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitMissingError) as caught:
        Git(tmp_path).rev_parse("HEAD")
    assert "Install git" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "fatal: unable to access 'https://user:s3cret@host/x.git/'",
            "fatal: unable to access 'https://***@host/x.git/'",
        ),
        ("https://user:p@ss@host/x", "https://***@host/x"),
        ("https://token@host and ssh://git@host", "https://***@host and ssh://***@host"),
        ("https://host/user@example.org", "https://host/user@example.org"),
    ],
)
def test_credentials_in_what_git_says_are_masked(text: str, shown: str) -> None:
    """A message of git can be shown and logged."""
    assert without_credentials(text) == shown
    told = failure("fetch", 128, text)
    assert isinstance(told, GitFailedError)
    assert shown in told.stderr


def test_a_lock_in_the_way_is_named_with_its_age_and_left_alone(tmp_path: Path) -> None:
    """Its owner may be alive, so a person decides."""
    lock = tmp_path / "index.lock"
    lock.touch()
    told = failure(
        "update-index", 128, f"fatal: Unable to create '{lock}': File exists.\n\nAnother git process seems"
    )
    assert isinstance(told, GitLockedError)
    assert isinstance(told, ConflictError)
    assert str(lock) in str(told)
    assert "s old" in str(told)
    assert lock.exists()


def test_errors_say_what_happens_next_by_their_type() -> None:
    """Whatever has no better name is an UnavailableError: exit 3, try again."""
    assert isinstance(failure("rev-list", 128, "fatal: something new"), UnavailableError)
    assert "something new" in str(failure("rev-list", 128, "warning: x\nfatal: something new\nhint: y"))
    told = failure(
        "fetch", 128, "fatal: detected dubious ownership in repository at '/srv/x'\nTo add an exception"
    )
    assert isinstance(told, UnsafeRepositoryError)
    assert str(told.hint).endswith("safe.directory /srv/x")
    told = failure("rev-parse", 128, "fatal: unknown repository extension found:\n\trefstorage")
    assert isinstance(told, UnsupportedRepositoryError)
