"""What a store does. `RedisStore` and `MemoryStore` do it; one contract test holds them together.

A store knows nothing of signatures or sealing: it moves bytes, atomically. Its callers verify what they read.

Every method may raise StoreUnavailableError (retry later) and StoreRefusedError (a person decides).
"""

from collections.abc import Collection, Mapping
from typing import Protocol

from kemudi.store.values import Acknowledgement, DriftItem, Lease, LogEntry, PublishReport, StageReport

STAGING_SECONDS = 600
"""How long a blob that no manifest refers to stays: time to publish it, and for readers of it to finish."""

LOG_ENTRIES = 1_000
"""About how many entries the log keeps."""


class HintStream(Protocol):
    """Says that something may be new. Hints can be lost, so a reader also polls.

    One thread waits; any thread may close.
    """

    @property
    def connected(self) -> bool:
        """Whether hints arrive at present."""

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a hint. Never raises for an unreachable server: it reconnects, with growing pauses.

        Returns:
            True when something may be new: a hint came, or the connection was made, which may have missed
            some. False when the time is over or the stream is closed.
        """

    def close(self) -> None:
        """End, and wake up who waits. May be called twice."""


class SnapshotReader(Protocol):
    """What a client needs of a store."""

    @property
    def env(self) -> str:
        """The environment that this store is about."""

    def ping(self) -> None:
        """Return if the store answers."""

    def current(self) -> bytes | None:
        """The signed manifest. None: nothing was published. b"": something else stands in its place."""

    def blobs(self, digests: Collection[str]) -> dict[str, bytes]:
        """The blobs by digest, unverified; missing ones are absent."""

    def acknowledge(self, acknowledgement: Acknowledgement, ttl_seconds: float) -> None:
        """Say what this process runs. Repeated before it expires."""

    def withdraw(self, acknowledgement: Acknowledgement) -> None:
        """Take back what this process said, as it ends."""

    def hints(self) -> HintStream:
        """A stream of hints on a connection of its own. It connects at the first wait."""

    def close(self) -> None:
        """Release every connection. Streams are closed on their own. May be called twice."""


class SnapshotWriter(SnapshotReader, Protocol):
    """What the daemon needs of a store. One thread publishes; another may renew the lease."""

    def acquire_lease(self, holder: str, ttl_seconds: float, *, after_epoch: int = 0) -> Lease | None:
        """Lead, if nobody does.

        Args:
            holder: A name to show.
            ttl_seconds: Leadership ends by itself after this time.
            after_epoch: The highest epoch that the caller knows of, as from a verified manifest. The new
                one is higher,
                also when the store lost its own.

        Returns:
            The lease, None while another holds it.
        """

    def renew(self, lease: Lease, ttl_seconds: float) -> bool:
        """Extend a lease that is still held. False when it is lost."""

    def release(self, lease: Lease) -> None:
        """Stop leading. Does nothing when the lease is lost already."""

    def lease_holder(self) -> str | None:
        """Who leads now."""

    def stage(self, blobs: Mapping[str, bytes]) -> StageReport:
        """Put blobs in place, not yet referred to, and read them back. They expire unless published.

        Raises:
            StoreFullError: No memory; nothing that is served has changed.
        """

    def publish(
        self, lease: Lease, signed: bytes, digests: Collection[str], entry: LogEntry, expected: bytes | None
    ) -> PublishReport:
        """Make a manifest the current one, in one step with its log entry and its hint.

        Calling it again with the same bytes after an unknown outcome is safe.

        Args:
            lease: Proof of leadership.
            signed: The manifest.
            digests: Every blob that it refers to; all of them staged or published before.
            entry: For the log.
            expected: The bytes of `current()` that this manifest was computed from.

        Raises:
            FencedError: Another leader took over.
            StaleError: The current manifest is not `expected`.
            StagingLostError: A blob is gone.
            StoreFullError: No memory; the manifest is unchanged.
        """

    def sweep(self, keep: Collection[str]) -> int:
        """Let blobs expire that neither `keep` nor the current manifest needs. Returns how many."""

    def append_log(self, entry: LogEntry) -> None:
        """Write to the log."""

    def log(self, count: int) -> list[LogEntry]:
        """The latest entries, newest first."""

    def acknowledgements(self) -> list[Acknowledgement]:
        """What every live process says, by service and instance."""

    def inspect(
        self, expected: bytes, digests: Collection[str] | Mapping[str, bytes]
    ) -> tuple[DriftItem, ...]:
        """Compare the store with what was published.

        Args:
            expected: The manifest as published.
            digests: The blobs it refers to. Given with their bytes, an altered blob names the settings that
                differ.

        Returns:
            What differs, sorted; nothing in the normal case.
        """
