"""The query cache: never stale by its key, shared through a real Redis, and no loss when that is away."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from kemudi.client.testing import InMemoryClient, override
from kemudi.graph import GraphService
from kemudi.graph.cache import CountedCache, DataVersion, MemoryCache, NoCache, RedisCache, ResultCache
from kemudi.graph.errors import GraphUnavailableError, StudentNotFoundError
from kemudi.graph.settings import CONTRACTS
from kemudi.graph.stores.ladybug import LadybugStore
from kemudi.graph.sync.checkpoint import Checkpoints

PROMPT_SECONDS = 1.5
"""Two time limits of a quarter of a second, on a busy machine."""


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Computed:
    """What a query costs: it counts, and its answers differ."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> list[dict[str, Any]]:
        self.times += 1
        return [{"answer": self.times}]


class Version:
    """A data version that a test moves on."""

    def __init__(self) -> None:
        self.number, self.asked = 1, 0

    def __call__(self) -> int:
        self.asked += 1
        return self.number


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def version() -> Version:
    return Version()


@pytest.fixture
def compute() -> Computed:
    return Computed()


@pytest.fixture
def in_redis(redis_url: str, version: Version) -> Iterator[Callable[..., RedisCache]]:
    """Caches on one running Redis."""
    made: list[RedisCache] = []

    def make(env: str = "dev") -> RedisCache:
        made.append(RedisCache.connect(redis_url, env, DataVersion(version, 0)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["memory", "redis"])
def cache(
    request: pytest.FixtureRequest, version: Version, in_redis: Callable[..., RedisCache]
) -> ResultCache:
    """Both caches that keep something."""
    return MemoryCache(DataVersion(version, 0)) if request.param == "memory" else in_redis()


def test_the_data_version_is_asked_for_at_most_so_often(version: Version, clock: Clock) -> None:
    """So a kept answer is at most that much behind; 0 asks each time."""
    seldom = DataVersion(version, 0.25, clock)
    assert [seldom(), seldom()] == [1, 1]
    version.number = 2
    assert (seldom(), version.asked) == (1, 1)
    clock.now += 0.25
    assert (seldom(), version.asked) == (2, 2)
    always = DataVersion(version, 0, clock)
    assert [always(), always(), version.asked] == [2, 2, 4]


def test_a_result_is_computed_once(cache: ResultCache, compute: Computed) -> None:
    """The same name again gives what was kept, another name does not."""
    assert cache.through(("classmates", "1", 5), 60, compute) == [{"answer": 1}]
    assert cache.through(("classmates", "1", 5), 60, compute) == [{"answer": 1}]
    assert cache.through(("classmates", "1", 6), 60, compute) == [{"answer": 2}]
    assert cache.through(
        (
            "classmates",
            "15",
        ),
        60,
        compute,
    ) == [{"answer": 3}]
    assert compute.times == 3


def test_an_empty_result_is_kept_too(cache: ResultCache) -> None:
    """Nothing found is an answer."""
    calls: list[int] = []

    def nothing() -> list[dict[str, Any]]:
        calls.append(1)
        return []

    assert [cache.through(("n",), 60, nothing) for _ in range(2)] == [[], []]
    assert len(calls) == 1


def test_another_version_of_the_data_is_another_name(
    cache: ResultCache, compute: Computed, version: Version
) -> None:
    """After a batch of the sync nothing older is asked for."""
    cache.through(("n",), 60, compute)
    version.number += 1
    assert cache.through(("n",), 60, compute) == [{"answer": 2}]


def test_what_a_caller_does_with_an_answer_reaches_nobody_else(cache: ResultCache, compute: Computed) -> None:
    """Each gets an answer of its own."""
    for _ in range(2):
        cache.through(("n",), 60, compute)[0]["answer"] = "spoilt"
    assert cache.through(("n",), 60, compute) == [{"answer": 1}]


def test_a_failure_is_not_kept(cache: ResultCache, compute: Computed) -> None:
    """The next call tries again."""

    def fail() -> list[dict[str, Any]]:
        raise GraphUnavailableError("away")

    with pytest.raises(GraphUnavailableError):
        cache.through(("n",), 60, fail)
    assert cache.through(("n",), 60, compute) == [{"answer": 1}]


def test_an_entry_in_memory_ends_with_its_time(version: Version, clock: Clock, compute: Computed) -> None:
    """A lowered CACHE_TTL holds at once, for entries made before it too."""
    cache = MemoryCache(DataVersion(version, 0, clock), clock)
    cache.through(("n",), 60, compute)
    clock.now += 30
    assert cache.through(("n",), 60, compute) == [{"answer": 1}]
    assert cache.through(("n",), 30, compute) == [{"answer": 2}]


def test_memory_keeps_the_entries_used_last(version: Version, compute: Computed) -> None:
    """The one that was not asked for longest goes first."""
    cache = MemoryCache(DataVersion(version, 0), most_entries=2)
    for name in ("a", "b", "a", "c"):
        cache.through((name,), 60, compute)
    assert compute.times == 3
    cache.through(("a",), 60, compute)
    assert compute.times == 3
    cache.through(("b",), 60, compute)
    assert compute.times == 4


def test_processes_share_what_is_in_redis(
    in_redis: Callable[..., RedisCache], compute: Computed, redis_url: str
) -> None:
    """Under the environment's prefix, with the time to live, and with no word of the caller in the key."""
    in_redis().through(("classmates", "nim from outside"), 77, compute)
    assert in_redis().through(("classmates", "nim from outside"), 77, compute) == [{"answer": 1}]
    assert in_redis("prod").through(("classmates", "nim from outside"), 77, compute) == [{"answer": 2}]
    with redis.Redis.from_url(redis_url) as client:
        keys = sorted(client.keys("*"))
        assert [key.rpartition(b":")[0] for key in keys] == [
            b"kemudi-graph:dev:cache",
            b"kemudi-graph:prod:cache",
        ]
        assert not any(b"nim" in key for key in keys)
        assert all(70 < client.ttl(key) <= 77 for key in keys)


@pytest.mark.parametrize("found", [b"", b"not json", b"{}", b"7"])
def test_what_we_did_not_write_is_computed_anew(
    in_redis: Callable[..., RedisCache], compute: Computed, redis_url: str, found: bytes
) -> None:
    """And replaced."""
    cache = in_redis()
    cache.through(("n",), 60, compute)
    with redis.Redis.from_url(redis_url) as client:
        key = client.keys("*")[0]
        client.set(key, found)
        assert cache.through(("n",), 60, compute) == [{"answer": 2}]
        assert orjson.loads(client.get(key)) == [{"answer": 2}]


def test_a_key_of_another_kind_is_no_failure(
    in_redis: Callable[..., RedisCache], compute: Computed, redis_url: str
) -> None:
    """Redis answers WRONGTYPE, the caller gets an answer."""
    cache = in_redis()
    cache.through(("n",), 60, compute)
    with redis.Redis.from_url(redis_url) as client:
        key = client.keys("*")[0]
        client.delete(key)
        client.rpush(key, "x")
    assert cache.through(("n",), 60, compute) == [{"answer": 2}]


@pytest.mark.parametrize("how", ["stop", "freeze"])
def test_without_redis_answers_are_only_slower(
    own_redis: Any, version: Version, clock: Clock, compute: Computed, how: str
) -> None:
    """One call waits a moment, those of the next two seconds not at all; when it is back it is used again."""
    url = f"{own_redis.url}?socket_timeout=0.25&socket_connect_timeout=0.25"
    client = redis.Redis.from_url(url)
    cache = RedisCache(client, "dev", DataVersion(version, 0), clock)
    cache.through(("n",), 60, compute)
    getattr(own_redis, how)()
    began = time.monotonic()
    assert cache.through(("n",), 60, compute) == [{"answer": 2}]
    assert time.monotonic() - began < PROMPT_SECONDS
    asked = version.asked
    assert [cache.through(("n",), 60, compute)[0]["answer"] for _ in range(50)] == list(range(3, 53))
    assert version.asked == asked  # it was left alone: not even a key was made
    own_redis.thaw() if how == "freeze" else own_redis.start()
    clock.now += 2.1
    first = cache.through(("n",), 60, compute)
    assert cache.through(("n",), 60, compute) == first
    cache.close()


def test_a_cache_that_never_was_there_stops_no_thread(version: Version) -> None:
    """Many callers at once, nobody listens at the address."""
    cache = RedisCache.connect("redis://127.0.0.1:1/0", "dev", DataVersion(version, 0))
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(cache.through(("n",), 60, lambda: [{"a": 1}])))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert answers == [[{"a": 1}]] * 8
    cache.close()


