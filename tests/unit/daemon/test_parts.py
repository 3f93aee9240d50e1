"""The small parts: pauses, leases, locks, hints, logs, signs of life."""

import io
import json
import os
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kemudi.daemon.backoff import Backoff
from kemudi.daemon.conditions import HUMAN, RETRIED, Reason, conditions_of
from kemudi.daemon.gitlock import STALE_SECONDS, IndexLock
from kemudi.daemon.history import PublishedHistory
from kemudi.daemon.lease import LeaseKeeper, Renewer
from kemudi.daemon.logs import make_log
from kemudi.daemon.notify import READY, STOPPING, Notifier
from kemudi.daemon.pause import Pauses, parse_until
from kemudi.daemon.statefiles import FolderLock, read_json, write_json
from kemudi.daemon.trigger import Cause, Trigger
from kemudi.schema.errors import ConflictError, UnavailableError, UsageError
from kemudi.schema.generation import Generation
from kemudi.store.memory import MemoryServer, MemoryStore


class Clock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestPauses:
    """Kept on disk, ended by time or by hand."""

    def test_a_pause_outlives_the_process(self, tmp_path: Path) -> None:
        """Reason, start and end are read back."""
        path = tmp_path / "pauses.json"
        until = datetime(2999, 1, 1, tzinfo=UTC)
        Pauses(path).pause("prod", " enrolment \n week ", until)
        again = Pauses(path).get("prod")
        assert again is not None
        assert again.reason == "enrolment week"
        assert again.until == until
        assert Pauses(path).get("dev") is None

    def test_it_ends_at_its_time(self, tmp_path: Path) -> None:
        """By itself, and the daemon knows when to look."""
        moment = [datetime(2026, 1, 1, tzinfo=UTC)]
        pauses = Pauses(tmp_path / "p.json", lambda: moment[0])
        pauses.pause("dev", "x", moment[0] + timedelta(minutes=5))
        assert pauses.seconds_to_next_end() == 300
        moment[0] += timedelta(minutes=5)
        assert pauses.get("dev") is None
        assert pauses.seconds_to_next_end() is None

    def test_resume_says_whether_there_was_one(self, tmp_path: Path) -> None:
        """And nothing is left of it."""
        pauses = Pauses(tmp_path / "p.json")
        pauses.pause("dev", "x", None)
        assert pauses.resume("dev") is True
        assert pauses.resume("dev") is False
        assert Pauses(tmp_path / "p.json").get("dev") is None

    @pytest.mark.parametrize("content", ['{"dev": 1}', '{"dev": {"until": "rubbish"}}', '{"dev": {}}'])
    def test_an_unreadable_entry_pauses_without_an_end(self, tmp_path: Path, content: str) -> None:
        """The safe side: somebody wanted a pause."""
        path = tmp_path / "p.json"
        path.write_text(content)
        pause = Pauses(path).get("dev")
        assert pause is not None
        assert pause.until is None

    @pytest.mark.parametrize("text", ["tomorrow", "2026-01-01", "2026-01-01T00:00:00", 12])
    def test_an_end_needs_a_date_and_a_zone(self, text: object) -> None:
        """RFC 3339 or nothing."""
        with pytest.raises(UsageError):
            parse_until(text)

    def test_a_folder_that_cannot_be_written_refuses_the_pause(self, tmp_path: Path) -> None:
        """What is not on disk was not confirmed."""
        pauses = Pauses(tmp_path / "missing" / "p.json")
        with pytest.raises(UnavailableError):
            pauses.pause("dev", "x", None)
        assert pauses.get("dev") is None


