"""The store in Redis ≥ 6.2 or Valkey: one server, behind Sentinel, or a cluster."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from redis.exceptions import ResponseError

from kemudi.schema.errors import UsageError
from kemudi.store import redis_lease, redis_publish
from kemudi.store.connection import TIMEOUT_SECONDS, Connection, guarded
from kemudi.store.drift import ObservedBlob, blob_drift, drift_order, log_drift, manifest_drift, owners
from kemudi.store.keys import Keys
from kemudi.store.redis_hints import RedisHints
from kemudi.store.redis_lease import RedisLeases
from kemudi.store.redis_publish import CHUNK, LOG_FIELD, RedisPublisher, chunks
from kemudi.store.values import Acknowledgement, DriftItem, Lease, LogEntry, PublishReport, StageReport

FAILPOINTS: Final = (*redis_lease.FAILPOINTS, *redis_publish.FAILPOINTS)
"""Every step of a publish at which a crash test may kill or stop the leader."""


class RedisStore:
    """One environment in Redis; see `kemudi.store.base` for what each method does.

    It connects at its first use. Every wait is bounded: connecting, and each answer, take 2 seconds at
    most, and a dead connection is tried once more.
    """

    def __init__(self, url: str, env: str, *, replicas: int = 0, replica_seconds: float = 0.5) -> None:
        """Take a URL of `kemudi.store.connection`.

        Args:
            url: Where.
            env: The environment.
            replicas: How many replicas a publish waits for; 0 does not wait.
            replica_seconds: For how long at most; below the 2 seconds that an answer may take.

        Raises:
            UsageError: The URL, the environment or the wait is malformed.
        """
        if replicas < 0 or not 0 < replica_seconds < TIMEOUT_SECONDS:
            raise UsageError(f"a publish waits for replicas for less than {TIMEOUT_SECONDS} seconds")
        self.env = env
        self._keys = Keys(env)
        self._connection = Connection(url)
        self._leases = RedisLeases(self._connection, self._keys)
        self._publisher = RedisPublisher(
            self._connection, self._keys, replicas=replicas, replica_seconds=replica_seconds
        )
        self.place = self._connection.place

    @property
    def _client(self) -> Any:
        return self._connection.client

    def __repr__(self) -> str:
        return f"RedisStore({self.place}, env={self.env!r})"

    @guarded
    def ping(self) -> None:
        """Return if the store answers."""
        self._client.ping()

    @guarded
    def current(self) -> bytes | None:
        """The signed manifest."""
        try:
            data: bytes | None = self._client.get(self._keys.current)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return b""
        return data

    @guarded
    def blobs(self, digests: Collection[str]) -> dict[str, bytes]:
        """The blobs by digest; missing ones are absent."""
        found: dict[str, bytes] = {}
        for part in chunks(digests, CHUNK):
            values = self._get_many([self._keys.blob(digest) for digest in part])
            found.update(
                (digest, data) for digest, data in zip(part, values, strict=True) if data is not None
            )
        return found

    def _get_many(self, keys: list[str]) -> list[bytes | None]:
        """Values of keys in any slot; None for a missing one and for another type."""
        if not self._connection.is_cluster:
            values: list[bytes | None] = self._client.mget(keys)
            return values
        pipe = self._client.pipeline()
        for key in keys:
            pipe.get(key)
        return [item if isinstance(item, bytes) else None for item in pipe.execute(raise_on_error=False)]

    @guarded
    def acknowledge(self, acknowledgement: Acknowledgement, ttl_seconds: float) -> None:
        """Say what this process runs."""
        key = self._keys.acknowledgement(acknowledgement.service, acknowledgement.instance)
        self._client.set(key, acknowledgement.encode(), px=max(1, round(ttl_seconds * 1000)))

    @guarded
    def withdraw(self, acknowledgement: Acknowledgement) -> None:
        """Take back what this process said. A reader may SET its own key and nothing else, so it expires."""
        key = self._keys.acknowledgement(acknowledgement.service, acknowledgement.instance)
        self._client.set(key, b"", px=1)

    def hints(self) -> RedisHints:
        """A stream of hints on a connection of its own."""
        return RedisHints(self._connection.twin(), self._keys)

    def close(self) -> None:
        """Release every connection."""
        self._connection.close()

    def acquire_lease(self, holder: str, ttl_seconds: float, *, after_epoch: int = 0) -> Lease | None:
        """Lead, if nobody does."""
        return self._leases.acquire(holder, ttl_seconds, after_epoch)

    def renew(self, lease: Lease, ttl_seconds: float) -> bool:
        """Extend a lease that is still held."""
        return self._leases.renew(lease, ttl_seconds)

    def release(self, lease: Lease) -> None:
        """Stop leading."""
        self._leases.release(lease)

    def lease_holder(self) -> str | None:
        """Who leads now."""
        return self._leases.holder()

    def stage(self, blobs: Mapping[str, bytes]) -> StageReport:
        """Put blobs in place."""
        return self._publisher.stage(blobs)

    def publish(
        self, lease: Lease, signed: bytes, digests: Collection[str], entry: LogEntry, expected: bytes | None
    ) -> PublishReport:
        """Make a manifest the current one."""
        return self._publisher.publish(lease, signed, digests, entry, expected)

    def sweep(self, keep: Collection[str]) -> int:
        """Let unneeded blobs expire."""
        return self._publisher.sweep(keep)

    def append_log(self, entry: LogEntry) -> None:
        """Write to the log."""
        self._publisher.append_log(entry)

    @guarded
    def log(self, count: int) -> list[LogEntry]:
        """The latest entries, newest first."""
        items = self._client.xrevrange(self._keys.log, count=count)
        name = LOG_FIELD.encode()
        entries = [LogEntry.decode(fields.get(name, b""), id_.decode()) for id_, fields in items]
        return [entry for entry in entries if entry is not None]

    @guarded
    def acknowledgements(self) -> list[Acknowledgement]:
        """What every live process says."""
        pattern = f"{self._keys.acknowledgements}*"
        names = sorted({key.decode() for key in self._client.scan_iter(match=pattern, count=1_000)})
        values = [value for part in chunks(names, CHUNK) for value in self._get_many(part)]
        decoded = [Acknowledgement.decode(value) for value in values if value is not None]
        return sorted(
            (item for item in decoded if item is not None), key=lambda item: (item.service, item.instance)
        )

    @guarded
    def inspect(
        self, expected: bytes, digests: Collection[str] | Mapping[str, bytes]
    ) -> tuple[DriftItem, ...]:
        """Compare the store with what was published."""
        items = [*manifest_drift(expected, self.current())]
        items += log_drift(self._client.type(self._keys.log).decode())
        named = owners(expected, digests)
        for part in chunks(named, CHUNK):
            for digest, observed in zip(part, self._observed(part), strict=True):
                items += blob_drift(named[digest], digest, observed, digests)
        return tuple(sorted(items, key=drift_order))

    def _observed(self, digests: list[str]) -> list[ObservedBlob]:
        keys = [self._keys.blob(digest) for digest in digests]
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.ttl(key)
        return [
            ObservedBlob(data, ttl >= 0)
            for data, ttl in zip(self._get_many(keys), pipe.execute(), strict=True)
        ]
