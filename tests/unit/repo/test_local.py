"""The daemon's counters: they never go back, whoever crashes or races."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kemudi.repo.errors import CorruptObjectError
from kemudi.repo.local import LocalRefs
from kemudi.schema.errors import UnavailableError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "local.git"


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_counters_start_at_zero_and_rise_by_one(folder: Path) -> None:
    """Each environment has its own two."""
    local = LocalRefs(folder)
    assert (local.serial("dev"), local.era("dev")) == (0, 0)
    assert [local.advance("dev", "save") for _ in range(3)] == [1, 2, 3]
    assert local.accept_rewrite("dev", "a" * 40, "b" * 40, "rebased by hand") == 1
    assert (local.serial("dev"), local.era("dev"), local.serial("prod")) == (3, 1, 0)
    assert LocalRefs(folder).serial("dev") == 3


def test_every_step_is_a_commit_that_says_why(folder: Path) -> None:
    """Git's own tools read it and find nothing wrong."""
    local = LocalRefs(folder)
    local.advance("dev", "serve worktree@0123456789ab")
    local.advance("dev", "rotate\0\n\nthe keys\n\n")
    local.accept_rewrite("dev", "a" * 40, "b" * 40, "history was cleaned")
    assert _git(folder, "log", "--format=%s", "refs/kemudi/local/dev").split("\n") == [
        "rotate",
        "serve worktree@0123456789ab",
    ]
    assert "b" * 40 in _git(folder, "log", "-1", "--format=%B", "refs/kemudi/era/dev")
    assert (
        "error"
        not in subprocess.run(
            ["git", "-C", str(folder), "fsck", "--strict"], capture_output=True, text=True, check=True
        ).stderr
    )


def test_git_may_pack_everything_in_between(folder: Path) -> None:
    """The counters go on from packed refs and packed objects."""
    local = LocalRefs(folder)
    for _ in range(5):
        local.advance("dev", "save")
    _git(folder, "gc", "--quiet", "--prune=now")
    _git(folder, "pack-refs", "--all")
    assert LocalRefs(folder).serial("dev") == 5
    assert local.advance("dev", "save") == 6
    assert LocalRefs(folder).advance("dev", "save") == 7
    assert local.serial("dev") == 7


@pytest.mark.parametrize("env", ["", "..", "a/b", "-x", "a..b", "x.lock", "a\n", "a b", ".", "dev."])
def test_an_environment_is_a_plain_name(folder: Path, env: str) -> None:
    """It becomes part of a path."""
    with pytest.raises(UsageError):
        LocalRefs(folder).advance(env, "save")


def test_a_damaged_counter_is_an_error_and_does_not_start_anew(folder: Path) -> None:
    """A lower number would be a generation that goes back."""
    local = LocalRefs(folder)
    local.advance("dev", "save")
    (folder / "refs/kemudi/local/dev").write_bytes(b"")
    for again in (local, LocalRefs(folder)):
        with pytest.raises(CorruptObjectError):
            again.serial("dev")
        with pytest.raises(CorruptObjectError):
            again.advance("dev", "save")


def test_a_folder_that_cannot_be_written_is_unavailable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: exit 3, and the counter stands."""
    local = LocalRefs(folder)
    local.advance("dev", "save")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(UnavailableError, match="No space left"):
            local.advance("dev", "save")
    assert local.serial("dev") == 1
    assert not list(folder.rglob("*.tmp"))
    assert local.advance("dev", "save") == 2


def test_a_stopped_process_does_not_stop_the_others_for_ever(folder: Path) -> None:
    """One that holds the lock and does not go on is waited for so long, then it is an error: exit 3."""
    local = LocalRefs(folder, patience_seconds=0.1)
    local.advance("dev", "save")
    with (folder / "kemudi.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match=r"for over 0\.1 s"):
            local.advance("dev", "save")
        assert local.serial("dev") == 1
    assert local.advance("dev", "save") == 2


_RACER = """
import sys
from pathlib import Path
from kemudi.repo.local import LocalRefs
local = LocalRefs(Path(sys.argv[1]), durable=False)
print(" ".join(str(local.advance("dev", "race")) for _ in range(int(sys.argv[2]))))
"""


def test_processes_that_start_together_share_one_repository(tmp_path: Path) -> None:
    """Nobody meets the half-made folder of another, and none is left beside it."""
    script = "import sys; sys.stdin.read(1)" + _RACER
    for attempt in range(3):
        place = tmp_path / str(attempt) / "local.git"
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(place), "1"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(6)
        ]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.close()
            racer.stdin = None
        answers = [racer.communicate(timeout=60) for racer in racers]
        assert sorted(int(out) for out, _ in answers) == list(range(1, 7)), answers
        assert [path.name for path in place.parent.iterdir()] == ["local.git"]


def test_racing_processes_lose_no_step(folder: Path) -> None:
    """Four processes, fifty steps each, from an empty folder: two hundred different numbers."""
    racers = [
        subprocess.Popen([sys.executable, "-c", _RACER, str(folder), "50"], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    taken = [int(word) for racer in racers for word in racer.communicate(timeout=60)[0].split()]
    assert sorted(taken) == list(range(1, 201))
    assert LocalRefs(folder).serial("dev") == 200
    assert _git(folder, "rev-list", "--count", "refs/kemudi/local/dev") == "200"


@pytest.mark.parametrize(("point", "kept"), [("repo.local-object", 0), ("repo.local-ref", 1)])
def test_killed_at_any_step_the_counter_is_the_old_or_the_new(folder: Path, point: str, kept: int) -> None:
    """And nobody waits for the lock of the dead."""
    local = LocalRefs(folder)
    local.advance("dev", "save")
    done = subprocess.run(
        [sys.executable, "-c", _RACER, str(folder), "1"],
        env=os.environ | {"KEMUDI_FAILPOINT": point},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    assert LocalRefs(folder).serial("dev") == 1 + kept
    assert local.advance("dev", "save") == 2 + kept
