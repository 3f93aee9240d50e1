"""Pages behind a cursor, and tags by which a caller asks for what it does not have yet."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemudi.client.testing import InMemoryClient
from kemudi.graph import GraphService
from kemudi.graph.cache import DataVersion
from kemudi.graph.errors import InvalidRequestError
from kemudi.graph.http import Parts, build_app
from kemudi.graph.pages import by, ranked_page
from kemudi.graph.service import Answer
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Checkpoints
from kemudi.web.server import HttpServer, listen

items = st.dictionaries(st.text(), st.one_of(st.integers(1, 5), st.floats(0.001, 3)), max_size=30)
"""Ranks by key: many are equal."""


@given(ranks=items, size=st.integers(1, 7))
def test_pages_together_are_the_list(ranks: dict[str, float], size: int) -> None:
    """Each once and in order, whatever the size of a page; no page but the last is short."""
    whole = [
        {"kode": kode, "score": score}
        for kode, score in sorted(ranks.items(), key=lambda each: (-each[1], each[0]))
    ]

    def ask(most: int | None) -> Answer:
        return Answer(whole[:most])

    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = ranked_page(ask, by("score", "kode"), size, cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
        assert len(page.items) == size
    assert found == whole


def test_a_list_that_changes_between_pages_gives_nobody_twice() -> None:
    """The next page begins behind the last item, even when that one has gone."""
    whole = [{"nim": nim, "via": via} for nim, via in (("a", 9), ("b", 8), ("c", 7), ("d", 6))]

    def ask(most: int | None) -> Answer:
        return Answer(whole[:most])

    first = ranked_page(ask, by("via", "nim"), 2, None)
    whole[:] = [{"nim": "new", "via": 10}, whole[0], whole[2], whole[3]]
    second = ranked_page(ask, by("via", "nim"), 2, first.next)
    assert [each["nim"] for each in (*first.items, *second.items)] == ["a", "b", "c", "d"]


@given(cursor=st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_a_made_up_cursor_is_refused_or_is_a_place(cursor: str) -> None:
    """Never another error."""

    def ask(_most: int | None) -> Answer:
        return Answer([{"kode": "A", "score": 1}])

    with suppress(InvalidRequestError):
        ranked_page(ask, by("score", "kode"), 3, cursor)


@pytest.fixture
def serving(config: InMemoryClient, store: GraphStore) -> Iterator[Callable[..., httpx.Client]]:
    """A client of the application, with tags."""
    opened: list[Any] = []

    def make(version: Any = None) -> httpx.Client:
        asked = version or DataVersion(Checkpoints(store).data_version, 0)
        parts = Parts(config, GraphService(config, store), store, version=asked)
        server = HttpServer(build_app(parts), listen("127.0.0.1", 0, who="the test"), name="graph-http")
        server.start()
        opened.extend((server, httpx.Client(base_url=server.url)))
        return opened[-1]

    yield make
    for each in reversed(opened):
        each.close()


@pytest.fixture
def http(serving: Callable[..., httpx.Client]) -> httpx.Client:
    return serving()


ADDRESSES = [
    "/students",
    "/students?limit=2",
    "/students/1",
    "/students/1/classmates",
    "/students/1/friends-of-friends",
    "/students/1/recommendations?algorithm=hybrid",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_tag_holds_until_data_or_settings_change(
    http: httpx.Client, store: GraphStore, config: InMemoryClient, address: str
) -> None:
    """304 without a body; a batch of the sync or a commit of any setting makes it a 200 with another tag."""
    first = http.get(address)
    tag = first.headers["etag"]
    again = http.get(address, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    store.write([("bump_version", {})])
    later = http.get(address, headers={"If-None-Match": tag})
    assert (later.status_code, later.json().get("items")) == (200, first.json().get("items"))
    assert later.headers["etag"] != tag
    config.publish(SYNC_BATCH_SIZE=5)
    assert http.get(address, headers={"If-None-Match": later.headers["etag"]}).status_code == 200


def test_a_tag_is_of_one_address(http: httpx.Client) -> None:
    """With its parameters: no answer is taken for another's."""
    tags = [http.get(address).headers["etag"] for address in ADDRESSES]
    assert len(set(tags)) == len(tags)


def test_nothing_is_kept_while_the_cache_is_off_and_nothing_outlives_the_kill_switch(
    http: httpx.Client, config: InMemoryClient
) -> None:
    """GRAPH_CACHE_ENABLED off: no tags; GRAPH_FEATURE_ENABLED off: 503 whatever the caller has."""
    address = "/students/1/classmates"
    config.publish(GRAPH_CACHE_ENABLED=False)
    assert "etag" not in http.get(address).headers
    config.publish(GRAPH_CACHE_ENABLED=True)
    tag = http.get(address).headers["etag"]
    config.publish(GRAPH_FEATURE_ENABLED=False)
    assert http.get(address, headers={"If-None-Match": tag}).status_code == 503
    assert http.get(address, headers={"If-None-Match": "*"}).status_code == 503


def test_an_unknown_student_has_no_tag(http: httpx.Client) -> None:
    """A 404 stays one, also for whoever says to have any version of it."""
    for known in ("*", '"anything"'):
        answer = http.get("/students/nobody", headers={"If-None-Match": known})
        assert answer.status_code == 404
        assert "etag" not in answer.headers


def test_a_store_that_is_away_is_a_problem_and_no_tag(serving: Any) -> None:
    """The data version cannot be asked for: 503 as for the data itself."""
    from kemudi.graph.errors import GraphUnavailableError

    def away() -> int:
        raise GraphUnavailableError("Neo4j does not answer")

    answer = serving(version=away).get("/students/1")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/graph-unavailable")


@pytest.mark.parametrize(
    ("address", "setting", "length"),
    [
        ("/students/1/classmates", "GRAPH_CLASSMATES_LIMIT", 2),
        ("/students/2/recommendations", "GRAPH_RECOMMENDATIONS_LIMIT", 1),
        ("/students/1/recommendations?algorithm=similarity", "GRAPH_RECOMMENDATIONS_LIMIT", 2),
        ("/students/3/friends-of-friends", "GRAPH_FRIENDS_OF_FRIENDS_LIMIT", 0),
    ],
)
def test_pages_of_an_answer_have_as_much_as_the_setting(
    http: httpx.Client, config: InMemoryClient, address: str, setting: str, length: int
) -> None:
    """`limit` is of a page, the setting of all of them."""

    def every(size: int) -> list[Any]:
        found: list[Any] = []
        more: dict[str, str] = {}
        while True:
            join = "&" if "?" in address else "?"
            query = "&".join([f"limit={size}", *(f"{name}={value}" for name, value in more.items())])
            page = http.get(address + join + query).json()
            found += page["items"]
            assert len(page["items"]) <= size
            if page["next"] is None:
                return found
            more = {"cursor": page["next"]}

    whole = http.get(address).json()["items"]
    assert len(whole) == length
    assert every(1) == every(2) == whole
    config.publish({setting: 1})
    assert every(1) == whole[:1]


def test_an_empty_answer_over_http_says_why(http: httpx.Client, store: GraphStore) -> None:
    """`reason`, null when there is something."""
    store.write([("merge_students", {"rows": [{"nim": "9", "nama": "Nine"}]})])
    for what in ("classmates", "friends-of-friends", "recommendations"):
        answer = http.get(f"/students/9/{what}").json()
        assert (answer["items"], answer["next"], answer["reason"]) == ([], None, "no-classes")
        assert http.get(f"/students/1/{what}").json()["reason"] is None
