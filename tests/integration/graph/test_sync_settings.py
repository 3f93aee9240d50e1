"""Each setting of the sync changes what a run that is under way does, with no restart."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify

ROWS = 3_000


@dataclass
class Running:
    """A full run that waits before its first batch, until a check lets it go."""

    config: InMemoryClient
    runner: SyncRunner
    source: Any
    until: Callable[..., Any]

    def begun(self) -> None:
        """Let it go, and wait until it has written."""
        self.config.publish(SYNC_PAUSED=False)
        self.until(lambda: self.runner.status.batches >= 3 or not self.runner.status.active, 60)

    def ended(self) -> Any:
        """Its last status."""
        self.until(lambda: not self.runner.status.active, 60)
        return self.runner.status


@pytest.fixture
def running(place: Any, store: GraphStore, source: Any, until: Any) -> Iterator[Running]:
    rows, ending = source(ROWS), threading.Event()
    config = InMemoryClient({"SYNC_BATCH_SIZE": 1, "SYNC_PAUSED": True}, contracts=CONTRACTS)
    runner = SyncRunner(config, store, rows.registry, ending)
    thread = threading.Thread(target=runner.run)
    thread.start()
    until(lambda: runner.status.state == "paused")
    yield Running(config, runner, rows, until)
    ending.set()
    thread.join(60)
    config.publish(SYNC_PAUSED=False, SYNC_BATCH_SIZE=1_000, SYNC_TIMEOUT=600, SYNC_RETRY_ATTEMPTS=3)
    assert SyncRunner(config, store, rows.registry, threading.Event()).run().state == "done"
    assert verify(rows.registry, store)["equal"]


def batch_size(running: Running) -> None:
    running.begun()
    assert running.runner.status.batch_size == 1
    running.config.publish(SYNC_BATCH_SIZE=500)
    status = running.ended()
    assert (status.state, status.batch_size) == ("done", 500)
    assert status.batches < ROWS


def paused(running: Running) -> None:
    running.begun()
    running.config.publish(SYNC_PAUSED=True)
    running.until(lambda: running.runner.status.state == "paused")
    assert 0 < running.runner.status.rows_done < ROWS
    running.config.publish(SYNC_PAUSED=False, SYNC_BATCH_SIZE=1_000)
    assert running.ended().state == "done"


def timeout(running: Running) -> None:
    running.begun()
    running.config.publish(SYNC_TIMEOUT=1)
    status = running.ended()
    assert (status.state, status.error) == ("stopped", "SYNC_TIMEOUT of 1 s is over; the checkpoint is kept")
    assert 0 < status.rows_done < ROWS


def retry_attempts(running: Running) -> None:
    running.config.publish(SYNC_RETRY_ATTEMPTS=0)
    running.begun()
    with running.source.away():
        status = running.ended()
    assert (status.state, status.error) == ("failed", "the registry cannot be read (OperationalError)")


def parallelism(running: Running) -> None:
    def copying() -> int:
        return sum(thread.name.startswith("sync-range-") for thread in threading.enumerate())

    running.begun()
    assert copying() <= 1
    running.config.publish(SYNC_PARALLELISM=3)
    running.until(lambda: copying() == 3)


TABLE: dict[str, Callable[[Running], None]] = {
    "SYNC_BATCH_SIZE": batch_size,
    "SYNC_PAUSED": paused,
    "SYNC_TIMEOUT": timeout,
    "SYNC_RETRY_ATTEMPTS": retry_attempts,
    "SYNC_PARALLELISM": parallelism,
}


@pytest.mark.neo4j
@pytest.mark.parametrize("place", ["neo4j"], indirect=True)
@pytest.mark.parametrize("key", sorted(TABLE))
def test_a_setting_steers_the_run_that_is_under_way(running: Running, key: str) -> None:
    """On Neo4j, where several ranges are copied at once; afterwards the next run ends what was left."""
    TABLE[key](running)


def test_no_setting_of_the_sync_is_forgotten() -> None:
    """A new one cannot be added without its row."""
    keys = {key for model in CONTRACTS.values() for key in model.model_fields}
    assert {key for key in keys if key.startswith("SYNC_")} == set(TABLE)