class TestLeases:
    """Believed for no longer than the store does."""

    def keeper(
        self, server: MemoryServer, name: str, clock: Clock, record: Path | None = None
    ) -> LeaseKeeper:
        return LeaseKeeper(MemoryStore("dev", server), name, 10.0, record=record, clock=clock)

    def test_one_leads_and_the_other_takes_over_after_release(self) -> None:
        """Released leases are free at once."""
        server, clock = MemoryServer(), Clock()
        first, second = self.keeper(server, "a", clock), self.keeper(server, "b", clock)
        assert first.acquire() is not None
        assert second.acquire() is None
        first.release()
        lease = second.acquire()
        assert lease is not None
        assert lease.epoch == 2
        assert first.lease is None

    def test_a_lease_is_not_believed_past_its_time(self) -> None:
        """Also when nobody has said that it is lost: the process may have been stopped."""
        clock = Clock()
        keeper = self.keeper(MemoryServer(), "a", clock)
        assert keeper.acquire() is not None
        clock.now += 9.9
        assert keeper.lease is not None
        clock.now += 0.2
        assert keeper.lease is None
        assert keeper.renew() is False

    def test_renewing_extends_it(self) -> None:
        """From before the request on."""
        clock = Clock()
        keeper = self.keeper(MemoryServer(), "a", clock)
        keeper.acquire()
        clock.now += 9
        assert keeper.renew() is True
        clock.now += 9
        assert keeper.lease is not None

    def test_the_predecessor_in_the_same_folder_is_replaced_at_once(self, tmp_path: Path) -> None:
        """The lock on the folder proves that it is dead."""
        server, clock, record = MemoryServer(), Clock(), tmp_path / "lease.json"
        assert self.keeper(server, "a", clock, record).acquire() is not None
        assert self.keeper(server, "b", clock, record).acquire() is not None
        assert self.keeper(server, "c", clock, tmp_path / "other.json").acquire() is None

    def test_the_renewer_tells_when_a_lease_is_lost(self) -> None:
        """So that the daemon does not find out when it publishes."""
        store = MemoryStore("dev", MemoryServer())
        keeper = LeaseKeeper(store, "a", 0.3)
        lost = threading.Event()
        renewer = Renewer(lambda: [keeper], 0.3, lost.set)
        lease = keeper.acquire()
        assert lease is not None
        renewer.start()
        store.release(lease)
        assert lost.wait(5)
        renewer.stop()
        renewer.join(5)


class TestStateFiles:
    """Whole or not at all."""

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        """And nothing is left beside it."""
        write_json(tmp_path / "x.json", {"a": [1]}, durable=True)
        assert read_json(tmp_path / "x.json") == {"a": [1]}
        assert [path.name for path in tmp_path.iterdir()] == ["x.json"]

    def test_a_damaged_file_counts_as_missing(self, tmp_path: Path) -> None:
        """It is only a memory; git and Redis have the facts."""
        (tmp_path / "x.json").write_bytes(b"\xff{")
        assert read_json(tmp_path / "x.json") is None

    def test_a_folder_has_one_daemon(self, tmp_path: Path) -> None:
        """Until it ends."""
        folder = tmp_path / "state"
        with FolderLock(folder):
            assert folder.stat().st_mode & 0o077 == 0
            with pytest.raises(ConflictError):
                FolderLock(folder)
        FolderLock(folder).close()


class TestTrigger:
    """Coalesces."""

    def test_many_rings_are_one_wake_up(self) -> None:
        """With everything that they said."""
        trigger = Trigger()
        trigger.ring(Cause.WATCH, path="a")
        trigger.ring(Cause.WATCH, path="b")
        trigger.ring(Cause.WEBHOOK, rescan=True)
        hints = trigger.wait(0)
        assert hints.causes == {Cause.WATCH, Cause.WEBHOOK}
        assert hints.paths == {"a", "b"}
        assert hints.rescan
        assert trigger.wait(0).causes == frozenset()

    def test_a_ring_wakes_at_once(self) -> None:
        """Long before the time is up."""
        trigger = Trigger()
        threading.Timer(0.05, lambda: trigger.ring(Cause.WATCH)).start()
        started = time.monotonic()
        assert trigger.wait(10).causes == {Cause.WATCH}
        assert time.monotonic() - started < 5


class TestIndexLock:
    """Young: git is at work. Old: git died."""

    def test_age_is_reckoned_from_when_it_was_first_seen(self, tmp_path: Path) -> None:
        """A wall clock that jumps changes nothing."""
        clock, path = Clock(), tmp_path / "index.lock"
        lock = IndexLock(path, clock)
        assert not lock.is_held()
        path.write_text("")
        os.utime(path, (1, 1))
        assert lock.is_held()
        clock.now += STALE_SECONDS
        assert not lock.is_held()
        assert lock.stale_path == path
        path.unlink()
        assert lock.stale_path is None

    def test_a_new_lock_is_young_again(self, tmp_path: Path) -> None:
        """Told apart by inode and time."""
        clock, path = Clock(), tmp_path / "index.lock"
        lock = IndexLock(path, clock)
        path.write_text("")
        assert lock.is_held()
        clock.now += STALE_SECONDS + 1
        beside = tmp_path / "next"
        beside.write_text("")
        beside.replace(path)
        assert lock.is_held()


