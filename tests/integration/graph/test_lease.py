"""One sync at a time on one graph: the lease between processes and its fence, the same on both stores."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph.errors import GraphMovedError, LeaseHeldError, LeaseLostError
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Checkpoints, Range, plan
from kemudi.graph.sync.gate import StoppedError
from kemudi.graph.sync.lease import Lease
from kemudi.graph.sync.ranges import FixedPace, copy_range
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify

FOREIGN = {"holder": "elsewhere/4711/feedbeef", "since": "2026-02-11T08:00:00.000Z"}
STUDENT = ("merge_students", {"rows": [{"nim": "late", "nama": "Too late"}]})


class Clock:
    """Moves by a second at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def lease_of(store: GraphStore) -> Iterator[Callable[..., Lease]]:
    """Leases on the store, given back at the end."""
    made: list[Lease] = []

    def make(on: GraphStore | None = None, **options: Any) -> Lease:
        ending = options.pop("ending", threading.Event())
        made.append(Lease(on or store, ending, options.pop("noted", lambda _: None), **options))
        return made[-1]

    yield make
    for each in made:
        each.give_back()


def holder(store: GraphStore) -> str:
    found: str = store.read("lease", {})[0]["holder"]
    return found


def taken_elsewhere(store: GraphStore) -> int:
    """A process that is not there any more has the lease; its epoch."""
    store.write([("make_lease", {})])
    seen = store.read("lease", {})[0]
    store.write([], fence=("pass_lease", {"epoch": seen["epoch"], **FOREIGN}))
    return int(seen["epoch"]) + 1


def test_each_take_raises_the_epoch_and_a_clean_end_frees_it_at_once(
    store: GraphStore, lease_of: Any
) -> None:
    """Nobody waits for a lease that was given back, and what had it before writes nothing more."""
    fences = []
    for _ in range(3):
        lease = lease_of(seconds=3600)
        fences.append(lease.take())
        fences[-1].write([])
        lease.give_back()
        assert holder(store) == ""
        with pytest.raises(LeaseLostError):
            fences[-1].write([STUDENT])
    epochs = [fence.epoch for fence in fences]
    assert epochs == sorted(set(epochs))
    assert store.read("student", {"nim": "late"}) == []


def test_a_holder_that_lives_is_named(store: GraphStore, lease_of: Any) -> None:
    """As soon as its beat moves, and long before the time of a lease is over."""
    first = lease_of(seconds=0.5)
    fence = first.take()
    noted: list[str] = []
    with pytest.raises(LeaseHeldError, match=f"process {os.getpid()} on .*, since 20"):
        lease_of(seconds=3600, noted=noted.append).take()
    assert noted
    fence.write([])


def test_a_beat_that_stands_still_loses_the_lease_by_the_watchers_clock(
    store: GraphStore, lease_of: Any
) -> None:
    """Whoever had it writes nothing more, neither a batch nor a range nor its end; the successor does."""
    late = lease_of(seconds=3600)  # its beat comes too late
    fence = late.take()
    (part,), steps = plan([(0, 10)])
    fence.write(steps)
    successor = lease_of(seconds=60, clock=Clock(), ending=Hurrying()).take()
    assert successor.epoch == fence.epoch + 1
    for write in (
        lambda: fence.write([STUDENT]),
        lambda: fence.move([STUDENT], part, part.reached(5)),
        late.pass_on,
    ):
        with pytest.raises(LeaseLostError, match="process"):
            write()
    late.give_back()
    assert store.read("student", {"nim": "late"}) == []
    assert Checkpoints(store).range(part) == part
    successor.move([STUDENT], part, part.reached(5))
    assert Checkpoints(store).range(part).after_id == 5


