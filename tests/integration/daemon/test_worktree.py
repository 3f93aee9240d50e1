"""Work-tree mode: saves are served, and never half of one."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from kemudi.daemon.attempt import Stopped
from kemudi.daemon.commits import CommitStates
from kemudi.daemon.trigger import Cause, Hints
from kemudi.daemon.worktree import SETTLE_SECONDS, WorkTreeView
from kemudi.repo.repository import ConfigRepository


@pytest.fixture
def tree(settings: Any, locals_: Any) -> Any:
    """A daemon that serves uncommitted files; polling is rare, so events must do."""
    return locals_(replace(settings, mode="worktree", poll_seconds=30.0))


def test_a_save_is_served_and_its_commit_takes_its_place(repo: Any, tree: Any, reader: Any, kit: Any) -> None:
    """`worktree@<12 hex>` while uncommitted, the commit's SHA as soon as the tree is clean; always forward."""
    first = repo.commit(kit.files())
    tree.start()
    assert tree.applied() == first
    generations = [reader.manifest().generation]
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    revision = kit.eventually(lambda: (r := tree.applied()) != first and r)
    assert revision.startswith("worktree@")
    assert len(revision) == len("worktree@") + 12
    assert reader.values()["SYNC_BATCH_SIZE"] == 5
    generations.append(reader.manifest().generation)
    commit = repo.commit()
    kit.eventually(lambda: tree.applied() == commit)
    generations.append(reader.manifest().generation)
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 6\n")
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 6)
    generations.append(reader.manifest().generation)
    repo.git("checkout", "-q", "--", ".")
    kit.eventually(lambda: tree.applied() == commit)
    generations.append(reader.manifest().generation)
    assert reader.values()["SYNC_BATCH_SIZE"] == 5
    assert generations == sorted(set(generations))


@pytest.mark.parametrize("way", ["in place", "rename", "append", "delete", "new file", "new folder"])
def test_every_way_of_saving_is_seen_by_its_event(
    repo: Any, tree: Any, reader: Any, kit: Any, way: str
) -> None:
    """Well before the next poll."""
    repo.commit(kit.files())
    tree.start()
    file = repo.path / "base" / "sync.yaml"
    key, value = "SYNC_BATCH_SIZE", 5
    if way == "in place":
        file.write_text("SYNC_BATCH_SIZE: 5\n")
    elif way == "rename":
        repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    elif way == "append":
        key, value = "SYNC_TIMEOUT", 9
        with file.open("a") as opened:
            opened.write("SYNC_TIMEOUT: 9\n")
    elif way == "delete":
        value = 1000
        file.unlink()
    else:
        (repo.path / "dev").mkdir()
        if way == "new folder":
            time.sleep(0.3)
        (repo.path / "dev" / "sync.yaml").write_text("SYNC_BATCH_SIZE: 5\n")
    kit.eventually(lambda: reader.values()[key] == value, 5)


def test_a_bad_save_is_refused_and_the_next_good_one_served(
    repo: Any, tree: Any, reader: Any, kit: Any
) -> None:
    """As for commits: last good, and the errors at their places."""
    repo.commit(kit.files())
    tree.start()
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: [\n")
    errors = kit.eventually(lambda: tree.status()["errors"])
    assert errors[0]["file"] == "base/sync.yaml"
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 8\n")
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 8)


