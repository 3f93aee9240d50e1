"""How a snapshot becomes current in Redis: stage, verify, persist, swap one pointer, let the old expire.

No script runs on the server. Only the tagged keys share a transaction, so the order holds on one server,
behind Sentinel and on a cluster, where blobs lie in other slots than the pointer.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from redis.exceptions import ResponseError, WatchError

from kemudi.schema.failpoints import failpoint
from kemudi.store.base import LOG_ENTRIES, STAGING_SECONDS
from kemudi.store.connection import Connection, guarded
from kemudi.store.errors import FencedError, StagingLostError, StaleError, StoreUnavailableError
from kemudi.store.keys import Keys
from kemudi.store.manifest import Manifest
from kemudi.store.redis_lease import ATTEMPTS, epoch_of, lease_value
from kemudi.store.snapshot import require_digests
from kemudi.store.values import Lease, LogEntry, PublishReport, StageReport

FAILPOINTS: Final = (
    "store.before-stage",
    "store.after-stage",
    "store.before-persist",
    "store.after-persist",
    "store.before-swap",
    "store.after-swap",
    "store.after-expire",
)
LOG_FIELD: Final = "entry"
CHUNK: Final = 64
_STAGE_BYTES: Final = 4 * 1024 * 1024
_NO_EXPIRY: Final = -1


def chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut into lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class RedisPublisher:
    """Stages, publishes and sweeps one environment."""

    def __init__(self, connection: Connection, keys: Keys, *, replicas: int, replica_seconds: float) -> None:
        self._connection = connection
        self._keys = keys
        self._replicas = replicas
        self._replica_milliseconds = round(replica_seconds * 1000)
        self._expiring: set[str] = set()
        self.place = connection.place

    @guarded
    def stage(self, blobs: Mapping[str, bytes]) -> StageReport:
        """Write what is missing or altered, with expiry, and read it back."""
        require_digests(blobs)
        failpoint("store.before-stage")
        written = 0
        for part in _by_size(blobs):
            written += self._stage(part)
            failpoint("store.after-stage")
        return StageReport(written, len(blobs) - written)

    def _stage(self, blobs: Mapping[str, bytes]) -> int:
        """One exchange in the usual case: what is missing is written and read back in one go."""
        asked = self._connection.client.pipeline(transaction=False)
        for digest, data in blobs.items():
            key = self._keys.blob(digest)
            asked.set(key, data, ex=STAGING_SECONDS, nx=True)
            asked.get(key)
            asked.ttl(key)
        found = [_value(item) for item in asked.execute(raise_on_error=False)]
        writes = self._connection.client.pipeline(transaction=False)
        altered: dict[str, bytes] = {}
        for digest, made, held, ttl in zip(blobs, found[::3], found[1::3], found[2::3], strict=True):
            if held != blobs[digest]:
                altered[digest] = blobs[digest]
                writes.set(self._keys.blob(digest), blobs[digest], ex=STAGING_SECONDS)
            elif not made and ttl != _NO_EXPIRY:
                writes.expire(self._keys.blob(digest), STAGING_SECONDS)
            if held != blobs[digest] or ttl != _NO_EXPIRY:
                self._expiring.add(digest)
        writes.execute()
        self._verify(altered)
        made_now = {digest for digest, made in zip(blobs, found[::3], strict=True) if made}
        return len(made_now | altered.keys())

    def _verify(self, blobs: Mapping[str, bytes]) -> None:
        reads = self._connection.client.pipeline(transaction=False)
        for digest in blobs:
            reads.get(self._keys.blob(digest))
        if [bytes(item or b"") for item in reads.execute()] != list(blobs.values()):
            raise StoreUnavailableError(f"the store at {self.place} does not keep what is written to it")

    @guarded
    def publish(
        self, lease: Lease, signed: bytes, digests: Collection[str], entry: LogEntry, expected: bytes | None
    ) -> PublishReport:
        """Swap the pointer, if this leader is the latest and nothing moved."""
        before = Manifest.unverified(expected or b"")
        known = before.digests if before else frozenset()
        wanted = frozenset(digests)
        # What the pointer refers to already is persistent, so that a change costs what changed; but for a blob that
        # was staged to repair it.
        fresh = wanted - (known - self._expiring)
        failpoint("store.before-persist")
        self._persist(fresh)
        failpoint("store.after-persist")
        already = self._swap(lease, signed, entry, expected)
        failpoint("store.after-swap")
        replicas = self._settle(fresh=fresh, old=known - wanted)
        self._expiring.clear()
        failpoint("store.after-expire")
        return PublishReport(replicas, already)

    def _persist(self, digests: Collection[str]) -> None:
        """Take away the expiry, and look that each is there after that: then it stays."""
        for part in chunks(digests, CHUNK * 8):
            pipe = self._connection.client.pipeline(transaction=False)
            for digest in part:
                pipe.persist(self._keys.blob(digest))
                pipe.exists(self._keys.blob(digest))
            if not all(pipe.execute()[1::2]):
                raise StagingLostError("blobs of this snapshot are no longer in the store; stage them again")

    def _swap(self, lease: Lease, signed: bytes, entry: LogEntry, expected: bytes | None) -> bool:
        """Returns whether it was there already."""
        for _ in range(ATTEMPTS):
            try:
                return self._try_swap(lease, signed, entry, expected)
            except WatchError:
                continue  # something moved, or the answer got lost: read again, then decide
        raise StoreUnavailableError(f"the store at {self.place} changes faster than it can be published to")

    def _try_swap(self, lease: Lease, signed: bytes, entry: LogEntry, expected: bytes | None) -> bool:
        keys = self._keys
        with self._connection.client.pipeline(transaction=True) as pipe:
            pipe.watch(keys.epoch, keys.current, keys.lease)
            epoch, current, holder = pipe.execute_command("MGET", keys.epoch, keys.current, keys.lease)
            # The lease may have run out while nobody else took it. With another's token beside our epoch, a
            # failover has lost the epoch that the other one raised.
            if epoch_of(epoch) != lease.epoch or holder not in {None, lease_value(lease)}:
                raise FencedError("another leader has taken over; this publish is refused")
            if current == signed:
                return True
            if (current or None) != (expected or None):
                raise StaleError("the current manifest is not the one that this publish was computed from")
            failpoint("store.before-swap")
            pipe.multi()
            pipe.set(keys.current, signed)
            pipe.xadd(keys.log, {LOG_FIELD: entry.encode()}, maxlen=LOG_ENTRIES, approximate=True)
            # By its name, as redis-py bars `publish` and `mget` from a cluster's pipeline, though one slot holds both.
            pipe.execute_command("PUBLISH", keys.channel, entry.generation)
            swapped, logged, _ = pipe.execute(raise_on_error=False)
        if isinstance(swapped, Exception):
            raise swapped
        if isinstance(logged, Exception):
            self._rewrite_log(entry)
        return False

    def _rewrite_log(self, entry: LogEntry) -> None:
        """Something that is not a stream stands in the log's place: only a hand puts it there."""
        self._connection.client.delete(self._keys.log)
        self.append_log(entry)

    def _settle(self, *, fresh: Collection[str], old: Collection[str]) -> int | None:
        """Let the old expire, and take back what a sweep of a former leader may have set on the new."""
        pipe = self._connection.client.pipeline(transaction=False)
        for digest in fresh:
            pipe.persist(self._keys.blob(digest))
        for digest in old:
            pipe.expire(self._keys.blob(digest), STAGING_SECONDS)
        if fresh or old:
            pipe.execute()
        return None if self._replicas == 0 else self._wait_for_replicas()

    def _wait_for_replicas(self) -> int:
        """WAIT covers the writes of its own connection and all before them, so one is made on it."""
        with self._connection.client.pipeline(transaction=False) as pipe:
            pipe.persist(self._keys.current)
            pipe.execute_command("WAIT", self._replicas, self._replica_milliseconds)
            return int(pipe.execute()[-1])

    @guarded
    def sweep(self, keep: Collection[str]) -> int:
        """Set an expiry on blobs that nothing needs; those of a publish that died half-way, above all.

        The current manifest is read just before the expiry is set and again after it, so that a sweep of a
        leader that was overtaken meanwhile takes nothing from the new one.
        """
        needed = frozenset(keep)
        orphans = [digest for digest in self._stored() if digest not in needed]
        forgotten: list[str] = []
        for part in chunks(orphans, CHUNK * 8):
            reads = self._connection.client.pipeline(transaction=False)
            for digest in part:
                reads.ttl(self._keys.blob(digest))
            forgotten += [
                digest for digest, ttl in zip(part, reads.execute(), strict=True) if ttl == _NO_EXPIRY
            ]
        doomed = frozenset(forgotten) - self._current_digests()
        self._for_each(doomed, lambda pipe, key: pipe.expire(key, STAGING_SECONDS))
        self._for_each(doomed & self._current_digests(), lambda pipe, key: pipe.persist(key))
        return len(doomed)

    def _stored(self) -> Iterator[str]:
        """Every blob of this environment. SCAN sees what no book-keeping knows, as after a crash."""
        for key in self._connection.client.scan_iter(match=f"{self._keys.blobs}*", count=1_000):
            digest = self._keys.digest(key.decode("ascii", "replace"))
            if digest is not None:
                yield digest

    def _for_each(self, digests: Collection[str], command: Any) -> None:
        for part in chunks(digests, CHUNK * 8):
            pipe = self._connection.client.pipeline(transaction=False)
            for digest in part:
                command(pipe, self._keys.blob(digest))
            pipe.execute()

    def _current_digests(self) -> frozenset[str]:
        try:
            manifest = Manifest.unverified(self._connection.client.get(self._keys.current) or b"")
        except ResponseError:
            return frozenset()
        return manifest.digests if manifest else frozenset()

    @guarded
    def append_log(self, entry: LogEntry) -> None:
        """Write to the log."""
        fields = {LOG_FIELD: entry.encode()}
        self._connection.client.xadd(self._keys.log, fields, maxlen=LOG_ENTRIES, approximate=True)


def _by_size(blobs: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Cut into parts of a few megabytes, so that no other client of the server waits long."""
    part: dict[str, bytes] = {}
    size = 0
    for digest, data in blobs.items():
        if part and (size + len(data) > _STAGE_BYTES or len(part) >= CHUNK * 4):
            yield part
            part, size = {}, 0
        part[digest] = data
        size += len(data)
    if part:
        yield part


def _value(item: Any) -> Any:
    """An answer of a pipeline; something of another type in a blob's place counts as a missing blob."""
    if isinstance(item, ResponseError) and str(item).partition(" ")[2].startswith("Operation against a key"):
        return None
    if isinstance(item, Exception):
        raise item
    return item
