"""Starts, ends, one-shots, and surroundings that change."""

import errno
import gc
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kemudi.daemon import watcher
from kemudi.daemon.service import Keys, apply_once
from kemudi.schema.errors import ConflictError, UnavailableError, UsageError


class TestApplyOnce:
    """`kemudi apply`: for a pipeline that has no daemon."""

    def test_it_publishes_every_environment_and_ends(
        self, repo: Any, settings: Any, reader: Any, kit: Any
    ) -> None:
        """The lease is given back, and a second call changes nothing."""
        commit = repo.commit(kit.files({"dev": "commit", "prod": "commit"}))
        first = apply_once(settings)
        assert [(one.env, one.applied.revision) for one in first if one.applied] == [
            ("dev", commit),
            ("prod", commit),
        ]
        assert reader.values()["SYNC_BATCH_SIZE"] == 100
        second = apply_once(settings)
        assert [one.applied for one in second] == [one.applied for one in first]

    def test_a_bad_revision_is_told_with_its_errors(self, repo: Any, settings: Any, kit: Any) -> None:
        """And the newest good one is served."""
        good = repo.commit(kit.files())
        repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: x\n"})
        (status,) = apply_once(settings)
        assert status.applied is not None
        assert status.applied.revision == good
        assert status.errors[0].file == "base/sync.yaml"

    def test_beside_a_daemon_it_steps_back(self, repo: Any, settings: Any, locals_: Any, kit: Any) -> None:
        """The daemon applies by itself."""
        repo.commit(kit.files())
        locals_(settings).start()
        with pytest.raises(ConflictError, match="a daemon publishes to dev"):
            apply_once(settings)

    def test_without_redis_or_git_it_says_so(
        self,
        repo: Any,
        settings: Any,
        own_redis: Any,
        tmp_path: Path,
        kit: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Exit 3."""
        monkeypatch.setattr("kemudi.daemon.service.ONCE_SECONDS", 0.5)
        repo.commit(kit.files())
        own_redis.stop()
        with pytest.raises(UnavailableError):
            apply_once(replace(settings, redis_url=own_redis.url))
        with pytest.raises(UnavailableError):
            apply_once(replace(settings, repo=tmp_path / "nowhere"))
        with pytest.raises(UnavailableError):
            apply_once(replace(settings, repo=f"file://{tmp_path}/nowhere.git"))


def test_a_daemon_without_a_signing_key_says_how_to_make_one(settings: Any) -> None:
    """Before it touches anything."""
    with pytest.raises(UsageError) as caught:
        Keys.load(replace(settings, signing_key=None))
    assert "keygen" in str(caught.value.hint)


def test_a_busy_port_is_named(repo: Any, settings: Any, daemons: Any, kit: Any) -> None:
    """Exit 3, with the address."""
    repo.commit(kit.files())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = daemons(replace(settings, port=port)).start()
        assert daemon.wait() == 3
        assert f"127.0.0.1:{port}" in daemon.log.read_text()


def test_a_signal_ends_the_daemon_in_time_while_redis_is_frozen(
    repo: Any, settings: Any, own_redis: Any, daemons: Any, kit: Any
) -> None:
    """It does not wait for what does not answer."""
    repo.commit(kit.files())
    daemon = daemons(replace(settings, redis_url=own_redis.url)).start().ready()
    own_redis.freeze()
    time.sleep(1)
    started = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert time.monotonic() - started < 10  # it would wait for ever for what is frozen
    own_redis.thaw()


def test_without_file_events_polling_finds_changes_and_the_status_says_so(
    repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """inotify's limits are used up; when there are watches again, they are used."""

    class Exhausted:
        def __init__(self) -> None:
            raise OSError(errno.ENOSPC, "no watches")

    real = watcher._HintObserver
    monkeypatch.setattr(watcher, "_HintObserver", Exhausted)
    repo.commit(kit.files())
    daemon = locals_(replace(settings, mode="worktree", poll_seconds=0.2)).start()
    assert ("DegradedWatch", "WatchUnavailable") in daemon.conditions()
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 5)
    monkeypatch.setattr(watcher, "_HintObserver", real)
    kit.eventually(lambda: ("DegradedWatch", "WatchUnavailable") not in daemon.conditions())


