"""What the sync needs goes away while it runs, and comes back."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph.errors import GraphUnavailableError
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify
from kemudi.schema.secret import Secret


@pytest.fixture
def background() -> Iterator[Callable[[SyncRunner, threading.Event], threading.Thread]]:
    """Runs in a thread; whatever happens it ends with the test."""
    started: list[tuple[threading.Thread, threading.Event]] = []

    def start(runner: SyncRunner, ending: threading.Event) -> threading.Thread:
        thread = threading.Thread(target=runner.run)
        thread.start()
        started.append((thread, ending))
        return thread

    yield start
    for thread, ending in started:
        ending.set()
        thread.join(30)


def test_a_registry_that_comes_back_in_time_is_waited_for(
    store: GraphStore, config: InMemoryClient, source: Any, until: Any, background: Any
) -> None:
    """SYNC_RETRY_ATTEMPTS: the failure is told in the status meanwhile, and forgotten when it is over."""
    rows, ending = source(3_000), threading.Event()
    config.publish(SYNC_RETRY_ATTEMPTS=50, SYNC_BATCH_SIZE=20)
    runner = SyncRunner(config, store, rows.registry, ending)
    background(runner, ending)
    until(lambda: runner.status.batches >= 3)
    config.publish(SYNC_PAUSED=True)
    until(lambda: runner.status.state == "paused")
    with rows.away():
        config.publish(SYNC_PAUSED=False)
        until(lambda: "registry" in (runner.status.error or ""))
        assert runner.status.state == "running"
    until(lambda: runner.status.state == "done", 60)
    assert runner.status.error is None
    assert runner.status.rows_done == 3_000
    assert verify(rows.registry, store)["equal"]


def test_a_registry_that_stays_away_ends_the_run_behind_its_checkpoint(
    store: GraphStore, config: InMemoryClient, source: Any, until: Any, background: Any
) -> None:
    """After the last attempt the state is `failed`; a page read before is in; the next run reads what is left."""
    rows, ending = source(1_000), threading.Event()
    config.publish(SYNC_RETRY_ATTEMPTS=1, SYNC_BATCH_SIZE=20)
    runner = SyncRunner(config, store, rows.registry, ending)
    thread = background(runner, ending)
    until(lambda: runner.status.batches >= 3)
    config.publish(SYNC_PAUSED=True)
    until(lambda: runner.status.state == "paused")
    before = runner.status.rows_done
    with rows.away():
        config.publish(SYNC_PAUSED=False)
        thread.join(30)
        assert runner.status.state == "failed"
    assert rows.dsn not in runner.status.error  # an address may hold a password
    done = runner.status.rows_done
    assert done - before in {0, 20}
    assert runner.status.checkpoint == done
    again = runner.run()
    assert (again.state, again.rows_done) == ("done", 1_000 - done)
    assert verify(rows.registry, store)["equal"]


@pytest.fixture
def neo4j_store(neo4j_server: Any) -> Iterator[Neo4jStore]:
    opened = Neo4jStore(neo4j_server.uri, neo4j_server.user, Secret(neo4j_server.password))
    opened.prepare()
    yield opened
    opened.close()


@pytest.mark.neo4j
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_neo4j_killed_in_the_middle_of_a_run_and_started_again(
    neo4j_server: Any, neo4j_store: Neo4jStore, source: Any, until: Any, background: Any
) -> None:
    """kill -9 of the server: the run waits for it and goes on where the last batch that was committed left off."""
    settings = {"SYNC_BATCH_SIZE": 25, "SYNC_RETRY_ATTEMPTS": 100, "SYNC_PARALLELISM": 3}
    config = InMemoryClient(settings, contracts=CONTRACTS)
    rows, ending = source(1_000), threading.Event()
    runner = SyncRunner(config, neo4j_store, rows.registry, ending)
    background(runner, ending)
    until(lambda: runner.status.batches >= 10, 60)
    neo4j_server.kill()
    until(lambda: "Neo4j does not answer" in (runner.status.error or ""), 60)
    assert runner.status.state == "running"
    neo4j_server.start()
    until(lambda: runner.status.state == "done", 120)
    assert runner.status.rows_done == 1_000
    assert verify(rows.registry, neo4j_store)["equal"]


@pytest.mark.neo4j
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_neo4j_that_stays_away_ends_the_run_and_the_next_one_goes_on(
    neo4j_server: Any, neo4j_store: Neo4jStore, source: Any, until: Any, background: Any
) -> None:
    """Failed after the attempts, with a reason without password; after a restart only the rest is copied."""
    config = InMemoryClient({"SYNC_BATCH_SIZE": 25, "SYNC_RETRY_ATTEMPTS": 1}, contracts=CONTRACTS)
    rows, ending = source(800), threading.Event()
    runner = SyncRunner(config, neo4j_store, rows.registry, ending)
    thread = background(runner, ending)
    until(lambda: runner.status.batches >= 10, 60)
    neo4j_server.kill()
    thread.join(60)
    failed = runner.status
    assert failed.state == "failed"
    assert neo4j_server.password not in failed.error
    with pytest.raises(GraphUnavailableError):
        neo4j_store.ping()
    neo4j_server.start()
    again = SyncRunner(config, neo4j_store, rows.registry, ending, lease_seconds=1).run()
    assert again.state == "done"
    # A batch whose answer was lost with the connection may be in the graph already.
    assert 800 - failed.rows_done - again.rows_done in {0, 25}
    assert verify(rows.registry, neo4j_store)["equal"]
