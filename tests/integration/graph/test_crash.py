"""kill -9 at every named step and at random instants: the next run loses nothing and does nothing twice."""

import os
import random
import signal
import threading
import time
from typing import Any

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Checkpoints
from kemudi.graph.sync.runner import FAILPOINTS, SyncRunner
from kemudi.graph.sync.status import SyncStatus
from kemudi.graph.sync.verify import verify

KILLED = -9
ROWS = 600
BATCH = 100


def in_graph(store: GraphStore) -> set[tuple[str, str]]:
    return {(each["nim"], each["kode"]) for each in store.read("edges", {"after": "", "until": "~"})}


def assert_no_checkpoint_is_ahead(source: Any, store: GraphStore) -> None:
    """Every row up to the checkpoint of its range is in the graph, or is deleted and out of it."""
    there, after = in_graph(store), 0
    for part in Checkpoints(store).interrupted():
        rows = source.registry.page(after, 10**6, part.after_id) if part.after_id > after else []
        live = {(row.nim, row.kode) for row in rows if not row.deleted}
        gone = {(row.nim, row.kode) for row in rows if row.deleted}
        assert live <= there
        assert not (gone - source.registry.live_pairs(sorted(gone))) & there
        after = part.until_id


def synced(source: Any, place: Any, *, full: bool = True) -> SyncStatus:
    """A run in this process, which nobody kills."""
    store = place.open()
    try:
        config = InMemoryClient({"SYNC_BATCH_SIZE": BATCH}, contracts=CONTRACTS)
        runner = SyncRunner(config, store, source.registry, threading.Event(), lease_seconds=0.5)
        return runner.run(full=full)
    finally:
        store.close()


def assert_equal(source: Any, place: Any) -> None:
    """Row for row; no pair twice; nobody without a class; names are there."""
    store = place.open()
    try:
        assert verify(source.registry, store)["equal"]
        students = store.read("students", {"after": "", "limit": 10**6})
        assert {each["nim"] for each in students} == {nim for nim, _ in in_graph(store)}
        assert all(each["nama"] for each in students)
        assert Checkpoints(store).interrupted() == []
    finally:
        store.close()


CASES = [
    *(("full", point) for point in FAILPOINTS),
    *(("changes", point) for point in ("graph.before-commit", "sync.after-batch", "sync.before-done")),
]


@pytest.mark.parametrize(("mode", "point"), CASES)
def test_killed_at_a_named_step(source: Any, place: Any, mode: str, point: str) -> None:
    """In a run over every row, and in one over changes alone, on a graph that has to lose and to gain."""
    rows = source(ROWS)
    assert synced(rows, place).state == "done"
    rows.change(every=7)
    # The second hit where there are several: in the middle of the run. The first write of a full run is its plan.
    hit = 2 if point.endswith(("batch", "commit")) else 1
    child = place.sync(rows.dsn, mode=mode, failpoint=f"{point}:kill@{hit}", SYNC_BATCH_SIZE=BATCH)
    assert place.ended(child)[0] == KILLED
    store = place.open()
    assert_no_checkpoint_is_ahead(rows, store)
    store.close()
    status = synced(rows, place, full=mode == "full")
    assert status.state == "done"
    if mode == "full" and point == "sync.after-batch":
        assert status.rows_done < rows.registry.totals().rows  # it went on behind the checkpoint
    assert_equal(rows, place)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_at_twenty_random_instants(source: Any, place: Any, forker: Any) -> None:
    """One graph through twenty kills, with changes in the registry between them."""
    rows, choice = source(4_000), random.Random(20260211)
    settings = {"SYNC_BATCH_SIZE": 50, "SYNC_PARALLELISM": 3}
    kills = 0
    while kills < 20:
        pid = forker.start(rows.dsn, choice.choice(["full", "changes"]), **settings)
        time.sleep(choice.uniform(0, 0.4))
        os.kill(pid, signal.SIGKILL)
        code = forker.end()
        kills += code == KILLED
        if code != KILLED or not kills % 4:  # it was through, or nearly: something to do again
            rows.change(every=choice.randrange(20, 40), offset=choice.randrange(20))
    assert synced(rows, place).state == "done"
    assert_equal(rows, place)
