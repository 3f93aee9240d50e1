"""Comparing registry and graph: every difference is named once, and no range is large, whichever side lacks what."""

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert

from kemudi.client.testing import InMemoryClient
from kemudi.graph.registry import KELAS, MAHASISWA, METADATA, RIWAYAT_PENDIDIKAN, Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.sync import reconcile
from kemudi.graph.sync import verify as module
from kemudi.graph.sync.runner import SyncRunner
from kemudi.graph.sync.verify import Side, compare_students, verify

MOMENT = datetime(2025, 1, 1, tzinfo=UTC)
STUDENTS = [f"nim-{number:03}" for number in range(100)]
CLASSES = [f"kode-{number:02}" for number in range(50)]
PAIRS = [(nim, CLASSES[(index + step) % 50]) for index, nim in enumerate(STUDENTS) for step in (0, 7)]


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STUDENTS_A_RANGE", 10)
    monkeypatch.setattr(module, "_CLASSES_A_RANGE", 10)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(f"sqlite:///{tmp_path / 'registry.db'}")
    METADATA.create_all(made.engine)
    with made.engine.begin() as connection:
        connection.execute(insert(MAHASISWA), [{"nim": nim, "nama": f"Nama {nim}"} for nim in STUDENTS])
        connection.execute(insert(KELAS), [{"kode": kode, "nama": f"Nama {kode}"} for kode in CLASSES])
        common = {"semester": 1, "deleted": False, "updated_at": MOMENT}
        connection.execute(
            insert(RIWAYAT_PENDIDIKAN), [{"nim": nim, "kode": kode, **common} for nim, kode in PAIRS]
        )
    yield made
    made.close()


class Watched(LadybugStore):
    """A store that knows the most records that one statement gave."""

    most = 0

    def read(
        self, query: str, parameters: Mapping[str, Any], *, timeout: float | None = None
    ) -> list[dict[str, Any]]:
        found = super().read(query, parameters, timeout=timeout)
        self.most = max(self.most, len(found))
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Watched]:
    opened = Watched(tmp_path / "graph.lbdb")
    opened.prepare()
    yield opened
    opened.close()


def fill(store: Watched, pairs: list[tuple[str, str]]) -> None:
    students, classes = sorted({nim for nim, _ in pairs}), sorted({kode for _, kode in pairs})
    store.write(
        [
            ("merge_students", {"rows": [{"nim": nim, "nama": f"Nama {nim}"} for nim in students]}),
            ("merge_classes", {"rows": [{"kode": kode, "nama": f"Nama {kode}"} for kode in classes]}),
            ("merge_pairs", {"pairs": [{"nim": nim, "kode": kode} for nim, kode in pairs]}),
        ]
    )


def test_each_difference_is_named_once_in_many_ranges(registry: Registry, store: Watched) -> None:
    """Pairs missing and extra, in known and in unknown students and classes, and idle nodes."""
    fill(store, PAIRS)
    equal = verify(registry, store)
    assert (equal["equal"], equal["ranges"]["unequal"], equal["named"]) == (True, 0, [])
    assert equal["ranges"]["compared"] >= 10 + 5
    gone, extra = [PAIRS[3], PAIRS[150]], [("nim-0505", "kode-00"), ("nim-999", "kode-zz")]
    store.write([("delete_pairs", {"pairs": [{"nim": nim, "kode": kode} for nim, kode in gone]})])
    fill(store, extra)
    store.write([("merge_classes", {"rows": [{"kode": "kode-25x", "nama": "Nobody takes it"}]})])
    found = verify(registry, store)
    assert found["named"] == [
        *(
            {"kind": kind, "nim": nim, "kode": kode}
            for nim, kode, kind in sorted(
                [(*pair, "missing") for pair in gone] + [(*pair, "extra") for pair in extra]
            )
        ),
        {"kind": "idle", "kode": "kode-25x"},
    ]
    # Six ranges: the class kode-zz makes its range unequal, and its pair is named with the student.
    assert (found["differences"], found["ranges"]["unequal"]) == (5, 6)
    assert found["equal"] is False


def test_unequal_ranges_have_counts_and_checksums_of_both_sides(registry: Registry, store: Watched) -> None:
    """Of the range with a missing pair; the others are not named."""
    fill(store, PAIRS)
    nim, kode = PAIRS[3]
    store.write([("delete_pairs", {"pairs": [{"nim": nim, "kode": kode}]})])
    (one,) = verify(registry, store)["ranges"]["named"]
    assert one["of"] == "students"
    assert one["after"] < nim <= one["until"]
    mine, theirs = one["registry"], one["graph"]
    assert (mine["nodes"], mine["pairs"]) == (theirs["nodes"], theirs["pairs"] + 1)
    assert mine["checksum"] != theirs["checksum"]
    fill(store, [PAIRS[3]])
    again = compare_students(registry, store, one["after"])
    assert again.registry == again.graph == Side(**mine)


def test_another_name_is_another_checksum(registry: Registry, store: Watched) -> None:
    """The counts are the same then."""
    fill(store, PAIRS)
    store.write([("merge_students", {"rows": [{"nim": PAIRS[0][0], "nama": "Another"}]})])
    found = verify(registry, store)
    assert found["named"] == [{"kind": "renamed", "nim": PAIRS[0][0]}]
    (one,) = found["ranges"]["named"]
    sides = one["registry"], one["graph"]
    assert {name for name in sides[0] if sides[0][name] != sides[1][name]} == {"checksum"}


@pytest.mark.parametrize("lost", ["graph", "registry"])
def test_a_side_that_lost_all_makes_no_range_larger(registry: Registry, store: Watched, lost: str) -> None:
    """All pairs are counted, a hundred are named, and no statement gives more than a range."""
    if lost == "registry":
        fill(store, PAIRS)
        with registry.engine.begin() as connection:
            for table in (RIWAYAT_PENDIDIKAN, MAHASISWA, KELAS):
                connection.execute(delete(table))
    kind = "missing" if lost == "graph" else "extra"
    found = verify(registry, store)
    assert (found["differences"], len(found["named"])) == (len(PAIRS), 100)
    assert found["named"] == [{"kind": kind, "nim": nim, "kode": kode} for nim, kode in sorted(PAIRS)[:100]]
    assert store.most <= 10
    assert found["ranges"]["compared"] >= 10


def test_no_range_of_the_registry_is_large_either(
    registry: Registry, store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty graph every list of pairs that the registry gives is of one range."""
    sizes = []
    edges = registry.edges

    def counted(after: str = "", until: str | None = None) -> list[tuple[str, str]]:
        found = edges(after, until)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(registry, "edges", counted)
    verify(registry, store)
    assert sum(sizes) == len(PAIRS)
    assert max(sizes) <= 2 * (10 + 1)


def test_the_repair_of_a_graph_with_far_too_much_goes_by_ranges_too(
    registry: Registry, store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry lost all but two students: what is left of the others is found and removed in bounded steps."""
    monkeypatch.setattr(reconcile, "_STUDENTS", 10)
    fill(store, PAIRS)
    kept = (STUDENTS[40], STUDENTS[99])
    with registry.engine.begin() as connection:
        connection.execute(delete(RIWAYAT_PENDIDIKAN).where(RIWAYAT_PENDIDIKAN.c.nim.not_in(kept)))
    config = InMemoryClient({"SYNC_BATCH_SIZE": 100}, contracts=CONTRACTS)
    status = SyncRunner(config, store, registry, threading.Event()).run()
    assert (status.state, status.difference) == ("done", 2 * 98)
    assert store.most <= 20
    assert verify(registry, store)["equal"]
