"""The graph service on a real port over both stores: time limits, outages, settings that change under load."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import DataVersion, MemoryCache
from kemudi.graph.http import Parts, build_app
from kemudi.graph.queries import query
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.stores.neo4j import Neo4jStore
from kemudi.graph.sync.checkpoint import Checkpoints
from kemudi.graph.sync.loop import SyncLoop
from kemudi.graph.sync.runner import SyncRunner
from kemudi.schema.secret import Secret
from kemudi.web.logs import make_log
from kemudi.web.server import HttpServer, listen

# Every four students compared; with hundreds of them it cannot end within a test.
ENDLESS = (
    "MATCH (a:MahasiswaNode), (b:MahasiswaNode), (c:MahasiswaNode), (d:MahasiswaNode) "
    "WHERE a.nama + b.nama < c.nama + d.nama + $nim RETURN count(*) AS n LIMIT $limit"
)


@pytest.fixture
def config() -> InMemoryClient:
    return InMemoryClient({"SYNC_BATCH_SIZE": 200, "API_RATE_LIMIT": 10**6}, contracts=CONTRACTS)


@pytest.fixture
def serving(
    request: pytest.FixtureRequest, config: InMemoryClient, until: Any
) -> Iterator[Callable[..., httpx.Client]]:
    """A client of the whole application over a store, with the cache, and with a sync when there is a registry."""
    # Made before, hence closed after: a sync may still run when a test ends.
    for served in {"store", "endless", "source"} & {*request.fixturenames}:
        request.getfixturevalue(served)
    with contextlib.ExitStack() as stack:

        def make(store: GraphStore, registry: Any = None) -> httpx.Client:
            service = GraphService(
                config, store, MemoryCache(DataVersion(Checkpoints(store).data_version, 0))
            )
            runner = loop = None
            if registry is not None:
                ending = threading.Event()
                runner = SyncRunner(config, store, registry, ending)
                loop = SyncLoop(runner, ending, make_log())
                stack.callback(until, loop.stop, 60)
                loop.start()
            server = HttpServer(
                build_app(Parts(config, service, store, runner, loop)),
                listen("127.0.0.1", 0, who="the test"),
                name="graph-http",
            )
            stack.callback(server.close)
            server.start()
            return stack.enter_context(httpx.Client(base_url=server.url, timeout=30))

        yield make


def copied(http: httpx.Client, until: Any) -> dict[str, Any]:
    """The status once the first run is over."""
    status: dict[str, Any] = until(
        lambda: (found := http.get("/sync/status").json())["state"] == "done" and found, 60
    )
    return status


def listed(http: httpx.Client, limit: int) -> list[str]:
    """Every nim, page by page."""
    found: list[str] = []
    parameters: dict[str, Any] = {"limit": limit}
    while True:
        page = http.get("/students", params=parameters).json()
        found += [each["nim"] for each in page["items"]]
        if page["next"] is None:
            return found
        assert len(page["items"]) == limit
        parameters["cursor"] = page["next"]


def test_a_synced_registry_is_answered_for(
    serving: Any, store: GraphStore, source: Any, config: InMemoryClient, until: Any
) -> None:
    """From rows to answers: everybody is listed once, each with the classes of the registry; verify says equal."""
    rows = source(1_200)
    http = serving(store, rows.registry)
    status = copied(http, until)
    assert (status["rows_done"], status["rows_total"]) == (1_200, 1_200)
    assert http.get("/sync/verify").json()["equal"] is True
    takes: dict[str, list[str]] = {}
    for nim, kode in rows.registry.edges():
        takes.setdefault(nim, []).append(kode)
    for size in (7, 50, 500):
        assert listed(http, size) == sorted(takes)
    for nim in sorted(takes)[:10]:
        student = http.get(f"/students/{nim}").json()
        assert [each["kode"] for each in student["classes"]] == sorted(takes[nim])
        mates = http.get(f"/students/{nim}/classmates").json()["items"]
        shared = {other: len({*takes[nim]} & {*kodes}) for other, kodes in takes.items() if other != nim}
        best = sorted((-count, other) for other, count in shared.items() if count)[:50]
        assert [(-each["shared_classes"], each["nim"]) for each in mates] == best


def test_a_run_can_be_asked_for(
    serving: Any, store: GraphStore, source: Any, config: InMemoryClient, until: Any
) -> None:
    """202 with the status of the run that begins; a pause shows; switched off it is a 409."""
    rows = source(400)
    http = serving(store, rows.registry)
    first = copied(http, until)
    config.publish(SYNC_PAUSED=True)
    answer = http.post("/sync/run")
    assert answer.status_code == 202
    assert answer.json()["run"] == first["run"] + 1
    until(lambda: http.get("/sync/status").json()["state"] == "paused")
    assert http.post("/sync/run").json()["run"] == first["run"] + 1  # the one that is under way
    config.publish(SYNC_PAUSED=False)
    assert copied(http, until)["run"] == first["run"] + 1


def test_without_the_sync_service_a_run_is_refused(serving: Any, store: GraphStore, source: Any) -> None:
    """NEO4J_ENABLE_SYNC off, which holds from the start of the process."""
    off = InMemoryClient({"NEO4J_ENABLE_SYNC": False}, contracts=CONTRACTS)
    rows, ending = source(100), threading.Event()
    runner = SyncRunner(off, store, rows.registry, ending)
    loop = SyncLoop(runner, ending, make_log())
    server = HttpServer(
        build_app(Parts(off, GraphService(off, store), store, runner, loop)),
        listen("127.0.0.1", 0, who="the test"),
        name="graph-http",
    )
    server.start()
    try:
        answer = httpx.post(f"{server.url}/sync/run")
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/sync-disabled")
    finally:
        server.close()
        loop.stop()


def test_every_answer_obeys_the_revision_that_it_names(
    serving: Any, store: GraphStore, source: Any, config: InMemoryClient, until: Any
) -> None:
    """While settings are published without a pause, no answer has the limit of one revision and the name of another."""
    rows = source(1_200)
    http = serving(store, rows.registry)
    copied(http, until)
    nim = max(
        (each for each in listed(http, 500)[:40]),
        key=lambda each: len(http.get(f"/students/{each}/classmates").json()["items"]),
    )
    ending = threading.Event()

    def publish() -> None:
        turn = 0
        while not ending.is_set():
            turn = turn % 9 + 1
            config.publish({"GRAPH_CLASSMATES_LIMIT": turn}, revision=f"{turn:040}")

    def ask(seen: list[tuple[int, int]]) -> None:
        with httpx.Client(base_url=http.base_url, timeout=30) as own:
            while not ending.is_set():
                answer = own.get(f"/students/{nim}/classmates").json()
                seen.append((int(answer["revision"]), len(answer["items"])))

    config.publish({"GRAPH_CLASSMATES_LIMIT": 1}, revision=f"{1:040}")
    seen: list[list[tuple[int, int]]] = [[], [], []]
    threads = [threading.Thread(target=publish), *(threading.Thread(target=ask, args=(own,)) for own in seen)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: sum(map(len, seen)) > 100 and len({each for own in seen for each in own}) > 5, 60)
    finally:
        ending.set()
        for thread in threads:
            thread.join(30)
    assert {revision - count for own in seen for revision, count in own} == {0}


def test_answers_during_a_sync_are_of_whole_batches(
    serving: Any, store: GraphStore, source: Any, config: InMemoryClient, until: Any
) -> None:
    """Readers get 200 throughout, and a class never loses students while rows are only added."""
    rows = source(6_000)
    config.publish(SYNC_BATCH_SIZE=50)
    http = serving(store, rows.registry)
    nim = rows.registry.edges()[0][0]
    until(lambda: http.get(f"/students/{nim}").status_code == 200)
    counts: list[int] = []
    while http.get("/sync/status").json()["phase"] == "rows" and len(counts) < 200:
        answer = http.get(f"/students/{nim}/classmates?limit=50")
        assert answer.status_code == 200
        counts.append(sum(each["shared_classes"] for each in answer.json()["items"]))
    assert counts == sorted(counts)
    assert copied(http, until)["rows_done"] == 6_000


@pytest.fixture
def endless(place: Any) -> Iterator[GraphStore]:
    """A store on which classmates cannot be found in a lifetime, with students to look through."""

    def texts(name: str) -> str:
        return ENDLESS if name == "classmates" else query(name)

    opened: GraphStore
    if place.kind == "ladybug":
        opened = LadybugStore(Path(place.where), texts)
    else:
        opened = Neo4jStore(place.where, "neo4j", Secret(place.password), texts)
    opened.prepare()
    students = [{"nim": f"{number:04}", "nama": f"Nama {number}"} for number in range(400)]
    opened.write(
        [
            ("merge_students", {"rows": students}),
            ("merge_classes", {"rows": [{"kode": "A", "nama": "A"}]}),
            ("merge_pairs", {"pairs": [{"nim": each["nim"], "kode": "A"} for each in students]}),
        ]
    )
    yield opened
    opened.close()


def test_a_query_that_takes_too_long_is_a_504_and_no_burden(
    serving: Any, endless: GraphStore, config: InMemoryClient
) -> None:
    """The store ends it at GRAPH_QUERY_TIMEOUT: more of them than there are connections leave room for others."""
    config.publish(GRAPH_QUERY_TIMEOUT=1)
    http = serving(endless)
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(http.get("/students/0001/classmates")))
        for _ in range(6)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert time.monotonic() - began < 15
    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (504, "/problems/query-timeout")
        assert "1 s" in answer.json()["detail"]
    assert len(answers) == 6
    assert http.get("/students/0001").json()["nama"] == "Nama 1"


def test_a_changed_time_limit_holds_for_the_next_request(
    serving: Any, endless: GraphStore, config: InMemoryClient
) -> None:
    """Two seconds, then one."""
    http = serving(endless)
    for seconds in (2, 1):
        config.publish(GRAPH_QUERY_TIMEOUT=seconds)
        began = time.monotonic()
        answer = http.get("/students/0001/classmates")
        assert answer.status_code == 504
        assert f"{seconds} s" in answer.json()["detail"]
        assert time.monotonic() - began >= seconds * 0.9


@pytest.mark.neo4j
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_neo4j_away_is_a_503_until_it_is_back(
    serving: Any, neo4j_server: Any, config: InMemoryClient, until: Any
) -> None:
    """Requests are answered with a problem that says when to try again; readiness follows; liveness does not."""
    store = Neo4jStore(neo4j_server.uri, neo4j_server.user, Secret(neo4j_server.password))
    store.prepare()
    try:
        http = serving(store)
        assert http.get("/readyz").json() == {"ready": True, "reason": None}
        neo4j_server.kill()
        answer = http.get("/students")
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/graph-unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert neo4j_server.password not in answer.text
        ready = http.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert "Neo4j does not answer" in ready.json()["reason"]
        assert http.get("/healthz").status_code == 200
        neo4j_server.start()
        until(lambda: http.get("/readyz").status_code == 200, 60)
        assert http.get("/students").json()["items"] == []
    finally:
        store.close()