def test_look_ups_are_counted(version: Version, compute: Computed) -> None:
    """A hit is a call that computed nothing."""
    told: list[bool] = []
    cache = CountedCache(MemoryCache(DataVersion(version, 0)), told.append)
    for _ in range(3):
        cache.through(("n",), 60, compute)
    assert told == [False, True, True]
    cache.close()
    cache.through(("n",), 60, compute)
    assert told[-1] is False


def test_no_cache_keeps_nothing(compute: Computed) -> None:
    """For a service that was given none."""
    cache = NoCache()
    assert [cache.through(("n",), 60, compute)[0]["answer"] for _ in range(2)] == [1, 2]
    cache.close()


class Asked:
    """A store that counts the queries that reach it, the version's left out."""

    def __init__(self, store: LadybugStore) -> None:
        self._store = store
        self.queries: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, query: str, parameters: Any, *, timeout: float | None = None) -> Any:
        if query != "checkpoint":
            self.queries.append(query)
        return self._store.read(query, parameters, timeout=timeout)


PAIRS = [("1", "A"), ("1", "B"), ("2", "A"), ("2", "C"), ("3", "C")]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    store = LadybugStore(tmp_path / "graph.lbdb")
    store.prepare()
    store.write(
        [
            ("merge_students", {"rows": [{"nim": nim, "nama": nim} for nim in "123"]}),
            ("merge_classes", {"rows": [{"kode": kode, "nama": kode} for kode in "ABC"]}),
            ("merge_pairs", {"pairs": [{"nim": nim, "kode": kode} for nim, kode in PAIRS]}),
        ]
    )
    yield Asked(store)
    store.close()


