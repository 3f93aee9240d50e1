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

from kemudi.graph.stores.base import Record

VERSION_SECONDS: Final = 0.25
_MOST_ENTRIES: Final = 2_000
_TIMEOUT_SECONDS: Final = 0.25
_AWAY_SECONDS: Final = 2.0

Name = tuple[Any, ...]
Compute = Callable[[], list[Record]]


class ResultCache(Protocol):
    """Look up a result, or compute and keep it."""

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:
        """The result kept under `name`, at most `ttl` seconds old, else what `compute` gives."""


class NoCache:
    """Computes every time."""

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:  # noqa: ARG002  # the protocol's
        """What `compute` gives."""
        return compute()


class DataVersion:
    """The graph's data version, asked for at most every quarter of a second.

    So a cached answer is at most that much older than the graph.
    """

    def __init__(self, ask: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._known: tuple[float, int] = (float("-inf"), 0)

    def __call__(self) -> int:
        """The version. Raises what the store raises."""
        moment, version = self._known
        now = self._clock()
        if now - moment > VERSION_SECONDS:
            version = self._ask()
            self._known = (now, version)
        return version


class MemoryCache:
    """In this process: the least recently used results go first."""

    def __init__(self, version: DataVersion, clock: Callable[[], float] = time.monotonic) -> None:
        self._version = version
        self._clock = clock
        self._entries: OrderedDict[Name, tuple[float, list[Record]]] = OrderedDict()
        self._lock = threading.Lock()

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:
        """See `ResultCache`."""
        key = (self._version(), *name)
        with self._lock:
            kept = self._entries.get(key)
            if kept is not None and self._clock() < kept[0]:
                self._entries.move_to_end(key)
                return kept[1]
        result = compute()
        with self._lock:
            self._entries[key] = (self._clock() + ttl, result)
            while len(self._entries) > _MOST_ENTRIES:
                self._entries.popitem(last=False)
        return result


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
        """A cache with short time limits on a Redis of its own or the settings' one."""
        client = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
        )
        return cls(client, env, version)

    def through(self, name: Name, ttl: int, compute: Compute) -> list[Record]:
        """See `ResultCache`."""
        if self._clock() < self._away_until:
            return compute()
        # A digest: names hold what callers send, and must not shape a key.
        key = self._prefix + hashlib.sha256(orjson.dumps([self._version(), *name])).hexdigest()
        kept = self._tried(lambda: self._client.get(key))
        if kept is not None:
            found: list[Record] = orjson.loads(kept)
            return found
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