class TestLog:
    """One JSON object per line."""

    def test_hostile_text_stays_in_its_line(self) -> None:
        """Line ends, escapes and bidi controls are spelled out."""
        stream = io.StringIO()
        make_log(stream).info("x", text='a\n{"level":"info"}\r\x1b[31m\u202e\ud800')
        (line,) = stream.getvalue().splitlines()
        assert line.isascii()
        assert json.loads(line)["text"].startswith("a\n{")

    def test_an_exception_is_type_and_lines_and_no_message(self) -> None:
        """Messages of libraries may quote values."""
        stream = io.StringIO()
        try:
            int("hunter2")
        except ValueError as error:
            make_log(stream).warning("internal error", error=error)
        assert "hunter2" not in stream.getvalue()
        assert json.loads(stream.getvalue())["error"] == "ValueError"

    def test_a_stream_that_fails_loses_the_line_and_nothing_else(self) -> None:
        """The reader of a pipe may be gone."""
        stream = io.StringIO()
        log = make_log(stream)
        stream.close()
        log.info("x")


class TestNotifier:
    """The service manager's datagrams."""

    @pytest.mark.parametrize("abstract", [False, True])
    def test_states_arrive(self, tmp_path: Path, abstract: bool) -> None:
        """By path or by abstract name."""
        address = f"@kemudi-{os.getpid()}" if abstract else str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + address[1:] if abstract else address)
            manager.settimeout(5)
            Notifier.from_environ({"NOTIFY_SOCKET": address}).tell(READY, STOPPING)
            assert manager.recv(100) == b"READY=1\nSTOPPING=1"

    def test_no_manager_is_no_failure(self, tmp_path: Path) -> None:
        """Nor one that has gone."""
        Notifier().tell(READY)
        Notifier(str(tmp_path / "gone")).tell(READY)

    def test_a_watchdog_of_another_process_is_not_ours(self) -> None:
        """WATCHDOG_PID names whose it is."""
        mine = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
        assert Notifier.from_environ(mine).watchdog_seconds == 3.0
        assert Notifier.from_environ(mine | {"WATCHDOG_PID": "1"}).watchdog_seconds is None
        assert Notifier.from_environ({}).watchdog_seconds is None


def test_backoff_grows_to_its_bound_and_begins_anew() -> None:
    """Each pause between half and the whole."""
    backoff = Backoff(1.0, 8.0)
    pauses = [backoff.next() for _ in range(100)]
    for whole, pause in zip([1, 2, 4, 8, 8], pauses, strict=False):
        assert whole / 2 <= pause <= whole
    assert max(pauses) <= 8
    backoff.reset()
    assert backoff.next() <= 1


def test_every_reason_is_documented_and_has_one_consequence() -> None:
    """Waiting for a person, or retried: never both."""
    assert not HUMAN & RETRIED
    for reason in Reason:
        kinds = [str(condition.type) for condition in conditions_of(reason, "", served=False)]
        assert kinds[0] == "Ready"
        assert ("Stalled" in kinds) == (reason in HUMAN)
        assert ("Reconciling" in kinds) == (reason in RETRIED)


def test_the_reference_names_every_condition_reason_metric_and_route() -> None:
    """What the daemon says is explained."""
    text = (Path(__file__).parents[3] / "docs" / "reference" / "daemon.md").read_text()
    from kemudi.daemon.conditions import ConditionType
    from kemudi.daemon.metrics import Metrics

    metrics = Metrics()
    names = {line.split()[2] for line in metrics.render().decode().splitlines() if line.startswith("# TYPE")}
    names = {name.removesuffix("_created") for name in names if not name.endswith("_created")}
    routes = (
        "/status",
        "/wait",
        "/drift",
        "/reconcile",
        "/accept-rewrite",
        "/pause",
        "/overrides",
        "/hooks/git",
    )
    for word in [*Reason, *ConditionType, *names, *routes, "/healthz", "/readyz", "/metrics"]:
        assert f"`{word}`" in text, word


def test_history_keeps_the_first_place_and_is_bounded() -> None:
    """A revision that is served again after a save has its old place, too."""
    history = PublishedHistory()
    history.add("a", "a", Generation(0, 1, 0))
    history.add("a", "a", Generation(0, 1, 2))
    place = history.place("a")
    assert place is not None
    assert place.generation == Generation(0, 1, 0)
    for number in range(6_000):
        history.add(str(number), "", Generation(0, number, 0))
    assert history.place("a") is None