@pytest.fixture
def config() -> InMemoryClient:
    return InMemoryClient({}, contracts=CONTRACTS)


@pytest.fixture
def service(asked: Asked, config: InMemoryClient) -> GraphService:
    return GraphService(config, asked, MemoryCache(DataVersion(Checkpoints(asked).data_version, 0)))  # type: ignore[arg-type]  # stands for the store


def asked_by(asked: Asked, call: Callable[[], Any]) -> bool:
    """Whether a call asked the graph."""
    asked.queries.clear()
    call()
    return bool(asked.queries)


def test_a_new_batch_or_a_new_setting_is_seen_by_the_next_call(
    service: GraphService, asked: Asked, config: InMemoryClient
) -> None:
    """The key holds the data version and the generation of the settings; the same call again asks nothing."""
    ask = lambda: service.classmates("1")  # noqa: E731  # three times the same call
    assert asked_by(asked, ask)
    assert not asked_by(asked, ask)
    asked.write([("merge_pairs", {"pairs": [{"nim": "3", "kode": "A"}]}), ("bump_version", {})])
    assert [each["nim"] for each in service.classmates("1")] == ["2", "3"]
    assert not asked_by(asked, ask)
    config.publish(GRAPH_CLASSMATES_LIMIT=1)
    assert [each["nim"] for each in service.classmates("1")] == ["2"]
    assert not asked_by(asked, ask)
    config.publish(API_RATE_LIMIT=7)  # nothing that this answer depends on, but another generation
    assert asked_by(asked, ask)


def test_the_switch_of_the_cache_holds_at_once(
    service: GraphService, asked: Asked, config: InMemoryClient
) -> None:
    """GRAPH_CACHE_ENABLED off: every call asks the graph; on again: what is kept is used again."""
    service.classmates("1")
    config.publish(GRAPH_CACHE_ENABLED=False)
    for _ in range(3):
        assert asked_by(asked, lambda: service.classmates("1"))
    config.publish(GRAPH_CACHE_ENABLED=True)
    service.classmates("1")
    assert not asked_by(asked, lambda: service.classmates("1"))


def test_every_kind_of_answer_has_a_name_of_its_own(service: GraphService, asked: Asked) -> None:
    """Student, question, limit and algorithm are all in the key."""
    calls: list[Callable[[], Any]] = [
        lambda: service.classmates("1"),
        lambda: service.classmates("2"),
        lambda: service.classmates("1", limit=1),
        lambda: service.friends_of_friends("1"),
        lambda: service.recommendations("1", algorithm="collaborative"),
        lambda: service.recommendations("1", algorithm="similarity"),
        lambda: service.recommendations("1", algorithm="hybrid"),
        lambda: service.recommendations("1", limit=1),
    ]
    assert all(asked_by(asked, call) for call in calls)
    assert not any(asked_by(asked, call) for call in calls)


def test_an_override_for_a_while_is_not_answered_from_before(
    service: GraphService, config: InMemoryClient
) -> None:
    """Even a setting that changes without a new generation is in the key when it shapes the answer."""
    plain = service.recommendations("1", algorithm="hybrid")
    with override(config, GRAPH_HYBRID_WEIGHTS={"collaborative": 5.0}):
        assert service.recommendations("1", algorithm="hybrid") != plain
    assert service.recommendations("1", algorithm="hybrid") == plain


def test_a_student_that_is_not_there_is_asked_for_again(service: GraphService, asked: Asked) -> None:
    """So a student that arrives is found."""
    with pytest.raises(StudentNotFoundError):
        service.classmates("4")
    asked.write(
        [
            ("merge_students", {"rows": [{"nim": "4", "nama": "4"}]}),
            ("merge_pairs", {"pairs": [{"nim": "4", "kode": "A"}]}),
        ]
    )
    assert len(service.classmates("4")) == 2


def test_the_service_answers_through_an_outage_of_the_cache(
    asked: Asked, config: InMemoryClient, own_redis: Any
) -> None:
    """No request fails; the answers are the same."""
    version = DataVersion(Checkpoints(asked).data_version, 0)  # type: ignore[arg-type]  # as above
    cache = RedisCache.connect(own_redis.url, "dev", version)
    service = GraphService(config, asked, cache)  # type: ignore[arg-type]  # as above
    wanted = service.classmates("1")
    own_redis.stop()
    assert [service.classmates("1") for _ in range(20)] == [wanted] * 20
    cache.close()
