"""What is damaged or moves under the services is named, and stops nothing else."""

import io
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.recommend import by_similarity
from kemudi.graph.registry import KELAS, MAHASISWA, METADATA, RIWAYAT_PENDIDIKAN, Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.sync.loop import SyncLoop
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import verify
from kemudi.web.logs import make_log

MOMENT = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Students a and b take x; a takes y too."""
    made = Registry(f"sqlite:///{tmp_path / 'registry.db'}")
    METADATA.create_all(made.engine)
    with made.engine.begin() as connection:
        connection.execute(insert(MAHASISWA), [{"nim": each, "nama": f"Nama {each}"} for each in "ab"])
        connection.execute(insert(KELAS), [{"kode": each, "nama": f"Nama {each}"} for each in "xy"])
    enrol(made, "a", "x")
    enrol(made, "b", "x")
    enrol(made, "a", "y")
    yield made
    made.close()


def enrol(registry: Registry, nim: str, kode: str) -> None:
    row = {"nim": nim, "kode": kode, "semester": 1, "deleted": False, "updated_at": MOMENT}
    with registry.engine.begin() as connection:
        connection.execute(insert(RIWAYAT_PENDIDIKAN), [row])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LadybugStore]:
    opened = LadybugStore(tmp_path / "graph.lbdb")
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
def config() -> InMemoryClient:
    return InMemoryClient(contracts=CONTRACTS)


@pytest.fixture
def runner(config: InMemoryClient, store: GraphStore, registry: Registry) -> SyncRunner:
    return SyncRunner(config, store, registry, threading.Event())


def test_rows_without_a_student_or_class_stay_out_and_are_counted(
    runner: SyncRunner, registry: Registry, store: GraphStore
) -> None:
    """A registry without enforced references stops no run; `verify` says how many rows it could not compare."""
    enrol(registry, "ghost", "x")
    enrol(registry, "a", "no such class")
    for full in (True, False):
        assert runner.run(full=full).state == "done"
        found = verify(registry, store)
        assert (found["equal"], found["orphan_rows"], found["edges_in_graph"]) == (True, 2, 3)
    assert store.read("student", {"nim": "ghost"}) == []


def test_a_student_who_vanishes_takes_the_pairs_along(
    runner: SyncRunner, registry: Registry, store: GraphStore
) -> None:
    """Though the student's rows are still there."""
    runner.run()
    with registry.engine.begin() as connection:
        connection.execute(delete(MAHASISWA).where(MAHASISWA.c.nim == "a"))
    assert not verify(registry, store)["equal"]
    assert runner.run().difference == 2
    assert verify(registry, store)["equal"]
    assert store.read("student", {"nim": "a"}) == []
    assert [each["kode"] for each in store.read("classes", {"after": "", "limit": 9})] == ["x"]


def test_names_and_idle_nodes_are_compared_too(
    runner: SyncRunner, registry: Registry, store: GraphStore
) -> None:
    """What pairs alone would not show, on both sides of the relationship; a full run repairs it."""
    runner.run()
    with registry.engine.begin() as connection:
        connection.execute(update(MAHASISWA).where(MAHASISWA.c.nim == "b").values(nama="Baru"))
        connection.execute(update(KELAS).where(KELAS.c.kode == "x").values(nama="Baru"))
    store.write(
        [
            ("merge_students", {"rows": [{"nim": "idle", "nama": "Nobody"}]}),
            ("merge_classes", {"rows": [{"kode": "idle", "nama": "Nothing"}]}),
        ]
    )
    found = verify(registry, store)
    assert (found["equal"], found["differences"]) == (False, 4)
    assert found["named"] == [
        {"kind": "renamed", "nim": "b"},
        {"kind": "idle", "nim": "idle"},
        {"kind": "idle", "kode": "idle"},
        {"kind": "renamed", "kode": "x"},
    ]
    assert runner.run().state == "done"
    assert verify(registry, store)["equal"]


def test_a_time_that_is_none_fails_the_run_with_the_column_named(
    runner: SyncRunner, registry: Registry
) -> None:
    """Not with the error of a library, and it can be tried again once it is put right."""
    with registry.engine.begin() as connection:
        connection.execute(text("UPDATE riwayat_pendidikan SET updated_at = 'yesterday' WHERE id = 3"))
    status = runner.run()
    assert status.state == "failed"
    assert "column's type" in (status.error or "")
    with registry.engine.begin() as connection:
        connection.execute(update(RIWAYAT_PENDIDIKAN).values(updated_at=MOMENT))
    assert runner.run().state == "done"


class Failing(SyncRunner):
    """Breaks in a way that nobody thought of when it looks for changes."""

    looked = 0

    def is_behind(self) -> bool:
        self.looked += 1
        raise ZeroDivisionError


def test_the_thread_of_the_sync_outlives_what_nobody_thought_of(
    config: InMemoryClient, store: GraphStore, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so in the log, looks again, and a run on request still runs."""
    monkeypatch.setattr("kemudi.graph.sync.loop.LOOK_SECONDS", 0.01)
    ending, log = threading.Event(), io.StringIO()
    runner = Failing(config, store, registry, ending)
    loop = SyncLoop(runner, ending, make_log(log))
    loop.start()
    try:
        assert runner.board.wait_for(lambda status: status.state == "done", 20).state == "done"
        wait(lambda: runner.looked >= 2)
        assert loop.request().run == 2
        assert runner.board.wait_for(lambda status: status.state == "done", 20).state == "done"
    finally:
        assert loop.stop()
    assert '"exception":"ZeroDivisionError"' in log.getvalue()


def wait(condition: Callable[[], bool]) -> None:
    tries = 0
    while not condition():
        threading.Event().wait(0.01)
        tries += 1
        assert tries < 2_000


def test_a_similarity_never_exceeds_one_while_the_graph_moves() -> None:
    """The two queries see two moments: sizes may have shrunk, or their class may be gone."""
    common = [{"taken": "x", "kode": "y", "nama": "Nama y", "common": 2}]
    for sizes in ({"x": 3, "y": 3}, {"x": 1, "y": 1}, {"x": 2}, {}):
        (found,) = by_similarity(common, sizes)
        assert 0 < found.score <= 1


@pytest.mark.parametrize("limit", [0, -1, True, 2.5, "3"])
def test_a_limit_is_a_whole_number_of_at_least_one(
    config: InMemoryClient, store: GraphStore, limit: Any
) -> None:
    """Anything else is the caller's mistake, said before the store is asked."""
    service = GraphService(config, store)
    for ask in (service.classmates, service.friends_of_friends, service.recommendations):
        with pytest.raises(ValueError, match="whole number"):
            ask("a", limit=limit)
