"""Each setting of the graph service changes what the running service does, at once, or says that a restart is due."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import CountedCache, DataVersion, MemoryCache
from kemudi.graph.http import Parts, build_app
from kemudi.graph.queries import query
from kemudi.graph.registry import Registry
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.sync.checkpoint import Checkpoints
from kemudi.graph.sync.loop import SyncLoop
from kemudi.graph.sync.runner import SyncRunner
from kemudi.schema.secret import Secret
from kemudi.web.logs import make_log
from kemudi.web.server import HttpServer, listen

TAKES = {"1": "AB", "2": "ABC", "3": "BD", "4": "DE", "5": "CE", "6": "FG"} | {
    f"{number:04}": "H" for number in range(300)
}
# Every four students compared: it cannot end within a test.
SLOW = (
    "MATCH (a:MahasiswaNode), (b:MahasiswaNode), (c:MahasiswaNode), (d:MahasiswaNode) "
    "WHERE a.nama + b.nama < c.nama + d.nama + $after RETURN count(*) AS n LIMIT $limit"
)


@dataclass
class Running:
    """The service on a port, a clock that only a test moves, and what the cache was asked."""

    config: InMemoryClient
    http: httpx.Client
    looked_up: list[bool] = field(default_factory=list)
    now: float = 1_000.0

    def items(self, address: str) -> list[Any]:
        answer = self.http.get(address)
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["items"]
        return found

    def kodes(self, address: str) -> list[str]:
        return [each["kode"] for each in self.items(address)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    store = LadybugStore(tmp_path / "graph.lbdb", lambda name: SLOW if name == "students" else query(name))
    store.prepare()
    pairs = [{"nim": nim, "kode": kode} for nim, kodes in TAKES.items() for kode in kodes]
    store.write(
        [
            ("merge_students", {"rows": [{"nim": nim, "nama": f"Nama {nim}"} for nim in TAKES]}),
            ("merge_classes", {"rows": [{"kode": kode, "nama": f"Nama {kode}"} for kode in "ABCDEFGH"]}),
            ("merge_pairs", {"pairs": pairs}),
            ("bump_version", {}),
        ]
    )
    first = {"API_RATE_LIMIT": 10**6, "NEO4J_PASSWORD": Secret("the first")}
    config = InMemoryClient(first, contracts=CONTRACTS)
    made = Running(config, httpx.Client())
    version = DataVersion(Checkpoints(store).data_version, 0)
    cache = CountedCache(MemoryCache(version, clock=lambda: made.now), made.looked_up.append)
    service = GraphService(config, store, cache)
    registry, ending = Registry("sqlite://"), threading.Event()
    runner = SyncRunner(config, store, registry, ending)
    loop = SyncLoop(runner, ending, make_log())  # not begun: whether there is a sync at all is asked before
    app = build_app(Parts(config, service, store, runner, loop, version=version))
    server = HttpServer(app, listen("127.0.0.1", 0, who="the test"), name="graph-http")
    server.start()
    with httpx.Client(base_url=server.url, timeout=30) as made.http:
        yield made
    server.close()
    registry.close()
    store.close()


def limits(key: str, address: str) -> Callable[[Running], None]:
    def check(running: Running) -> None:
        whole = running.items(address)
        assert len(whole) > 1
        running.config.publish({key: 1})
        assert running.items(address) == whole[:1]
        running.config.publish({key: 40})
        assert running.items(address) == whole

    return check


def query_timeout(running: Running) -> None:
    for seconds in (2, 1):
        running.config.publish(GRAPH_QUERY_TIMEOUT=seconds)
        answer = running.http.get("/students")
        assert (answer.status_code, answer.json()["type"]) == (504, "/problems/query-timeout")
        assert f"{seconds} s" in answer.json()["detail"]


def algorithm(running: Running) -> None:
    address = "/students/1/recommendations"
    assert "nim" in running.items(address)[0]["because"][0]
    running.config.publish(GRAPH_RECOMMENDATION_ALGORITHM="similarity")
    assert "kode" in running.items(address)[0]["because"][0]
    running.config.publish(GRAPH_RECOMMENDATION_ALGORITHM="hybrid")
    assert {next(iter(each)) for each in running.items(address)[0]["because"]} == {"nim", "kode"}


def hybrid_weights(running: Running) -> None:
    address = "/students/5/recommendations?algorithm="
    for name in ("collaborative", "similarity"):
        running.config.publish(GRAPH_HYBRID_WEIGHTS={name: 1.0})
        assert running.kodes(address + "hybrid") == running.kodes(address + name)
    running.config.publish(GRAPH_HYBRID_WEIGHTS={"similarity": 0.0})
    assert running.http.get(address + "hybrid").json()["reason"] == "no-weights"


def cache_ttl(running: Running) -> None:
    def hit() -> bool:
        running.items("/students/1/classmates")
        return running.looked_up[-1]

    assert [hit(), hit()] == [False, True]
    running.now += 200
    assert hit()
    running.config.publish(CACHE_TTL=100)
    assert [hit(), hit()] == [False, True]
    running.now += 101
    assert not hit()


def rate_limit(running: Running) -> None:
    def status() -> int:
        return running.http.get("/students/1").status_code

    assert [status() for _ in range(5)] == [200] * 5
    running.config.publish(API_RATE_LIMIT=5)
    assert status() == 429  # what was asked in this minute counts
    running.config.publish(API_RATE_LIMIT=50)
    assert status() == 200


def feature_enabled(running: Running) -> None:
    running.items("/students/1/classmates")
    running.config.publish(GRAPH_FEATURE_ENABLED=False)
    answer = running.http.get("/students/1/classmates")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/feature-disabled")
    running.config.publish(GRAPH_FEATURE_ENABLED=True)
    running.items("/students/1/classmates")


def recommendations_enabled(running: Running) -> None:
    assert running.items("/students/1/recommendations")[0]["because"]
    running.config.publish(GRAPH_RECOMMENDATIONS_ENABLED=False)
    assert running.items("/students/1/recommendations")[0] == {
        "kode": "H",
        "nama": "Nama H",
        "score": 300,
        "because": [],
    }


def cache_enabled(running: Running) -> None:
    for _ in range(2):
        running.items("/students/1/classmates")
    assert running.looked_up == [False, True]
    running.config.publish(GRAPH_CACHE_ENABLED=False)
    running.items("/students/1/classmates")
    assert "etag" not in running.http.get("/students/1/classmates").headers
    assert len(running.looked_up) == 2
    running.config.publish(GRAPH_CACHE_ENABLED=True)
    running.items("/students/1/classmates")
    assert len(running.looked_up) == 3


def restart(key: str, value: Any) -> Callable[[Running], None]:
    """What the process started with goes on being served, and the difference is reported."""

    def check(running: Running) -> None:
        served = running.config[key]
        running.config.publish({key: value})
        assert running.config.health().restart_pending == (key,)
        assert running.config[key] == served
        running.items("/students/1/classmates")
        running.config.publish({key: served})
        assert running.config.health().restart_pending == ()

    return check


def enable_sync(running: Running) -> None:
    restart("NEO4J_ENABLE_SYNC", False)(running)
    running.config.publish(NEO4J_ENABLE_SYNC=False)
    assert running.http.post("/sync/run").status_code == 202  # as it was at the start; else a 409


TABLE: dict[str, Callable[[Running], None]] = {
    "GRAPH_CLASSMATES_LIMIT": limits("GRAPH_CLASSMATES_LIMIT", "/students/1/classmates"),
    "GRAPH_FRIENDS_OF_FRIENDS_LIMIT": limits(
        "GRAPH_FRIENDS_OF_FRIENDS_LIMIT", "/students/1/friends-of-friends"
    ),
    "GRAPH_RECOMMENDATIONS_LIMIT": limits("GRAPH_RECOMMENDATIONS_LIMIT", "/students/1/recommendations"),
    "GRAPH_QUERY_TIMEOUT": query_timeout,
    "GRAPH_RECOMMENDATION_ALGORITHM": algorithm,
    "GRAPH_HYBRID_WEIGHTS": hybrid_weights,
    "CACHE_TTL": cache_ttl,
    "API_RATE_LIMIT": rate_limit,
    "GRAPH_FEATURE_ENABLED": feature_enabled,
    "GRAPH_RECOMMENDATIONS_ENABLED": recommendations_enabled,
    "GRAPH_CACHE_ENABLED": cache_enabled,
    "NEO4J_URI": restart("NEO4J_URI", "bolt://127.0.0.1:1"),
    "NEO4J_USER": restart("NEO4J_USER", "another"),
    "NEO4J_PASSWORD": restart("NEO4J_PASSWORD", "another"),
    "NEO4J_ENABLE_SYNC": enable_sync,
}


@pytest.mark.parametrize("key", sorted(TABLE))
def test_a_setting_steers_the_running_service(running: Running, key: str) -> None:
    """One process, never restarted: the next request shows the change, or the setting is reported as pending."""
    TABLE[key](running)


def test_no_setting_of_the_graph_is_forgotten() -> None:
    """A new one cannot be added without its row; the sync has its own table."""
    keys = {key for model in CONTRACTS.values() for key in model.model_fields}
    assert {key for key in keys if not key.startswith("SYNC_")} == set(TABLE)
