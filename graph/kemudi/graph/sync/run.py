"""One run of the sync over a plan: copy, then find what no row shows, then put an end to it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import GraphStore, Step
from kemudi.graph.sync.batch import BUMP, steps_for, steps_to_repair
from kemudi.graph.sync.checkpoint import Checkpoints, Position, Range
from kemudi.graph.sync.gate import Config, Gate, StoppedError
from kemudi.graph.sync.retry import retried
from kemudi.graph.sync.status import StatusBoard
from kemudi.graph.sync.verify import Difference, compare_range
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
    """

    def __init__(
        self,
        config: Config,
        store: GraphStore,
        registry: Registry,
        board: StatusBoard,
        ending: threading.Event,
    ) -> None:
        self._config = config
        self._store = store
        self._registry = registry
        self._board = board
        self._ending = ending
        self._checkpoints = Checkpoints(store)
        self._gate = Gate(config, board, ending)

    def full(self, watermark: str) -> None:
        """Take over every row, from where an interrupted run left off; then everything that no row shows."""
        ranges = self._tried(self._planned)
        left = [self._registry.count_between(part.after_id, part.until_id) for part in ranges]
        self._board.update(
            rows_total=sum(left), checkpoint=min((part.after_id for part in ranges), default=0)
        )
        _Copying(self, ranges).copy_all(self._writers())
        self._reconcile()
        self._finish(len(ranges), watermark)

    def changes(self, start: Position, watermark: str) -> None:
        """Take over the rows changed behind a position; look further only when the counts then differ."""
        position = self._tried(self._checkpoints.changes_reached) or start
        total = self._tried(lambda: self._registry.count_changes(position.changed_at, position.id))
        self._board.update(rows_total=total)
        more = True
        while more:
            size = self._gate.pass_through()
            failpoint("sync.before-batch")
            position, more = self._tried(partial(self._copy_changes, position, size))
            failpoint("sync.after-batch")
        if self._tried(self._counts_differ):
            self._reconcile()
        self._finish(0, watermark)

    def copy_page(self, part: Range, copied: Callable[[Range], int]) -> Range:
        """One page of a range in one transaction with its checkpoint; the range as it is then.

        `copied` is told, and gives the key up to which every row is in the graph.
        """
        size = self._gate.pass_through()
        failpoint("sync.before-batch")

        def batch() -> tuple[Range, int]:
            page = self._registry.page(part.after_id, size, part.until_id)
            further = part.reached(page[-1].id if len(page) == size else part.until_id)
            self._store.write([*steps_for(page, self._registry), further.step()])
            return further, len(page)

        further, rows = self._tried(batch)
        self._board.add_rows(rows, copied(further), self._gate.active_seconds)
        failpoint("sync.after-batch")
        return further

    def abandon(self) -> None:
        """Let the other ranges stop after their batch."""
        self._gate.abandon()

    def _planned(self) -> list[Range]:
        left = self._checkpoints.interrupted()
        return left or self._checkpoints.plan(self._registry.ranges(self._writers()))

    def _writers(self) -> int:
        return min(int(self._config["SYNC_PARALLELISM"]), self._store.parallel_writers)

    def _copy_changes(self, position: Position, size: int) -> tuple[Position, bool]:
        page = self._registry.changes(position.changed_at, position.id, size)
        if not page:
            return position, False
        changed_at, last = page[-1]
        further = Position(changed_at, last.id)
        self._store.write([*steps_for([row for _, row in page], self._registry), further.step()])
        self._board.add_rows(len(page), self._board.current.checkpoint, self._gate.active_seconds)
        return further, len(page) == size

    def _counts_differ(self) -> bool:
        return bool(self._registry.count_pairs() != self._store.read("counts", {})[0]["edges"])

    def _reconcile(self) -> None:
        """Repair what no page shows: rows that vanished, and rows changed behind the cursor."""
        failpoint("sync.before-reconcile")
        self._board.update(phase="reconcile")
        after: str | None = ""
        while after is not None:
            self._gate.pass_through()
            compared = self._tried(partial(compare_range, self._registry, self._store, after))
            if compared.differences:
                self._tried(partial(self._repair, compared.differences))
            after = compared.until
        failpoint("sync.before-prune")
        self._board.update(phase="prune")
        self._write([("delete_idle_students", {}), ("delete_idle_classes", {}), BUMP])

    def _repair(self, differences: Sequence[Difference]) -> None:
        # Both sides are asked again, for the registry may have moved since the comparison.
        missing = self._registry.rows_of([each.pair for each in differences if each.kind == "missing"])
        extra = {each.pair for each in differences if each.kind == "extra"}
        extra -= self._registry.live_pairs(sorted(extra))
        self._store.write(steps_to_repair(missing, extra))
        self._board.update(difference=self._board.current.difference + len(missing) + len(extra))

    def _finish(self, ranges: int, watermark: str) -> None:
        failpoint("sync.before-done")
        moment = self._tried(lambda: self._checkpoints.finish(ranges, watermark))
        self._board.update(state="done", phase=None, finished_at=moment, last_success=moment, error=None)

    def _write(self, steps: Sequence[Step]) -> None:
        self._tried(lambda: self._store.write(steps))

    def _tried(self, action: Callable[[], T]) -> T:
        return retried(
            action,
            lambda: int(self._config["SYNC_RETRY_ATTEMPTS"]),
            self._ending,
            self._board.note,
        )


class _Copying:
    """The ranges of a full run, copied one after another or side by side."""

    def __init__(self, run: SyncRun, ranges: Sequence[Range]) -> None:
        self._run = run
        self._ranges = {part.name: part for part in sorted(ranges, key=lambda part: part.until_id)}
        self._lock = threading.Lock()

    def copy_all(self, workers: int) -> None:
        """Raises what made one range fail, rather than that the others stopped for it."""
        parts = list(self._ranges.values())
        if min(workers, len(parts)) <= 1:
            for part in parts:
                self._copy(part)
            return
        with ThreadPoolExecutor(min(workers, len(parts)), thread_name_prefix="sync") as pool:
            futures = [pool.submit(self._copy, part) for part in parts]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
            raise error

    def _copy(self, part: Range) -> None:
        try:
            while part.after_id < part.until_id:
                part = self._run.copy_page(part, self._copied)
        except BaseException:
            self._run.abandon()
            raise

    def _copied(self, part: Range) -> int:
        with self._lock:
            self._ranges[part.name] = part
            unfinished = (each.after_id for each in self._ranges.values() if each.after_id < each.until_id)
            return next(unfinished, max(each.until_id for each in self._ranges.values()))
