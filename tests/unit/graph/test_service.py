"""Every call obeys the settings of one revision, from the call on."""

import time
from typing import Any

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import DataVersion, MemoryCache
from kemudi.graph.errors import (
    FeatureDisabledError,
    InvalidRequestError,
    QueryTimeoutError,
    StudentNotFoundError,
)
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Checkpoints


@pytest.fixture
def service(config: InMemoryClient, store: GraphStore) -> GraphService:
    return GraphService(config, store)


def nims(answer: list[dict[str, Any]]) -> list[str]:
    return [each["nim"] for each in answer]


def kodes(answer: list[dict[str, Any]]) -> list[str]:
    return [each["kode"] for each in answer]


def test_the_shapes_are_those_that_are_documented(service: GraphService) -> None:
    """One item of each kind, whole."""
    assert service.classmates("1")[0] == {"nim": "2", "nama": "Nama 2", "shared_classes": 2}
    assert service.friends_of_friends("1") == [{"nim": "4", "nama": "Nama 4", "via": 1}]
    assert service.recommendations("1")[0] == {
        "kode": "C",
        "nama": "Nama C",
        "score": 2,
        "because": [{"nim": "2", "weight": 2}],
    }
    assert service.student("4") == {
        "nim": "4",
        "nama": "Nama 4",
        "classes": [{"kode": "D", "nama": "Nama D"}, {"kode": "E", "nama": "Nama E"}],
    }
    assert nims(service.students(after="1", limit=2)) == ["2", "3"]


@pytest.mark.parametrize(
    ("key", "method", "length"),
    [
        ("GRAPH_CLASSMATES_LIMIT", "classmates", 2),
        ("GRAPH_FRIENDS_OF_FRIENDS_LIMIT", "friends_of_friends", 1),
        ("GRAPH_RECOMMENDATIONS_LIMIT", "recommendations", 2),
    ],
)
def test_a_limit_can_only_lower_its_setting(
    service: GraphService, config: InMemoryClient, key: str, method: str, length: int
) -> None:
    """No limit is the setting, above it is cut, below it is obeyed, below one is a ValueError."""
    ask = getattr(service, method)
    assert len(ask("1")) == length
    config.publish({key: 1})
    assert len(ask("1")) == len(ask("1", limit=99)) == 1
    config.publish({key: 50})
    assert len(ask("1", limit=1)) == 1
    for limit in (0, -3):
        with pytest.raises(ValueError, match="at least 1"):
            ask("1", limit=limit)


def test_the_algorithm_is_the_setting_unless_the_call_names_one(
    service: GraphService, config: InMemoryClient
) -> None:
    """And an unknown one is a ValueError that names those there are."""
    config.publish(GRAPH_RECOMMENDATION_ALGORITHM="similarity")
    assert "kode" in service.recommendations("1")[0]["because"][0]
    assert "nim" in service.recommendations("1", algorithm="collaborative")[0]["because"][0]
    with pytest.raises(ValueError, match="collaborative, similarity, hybrid") as caught:
        service.recommendations("1", algorithm="psychic")
    assert isinstance(caught.value, InvalidRequestError)


def test_an_algorithm_that_no_contract_allows_is_refused_all_the_same(store: GraphStore) -> None:
    """The contract keeps it out of git; a client without contracts could still bring it."""
    values = {
        "GRAPH_FEATURE_ENABLED": True,
        "GRAPH_RECOMMENDATION_ALGORITHM": "psychic",
        "GRAPH_RECOMMENDATIONS_LIMIT": 5,
        "GRAPH_QUERY_TIMEOUT": 5,
    }
    with pytest.raises(ValueError, match="psychic"):
        GraphService(InMemoryClient(values), store).recommendations("1")


def test_hybrid_weights_decide_between_the_rankings(service: GraphService, config: InMemoryClient) -> None:
    """All weight on one ranking gives its order; a weight of nothing leaves it out."""
    for name in ("collaborative", "similarity"):
        config.publish(GRAPH_HYBRID_WEIGHTS={name: 1.0})
        hybrid = service.recommendations("1", algorithm="hybrid")
        assert kodes(hybrid) == kodes(service.recommendations("1", algorithm=name))


