"""What a sync says of itself."""

import threading
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

State = Literal["idle", "running", "paused", "stopped", "failed", "done", "disabled"]


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """One moment of a sync.

    Attributes:
        state: `paused` by SYNC_PAUSED, `stopped` at SYNC_TIMEOUT, `disabled` by NEO4J_ENABLE_SYNC.
        phase: What it does: `rows`, then `reconcile` (rows that vanished), then `prune` (nodes left alone).
        rows_done: Rows read in this run, deleted ones included.
        rows_total: Rows that this run will read.
        batches: Batches written in this run.
        batch_size: SYNC_BATCH_SIZE as the last batch used it.
        rate: Rows a second in this run, pauses left out.
        checkpoint: The key up to which rows are in the graph.
        repaired: Relationships that the reconcile phase added or removed.
        started_at, finished_at: Of this run.
        last_success: When the graph was last brought up to the registry as a whole.
        error: Why it failed or stopped.
        revision, generation: Of the settings that the last batch obeyed.
    """

    state: State = "idle"
    phase: str | None = None
    rows_done: int = 0
    rows_total: int = 0
    batches: int = 0
    batch_size: int | None = None
    rate: float | None = None
    checkpoint: int = 0
    repaired: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    last_success: str | None = None
    error: str | None = None
    revision: str | None = None
    generation: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For `GET /sync/status`."""
        return asdict(self)


class StatusBoard:
    """The status that everybody reads and the runner writes. Safe to use from several threads."""

    def __init__(self) -> None:
        self._status = SyncStatus()
        self._lock = threading.Lock()

    @property
    def current(self) -> SyncStatus:
        """This moment."""
        return self._status

    def update(self, **changes: Any) -> SyncStatus:  # fields of SyncStatus, checked by `replace`
        """Replace fields."""
        with self._lock:
            self._status = replace(self._status, **changes)
            return self._status

    def note(self, error: str) -> None:
        """A failure that is tried again."""
        self.update(error=error)

    def begin(self, *, checkpoint: int, total: int) -> None:
        """A new run; only the last success stays."""
        with self._lock:
            self._status = SyncStatus(
                state="running",
                phase="rows",
                checkpoint=checkpoint,
                rows_total=total,
                started_at=now(),
                last_success=self._status.last_success,
            )

    def add_rows(self, rows: int, checkpoint: int, rate: float) -> None:
        """A batch is in the graph."""
        with self._lock:
            self._status = replace(
                self._status,
                rows_done=self._status.rows_done + rows,
                batches=self._status.batches + 1,
                checkpoint=max(self._status.checkpoint, checkpoint),
                rate=round(rate, 1),
            )
