"""The pages about the services say what the services do."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.http import Parts, build_app
from kemudi.graph.metrics import Metrics
from kemudi.graph.problems import PAGES
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.sync.status import SyncStatus

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference" / "graph-service.md").read_text()
EXPLANATION = (DOCS / "explanation" / "recommendations.md").read_text()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LadybugStore]:
    opened = LadybugStore(tmp_path / "graph.lbdb")
    opened.prepare()
    yield opened
    opened.close()


def test_every_route_is_in_the_reference_and_no_other(store: LadybugStore) -> None:
    """Method and path, in the table of requests."""
    config = InMemoryClient(contracts=CONTRACTS)
    app = build_app(Parts(config, GraphService(config, store), store))
    there = {
        (method, route.path)
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method != "HEAD"
    }
    assert set(re.findall(r"(?m)^\| `(GET|POST)` `([^`]+)`", REFERENCE)) == there


def test_every_problem_is_in_the_reference_and_no_other() -> None:
    """By the name of its type."""
    assert set(re.findall(r"(?m)^\| \d{3} \| `([a-z-]+)`", REFERENCE)) == set(PAGES)


def test_every_field_of_the_status_and_every_metric_is_in_the_reference() -> None:
    """Under the name that is seen outside."""
    assert [each.name for each in fields(SyncStatus) if f"`{each.name}`" not in REFERENCE] == []
    metrics = Metrics()
    metrics.watch_sync(lambda: SyncStatus(last_success="2025-01-01T00:00:00Z"))
    names = set(re.findall(r"(?m)^# TYPE (\S+)", metrics.text().decode()))
    assert {each for each in names if not each.endswith("_created")} == set(
        re.findall(r"`(kemudi_(?:graph|sync)_[a-z_]+)`", REFERENCE)
    )


def test_every_setting_is_in_the_reference() -> None:
    """All that the two services read."""
    keys = [key for model in CONTRACTS.values() for key in model.model_fields]
    assert [key for key in keys if f"`{key}`" not in REFERENCE] == []


def test_the_example_of_the_explanation_is_true(store: LadybugStore) -> None:
    """Ani's scores, as the page computes them by hand."""
    takes = {"ani": "AB", "budi": "ABC", "citra": "BD", "dewi": "D"}
    store.write(
        [
            ("merge_students", {"rows": [{"nim": each, "nama": each} for each in takes]}),
            ("merge_classes", {"rows": [{"kode": each, "nama": each} for each in "ABCD"]}),
            (
                "merge_pairs",
                {"pairs": [{"nim": nim, "kode": kode} for nim, kodes in takes.items() for kode in kodes]},
            ),
        ]
    )
    service = GraphService(InMemoryClient(contracts=CONTRACTS), store)

    def scores(algorithm: str) -> dict[str, float]:
        return {each["kode"]: each["score"] for each in service.recommendations("ani", algorithm=algorithm)}

    assert scores("collaborative") == {"C": 2, "D": 1}
    assert scores("similarity") == pytest.approx({"C": 5 / 6, "D": 1 / 4})
    assert scores("hybrid") == pytest.approx({"C": 1 / 61, "D": 1 / 62})
    for shown in ("C scores 2", "D scores 1 ", "0.8333", "0.25", "1/61 = 0.0164", "1/62 = 0.0161"):
        assert shown in " ".join(EXPLANATION.split())
