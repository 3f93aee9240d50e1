"""The sync on a Dask cluster: a scheduler and workers as processes, the same checkpoints, and workers that die."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kemudi.graph import cluster
from kemudi.graph.cluster import Cluster, Piece, copy_piece
from kemudi.graph.errors import TaskFailedError
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import plan
from kemudi.graph.sync.lease import Fence, Lease
from kemudi.graph.sync.verify import verify
from kemudi.schema.errors import UnavailableError, UsageError
from kemudi.schema.secret import Secret


class Dask:
    """A scheduler and its workers on loopback, each a process."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._env = env | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "20"}
        self._file = folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, until: Callable[..., Any]) -> str:
        """The scheduler; its address."""
        self._run("scheduler", "--port", "0")
        until(lambda: self._file.exists() and self._file.stat().st_size, 60)
        return str(json.loads(self._file.read_text())["address"])

    def worker(self) -> "subprocess.Popen[bytes]":
        """Another worker, of one thread."""
        more = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder))
        return self._run("worker", *more)

    def log(self) -> str:
        """Of all of them."""
        return "".join(each.read_text() for each in self._folder.glob("*.log"))

    def close(self) -> None:
        """Workers first."""
        for each in reversed(self._processes):
            each.kill()
            each.wait()

    def _run(self, what: str, *more: str) -> "subprocess.Popen[bytes]":
        listening = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
        argv = [sys.executable, "-m", "dask", what, *listening]
        with (self._folder / f"{what}-{len(self._processes)}.log").open("wb") as log:
            made = subprocess.Popen(
                [*argv, "--scheduler-file", str(self._file), *more], env=self._env, stdout=log, stderr=log
            )
        self._processes.append(made)
        return made