def test_a_file_that_is_being_written_is_not_served_half(
    repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any
) -> None:
    """A writer that truncates and is done within the time that the daemon waits: the old value, then the new one.

    A machine may stop the writer for longer; then what it left may be served, and only that.
    """
    repo.commit(kit.files() | {"base/sync.yaml": "SYNC_BATCH_SIZE: 100\nSYNC_TIMEOUT: 10\n"})
    locals_(replace(settings, mode="worktree", poll_seconds=0.02)).start()
    seen: set[tuple[int, int]] = set()
    slow: set[tuple[int, int]] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            values = reader.values()
            seen.add((values["SYNC_BATCH_SIZE"], values["SYNC_TIMEOUT"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for number in range(101, 111):
            with (repo.path / "base" / "sync.yaml").open("w") as file:
                began = time.monotonic()
                file.write(f"SYNC_BATCH_SIZE: {number}\n")
                file.flush()
                time.sleep(SETTLE_SECONDS / 3)
                file.write(f"SYNC_TIMEOUT: {number - 90}\n")
            if time.monotonic() - began > SETTLE_SECONDS:
                slow |= {(number, 3600), (1000, 3600)}  # the contract's defaults for what is not there yet
            kit.eventually(lambda number=number: reader.values()["SYNC_BATCH_SIZE"] == number)
    finally:
        done.set()
        watcher.join()
    assert {batch - timeout for batch, timeout in seen - slow} == {90}


def test_a_detached_head_holds_the_last_good_until_a_branch_is_checked_out(
    repo: Any, tree: Any, reader: Any, kit: Any
) -> None:
    """Saved files then belong to no line of history."""
    repo.commit(kit.files())
    tree.start()
    repo.git("checkout", "-q", "--detach")
    kit.eventually(lambda: tree.reason() == "HeadDetached")
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    repo.git("checkout", "-q", "main")
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 5)


def test_another_branch_in_the_work_tree_is_not_served(repo: Any, tree: Any, reader: Any, kit: Any) -> None:
    """The served branch is the one that HEAD named at start."""
    repo.commit(kit.files())
    tree.start()
    repo.git("checkout", "-q", "-b", "feature")
    commit = repo.commit({"base/sync.yaml": "SYNC_BATCH_SIZE: 5\n"})
    kit.eventually(lambda: tree.reason() == "OffBranch")
    assert reader.values()["SYNC_BATCH_SIZE"] == 100
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "--ff-only", "feature")
    kit.eventually(lambda: tree.applied() == commit)


def test_a_checkout_of_many_files_is_one_change(repo: Any, tree: Any, reader: Any, kit: Any) -> None:
    """While git holds the index the tree is half-way: nothing of that is served."""
    environments = {"dev": "worktree"}
    count = 200
    files = {"kemudi.yaml": kit.manifest(environments)}
    for number in range(count):
        schema = {f"K{number}": {"type": "integer", "default": 0}}
        files[f"contracts/c{number}.schema.json"] = kit.contract(f"c{number}", schema)
    first = repo.commit(files | {f"base/c{number}.yaml": f"K{number}: 1\n" for number in range(count)})
    second = repo.commit({f"base/c{number}.yaml": f"K{number}: 2\n" for number in range(count)})
    repo.git("reset", "-q", "--hard", first)
    tree.start()
    assert set(reader.values().values()) == {1}
    seen: set[frozenset[int]] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(frozenset(reader.values().values()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        repo.git("merge", "-q", "--ff-only", second)
        kit.eventually(lambda: tree.applied() == second)
    finally:
        done.set()
        watcher.join()
    assert seen <= {frozenset({1}), frozenset({2})}


def test_a_stale_index_lock_delays_saves_and_does_not_stop_them(
    repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named in the status, never deleted."""
    monkeypatch.setattr("kemudi.daemon.gitlock.STALE_SECONDS", 0.5)
    repo.commit(kit.files())
    tree = locals_(replace(settings, mode="worktree")).start()
    lock = repo.path / ".git" / "index.lock"
    lock.write_text("")
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 5, 5)
    kit.eventually(lambda: ("Source", "StaleLock") in tree.conditions())
    assert lock.exists()


def test_a_config_repo_in_a_folder_of_a_larger_repository_is_watched_too(
    repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any
) -> None:
    """Only its own paths matter: a change beside it moves the revision and no value."""
    repo.commit({f"deep/config/{path}": text for path, text in kit.files().items()} | {"code.py": "1\n"})
    tree = locals_(
        replace(settings, repo=repo.path / "deep" / "config", mode="worktree", poll_seconds=30.0)
    ).start()
    repo.write("deep/config/base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 5)
    repo.git("checkout", "-q", "--", ".")
    kit.eventually(lambda: tree.applied() == repo.head)
    repo.write("code.py", "2\n")
    commit = repo.commit()
    kit.eventually(lambda: tree.applied() == commit)


def test_a_restart_in_the_middle_of_uncommitted_work_keeps_the_generation(
    repo: Any, settings: Any, locals_: Any, reader: Any, kit: Any
) -> None:
    """The same files under the same name; other files under a higher generation."""
    changed = replace(settings, mode="worktree")
    repo.commit(kit.files())
    first = locals_(changed).start()
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 5\n")
    kit.eventually(lambda: reader.values()["SYNC_BATCH_SIZE"] == 5)
    revision, generation = first.applied(), first.generation()
    first.stop()
    second = locals_(changed).start()
    assert (second.applied(), second.generation()) == (revision, generation)
    second.stop()
    repo.write("base/sync.yaml", "SYNC_BATCH_SIZE: 6\n")
    third = locals_(changed).start()
    assert third.generation() > generation
    assert reader.values()["SYNC_BATCH_SIZE"] == 6


def test_a_look_that_git_interrupted_forgets_nothing(repo: Any, kit: Any) -> None:
    """What is found while git holds the index counts at the next look, so a restored file is clean again."""
    files = kit.files(environments={"dev": "worktree"})
    head = repo.commit(files)
    path = repo.path / "base" / "sync.yaml"
    committed = path.read_text()
    with ConfigRepository.open(repo.path) as repository:
        view = WorkTreeView(repository, CommitStates(repository))

        def look() -> str:
            view.begin(Hints(frozenset({Cause.POLL})))
            return view.look("main").revision

        assert look() == head
        path.write_text("SYNC_BATCH_SIZE: 7\n")
        assert look().startswith("worktree@")
        path.write_text(committed)
        held = iter([False, True])
        with pytest.MonkeyPatch.context() as patch:
            # Git begins between the look at its lock and the end of the scan, which finds the restored file.
            patch.setattr(view.lock, "is_held", lambda: next(held))
            with pytest.raises(Stopped, match="git is writing"):
                look()
        assert look() == head
