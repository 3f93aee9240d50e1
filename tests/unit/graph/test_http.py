"""Routes, shapes and problems; every error is `application/problem+json` of a type that has a page."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.errors import GraphRefusedError, GraphUnavailableError, QueryTimeoutError
from kemudi.graph.http import Parts, build_app
from kemudi.graph.stores.base import GraphStore
from kemudi.web.server import HttpServer, listen


@pytest.fixture
def serving(config: InMemoryClient, store: GraphStore) -> Iterator[Callable[..., httpx.Client]]:
    """A client of the application on a real port; parts may be replaced."""
    opened: list[Any] = []

    def make(on: Any = None, **parts: Any) -> httpx.Client:
        service = GraphService(config, on or store)
        server = HttpServer(
            build_app(Parts(config, service, on or store, **parts)),
            listen("127.0.0.1", 0, who="the test"),
            name="graph-http",
        )
        server.start()
        opened.append(server)
        opened.append(httpx.Client(base_url=server.url))
        return opened[-1]

    yield make
    for each in reversed(opened):
        each.close()


@pytest.fixture
def http(serving: Callable[..., httpx.Client]) -> httpx.Client:
    return serving()


def problem(answer: Any, status: int, name: str) -> dict[str, Any]:
    """The body of a problem of the expected kind, whose type has a page."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{name}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def test_lists_say_which_settings_made_them(http: httpx.Client, config: InMemoryClient) -> None:
    """Items, next, and revision and generation of the settings that were obeyed."""
    config.publish({"GRAPH_CLASSMATES_LIMIT": 1}, revision="a" * 40)
    answer = http.get("/students/1/classmates").json()
    assert answer == {
        "items": [{"nim": "2", "nama": "Nama 2", "shared_classes": 2}],
        "next": None,
        "revision": "a" * 40,
        "generation": config.generation,
        "reason": None,
    }
    assert http.get("/students/1/friends-of-friends").json()["items"][0]["via"] == 1
    items = http.get("/students/1/recommendations?limit=1&algorithm=similarity").json()["items"]
    assert set(items[0]) == {"kode", "nama", "score", "because"}
    assert set(http.get("/students/1").json()) >= {"nim", "nama", "classes"}


def test_students_come_in_pages(http: httpx.Client) -> None:
    """Following `next` gives everybody once, in the order of nim."""
    seen: list[str] = []
    cursor = None
    while True:
        page = http.get("/students", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [each["nim"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["1", "2", "3", "4"]
    assert len(http.get("/students?limit=100000").json()["items"]) == 4


@pytest.mark.parametrize(
    "address",
    [
        "/students?limit=0",
        "/students?limit=many",
        "/students?cursor=%21%21",
        "/students?cursor=_w",
        "/students/1/classmates?limit=0",
        "/students/1/friends-of-friends?limit=-1",
        "/students/1/recommendations?limit=1.5",
        "/students/1/recommendations?algorithm=psychic",
    ],
)
def test_what_cannot_be_asked_is_a_422_that_names_it(http: httpx.Client, address: str) -> None:
    """Limits below one, unknown algorithms, cursors of no page."""
    problem(http.get(address), 422, "invalid-request")


def test_an_unknown_student_and_an_unknown_address(http: httpx.Client) -> None:
    """Both 404, of different types; a method that is not taken is a 405."""
    assert "nobody" in problem(http.get("/students/nobody/classmates"), 404, "student-not-found")["detail"]
    problem(http.get("/teachers"), 404, "not-found")
    assert http.post("/students").headers["allow"] == "GET"
    problem(http.post("/students"), 405, "method-not-allowed")
    assert http.get("/docs").status_code == 404


def test_the_kill_switch_is_a_503_and_it_recovers(http: httpx.Client, config: InMemoryClient) -> None:
    """The operators' routes stay."""
    config.publish(GRAPH_FEATURE_ENABLED=False)
    for address in ("/students", "/students/1", "/students/1/classmates", "/students/1/recommendations"):
        body = problem(http.get(address), 503, "feature-disabled")
        assert body["detail"] == "Graph features are currently disabled"
    assert http.get("/readyz").status_code == 200
    config.publish(GRAPH_FEATURE_ENABLED=True)
    assert http.get("/students/1/classmates").status_code == 200


class Failing:
    """A store that answers with an error."""

    name, parallel_writers = "failing", 1

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, *_args: Any, **_options: Any) -> Any:
        raise self.error

    ping = read


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (QueryTimeoutError(3), 504, "query-timeout"),
        (GraphUnavailableError("away"), 503, "graph-unavailable"),
        (GraphRefusedError("no"), 500, "graph-refused"),
        (ValueError("a bug with a value: hunter2"), 500, "internal"),
    ],
)
def test_errors_of_the_store_are_problems(serving: Any, error: Exception, status: int, name: str) -> None:
    """A bug is not taken for a wrong request, and its message stays inside."""
    answer = serving(on=Failing(error)).get("/students/1/classmates")
    problem(answer, status, name)
    assert "hunter2" not in answer.text


def test_every_type_of_problem_has_a_page(http: httpx.Client) -> None:
    """The address in `type` can be opened."""
    from kemudi.graph.problems import PAGES

    for name in PAGES:
        assert http.get(f"/problems/{name}").text
    problem(http.get("/problems/none"), 404, "not-found")


def test_too_many_requests_are_a_429_that_says_when(http: httpx.Client, config: InMemoryClient) -> None:
    """API_RATE_LIMIT, read at each request; probes, metrics and the sync are not counted."""
    config.publish(API_RATE_LIMIT=3)
    answers = [http.get("/students/1") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    problem(answers[3], 429, "rate-limited")
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    for address in ("/healthz", "/readyz", "/metrics", "/problems/rate-limited"):
        assert http.get(address).status_code == 200
    config.publish(API_RATE_LIMIT=100)
    assert http.get("/students/1").status_code == 200


def test_readiness_names_what_is_missing(serving: Any) -> None:
    """A store that is away, or that is not prepared yet; alive it is all the same."""
    away = serving(on=Failing(GraphUnavailableError("Neo4j does not answer")))
    assert away.get("/readyz").status_code == 503
    assert away.get("/readyz").json() == {"ready": False, "reason": "Neo4j does not answer"}
    assert away.get("/healthz").status_code == 200
    early = serving(unprepared=lambda: "being prepared")
    assert early.get("/readyz").json() == {"ready": False, "reason": "being prepared"}


def test_metrics_have_routes_and_no_students(http: httpx.Client) -> None:
    """Patterns of addresses, so that there is an end to them; errors are counted too."""
    http.get("/students/1/classmates")
    http.get("/students/nobody-at-all/classmates")
    text = http.get("/metrics").text
    assert 'kemudi_graph_requests_total{route="/students/{nim}/classmates",status="200"} 1.0' in text
    assert 'route="/students/{nim}/classmates",status="404"} 1.0' in text
    assert "nobody-at-all" not in text


def test_without_a_registry_there_is_no_sync(http: httpx.Client) -> None:
    """A 404 that says how the process was started."""
    for answer in (http.get("/sync/status"), http.post("/sync/run"), http.get("/sync/verify")):
        problem(answer, 404, "sync-unavailable")