@pytest.fixture
def dask_with(settings: Any, tmp_path: Path) -> Iterator[Callable[[str], Dask]]:
    """Makes a cluster whose workers read the settings, and the registry at an address."""
    made: list[Dask] = []
    folder = tmp_path / "dask"
    folder.mkdir()

    def make(dsn: str) -> Dask:
        made.append(Dask(folder, settings.environment(KEMUDI_REGISTRY=dsn)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.neo4j
@pytest.mark.timeout(240)
def test_a_worker_killed_in_the_middle_costs_nothing_but_time(
    settings: Any, dask_with: Any, neo4j_server: Any, source: Any, until: Any
) -> None:
    """`sync run --dask`: two workers copy, one is killed, the other ends the run; no password is in any log."""
    settings.publish(
        NEO4J_URI=neo4j_server.uri,
        NEO4J_PASSWORD=Secret(neo4j_server.password),
        SYNC_BATCH_SIZE=10,
        SYNC_PARALLELISM=2,
    )
    rows = source(3_000)
    dask = dask_with(rows.dsn)
    address = dask.start(until)
    victim, _ = dask.worker(), dask.worker()
    argv = [sys.executable, "-m", "kemudi.cli", "sync", "run", "--registry", rows.dsn, "--dask", address]
    run = subprocess.Popen([*argv, "--json"], env=settings.environment(), stdout=subprocess.PIPE, text=True)

    def ranges_begun() -> int:
        text = "MATCH (s:SyncCheckpoint) WHERE s.name STARTS WITH 'range-' AND s.after_id > $first RETURN s"
        return len(neo4j_server.run(text, first=10))

    try:
        until(lambda: run.poll() is not None or len(neo4j_server.run("MATCH (n:KelasNode) RETURN n")) > 5, 90)
        until(lambda: run.poll() is not None or ranges_begun() >= 2, 60)
        victim.kill()
        assert run.poll() is None, dask.log()
        out, _ = run.communicate(timeout=120)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 0, dask.log()
    status = json.loads(out)
    assert (status["state"], status["rows_done"], status["rows_total"]) == ("done", 3_000, 3_000)
    store = neo4j_server_store(neo4j_server)
    try:
        assert verify(rows.registry, store)["equal"]
    finally:
        store.close()
    assert neo4j_server.password not in dask.log()


def neo4j_server_store(server: Any) -> GraphStore:
    from kemudi.graph.stores.neo4j import Neo4jStore

    return Neo4jStore(server.uri, server.user, Secret(server.password))


class Opened:
    """The graph of a worker in this process."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store

    def opened(self) -> GraphStore:
        return self._store


@pytest.fixture
def planned(
    store: GraphStore, source: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], tuple[Lease, Piece, Any]]:
    """A lease, the piece of a run of one range over so many rows, and the rows; tasks run in this process."""
    import threading

    def make(count: int) -> tuple[Lease, Piece, Any]:
        rows = source(count)
        lease = Lease(store, threading.Event(), lambda _told: None)
        fence = lease.take()
        (part,), steps = plan(rows.registry.ranges(1))
        fence.write(steps)
        monkeypatch.setattr(cluster, "_GRAPH", Opened(store))
        monkeypatch.setenv("KEMUDI_REGISTRY", rows.dsn)
        return lease, Piece(part, fence.epoch, 100, 0, None), rows

    return make


def test_a_piece_ends_after_its_time_and_the_next_one_goes_on(
    planned: Any, store: GraphStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch when there is no time at all, from wherever the range stands in the graph."""
    lease, piece, rows = planned(350)
    monkeypatch.setattr(cluster, "PIECE_SECONDS", 0.0)
    first, copied = copy_piece(piece)
    assert copied == 100
    assert rows.registry.count_between(piece.part.after_id, first.after_id) == 100
    second, copied = copy_piece(piece)  # as one that is given out again, since its answer was lost
    assert copied == 200
    monkeypatch.setattr(cluster, "PIECE_SECONDS", 60.0)
    last, copied = copy_piece(Piece(second, piece.epoch, 100, 0, None))
    assert (last.after_id, copied) == (piece.part.until_id, 150)
    lease.give_back()
    assert {(each["nim"], each["kode"]) for each in store.read("edges", {"after": "", "until": "~"})} == {
        *rows.registry.edges()
    }


def test_a_worker_that_is_late_writes_nothing(planned: Any, store: GraphStore) -> None:
    """The lease went on meanwhile: the task fails with that as its reason."""
    lease, piece, _ = planned(200)
    lease.pass_on()
    with pytest.raises(TaskFailedError, match="lost its lease and wrote nothing more"):
        copy_piece(piece)
    assert store.read("counts", {})[0]["edges"] == 0
    lease.give_back()


def test_a_worker_says_what_it_lacks(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its variable, and with a registry that is no registry; neither tells the address."""
    lease, piece, _ = planned(200)
    monkeypatch.setenv("KEMUDI_REGISTRY", "postgresql+psycopg://someone:plain-text@127.0.0.1:1/registry")
    with pytest.raises(TaskFailedError, match="the registry cannot be read") as failure:
        copy_piece(piece)
    assert "plain-text" not in str(failure.value)
    monkeypatch.delenv("KEMUDI_REGISTRY")
    with pytest.raises(TaskFailedError, match="KEMUDI_REGISTRY is not set"):
        copy_piece(piece)
    lease.give_back()


def test_no_scheduler_is_a_clear_refusal(store: GraphStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an address where nobody listens, at one that is none, and at one that needs keys which are not there."""
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(UnavailableError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        Cluster("tcp://127.0.0.1:1", None).copy(Fence(store, 1), None)  # type: ignore[arg-type]  # not reached
    with pytest.raises(UsageError, match="is not the address of a Dask scheduler"):
        Cluster("nowhere://", None).copy(Fence(store, 1), None)  # type: ignore[arg-type]  # not reached
    with pytest.raises(UsageError, match="needs keys for TLS"):
        Cluster("tls://127.0.0.1:1", None).copy(Fence(store, 1), None)  # type: ignore[arg-type]  # not reached


def test_ranges_are_more_than_workers_and_none_is_tiny() -> None:
    """Of at least ten batches each."""
    parts = Cluster("tcp://127.0.0.1:1", None).parts
    assert [parts(rows, 1_000) for rows in (0, 9_999, 30_000, 10_000_000)] == [1, 1, 3, 64]
