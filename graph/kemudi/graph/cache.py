"""Results of queries, kept for a while under the data version and the settings generation that they belong to.

So a stale one is never asked for. A cache that is away only makes answers slower.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

import orjson
import redis

from kemudi.graph.stores.base import GraphStore, Record
from kemudi.schema.transport import private_url

VERSION_SECONDS: Final = 0.25
_MOST_ENTRIES: Final = 2_000
_TIMEOUT_SECONDS: Final = 0.25
_AWAY_SECONDS: Final = 2.0

Name = tuple[Any, ...]
Compute = Callable[[], list[Record]]


class ResultCache(Protocol):
    """Look up a result, or compute and keep it. Safe to use from several threads."""

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:
        """The result kept under `name`, at most `ttl` seconds old, else what `compute` gives.

        Raises what `compute` and the question for the data version raise, nothing of its own.
        """

    def close(self) -> None:
        """Release everything."""


class NoCache:
    """Computes every time."""

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:  # noqa: ARG002  # the protocol's
        """What `compute` gives."""
        return compute()

    def close(self) -> None:
        """Nothing."""


def asked_for(store: GraphStore, seconds: Callable[[], float]) -> Callable[[], int]:
    """The question for the data version, within a time limit: a store that hangs holds no look-up up for ever."""

    def ask() -> int:
        found = store.read("checkpoint", {"name": "data"}, timeout=seconds())
        return int(found[0]["version"] or 0) if found else 0

    return ask


class DataVersion:
    """The graph's data version, asked for at most every `seconds`: a kept answer is at most that much behind.

    With 0 it is asked for each time, which the embedded store answers in some 30 µs.
    """

    def __init__(
        self,
        ask: Callable[[], int],
        seconds: float = VERSION_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._known: tuple[float, int] = (float("-inf"), 0)

    def __call__(self) -> int:
        """The version. Raises what the store raises."""
        moment, version = self._known
        now = self._clock()
        if now - moment >= self._seconds:
            version = self._ask()
            self._known = (now, version)
        return version


class MemoryCache:
    """In this process: the least recently used results go first."""

    def __init__(
        self,
        version: DataVersion,
        clock: Callable[[], float] = time.monotonic,
        most_entries: int = _MOST_ENTRIES,
    ) -> None:
        self._version = version
        self._clock = clock
        self._most_entries = most_entries
        # As bytes: no caller can change what the next one gets.
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:
        """See `ResultCache`."""
        key = _digest(self._version(), name)
        with self._lock:
            kept = self._entries.get(key)
            if kept is not None:
                self._entries.move_to_end(key)
        # Its age is judged by the present limit: a lowered CACHE_TTL holds at once.
        if kept is not None and self._clock() - kept[0] < ttl:
            found: list[Record] = orjson.loads(kept[1])
            return found
        result = compute()
        with self._lock:
            self._entries[key] = (self._clock(), orjson.dumps(result))
            self._entries.move_to_end(key)
            while len(self._entries) > self._most_entries:
                self._entries.popitem(last=False)
        return result

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()


class RedisCache:
    """In Redis under `kemudi-graph:<env>:cache:`, shared by all processes of the service.

    After a failure it is left alone for two seconds, so that a Redis that hangs does not slow every request down.
    """

    def __init__(
        self, client: redis.Redis, env: str, version: DataVersion, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._prefix = f"kemudi-graph:{env}:cache:"
        self._version = version
        self._clock = clock
        self._away_until = float("-inf")

    @classmethod
    def connect(cls, url: str, env: str, version: DataVersion) -> "RedisCache":
        """A cache with short time limits; nothing is connected yet."""
        client = redis.Redis.from_url(
            private_url(url, "KEMUDI_GRAPH_REDIS_URL")[0],
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
        )
        return cls(client, env, version)

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:
        """See `ResultCache`."""
        if self._clock() < self._away_until:
            return compute()
        key = self._prefix + _digest(self._version(), name).hex()
        kept = _records(self._tried(lambda: self._client.get(key)))
        if kept is not None:
            return kept
        result = compute()
        self._tried(lambda: self._client.set(key, orjson.dumps(result), ex=ttl))
        return result

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _tried(self, action: Callable[[], Any]) -> Any:  # redis-py's answers
        try:
            return action()
        except redis.RedisError:
            self._away_until = self._clock() + _AWAY_SECONDS
            return None


class CountedCache:
    """Tells for each look-up whether it was a hit."""

    def __init__(self, inner: ResultCache, told: Callable[[bool], None]) -> None:
        self._inner = inner
        self._told = told

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:
        """See `ResultCache`."""
        computed = False

        def counted() -> list[Record]:
            nonlocal computed
            computed = True
            return compute()

        result = self._inner.through(name, ttl, counted)
        self._told(not computed)
        return result

    def close(self) -> None:
        """Close the one inside."""
        self._inner.close()


def _digest(version: int, name: Name) -> bytes:
    # A digest: names hold what callers send, and must shape no key, nor fill the memory.
    return hashlib.sha256(orjson.dumps([version, *name])).digest()


def _records(kept: bytes | None) -> list[Record] | None:
    """What was kept; None when it is not there or not what we write."""
    if kept is None:
        return None
    try:
        found = orjson.loads(kept)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, list) else None
