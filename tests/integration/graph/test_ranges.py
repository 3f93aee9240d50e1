"""Ranges side by side: as many as SYNC_PARALLELISM says at each moment, on shared classes, with no deadlock."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert

from kemudi.client.testing import InMemoryClient
from kemudi.graph.registry import KELAS, MAHASISWA, RIWAYAT_PENDIDIKAN
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import plan
from kemudi.graph.sync.copying import Progress, Threads
from kemudi.graph.sync.gate import Gate
from kemudi.graph.sync.lease import Lease
from kemudi.graph.sync.ranges import FixedPace, copy_range
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.status import StatusBoard
from kemudi.graph.sync.verify import verify

HUBS = 5
STUDENTS = 400


def enrol_everybody(source: Any) -> None:
    """Each student takes each hub class, in rows that put every student into every range of keys."""
    moment = datetime(2025, 6, 1, tzinfo=UTC)
    with source.registry.engine.begin() as connection:
        connection.execute(insert(KELAS), [{"kode": f"HUB{each}", "nama": "Hub"} for each in range(HUBS)])
        connection.execute(
            insert(MAHASISWA), [{"nim": f"h{each:04}", "nama": "Nama"} for each in range(STUDENTS)]
        )
        rows = [
            {
                # Back and forth, so that neighbouring ranges meet the same students in opposite orders.
                "nim": f"h{each if turn % 2 else STUDENTS - 1 - each:04}",
                "kode": f"HUB{(turn + each) % HUBS}",
                "semester": 1,
                "deleted": False,
                "updated_at": moment,
            }
            for turn in range(HUBS)
            for each in range(STUDENTS)
        ]
        connection.execute(insert(RIWAYAT_PENDIDIKAN), rows)


class Watched:
    """A store that knows which ranges write at the same time, and calls back at each batch."""

    def __init__(self, store: GraphStore, at_batch: Callable[[int], None] = lambda _number: None) -> None:
        self._store = store
        self._at_batch = at_batch
        self._inside: set[str] = set()
        self._lock = threading.Lock()
        self.batches = 0
        self.most = 0
        self.name, self.parallel_writers, self.exclusive = store.name, store.parallel_writers, store.exclusive

    def write(self, steps: Any, *, fence: Any = None) -> None:
        if fence is None or fence[0] != "move_range":
            self._store.write(steps, fence=fence)
            return
        name = fence[1]["name"]
        with self._lock:
            self._inside.add(name)
            self.most = max(self.most, len(self._inside))
            self.batches += 1
            number = self.batches
        try:
            self._at_batch(number)
            self._store.write(steps, fence=fence)
        finally:
            with self._lock:
                self._inside.discard(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.neo4j
@pytest.mark.parametrize("place", ["neo4j"], indirect=True)
def test_four_ranges_on_the_same_students_and_hub_classes(store: GraphStore, source: Any) -> None:
    """Every batch is taken at its first try: with no attempts left a deadlock would end the run."""
    rows = source(50)
    enrol_everybody(rows)
    config = InMemoryClient(
        {"SYNC_PARALLELISM": 4, "SYNC_BATCH_SIZE": 40, "SYNC_RETRY_ATTEMPTS": 0}, contracts=CONTRACTS
    )
    watched = Watched(store)
    status = SyncRunner(config, watched, rows.registry, threading.Event()).run()
    assert (status.state, status.error) == ("done", None)
    assert watched.most > 1
    assert verify(rows.registry, store)["equal"]


@pytest.mark.neo4j
@pytest.mark.parametrize("place", ["neo4j"], indirect=True)
def test_parallelism_is_read_between_batches(store: GraphStore, source: Any) -> None:
    """Raised in the middle of a run more ranges begin; lowered, they rest and go on when it is their turn."""
    rows = source(2_000)
    config = InMemoryClient({"SYNC_BATCH_SIZE": 20}, contracts=CONTRACTS)
    together = threading.Barrier(3)
    alone: list[int] = []

    def at_batch(number: int) -> None:
        if number == 5:
            alone.append(watched.most)
            config.publish(SYNC_PARALLELISM=3)
        if 6 <= number <= 8:  # three that come in while none of them is through
            together.wait(30)
        if number == 12:
            config.publish(SYNC_PARALLELISM=1)

    watched = Watched(store, at_batch)
    status = SyncRunner(config, watched, rows.registry, threading.Event()).run()
    assert (status.state, status.rows_done) == ("done", 2_000)
    assert alone == [1]
    assert watched.most == 3
    assert verify(rows.registry, store)["equal"]


def test_rows_deleted_in_the_middle_of_a_scan(store: GraphStore, source: Any, config: InMemoryClient) -> None:
    """Before and behind the cursor, and in the very page that is being written: none of them is left in the graph."""
    rows = source(1_000)

    def at_batch(number: int) -> None:
        if number == 5:
            for key in (3, 250, 401, 450, 500, 501, 999):
                rows.remove(key)

    status = SyncRunner(config, Watched(store, at_batch), rows.registry, threading.Event()).run()
    assert status.state == "done"
    assert verify(rows.registry, store)["equal"]


def test_a_range_that_another_process_ended_meanwhile(store: GraphStore, source: Any) -> None:
    """The run sees that it is through, and goes on with the next."""
    rows, ending = source(600), threading.Event()
    config = InMemoryClient({"SYNC_BATCH_SIZE": 20}, contracts=CONTRACTS)
    lease = Lease(store, ending, lambda _: None)
    fence = lease.take()
    planned, steps = plan([(0, 300), (300, 600)])
    fence.write(steps)
    board = StatusBoard()
    progress = Progress(config, board, Gate(config, board, ending), ending, planned)
    assert copy_range(planned[0], fence, rows.registry, FixedPace(50, 0)).after_id == 300
    Threads(rows.registry, 4).copy(fence, progress)
    lease.give_back()
    assert progress.unfinished() == []
    assert board.current.rows_done == 300
    assert verify(rows.registry, store)["equal"]