class Hurrying(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002  # the event's
        return False


def test_a_range_moves_only_from_where_it_stands(store: GraphStore, lease_of: Any) -> None:
    """Of two writers with the same range the later one is rolled back; the lease is not lost for that."""
    fence = lease_of().take()
    (part,), steps = plan([(0, 10)])
    fence.write(steps)
    fence.move([], part, part.reached(4))
    with pytest.raises(GraphMovedError):
        fence.move([STUDENT], part, part.reached(3))
    with pytest.raises(GraphMovedError):
        fence.move([STUDENT], Range(part.name, 4, 11), part.reached(5))  # of another plan
    assert store.read("student", {"nim": "late"}) == []
    assert Checkpoints(store).range(part).after_id == 4


def test_after_the_ranges_their_epoch_is_over(lease_of: Any) -> None:
    """A task that was given up and wakes up is late; the holder goes on, with its beat."""
    lease = lease_of(seconds=0.2)
    task = lease.take()
    fence = lease.pass_on()
    assert fence.epoch == task.epoch + 1
    with pytest.raises(LeaseLostError):
        task.write([STUDENT])
    with pytest.raises(LeaseHeldError):
        lease_of(seconds=3600).take()


def test_the_lease_of_a_dead_process(store: GraphStore, lease_of: Any, place: Any) -> None:
    """Ladybug is open in one process only, so another one's lease is free at once; on Neo4j it has to stand still."""
    epoch = taken_elsewhere(store)
    ending = Ending(looks=3)
    if place.kind == "ladybug":
        assert lease_of(seconds=3600, ending=ending).take().epoch == epoch + 1
    else:
        noted: list[str] = []
        with pytest.raises(StoppedError):
            lease_of(seconds=3600, ending=ending, noted=noted.append).take()
        assert "process 4711 on elsewhere, since 2026-02-11" in noted[0]
        assert lease_of(seconds=0.05).take().epoch == epoch + 1


class Ending(threading.Event):
    """The process ends after so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002  # the event's
        self._looks -= 1
        return self._looks <= 0


def test_of_many_who_want_a_free_lease_one_gets_it(store: GraphStore, place: Any, lease_of: Any) -> None:
    """Each on a connection of its own; twenty times over."""
    stores = [store] if place.kind == "ladybug" else [store, place.open()]
    barrier = threading.Barrier(4)
    for _ in range(20):
        taken: list[Lease] = []

        def contend(lease: Lease, taken: list[Lease] = taken) -> None:
            barrier.wait(20)
            with contextlib.suppress(LeaseHeldError):
                FixedPace(1, 5).tried(lease.take)  # the store may end one that is in another's way
                taken.append(lease)

        leases = [lease_of(stores[index % len(stores)], seconds=15) for index in range(4)]
        threads = [threading.Thread(target=contend, args=(lease,)) for lease in leases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        (only,) = taken
        only.fence.write([])
        only.give_back()
    for each in stores[1:]:
        each.close()


def test_two_runs_at_once_on_one_graph(store: GraphStore, source: Any, until: Any) -> None:
    """The second says who holds it and stops without a write; the first is not disturbed."""
    rows, ending = source(300), threading.Event()
    settings = InMemoryClient({"SYNC_PAUSED": True, "SYNC_BATCH_SIZE": 50}, contracts=CONTRACTS)
    first = SyncRunner(settings, store, rows.registry, ending, lease_seconds=1)
    thread = threading.Thread(target=first.run)
    thread.start()
    until(lambda: first.status.state == "paused")
    refused = SyncRunner(settings, store, rows.registry, ending).run()
    assert refused.state == "stopped"
    assert f"process {os.getpid()} on" in (refused.error or "")
    settings.publish(SYNC_PAUSED=False)
    thread.join(60)
    assert first.status.state == "done"
    assert verify(rows.registry, store)["equal"]


def test_two_processes_with_one_range_and_one_that_resumes_it(
    store: GraphStore, source: Any, lease_of: Any
) -> None:
    """`copy_range` from anywhere: it goes on where the range stands in the graph, and no row is lost between two."""
    rows = source(2_000)
    fence = lease_of().take()
    (part,), steps = plan([(0, 2_000)])
    fence.write(steps)
    page = rows.registry.page(0, 100, 2_000)
    assert len(page) == 100
    both = [
        threading.Thread(target=copy_range, args=(part, fence, rows.registry, FixedPace(size, 3)))
        for size in (30, 50)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    assert Checkpoints(store).range(part).after_id == 2_000
    assert verify(rows.registry, store)["equal"]
    assert copy_range(part, fence, rows.registry, FixedPace(100, 0)).after_id == 2_000


@pytest.mark.neo4j
@pytest.mark.parametrize("place", ["neo4j"], indirect=True)
@pytest.mark.parametrize("where", ["sync.before-batch:stop@2", "graph.before-commit:stop@4"])
def test_a_frozen_holder_that_wakes_up_writes_nothing(
    place: Any, store: GraphStore, source: Any, until: Any, where: str
) -> None:
    """SIGSTOP between two batches, and in a transaction, whose locks nobody waits for; SIGCONT after the take-over."""
    rows = source(400)
    child = place.sync(rows.dsn, failpoint=where, SYNC_BATCH_SIZE=50)
    try:
        until(lambda: is_stopped(child.pid))
        config = InMemoryClient({"SYNC_BATCH_SIZE": 100}, contracts=CONTRACTS)
        runner = SyncRunner(config, store, rows.registry, threading.Event(), lease_seconds=0.5)
        assert runner.run().state == "done"
        rows.change(every=9)
        assert runner.run().state == "done"
        version = Checkpoints(store).data_version()
        os.kill(child.pid, signal.SIGCONT)
        code, status = place.ended(child)
    finally:
        child.kill()
    assert code == 0
    assert status is not None
    assert status["state"] == "failed"
    assert "lost its lease" in status["error"]
    assert Checkpoints(store).data_version() == version
    assert verify(rows.registry, store)["equal"]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.neo4j
@pytest.mark.parametrize("place", ["neo4j"], indirect=True)
def test_two_processes_at_once_and_the_one_that_is_left(
    place: Any, store: GraphStore, source: Any, until: Any
) -> None:
    """While one lives the other is told its process id; once it is killed, its lease is taken over."""
    rows = source(300)
    child = place.sync(rows.dsn, SYNC_PAUSED=True)
    try:
        until(lambda: child_has_the_lease(store, child.pid))
        config = InMemoryClient(contracts=CONTRACTS)
        refused = SyncRunner(config, store, rows.registry, threading.Event()).run()
        assert refused.state == "stopped"
        assert f"process {child.pid} on" in (refused.error or "")
    finally:
        child.kill()
        place.ended(child)
    again = SyncRunner(config, store, rows.registry, threading.Event(), lease_seconds=0.5).run()
    assert (again.state, again.error) == ("done", None)
    assert verify(rows.registry, store)["equal"]


def child_has_the_lease(store: GraphStore, pid: int) -> bool:
    found = store.read("lease", {})
    return bool(found) and f"/{pid}/" in found[0]["holder"]