def test_with_recommendations_off_the_most_taken_classes_are_given(
    service: GraphService, config: InMemoryClient
) -> None:
    """Without those that the student takes, whatever the algorithm; on again at once."""
    config.publish(GRAPH_RECOMMENDATIONS_ENABLED=False)
    answer = service.recommendations("1", algorithm="hybrid")
    assert [(each["kode"], each["score"], each["because"]) for each in answer] == [
        ("D", 2, []),
        ("C", 1, []),
        ("E", 1, []),
    ]
    config.publish(GRAPH_RECOMMENDATIONS_ENABLED=True)
    assert service.recommendations("1")[0]["because"]


def test_the_kill_switch_stops_every_method_and_it_recovers(
    service: GraphService, config: InMemoryClient
) -> None:
    """The message is the one that is documented."""
    config.publish(GRAPH_FEATURE_ENABLED=False)
    calls = [service.classmates, service.friends_of_friends, service.recommendations, service.student]
    for call in (*calls, lambda _nim: service.students()):
        with pytest.raises(FeatureDisabledError, match=r"^Graph features are currently disabled$"):
            call("1")
    config.publish(GRAPH_FEATURE_ENABLED=True)
    assert all(call("1") for call in calls)


class Recording:
    """A store that keeps the time limits it was given, and takes its time when told so."""

    name, parallel_writers = "recording", 1

    def __init__(self, inner: GraphStore) -> None:
        self.inner = inner
        self.timeouts: list[float] = []
        self.late = False
        self.slow = 0.0

    def read(self, query: str, parameters: Any, *, timeout: float) -> Any:
        self.timeouts.append(timeout)
        if self.late:
            raise QueryTimeoutError(timeout)
        time.sleep(self.slow)
        return self.inner.read(query, parameters, timeout=timeout)


def test_one_time_limit_is_for_all_queries_of_a_call(config: InMemoryClient, store: GraphStore) -> None:
    """Each query has what those before it left; the error names the setting, not the rest that was left."""
    recording = Recording(store)
    service = GraphService(config, recording)  # type: ignore[arg-type]  # reads only
    config.publish(GRAPH_QUERY_TIMEOUT=7)
    service.recommendations("1", algorithm="hybrid")
    assert len(recording.timeouts) == 4
    assert 0 < recording.timeouts[-1] < recording.timeouts[0] <= 7
    assert recording.timeouts == sorted(recording.timeouts, reverse=True)
    recording.late = True
    with pytest.raises(QueryTimeoutError, match="than 7 s"):
        service.classmates("1")


def test_a_call_that_has_used_its_time_up_asks_nothing_more(
    config: InMemoryClient, store: GraphStore
) -> None:
    """Queries that are quick one by one do not add up to more than GRAPH_QUERY_TIMEOUT."""
    recording = Recording(store)
    recording.slow = 0.4
    service = GraphService(config, recording)  # type: ignore[arg-type]  # reads only
    config.publish(GRAPH_QUERY_TIMEOUT=1)
    with pytest.raises(QueryTimeoutError, match="than 1 s"):
        service.recommendations("1", algorithm="hybrid")
    assert len(recording.timeouts) < 4


def test_the_time_limit_of_a_request_counts_from_its_beginning(
    config: InMemoryClient, store: GraphStore
) -> None:
    """What a request waited for before it asks the store, such as the data version, is not given to it again."""
    recording = Recording(store)
    config.publish(GRAPH_QUERY_TIMEOUT=60)
    with config.pin() as view:
        service = GraphService(config, recording).at(view)  # type: ignore[arg-type]  # reads only
        time.sleep(0.2)
        service.classmates("1")
        assert recording.timeouts[0] <= 59.8
        assert service._began is not None
        service._began -= 60
        with pytest.raises(QueryTimeoutError, match="than 60 s"):
            service.classmates("1")


