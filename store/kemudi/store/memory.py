"""The store without a server: for the testing kit, and for code that runs in one process.

`MemoryServer` keeps what a Redis would keep; each `MemoryStore` is a connection to it.
"""

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from kemudi.store.base import LOG_ENTRIES, STAGING_SECONDS
from kemudi.store.drift import ObservedBlob, blob_drift, drift_order, log_drift, manifest_drift, owners
from kemudi.store.errors import (
    FencedError,
    StagingLostError,
    StaleError,
    StoreFullError,
    StoreUnavailableError,
)
from kemudi.store.keys import Keys
from kemudi.store.manifest import Manifest
from kemudi.store.snapshot import require_digests
from kemudi.store.values import Acknowledgement, DriftItem, Lease, LogEntry, PublishReport, StageReport


@dataclass
class _Environment:
    """The state of one environment. Expiry times are those of the server's clock; None is never."""

    current: bytes | None = None
    epoch: int = 0
    lease: Lease | None = None
    lease_until: float = 0.0
    blobs: dict[str, tuple[bytes, float | None]] = field(default_factory=dict)
    log: deque[LogEntry] | None = None
    acknowledgements: dict[str, tuple[bytes, float]] = field(default_factory=dict)


class MemoryServer:
    """What the stores of one process share.

    Attributes:
        available: Set to False, every store raises StoreUnavailableError, as with a stopped server.
        full: Set to True, staging and publishing raise StoreFullError, as with a server out of memory.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.available = True
        self.full = False
        self.changed = threading.Condition()
        self.hint_counts: dict[str, int] = {}
        self.connections = 0
        self._environments: dict[str, _Environment] = {}
        self._ids = itertools.count(1)

    def environment(self, env: str) -> _Environment:
        """The state of one environment. The caller holds `changed`."""
        return self._environments.setdefault(env, _Environment())

    def next_id(self) -> str:
        """An id for a log entry, in the order of writing."""
        return f"{next(self._ids)}-0"

    def flush(self) -> None:
        """Lose everything, as FLUSHALL does."""
        with self.changed:
            self._environments.clear()

    def set_available(self, available: bool) -> None:
        """Stop or start; streams of hints reconnect after a start."""
        with self.changed:
            self.connections += available and not self.available
            self.available = available
            self.changed.notify_all()

    def overwrite_current(self, env: str, data: bytes | None) -> None:
        """Alter the manifest as a hand in Redis would."""
        with self.changed:
            self.environment(env).current = data

    def overwrite_blob(self, env: str, digest: str, data: bytes | None) -> None:
        """Alter or delete a blob as a hand in Redis would."""
        with self.changed:
            blobs = self.environment(env).blobs
            if data is None:
                del blobs[digest]
            else:
                blobs[digest] = (data, None)

    def expire_blob(self, env: str, digest: str) -> None:
        """Set an expiry as a hand in Redis would."""
        with self.changed:
            blobs = self.environment(env).blobs
            blobs[digest] = (blobs[digest][0], self.clock() + STAGING_SECONDS)

    def drop_log(self, env: str) -> None:
        """Delete the log as a hand in Redis would."""
        with self.changed:
            self.environment(env).log = None


class MemoryHints:
    """Hints of one environment of a MemoryServer."""

    def __init__(self, server: MemoryServer, env: str) -> None:
        self._server = server
        self._env = env
        self._seen: tuple[int, int] | None = None
        self._closed = False

    def _state(self) -> tuple[int, int]:
        return self._server.hint_counts.get(self._env, 0), self._server.connections

    @property
    def connected(self) -> bool:
        """Whether hints arrive at present."""
        return self._server.available and not self._closed and self._seen is not None

    def wait(self, timeout_seconds: float) -> bool:
        """As `kemudi.store.base.HintStream.wait`."""
        server = self._server
        with server.changed:
            server.changed.wait_for(
                lambda: self._closed or (server.available and self._state() != self._seen), timeout_seconds
            )
            if self._closed or not server.available or self._state() == self._seen:
                return False
            self._seen = self._state()
            return True

    def close(self) -> None:
        """End, and wake up who waits."""
        with self._server.changed:
            self._closed = True
            self._server.changed.notify_all()


class MemoryStore:
    """A store in this process's memory; see `kemudi.store.base` for what each method does."""

    def __init__(self, env: str, server: MemoryServer | None = None) -> None:
        self.env = env
        self.server = server or MemoryServer()
        self._keys = Keys(env)
        self._last_epoch = 0

    def _state(self) -> _Environment:
        """The live state, expired things removed. The caller holds the server's lock."""
        if not self.server.available:
            raise StoreUnavailableError("the store in memory is switched off")
        state, now = self.server.environment(self.env), self.server.clock()
        state.blobs = {
            digest: item for digest, item in state.blobs.items() if item[1] is None or item[1] > now
        }
        state.acknowledgements = {key: item for key, item in state.acknowledgements.items() if item[1] > now}
        if state.lease is not None and state.lease_until <= now:
            state.lease = None
        return state

    def _require_memory(self) -> None:
        if self.server.full:
            raise StoreFullError("the store is out of memory; what it serves is unchanged")

    def ping(self) -> None:
        """Return if the store answers."""
        with self.server.changed:
            self._state()

    def current(self) -> bytes | None:
        """The signed manifest."""
        with self.server.changed:
            return self._state().current

    def blobs(self, digests: Collection[str]) -> dict[str, bytes]:
        """The blobs by digest; missing ones are absent."""
        with self.server.changed:
            held = self._state().blobs
            return {digest: held[digest][0] for digest in digests if digest in held}

    def acknowledge(self, acknowledgement: Acknowledgement, ttl_seconds: float) -> None:
        """Say what this process runs."""
        key = self._keys.acknowledgement(acknowledgement.service, acknowledgement.instance)
        with self.server.changed:
            until = self.server.clock() + ttl_seconds
            self._state().acknowledgements[key] = (acknowledgement.encode(), until)

    def withdraw(self, acknowledgement: Acknowledgement) -> None:
        """Take back what this process said."""
        key = self._keys.acknowledgement(acknowledgement.service, acknowledgement.instance)
        with self.server.changed:
            self._state().acknowledgements.pop(key, None)

    def hints(self) -> MemoryHints:
        """A stream of hints."""
        return MemoryHints(self.server, self.env)

    def close(self) -> None:
        """Nothing to release."""

    def acquire_lease(self, holder: str, ttl_seconds: float, *, after_epoch: int = 0) -> Lease | None:
        """Lead, if nobody does."""
        with self.server.changed:
            state = self._state()
            if state.lease is not None:
                return None
            state.epoch = self._last_epoch = max(state.epoch, self._last_epoch, after_epoch) + 1
            state.lease = Lease(holder, secrets.token_hex(16), state.epoch)
            state.lease_until = self.server.clock() + ttl_seconds
            return state.lease

    def renew(self, lease: Lease, ttl_seconds: float) -> bool:
        """Extend a lease that is still held."""
        with self.server.changed:
            state = self._state()
            if state.lease != lease:
                return False
            state.lease_until = self.server.clock() + ttl_seconds
            return True

    def release(self, lease: Lease) -> None:
        """Stop leading."""
        with self.server.changed:
            state = self._state()
            if state.lease == lease:
                state.lease = None

    def lease_holder(self) -> str | None:
        """Who leads now."""
        with self.server.changed:
            lease = self._state().lease
            return None if lease is None else lease.holder

    def stage(self, blobs: Mapping[str, bytes]) -> StageReport:
        """Put blobs in place."""
        require_digests(blobs)
        with self.server.changed:
            state, until = self._state(), self.server.clock() + STAGING_SECONDS
            written = 0
            for digest, data in blobs.items():
                held, expiry = state.blobs.get(digest, (None, until))
                if held != data:
                    self._require_memory()
                    written += 1
                    expiry = until
                state.blobs[digest] = (data, None if expiry is None else until)
            return StageReport(written, len(blobs) - written)

    def publish(
        self, lease: Lease, signed: bytes, digests: Collection[str], entry: LogEntry, expected: bytes | None
    ) -> PublishReport:
        """Make a manifest the current one."""
        with self.server.changed:
            state = self._state()
            if any(digest not in state.blobs for digest in digests):
                raise StagingLostError("blobs of this snapshot are no longer in the store; stage them again")
            if state.epoch != lease.epoch or (state.lease is not None and state.lease != lease):
                raise FencedError("another leader has taken over; this publish is refused")
            if state.current == signed:
                self._persist(state, digests)
                return PublishReport(already_current=True)
            if state.current != expected:
                raise StaleError("the current manifest is not the one that this publish was computed from")
            self._require_memory()
            self._swap(state, signed, digests)
            self._append(state, entry)
            self.server.hint_counts[self.env] = self.server.hint_counts.get(self.env, 0) + 1
            self.server.changed.notify_all()
            return PublishReport()

    def _swap(self, state: _Environment, signed: bytes, digests: Collection[str]) -> None:
        kept, before = set(digests), Manifest.unverified(state.current or b"")
        until = self.server.clock() + STAGING_SECONDS
        self._persist(state, kept)
        for digest in (before.digests - kept) & state.blobs.keys() if before else ():
            state.blobs[digest] = (state.blobs[digest][0], until)
        state.current = signed

    @staticmethod
    def _persist(state: _Environment, digests: Collection[str]) -> None:
        for digest in digests:
            state.blobs[digest] = (state.blobs[digest][0], None)

    def sweep(self, keep: Collection[str]) -> int:
        """Let unneeded blobs expire."""
        with self.server.changed:
            state = self._state()
            now_current = Manifest.unverified(state.current or b"")
            needed = {*keep, *(now_current.digests if now_current else ())}
            orphans = [
                digest
                for digest, (_, expiry) in state.blobs.items()
                if expiry is None and digest not in needed
            ]
            until = self.server.clock() + STAGING_SECONDS
            for digest in orphans:
                state.blobs[digest] = (state.blobs[digest][0], until)
            return len(orphans)

    def append_log(self, entry: LogEntry) -> None:
        """Write to the log."""
        with self.server.changed:
            self._append(self._state(), entry)

    def _append(self, state: _Environment, entry: LogEntry) -> None:
        if state.log is None:
            state.log = deque(maxlen=LOG_ENTRIES)
        state.log.append(replace(entry, id=self.server.next_id()))

    def log(self, count: int) -> list[LogEntry]:
        """The latest entries, newest first."""
        with self.server.changed:
            return list(reversed(self._state().log or ()))[:count]

    def acknowledgements(self) -> list[Acknowledgement]:
        """What every live process says."""
        with self.server.changed:
            held = [data for _, (data, _) in sorted(self._state().acknowledgements.items())]
        decoded = [Acknowledgement.decode(data) for data in held]
        return sorted(
            (item for item in decoded if item is not None), key=lambda item: (item.service, item.instance)
        )

    def inspect(
        self, expected: bytes, digests: Collection[str] | Mapping[str, bytes]
    ) -> tuple[DriftItem, ...]:
        """Compare the store with what was published."""
        with self.server.changed:
            state = self._state()
            items = [*manifest_drift(expected, state.current)]
            items += log_drift("none" if state.log is None else "stream")
            for digest, category in owners(expected, digests).items():
                data, expiry = state.blobs.get(digest, (None, None))
                items += blob_drift(category, digest, ObservedBlob(data, expiry is not None), digests)
        return tuple(sorted(items, key=drift_order))
