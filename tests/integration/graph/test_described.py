"""The OpenAPI description holds: requests made from it, right and wrong ones, are answered as it says."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import DataVersion, MemoryCache
from kemudi.graph.http import Parts, build_app
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.sync.checkpoint import Checkpoints

load_all_checks()
TAKES = {"1": "AB", "2": "ABC", "3": "BD", "4": "DE"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The application over four students, with tags and a cache, and without a registry."""
    store = LadybugStore(tmp_path_factory.mktemp("described") / "graph.lbdb")
    store.prepare()
    pairs = [{"nim": nim, "kode": kode} for nim, kodes in TAKES.items() for kode in kodes]
    store.write(
        [
            ("merge_students", {"rows": [{"nim": nim, "nama": f"Nama {nim}"} for nim in TAKES]}),
            ("merge_classes", {"rows": [{"kode": kode, "nama": f"Nama {kode}"} for kode in "ABCDE"]}),
            ("merge_pairs", {"pairs": pairs}),
            ("bump_version", {}),
        ]
    )
    config = InMemoryClient({"API_RATE_LIMIT": 10**6}, contracts=CONTRACTS)
    version = DataVersion(Checkpoints(store).data_version, 0)
    service = GraphService(config, store, MemoryCache(version))
    yield build_app(Parts(config, service, store, version=version))
    store.close()


@pytest.fixture(scope="module")
def described(app: Any) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_request_is_answered_as_described(described: Any, mode: GenerationMode) -> None:
    """Statuses, bodies, headers and media types; what the description forbids is refused; nothing is a 500.

    One check is left out: a cursor of no page is text as the description wants it, and refused all the same.
    """
    asked = set()
    for found in described.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not operation.query:
            continue  # any text may be a student or a tag: no such request is wrong

        @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def answered(case: schemathesis.Case) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answered()
        asked.add(operation.label)
    assert {"GET /students", "GET /students/{nim}/recommendations"} <= asked


def test_the_description_names_every_problem_and_tag(described: Any) -> None:
    """Of each route of students: the tag of an answer, 304 without a body, and problems as RFC 9457 has them."""
    for path, item in described.raw_schema["paths"].items():
        if not path.startswith("/students"):
            continue
        answers = item["get"]["responses"]
        assert {"200", "304", "422", "429", "500", "503", "504"} <= set(answers)
        assert "ETag" in answers["200"]["headers"]
        assert "content" not in answers["304"]
        for status, answer in answers.items():
            if status not in {"200", "304"}:
                assert list(answer["content"]) == ["application/problem+json"]