@pytest.mark.parametrize(
    ("pairs", "answers"),
    [
        (
            [],
            {"classmates": "no-classes", "friends_of_friends": "no-classes", "recommendations": "no-classes"},
        ),
        (
            [("9", "Z")],
            {
                "classmates": "no-classmates",
                "friends_of_friends": "no-classmates",
                "recommendations": "no-classmates",
            },
        ),
        (
            [("9", "Z"), ("8", "Z")],
            {"classmates": None, "friends_of_friends": "nothing-new", "recommendations": "nothing-new"},
        ),
    ],
)
@pytest.mark.parametrize("kept", [False, True])
def test_an_empty_answer_has_its_reason(
    config: InMemoryClient, store: GraphStore, pairs: Any, answers: dict[str, Any], kept: bool
) -> None:
    """No class, nobody in it, nothing beyond; from the cache as well."""
    students = [{"nim": nim, "nama": nim} for nim in ("8", "9")]
    steps: list[Any] = [("merge_students", {"rows": students})]
    if pairs:
        steps.append(("merge_classes", {"rows": [{"kode": "Z", "nama": "Z"}]}))
        steps.append(("merge_pairs", {"pairs": [{"nim": nim, "kode": kode} for nim, kode in pairs]}))
    store.write(steps)
    service = cached(config, store)[0] if kept else GraphService(config, store)
    for _turn in range(2):
        for name, reason in answers.items():
            found = getattr(service, name)("9")
            assert (found.reason, not found) == (reason, reason is not None)


def test_two_more_reasons_are_those_of_settings(config: InMemoryClient, store: GraphStore) -> None:
    """Weights of zero leave nothing to rank by; the fallback has nothing for somebody who takes everything."""
    service = GraphService(config, store)
    config.publish(GRAPH_HYBRID_WEIGHTS={"similarity": 0.0})
    assert service.recommendations("1", algorithm="hybrid").reason == "no-weights"
    assert service.recommendations("1").reason is None
    config.publish(GRAPH_RECOMMENDATIONS_ENABLED=False)
    store.write([("merge_pairs", {"pairs": [{"nim": "1", "kode": kode} for kode in "CDE"]})])
    assert service.recommendations("1").reason == "nothing-new"
    for ask in (service.classmates, service.friends_of_friends, service.recommendations):
        with pytest.raises(StudentNotFoundError):
            ask("nobody")


def cached(config: InMemoryClient, store: GraphStore) -> tuple[GraphService, Recording]:
    recording = Recording(store)
    cache = MemoryCache(DataVersion(Checkpoints(store).data_version, seconds=0))
    return GraphService(config, recording, cache), recording  # type: ignore[arg-type]  # reads only


def test_an_answer_is_kept_until_data_settings_or_switch_change(
    config: InMemoryClient, store: GraphStore
) -> None:
    """A batch of the sync, a commit of any setting, and GRAPH_CACHE_ENABLED off each act on the next call."""
    service, recording = cached(config, store)

    def queries() -> int:
        before = len(recording.timeouts)
        service.classmates("1")
        return len(recording.timeouts) - before

    assert (queries(), queries()) == (1, 0)
    config.publish(SYNC_BATCH_SIZE=5)
    assert (queries(), queries()) == (1, 0)
    store.write([("merge_pairs", {"pairs": [{"nim": "4", "kode": "A"}]}), ("bump_version", {})])
    assert (queries(), queries()) == (1, 0)
    assert nims(service.classmates("1")) == ["2", "3", "4"]
    config.publish(GRAPH_CACHE_ENABLED=False)
    assert (queries(), queries()) == (1, 1)


def test_a_kept_answer_does_not_outlive_the_kill_switch_and_cannot_be_changed_by_its_reader(
    config: InMemoryClient, store: GraphStore
) -> None:
    """The switch is asked before the cache; every caller gets an answer of its own."""
    service, _ = cached(config, store)
    service.classmates("1").clear()
    service.classmates("1")[0]["nama"] = "changed"
    assert service.classmates("1")[0]["nama"] == "Nama 2"
    config.publish(GRAPH_FEATURE_ENABLED=False)
    with pytest.raises(FeatureDisabledError):
        service.classmates("1")


def test_a_pinned_service_obeys_one_revision(service: GraphService, config: InMemoryClient) -> None:
    """So that an answer can name the revision that made it."""
    with config.pin() as view:
        pinned = service.at(view)
        config.publish(GRAPH_CLASSMATES_LIMIT=1)
        assert len(pinned.classmates("1")) == 2
    assert len(service.classmates("1")) == 1
