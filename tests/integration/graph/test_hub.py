"""A class that thousands take breaks neither the limits nor the time-out, nor does it fill the memory."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.pages import by, ranked_page
from kemudi.graph.service import ALGORITHMS
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore

HUB = 5_000
FAR = 500
BATCH = 2_500
MOST_MEGABYTES = 48


def takes() -> dict[str, list[str]]:
    """Everybody of the hub takes it and two classes of hundreds; students far away share one of those with some."""
    near = {f"{number:05}": ["HUB", f"K{number % 40:02}", f"L{number % 30:02}"] for number in range(HUB)}
    return near | {f"9{number:04}": [f"K{number % 40:02}", f"M{number % 7}"] for number in range(FAR)}


@pytest.fixture
def hub(store: GraphStore) -> Iterator[GraphStore]:
    everybody = takes()
    nims, kodes = list(everybody), sorted({kode for each in everybody.values() for kode in each})
    store.write([("merge_classes", {"rows": [{"kode": kode, "nama": kode} for kode in kodes]})])
    for start in range(0, len(nims), BATCH):
        some = nims[start : start + BATCH]
        pairs = [{"nim": nim, "kode": kode} for nim in some for kode in everybody[nim]]
        store.write(
            [
                ("merge_students", {"rows": [{"nim": nim, "nama": nim} for nim in some]}),
                ("merge_pairs", {"pairs": pairs}),
                ("bump_version", {}),
            ]
        )
    return store


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_hub_of_thousands_is_answered_for_within_the_default_time_limit(hub: GraphStore) -> None:
    """Every answer has the length of its setting and is the right one; memory is bounded; pages go through it all."""
    everybody = takes()
    nim, mine = "00000", {*everybody["00000"]}
    service = GraphService(InMemoryClient(contracts=CONTRACTS), hub)
    shared = {who: len(mine & {*kodes}) for who, kodes in everybody.items() if who != nim}
    best = sorted((-count, who) for who, count in shared.items() if count)
    assert [(-each["shared_classes"], each["nim"]) for each in service.classmates(nim)] == best[:50]

    tracemalloc.start()
    friends = service.friends_of_friends(nim)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MOST_MEGABYTES * 2**20
    taken_by: dict[str, set[str]] = {}
    for who, kodes in everybody.items():
        for kode in kodes:
            taken_by.setdefault(kode, set()).add(who)
    mates = {who for _, who in best}
    behind = everybody.keys() - mates - {nim}
    far = {who: set().union(*(taken_by[kode] for kode in everybody[who])) & mates for who in behind}
    ranked = sorted((-len(between), who) for who, between in far.items())
    assert [(-each["via"], each["nim"]) for each in friends] == ranked[:20]

    for algorithm in ALGORITHMS:
        found = service.recommendations(nim, algorithm=algorithm)
        assert len(found) == 10
        assert not mine & {each["kode"] for each in found}

    whole = InMemoryClient({"GRAPH_CLASSMATES_LIMIT": 10**6}, contracts=CONTRACTS)
    seen: list[Any] = []
    cursor: str | None = None
    while cursor or not seen:
        page = ranked_page(
            lambda most: GraphService(whole, hub).classmates(nim, most),
            by("shared_classes", "nim"),
            2_000,
            cursor,
        )
        seen += page.items
        cursor = page.next
    assert [(-each["shared_classes"], each["nim"]) for each in seen] == best
