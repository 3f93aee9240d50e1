"""How often a client may ask: counted per minute, in Redis for all processes of the service, else in this one.

The counting is that of the `limits` package. Its own Redis storage needs scripts, which our access rules deny; the one
here needs none. A Redis that is away never refuses a request: this process then counts by itself.
"""

import time
from collections.abc import Callable
from typing import Final

import redis
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, Storage
from limits.strategies import FixedWindowRateLimiter
from starlette.concurrency import run_in_threadpool

from kemudi.schema.transport import private_url

_TIMEOUT_SECONDS: Final = 0.25
_AWAY_SECONDS: Final = 2.0
_SCANNED: Final = 1_000


class RedisWindows(Storage):
    """Counters that end with their window, under `kemudi-graph:<env>:rate:`."""

    STORAGE_SCHEME = None

    def __init__(self, client: redis.Redis, env: str) -> None:
        super().__init__(None, wrap_exceptions=False)
        self._client = client
        self._prefix = f"kemudi-graph:{env}:rate:"

    @property
    def base_exceptions(self) -> type[Exception]:
        """What it may raise."""
        return redis.RedisError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count, and begin the window with its first count, in one transaction."""
        name = self._prefix + key
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.set(name, 0, ex=int(expiry), nx=True)
            pipeline.incrby(name, amount)
            return int(pipeline.execute()[1])

    def get(self, key: str) -> int:
        """The count so far."""
        return int(self._client.get(self._prefix + key) or 0)

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since the epoch."""
        left = self._client.pttl(self._prefix + key)
        return time.time() + max(left, 0) / 1000

    def check(self) -> bool:
        """Whether it answers."""
        return bool(self._client.ping())

    def reset(self) -> int | None:
        """Forget every counter; returns how many there were. It looks through the keys step by step, not at once."""
        found = list(self._client.scan_iter(match=f"{self._prefix}*", count=_SCANNED))
        for start in range(0, len(found), _SCANNED):
            self._client.unlink(*found[start : start + _SCANNED])
        return len(found)

    def clear(self, key: str) -> None:
        """Forget a counter."""
        self._client.delete(self._prefix + key)


class RateLimiter:
    """Allows so many requests a minute and client; the number is given with each, so that a setting can change it."""

    def __init__(
        self,
        shared: redis.Redis | None = None,
        env: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = shared
        self._clock = clock
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared = FixedWindowRateLimiter(RedisWindows(shared, env)) if shared is not None else None
        self._away_until = float("-inf")

    @classmethod
    def connect(cls, url: str, env: str) -> "RateLimiter":
        """A limiter that counts in Redis; nothing is connected yet."""
        client = redis.Redis.from_url(
            private_url(url, "KEMUDI_GRAPH_REDIS_URL")[0],
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
        )
        return cls(client, env)

    def wait(self, client: str, per_minute: int) -> int | None:
        """Count a request of `client`. None: it may go on; else the seconds until the next one may."""
        if self._shared is not None and self._clock() >= self._away_until:
            try:
                return _hit(self._shared, client, per_minute)
            except redis.RedisError:
                self._away_until = self._clock() + _AWAY_SECONDS
        return _hit(self._own, client, per_minute)

    async def answer(self, client: str, per_minute: int) -> int | None:
        """`wait` on an event loop, which it does not hold up: Redis is asked in a thread."""
        if self._shared is None:
            return self.wait(client, per_minute)
        return await run_in_threadpool(self.wait, client, per_minute)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()


class _PerMinute(RateLimitItemPerMinute):
    """A limit whose counter is the client's alone: a changed number goes on with what was counted in this minute."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """The key of the counter."""
        return "/".join(["minute", *map(str, identifiers)])


def _hit(limiter: FixedWindowRateLimiter, client: str, per_minute: int) -> int | None:
    item = _PerMinute(per_minute)
    if limiter.hit(item, client):
        return None
    return max(1, round(limiter.get_window_stats(item, client).reset_time - time.time()))
