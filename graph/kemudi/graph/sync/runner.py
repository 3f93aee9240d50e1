"""The sync service: decides what a run must do, and runs one at a time.

A crash at any point resumes behind the last whole batch: nothing is lost, for a checkpoint is never ahead of its batch,
and nothing comes twice, for every step is idempotent.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from kemudi.graph.errors import LeaseHeldError
from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.checkpoint import Checkpoints, now
from kemudi.graph.sync.copying import Copier
from kemudi.graph.sync.gate import Config, StoppedError
from kemudi.graph.sync.lease import LEASE_SECONDS, Lease
from kemudi.graph.sync.retry import retried
from kemudi.graph.sync.run import FAILPOINTS, SyncRun
from kemudi.graph.sync.status import StatusBoard, SyncStatus
from kemudi.graph.sync.watermark import Watermark
from kemudi.schema.errors import KemudiError

__all__ = ["FAILPOINTS", "SyncRunner"]

T = TypeVar("T")


class SyncRunner:
    """Brings a graph up to a registry. `status` may be asked at any moment; `held` says why the last run did not begin.

    Args:
        config: A `kemudi.client`; the settings are read between batches.
        store: The graph; its tables or constraints are there.
        registry: The rows.
        ending: Set it to end a run after its batch.
        copier: Of the ranges of a full run; threads of this process unless said otherwise.
        lease_seconds: How long another process may show no life until a run here takes over.
    """

    def __init__(
        self,
        config: Config,
        store: GraphStore,
        registry: Registry,
        ending: threading.Event,
        *,
        copier: Copier | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._config = config
        self._store = store
        self.registry = registry
        self._ending = ending
        self._copier = copier
        self._lease_seconds = lease_seconds
        self._checkpoints = Checkpoints(store)
        self.board = StatusBoard()
        self.held: LeaseHeldError | None = None
        self._running = threading.Lock()

    @property
    def status(self) -> SyncStatus:
        """This moment."""
        return self.board.current

    @property
    def enabled(self) -> bool:
        """Whether NEO4J_ENABLE_SYNC lets it run."""
        return bool(self._config["NEO4J_ENABLE_SYNC"])

    def learn_last_success(self) -> None:
        """Take over from the graph when it was last up to date, as a process that starts must."""
        run = self._checkpoints.last_run()
        if run is not None and run.finished_at is not None:
            self.board.update(last_success=run.finished_at)

    def is_behind(self) -> bool:
        """Whether a run is unfinished or the registry changed since the last one. Raises UnavailableError."""
        run = self._checkpoints.last_run()
        if run is None or run.finished_at is None or self._checkpoints.changes_reached() is not None:
            return True
        return run.watermark != str(self._watermark())

    def run(self, *, full: bool = True) -> SyncStatus:
        """Run to the end, the time limit or a failure, and return the status then.

        Args:
            full: Take over every row. Otherwise only what changed since the last run, where that can be told.
        """
        if not self._running.acquire(blocking=False):
            return self.status
        try:
            if not self.enabled:
                return self.board.update(state="disabled", error="NEO4J_ENABLE_SYNC is false")
            self.held = None
            self.board.begin("rows" if full else "changes")
            self._run(full=full)
        except LeaseHeldError as held:
            self.held = held
            self.board.update(state="stopped", error=str(held), finished_at=now())
        except StoppedError as stopped:
            self.board.update(state="stopped", error=str(stopped), finished_at=now())
        except KemudiError as error:
            self.board.update(state="failed", error=str(error), finished_at=now())
        except Exception as error:  # the reason must be seen where the others are
            self.board.update(state="failed", error=f"unexpected {type(error).__name__}", finished_at=now())
            raise
        finally:
            self._running.release()
        return self.status

    def _run(self, *, full: bool) -> None:
        lease = Lease(self._store, self._ending, self.board.note, seconds=self._lease_seconds)
        try:
            self._tried(lease.take)
            self.board.update(error=None)
            self._run_under(lease, full=full)
        finally:
            lease.give_back()

    def _run_under(self, lease: Lease, *, full: bool) -> None:
        run = SyncRun(self._config, self._store, self.registry, self.board, self._ending, lease, self._copier)
        self._tried(self.registry.check)
        last = None if full else self._tried(self._last_watermark)
        # Before the first row is read: what changes from now on makes the next check find the graph behind.
        watermark = self._tried(self._watermark)
        if last is None or last.newest is None:
            self.board.update(phase="rows")
            run.full(watermark)
        else:
            run.changes(last, last.newest, watermark)

    def _tried(self, action: Callable[[], T]) -> T:
        return retried(
            action, lambda: int(self._config["SYNC_RETRY_ATTEMPTS"]), self._ending, self.board.note
        )

    def _last_watermark(self) -> Watermark | None:
        """What the last run left off at; None when only a full run will do."""
        last = self._checkpoints.last_run()
        return Watermark.parse(last.watermark) if last is not None and last.finished_at is not None else None

    def _watermark(self) -> Watermark:
        return Watermark.of(self.registry)
