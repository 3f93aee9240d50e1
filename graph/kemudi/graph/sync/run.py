"""One run of the sync over a plan: copy, then find what no row shows, then put an end to it."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from kemudi.graph.registry import Registry, Row
from kemudi.graph.stores.base import GraphStore
from kemudi.graph.sync.batch import BUMP, steps_for, steps_to_repair
from kemudi.graph.sync.checkpoint import Checkpoints, Position, Range, finish, now, plan
from kemudi.graph.sync.copying import Copier, Progress, Threads
from kemudi.graph.sync.gate import Config, Gate
from kemudi.graph.sync.lease import Lease
from kemudi.graph.sync.reconcile import Unequal, unequal, wanted_from
from kemudi.graph.sync.retry import retried
from kemudi.graph.sync.status import StatusBoard
from kemudi.graph.sync.watermark import Watermark
from kemudi.schema.failpoints import failpoint

FAILPOINTS: Final = (
    "sync.before-batch",
    "graph.before-commit",
    "graph.after-commit",
    "sync.after-batch",
    "sync.before-reconcile",
    "sync.before-prune",
    "sync.before-done",
)
"""Where a crash test may end the process; the `graph.` ones are in the stores."""

OVERLAP: Final = timedelta(minutes=5)
"""Changed rows are read again from so long before the last one seen: a transaction may commit after its rows' time."""

T = TypeVar("T")


class SyncRun:
    """One run. Its methods raise StoppedError at the time limit, and what store and registry raise in the end.

    Args:
        config: A `kemudi.client`; the settings are read between batches.
        store: The graph.
        registry: The rows.
        board: Told of every batch.
        ending: Set when the process ends; the run stops after its batch.
        lease: Taken; everything is written under it.
        copier: Of the ranges of a full run; threads of this process unless said otherwise.
    """

    def __init__(
        self,
        config: Config,
        store: GraphStore,
        registry: Registry,
        board: StatusBoard,
        ending: threading.Event,
        lease: Lease,
        copier: Copier | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._registry = registry
        self._board = board
        self._ending = ending
        self._checkpoints = Checkpoints(store)
        self._gate = Gate(config, board, ending)
        self._lease = lease
        self._copier = copier or Threads(registry, store.parallel_writers)

    def full(self, watermark: Watermark) -> None:
        """Take over every row, from where an interrupted run left off; then everything that no row shows."""
        ranges = self._tried(self._planned)
        left = [self._registry.count_between(part.after_id, part.until_id) for part in ranges]
        self._board.update(
            rows_total=sum(left), checkpoint=min((part.after_id for part in ranges), default=0)
        )
        progress = Progress(self._config, self._board, self._gate, self._ending, ranges)
        self._copier.copy(self._lease.fence, progress)
        # Whoever still copies, as a task that was given up, is late from here on.
        self._tried(self._lease.pass_on)
        self._reconcile()
        self._finish(len(ranges), watermark)

    def changes(self, last: Watermark, newest: datetime, watermark: Watermark) -> None:
        """Take over the rows changed since the last run; look further only when they cannot be all that has changed."""
        start = Position(newest - OVERLAP, 0)
        position = self._tried(self._checkpoints.changes_reached) or start
        total = self._tried(lambda: self._registry.count_changes(position.changed_at, position.id))
        self._board.update(rows_total=total)
        more, replaced = True, False
        while more:
            size = self._gate.pass_through()
            failpoint("sync.before-batch")
            page = self._tried(partial(self._copy_changes, position, size))
            position, more = Position.behind(page) or position, len(page) == size
            replaced = replaced or last.is_replaced_by(page)
            failpoint("sync.after-batch")
        changed = self._board.current.rows_done
        explained = not replaced and self._tried(partial(last.explains, self._registry, watermark, changed))
        if not explained and self._tried(self._counts_differ):
            self._reconcile()
        self._finish(0, watermark)

    def _planned(self) -> list[Range]:
        left = self._checkpoints.interrupted()
        if left:
            return left
        parts = self._copier.parts(self._registry.totals().rows, int(self._config["SYNC_BATCH_SIZE"]))
        ranges, steps = plan(self._registry.ranges(parts))
        self._lease.fence.write(steps)
        return ranges

    def _copy_changes(self, position: Position, size: int) -> list[tuple[datetime, Row]]:
        page = self._registry.changes(position.changed_at, position.id, size)
        further = Position.behind(page)
        if further is not None:
            self._lease.fence.write([*steps_for([row for _, row in page], self._registry), further.step()])
            self._board.add_rows(len(page), self._board.current.checkpoint, self._gate.active_seconds)
        return page

    def _counts_differ(self) -> bool:
        return bool(self._registry.count_pairs() != self._store.read("counts", {})[0]["edges"])

    def _reconcile(self) -> None:
        """Repair what no page shows: rows that vanished, and rows changed behind the cursor."""
        failpoint("sync.before-reconcile")
        self._board.update(phase="reconcile")
        after: str | None = ""
        with wanted_from(self._registry) as wanted:
            while after is not None:
                self._gate.pass_through()
                found = self._tried(partial(unequal, wanted, self._store, after))
                if found.missing or found.extra:
                    self._tried(partial(self._repair, found))
                after = found.until
        failpoint("sync.before-prune")
        self._board.update(phase="prune")
        prune = [("delete_idle_students", {}), ("delete_idle_classes", {}), BUMP]
        self._tried(lambda: self._lease.fence.write(prune))

    def _repair(self, found: Unequal) -> None:
        # The registry is asked again, for it may have moved since the comparison.
        missing = self._registry.rows_of(sorted(found.missing))
        extra = found.extra - self._registry.live_pairs(sorted(found.extra))
        self._lease.fence.write(steps_to_repair(missing, extra))
        self._board.update(difference=self._board.current.difference + len(missing) + len(extra))

    def _finish(self, ranges: int, watermark: Watermark) -> None:
        failpoint("sync.before-done")
        moment = now()
        self._tried(lambda: self._lease.fence.write(finish(ranges, moment, str(watermark))))
        self._board.update(state="done", phase=None, finished_at=moment, last_success=moment, error=None)

    def _tried(self, action: Callable[[], T]) -> T:
        return retried(
            action,
            lambda: int(self._config["SYNC_RETRY_ATTEMPTS"]),
            self._ending,
            self._board.note,
        )
