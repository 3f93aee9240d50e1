"""One run of the sync: rows in keyset pages, then what vanished, then nodes left alone.

The checkpoint is written in the transaction of its batch. So after a crash at any point the next run goes on behind the
last whole batch: nothing is lost, and nothing is counted twice because each step is idempotent.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from kemudi.graph.registry import Registry, Row
from kemudi.graph.stores.base import GraphStore, Parameters
from kemudi.graph.sync.gate import Config, Gate, StoppedError
from kemudi.graph.sync.retry import retried
from kemudi.graph.sync.status import StatusBoard, SyncStatus, now
from kemudi.graph.sync.verify import Difference, ranges_compared
from kemudi.schema.errors import KemudiError
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

RUN: Final = "run"
_PLAN_RANGES: Final = "range-"

Step = tuple[str, Parameters]


@dataclass(frozen=True, slots=True)
class Range:
    """A part of the rows with a checkpoint of its own: keys behind `after_id`, up to `until_id`."""

    name: str
    after_id: int
    until_id: int


class SyncRunner:
    """Brings a graph up to a registry. One run at a time; `status` may be asked at any moment.

    Args:
        config: A `kemudi.client`; the settings are read between batches.
        store: The graph.
        registry: The rows.
        ending: Set it to end a run after its batch.
    """

    def __init__(
        self, config: Config, store: GraphStore, registry: Registry, ending: threading.Event
    ) -> None:
        self._config = config
        self._store = store
        self.registry = registry
        self._ending = ending
        self._board = StatusBoard()
        self._running = threading.Lock()
        self._prepared = False

    @property
    def status(self) -> SyncStatus:
        """This moment."""
        return self._board.current

    def learn_last_success(self) -> None:
        """Take over from the graph when it was last up to date, as a process that starts must."""
        found = self._checkpoint(RUN)
        if found is not None and found["finished_at"]:
            self._board.update(last_success=found["finished_at"])

    def is_behind(self) -> bool:
        """Whether the registry changed since the last whole run. Raises UnavailableError."""
        found = self._checkpoint(RUN)
        return found is None or not found["finished_at"] or found["watermark"] != self._watermark()

    def run(self) -> SyncStatus:
        """Run to the end, the time limit or a failure, and return the status then."""
        if not self._running.acquire(blocking=False):
            return self.status
        try:
            if not self._config["NEO4J_ENABLE_SYNC"]:
                return self._board.update(state="disabled", error="NEO4J_ENABLE_SYNC is false")
            self._run()
        except StoppedError as stopped:
            self._board.update(state="stopped", error=str(stopped), finished_at=now())
        except KemudiError as error:
            self._board.update(state="failed", error=str(error), finished_at=now())
        finally:
            self._running.release()
        return self.status

    def _run(self) -> None:
        gate = Gate(self._config, self._board, self._ending)
        self._board.begin(checkpoint=0, total=0)
        watermark = self._tried(self._watermark)
        ranges = self._tried(self._planned)
        total = self._tried(
            lambda: sum(self.registry.count_between(part.after_id, part.until_id) for part in ranges)
        )
        self._board.update(rows_total=total, checkpoint=min((part.after_id for part in ranges), default=0))
        self._copy_all(ranges, gate)
        failpoint("sync.before-reconcile")
        self._board.update(phase="reconcile")
        self._reconcile(gate)
        failpoint("sync.before-prune")
        self._board.update(phase="prune")
        self._write(("delete_idle_students", {}), ("delete_idle_classes", {}), ("bump_version", {}))
        failpoint("sync.before-done")
        finished = now()
        self._write(*_finished(ranges, finished, watermark))
        self._board.update(
            state="done",
            phase=None,
            finished_at=finished,
            last_success=finished,
            rate=self._rate(gate),
            error=None,
        )

    def _planned(self) -> list[Range]:
        """The ranges of an interrupted run behind their checkpoints, else new ones over all rows."""
        left = self._interrupted()
        if left:
            return left
        parts = min(int(self._config["SYNC_PARALLELISM"]), self._store.parallel_writers)
        bounds = self.registry.ranges(parts)
        planned = [
            Range(f"{_PLAN_RANGES}{index}", after, until) for index, (after, until) in enumerate(bounds)
        ]
        # Planned before the first batch and in one transaction, so that a crash leaves all of the plan or none of it.
        self._store.write(
            [
                *(_checkpoint(part.name, part.after_id, part.until_id) for part in planned),
                _checkpoint(RUN, len(planned), 0),
            ]
        )
        return planned

    def _interrupted(self) -> list[Range]:
        run = self._checkpoint(RUN)
        if run is None or run["finished_at"]:
            return []
        found = [
            (name, self._checkpoint(name)) for name in (f"{_PLAN_RANGES}{i}" for i in range(run["after_id"]))
        ]
        return [Range(name, each["after_id"], each["until_id"]) for name, each in found if each is not None]

    def _copy_all(self, ranges: list[Range], gate: Gate) -> None:
        if len(ranges) <= 1:
            for part in ranges:
                self._copy(part, gate)
            return
        with ThreadPoolExecutor(len(ranges), thread_name_prefix="sync") as pool:
            for done in [pool.submit(self._copy, part, gate) for part in ranges]:
                done.result()

    def _copy(self, part: Range, gate: Gate) -> None:
        after = part.after_id
        while after < part.until_id:
            size = gate.pass_through()
            failpoint("sync.before-batch")
            after = self._tried(lambda after=after, size=size: self._copy_batch(part, after, size, gate))
            failpoint("sync.after-batch")

    def _copy_batch(self, part: Range, after: int, size: int, gate: Gate) -> int:
        """One page in one transaction with its checkpoint. Returns the key up to which the range is done."""
        page = self.registry.page(after, size, part.until_id)
        reached = page[-1].id if len(page) == size else part.until_id
        gone = [(row.nim, row.kode) for row in page if row.deleted]
        still = self.registry.live_pairs(gone)
        self._store.write(
            [
                *_merged(row for row in page if not row.deleted),
                *_deleted(pair for pair in gone if pair not in still),
                ("bump_version", {}),
                _checkpoint(part.name, reached, part.until_id),
            ]
        )
        self._board.add_rows(len(page), reached, self._rate(gate, len(page)))
        return reached

    def _reconcile(self, gate: Gate) -> None:
        """Repair what no page shows: rows that vanished, and rows changed behind the cursor."""
        for differences in ranges_compared(self.registry, self._store, before_each=gate.pass_through):
            self._tried(lambda found=differences: self._repair(found))

    def _repair(self, differences: list[Difference]) -> None:
        if not differences:
            return
        missing = self.registry.rows_of([each.pair for each in differences if each.kind == "missing"])
        extra = [each.pair for each in differences if each.kind == "extra"]
        still = self.registry.live_pairs(extra)
        gone = _deleted(pair for pair in extra if pair not in still)
        self._store.write([*_merged(missing), *gone, ("bump_version", {})])
        self._board.update(repaired=self.status.repaired + len(differences))

    def _rate(self, gate: Gate, more: int = 0) -> float:
        return (self.status.rows_done + more) / max(gate.active_seconds, 1e-6)

    def _watermark(self) -> str:
        count, newest = self.registry.watermark()
        return f"{count} {newest}"

    def _checkpoint(self, name: str) -> dict[str, Any] | None:
        if not self._prepared:
            self._store.prepare()
            self._prepared = True
        found = self._store.read("checkpoint", {"name": name})
        return found[0] if found else None

    def _write(self, *steps: Step) -> None:
        self._tried(lambda: self._store.write(steps))

    def _tried(self, action: Any) -> Any:  # whatever the action gives
        return retried(
            action,
            lambda: int(self._config["SYNC_RETRY_ATTEMPTS"]),
            self._ending,
            self._board.note,
        )


def _checkpoint(
    name: str, after_id: int, until_id: int, *, finished_at: str = "", watermark: str = ""
) -> Step:
    return (
        "set_checkpoint",
        {
            "name": name,
            "after_id": after_id,
            "until_id": until_id,
            "finished_at": finished_at,
            "watermark": watermark,
        },
    )


def _finished(ranges: list[Range], moment: str, watermark: str) -> list[Step]:
    return [_checkpoint(RUN, len(ranges), 0, finished_at=moment, watermark=watermark)]


def _merged(rows: Iterable[Row]) -> list[Step]:
    found = list(rows)
    if not found:
        return []
    # In one order everywhere: two writers then lock the nodes that they share in the same order.
    students = dict(sorted((row.nim, row.nama) for row in found))
    classes = dict(sorted((row.kode, row.kelas_nama) for row in found))
    pairs = sorted({(row.nim, row.kode) for row in found})
    return [
        ("merge_students", {"rows": [{"nim": nim, "nama": nama} for nim, nama in students.items()]}),
        ("merge_classes", {"rows": [{"kode": kode, "nama": nama} for kode, nama in classes.items()]}),
        ("merge_pairs", {"pairs": [{"nim": nim, "kode": kode} for nim, kode in pairs]}),
    ]


def _deleted(pairs: Iterable[tuple[str, str]]) -> list[Step]:
    records = [{"nim": nim, "kode": kode} for nim, kode in sorted(set(pairs))]
    return [("delete_pairs", {"pairs": records})] if records else []