def test_a_repository_that_is_replaced_by_a_clone_is_followed_on(
    repo: Any, daemon: Any, kit: Any, tmp_path: Path
) -> None:
    """Gone for a while: named, what is applied stays. Back: watched and read anew."""
    first = repo.commit(kit.files())
    daemon.start()
    away = tmp_path / "away"
    repo.path.rename(away)
    kit.eventually(lambda: daemon.reason() == "FetchFailed")
    assert daemon.applied() == first
    subprocess.run(["git", "clone", "-q", "--no-local", str(away), str(repo.path)], check=True)
    kit.eventually(lambda: daemon.reason() == "Applied")
    commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 2\n"})
    kit.eventually(lambda: daemon.applied() == commit)


def test_a_linked_worktree_is_served(
    repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any, tmp_path: Path
) -> None:
    """HEAD is its own, the refs are shared."""
    repo.commit(kit.files())
    linked = tmp_path / "linked"
    repo.git("worktree", "add", "-q", "-b", "serving", str(linked))
    daemon = locals_(replace(settings, repo=linked, mode="worktree", poll_seconds=30.0)).start()
    (linked / "base" / "sync.yaml").write_text("SYNC_BATCH_SIZE: 5\n")
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 5)
    subprocess.run(["git", "-C", str(linked), "stash", "-q"], check=True, env=kit.git_environment())
    kit.eventually(lambda: daemon.applied() == repo.head)


def test_an_environment_may_come_go_and_change_its_mode(repo: Any, daemon: Any, kit: Any) -> None:
    """By a commit to `kemudi.yaml`; what was served to one that went stays in Redis."""
    repo.commit(kit.files({"dev": "commit"}))
    daemon.start()
    commit = repo.commit({"kemudi.yaml": kit.manifest({"dev": "commit", "qa": "commit"})})
    kit.eventually(lambda: daemon.applied("qa") == commit)
    repo.commit({"kemudi.yaml": kit.manifest({"dev": "worktree"})})
    kit.eventually(lambda: daemon.reason("qa") == "NoSuchEnvironment")
    assert daemon.applied("qa") == commit
    kit.eventually(lambda: daemon.status("dev")["mode"] == "worktree")
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    kit.eventually(lambda: str(daemon.applied("dev")).startswith("worktree@"))


def test_an_amended_commit_under_a_work_tree_is_a_rewrite_that_can_be_accepted(
    repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any
) -> None:
    """The same rule as for commits."""
    repo.commit(kit.files())
    daemon = locals_(replace(settings, mode="worktree")).start()
    repo.git("commit", "-q", "--amend", "-m", "again")
    kit.eventually(lambda: daemon.reason() == "HistoryRewritten")
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    assert daemon.call("POST", "/accept-rewrite", {"env": "dev", "reason": "typo"})[0] == 200
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 5)
    assert daemon.generation().era == 1


def test_the_service_manager_is_told(
    repo: Any, settings: Any, daemons: Any, tmp_path: Path, kit: Any
) -> None:
    """Ready after the first pass, alive, stopping."""
    repo.commit(kit.files())
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        daemon = daemons(settings).start(NOTIFY_SOCKET=address, WATCHDOG_USEC="200000")
        told = [manager.recv(100)]
        while told[-1] != b"READY=1" and len(told) < 100:
            told.append(manager.recv(100))
        assert manager.recv(100) == b"WATCHDOG=1"
        daemon.ready().signal(signal.SIGTERM)
        while told[-1] != b"STOPPING=1" and len(told) < 200:
            told.append(manager.recv(100))
        assert daemon.wait() == 0


def test_rejections_hold_no_frames_and_files_stay_few(
    repo: Any, settings: Any, locals_: Any, kit: Any
) -> None:
    """A hundred looks at a bad HEAD cost nothing that stays."""
    repo.commit(kit.files())
    repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: x\n"})
    daemon = locals_(replace(settings, poll_seconds=0.01)).start()
    count = lambda: daemon.metric('kemudi_hints_total{cause="poll"}')  # noqa: E731  # one line, used thrice
    kit.eventually(lambda: count() > 50)
    gc.collect()
    objects, files = len(gc.get_objects()), len(list(Path("/proc/self/fd").iterdir()))
    before = count()
    kit.eventually(lambda: count() > before + 200, 20)
    gc.collect()
    assert len(gc.get_objects()) < objects + 2_000
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 4
