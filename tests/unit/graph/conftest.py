"""A small graph on the embedded store, and settings that a test changes as a merged commit does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore

PAIRS = [
    ("1", "A"),
    ("1", "B"),
    ("2", "A"),
    ("2", "B"),
    ("2", "C"),
    ("3", "B"),
    ("3", "D"),
    ("4", "D"),
    ("4", "E"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GraphStore]:
    """Student 1 shares A and B with 2, and B with 3; 4 is a friend of a friend by way of D."""
    opened = LadybugStore(tmp_path / "graph.lbdb")
    opened.prepare()
    opened.write(
        [
            ("merge_students", {"rows": [{"nim": nim, "nama": f"Nama {nim}"} for nim in "1234"]}),
            ("merge_classes", {"rows": [{"kode": kode, "nama": f"Nama {kode}"} for kode in "ABCDE"]}),
            ("merge_pairs", {"pairs": [{"nim": nim, "kode": kode} for nim, kode in PAIRS]}),
            ("bump_version", {}),
        ]
    )
    yield opened
    opened.close()


@pytest.fixture
def config() -> InMemoryClient:
    """Every setting at its default."""
    return InMemoryClient(contracts=CONTRACTS)
