"""Leadership of an environment: taken, kept by a thread of its own, lost in time, given back at the end."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kemudi.daemon.statefiles import read_json, write_json
from kemudi.schema.errors import KemudiError
from kemudi.store.base import SnapshotWriter
from kemudi.store.values import Lease

_RENEWALS_PER_TTL: Final = 3


class LeaseKeeper:
    """The lease of one environment. `lease` is asked on the hot path and costs no round trip.

    The end of a lease is reckoned on the monotonic clock from before the request that took it, so this side never
    believes longer than the store does, however the wall clock moves and however long the process was stopped. The
    fencing token in the store decides anyway; this only spares a leader in the past its work.
    """

    def __init__(
        self,
        store: SnapshotWriter,
        holder: str,
        ttl_seconds: float,
        *,
        record: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._holder = holder
        self._ttl = ttl_seconds
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._ends = 0.0

    @property
    def holder(self) -> str:
        """The name that this daemon leads under."""
        return self._holder

    @property
    def lease(self) -> Lease | None:
        """The lease in force, None when this daemon does not lead."""
        with self._lock:
            return self._lease if self._clock() < self._ends else None

    def acquire(self, *, after_epoch: int = 0) -> Lease | None:
        """Lead, if nobody does. The lease in force is returned as it is. Raises StoreUnavailableError."""
        held = self.lease
        if held is not None:
            return held
        self._release_predecessor()
        asked = self._clock()
        lease = self._store.acquire_lease(self._holder, self._ttl, after_epoch=after_epoch)
        with self._lock:
            self._lease, self._ends = lease, asked + self._ttl
        if lease is not None and self._record is not None:
            document = {"holder": lease.holder, "token": lease.token, "epoch": lease.epoch}
            write_json(self._record, document, durable=False)
        return lease

    def renew(self) -> bool:
        """Extend the lease. False when it is lost; an unreachable store only lets it run out."""
        lease = self.lease
        if lease is None:
            return False
        asked = self._clock()
        try:
            kept = self._store.renew(lease, self._ttl)
        except KemudiError:
            return True
        with self._lock:
            if self._lease is lease:
                self._ends = asked + self._ttl if kept else 0.0
        return kept

    def drop(self) -> None:
        """Believe no longer: the store has said that another leads."""
        with self._lock:
            self._lease, self._ends = None, 0.0

    def release(self) -> None:
        """Give the lease back, so that another daemon can lead at once. An unreachable store lets it run out."""
        lease = self.lease
        self.drop()
        if lease is not None:
            try:
                self._store.release(lease)
            except KemudiError:
                return

    def _release_predecessor(self) -> None:
        """End the lease of the process that used this state folder before.

        The folder's lock proves that it is dead, so nobody needs to wait for its lease to run out.
        """
        if self._record is None:
            return
        document = read_json(self._record)
        if isinstance(document, dict) and {"holder", "token", "epoch"} <= document.keys():
            self._store.release(Lease(**{name: document[name] for name in ("holder", "token", "epoch")}))
        self._record.unlink(missing_ok=True)


class Renewer:
    """One thread that keeps the leases of every environment."""

    def __init__(
        self, keepers: Callable[[], Sequence[LeaseKeeper]], ttl_seconds: float, lost: Callable[[], None]
    ) -> None:
        self._keepers = keepers
        self._interval = ttl_seconds / _RENEWALS_PER_TTL
        self._lost = lost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kemudi-lease", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more. Returns at once; the leases are released by their owners."""
        self._stop.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the thread."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            for keeper in self._keepers():
                if keeper.lease is not None and not keeper.renew():
                    self._lost()
