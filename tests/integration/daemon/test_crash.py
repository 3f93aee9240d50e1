"""Daemons that die, stop and compete: readers see the old snapshot or the new one, and never go back."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kemudi.daemon.steps import STEPS
from kemudi.store.redis_lease import FAILPOINTS as LEASE_POINTS
from kemudi.store.redis_publish import FAILPOINTS as PUBLISH_POINTS

POINTS = (
    *(f"daemon.{name}" for name, _ in STEPS),
    "daemon.announce",
    "daemon.announced",
    *LEASE_POINTS,
    *PUBLISH_POINTS,
)


class CheckingReader:
    """Reads all the time as a client does: verifies, follows generations, and notes what it saw."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.generations: list[Any] = []
        self.problems: list[str] = []
        self.reads = 0

    @contextmanager
    def watching(self) -> Iterator["CheckingReader"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._done.set()
            self._thread.join()
        assert self.problems == []
        assert self.generations == sorted(self.generations)

    def _run(self) -> None:
        while not self._done.is_set():
            self._look()

    def _look(self) -> None:
        manifest = self._reader.manifest()
        if manifest is None:
            return
        try:
            values = self._reader.values()
        except Exception as error:  # noqa: BLE001  # whatever it is, a reader must not meet it
            # The snapshot may have been replaced between two reads; only the current one must be whole.
            if self._reader.manifest() == manifest:
                self.problems.append(f"{manifest.generation}: {error!r}")
            return
        self.reads += 1
        if not self.generations or self.generations[-1] != manifest.generation:
            self.generations.append(manifest.generation)
        # Every commit writes one number into both categories: two numbers are a mixture of two commits.
        if values["SYNC_BATCH_SIZE"] != values["GRAPH_LIMIT"]:
            self.problems.append(f"mixed: {values}")


def pair(number: int) -> dict[str, str]:
    """The same number in two categories."""
    return {"base/sync.yaml": f"SYNC_BATCH_SIZE: {number}\n", "base/graph.yaml": f"GRAPH_LIMIT: {number}\n"}


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_at_every_named_step_leaves_the_old_or_the_new_and_a_restart_finishes(
    repo: Any, settings: Any, daemons: Any, locals_: Any, reader: Any, kit: Any, point: str
) -> None:
    """The first daemon dies in the middle of an apply; the second one applies, under a higher generation."""
    old = repo.commit(kit.files() | pair(1))
    with CheckingReader(reader).watching() as seen:
        locals_(settings).start().stop()
        kit.eventually(lambda: seen.reads)
        before = reader.manifest()
        new = repo.commit(pair(2))
        dying = daemons(settings).start(KEMUDI_FAILPOINT=point)
        assert dying.wait() == -signal.SIGKILL
        assert reader.manifest().revision in {old, new}
        assert reader.manifest().generation >= before.generation
        last = locals_(settings).start()
        kit.eventually(lambda: last.applied() == new)
        kit.eventually(lambda: seen.generations[-1] == reader.manifest().generation)
    assert reader.values()["SYNC_BATCH_SIZE"] == 2


@hypothesis_settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    kills=st.lists(
        st.tuples(st.sampled_from(POINTS), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3
    )
)
def test_any_sequence_of_kills_and_commits_keeps_the_promises(
    repo: Any,
    settings: Any,
    daemons: Any,
    locals_: Any,
    reader: Any,
    kit: Any,
    kills: list[tuple[str, int, int]],
) -> None:
    """Old or new, never a mixture, generations never back, the last commit live at the end."""
    number = time.time_ns() % 1_000_000_000 + 1
    repo.commit(kit.files() | pair(number))
    with CheckingReader(reader).watching() as seen:
        for point, hit, commits in kills:
            dying = daemons(settings).start(KEMUDI_FAILPOINT=f"{point}@{hit}")
            for _ in range(commits):
                number += 1
                repo.commit(pair(number))
                time.sleep(0.05)
            time.sleep(0.3)
            dying.kill()
        last = locals_(settings).start()
        kit.eventually(lambda: last.applied() == repo.head)
        kit.eventually(lambda: seen.generations and seen.generations[-1] == reader.manifest().generation)
        last.stop()
    assert reader.values()["SYNC_BATCH_SIZE"] == number


def test_of_two_daemons_one_applies(
    repo: Any, settings: Any, daemons: Any, reader: Any, tmp_path: Any, kit: Any
) -> None:
    """The other follows, says who leads, and takes over when the leader ends."""
    repo.commit(kit.files() | pair(1))
    first = daemons(settings).start().ready()
    second = daemons(replace(settings, state_dir=tmp_path / "second")).start().ready()
    assert second.reason() == "NotLeader"
    commit = repo.commit(pair(2))
    kit.eventually(lambda: first.applied() == commit and second.applied() == commit)
    publishes = [line for line in [*first.lines(), *second.lines()] if line.get("outcome") == "published"]
    assert len([line for line in publishes if line["revision"] == commit]) == 1
    assert first.stop() == 0
    commit = repo.commit(pair(3))
    kit.eventually(lambda: second.applied() == commit, 5)


def test_a_leader_that_was_stopped_past_its_lease_is_fenced(
    repo: Any, settings: Any, daemons: Any, reader: Any, tmp_path: Any, kit: Any
) -> None:
    """SIGSTOP just before the swap, a second daemon leads and publishes, SIGCONT: the late write is refused."""
    repo.commit(kit.files() | pair(1))
    short = replace(settings, lease_ttl=2.0)
    first = daemons(short).start(KEMUDI_FAILPOINT="store.before-swap:stop@2").ready()
    with CheckingReader(reader).watching() as seen:
        repo.commit(pair(2))
        kit.eventually(first.is_stopped)
        second = daemons(replace(short, state_dir=tmp_path / "second")).start().ready()
        commit = repo.commit(pair(3))
        kit.eventually(lambda: second.applied() == commit, 10)
        first.signal(signal.SIGCONT)
        kit.eventually(lambda: first.reason() == "NotLeader", 10)
        assert first.metric('kemudi_fenced_total{env="dev"}') == 1
        assert reader.manifest().revision == commit
        commit = repo.commit(pair(4))
        kit.eventually(lambda: second.applied() == commit and first.applied() == commit)
        kit.eventually(lambda: seen.generations[-1] == reader.manifest().generation)


def test_kill_9_does_not_keep_the_next_daemon_waiting_for_the_lease(
    repo: Any, settings: Any, daemons: Any, kit: Any
) -> None:
    """The lock on the state folder proves that the holder is dead."""
    repo.commit(kit.files())
    slow = replace(settings, lease_ttl=60.0)
    first = daemons(slow).start().ready()
    first.kill()
    commit = repo.commit(pair(2))
    second = daemons(slow).start().ready()
    kit.eventually(lambda: second.applied() == commit, 3)


def test_a_second_daemon_on_the_same_state_folder_ends_with_a_sentence(
    repo: Any, settings: Any, daemons: Any, kit: Any
) -> None:
    """Exit 4; the first one is undisturbed."""
    repo.commit(kit.files())
    first = daemons(settings).start().ready()
    second = daemons(settings).start()
    assert second.wait() == 4
    assert "another daemon uses the state folder" in second.log.read_text()
    assert first.reason() == "Applied"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_cleanly(
    repo: Any, settings: Any, daemons: Any, kit: Any, number: int
) -> None:
    """Exit 0 soon, also while somebody waits; the lease is free at once."""
    repo.commit(kit.files())
    daemon = daemons(settings).start().ready()
    waiting = threading.Thread(
        target=lambda: daemon.get("/wait?env=dev&revision=worktree@0123456789ab&timeout=30")
    )
    waiting.start()
    time.sleep(0.2)
    started = time.monotonic()
    daemon.signal(number)
    assert daemon.wait() == 0
    assert time.monotonic() - started < 10
    waiting.join()
    store = kit.store(settings.redis_url)
    assert store.lease_holder() is None
    store.close()


def test_sighup_looks_at_git_at_once(repo: Any, settings: Any, daemons: Any, kit: Any) -> None:
    """ExecReload: a reconcile, no restart."""
    repo.commit(kit.files())
    daemon = daemons(settings).start().ready()
    before = daemon.metric('kemudi_hints_total{cause="reload"}')
    daemon.signal(signal.SIGHUP)
    kit.eventually(lambda: daemon.metric('kemudi_hints_total{cause="reload"}') > before)
