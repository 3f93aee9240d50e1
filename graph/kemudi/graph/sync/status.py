"""What a sync says of itself."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from kemudi.graph.sync.checkpoint import now

State = Literal["idle", "running", "paused", "stopped", "failed", "done", "disabled"]
Phase = Literal["rows", "changes", "reconcile", "prune"]

_SHORTEST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """One moment of a sync.

    Attributes:
        state: `paused` by SYNC_PAUSED, `stopped` at SYNC_TIMEOUT or because the process ends, `disabled` by
            NEO4J_ENABLE_SYNC.
        run: Which run of this process it is, from 1; 0 before the first.
        phase: What it does: all `rows` or only `changes`, then `reconcile` (rows that vanished), then `prune` (nodes
            left alone).
        rows_done: Rows taken over in this run, deleted ones included.
        rows_total: Rows that this run takes over.
        batches: Batches written in this run.
        batch_size: SYNC_BATCH_SIZE as the last batch used it.
        rate: Rows a second in this run, pauses left out.
        checkpoint: The key up to which a full run has every row in the graph.
        difference: Relationships that a run had to add or remove because no row had shown them.
        started_at: When this run began, RFC 3339.
        finished_at: When it ended.
        last_success: When the graph was last brought up to the registry as a whole.
        error: Why it failed or stopped, or what is being tried again.
        revision: Of the settings that the last batch obeyed.
        generation: Of the same.
    """

    state: State = "idle"
    run: int = 0
    phase: Phase | None = None
    rows_done: int = 0
    rows_total: int = 0
    batches: int = 0
    batch_size: int | None = None
    rate: float | None = None
    checkpoint: int = 0
    difference: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    last_success: str | None = None
    error: str | None = None
    revision: str | None = None
    generation: str | None = None

    @property
    def active(self) -> bool:
        """Whether a run is under way."""
        return self.state in {"running", "paused"}

    @property
    def seconds_left(self) -> int | None:
        """Until every row of this run is in the graph, at its rate so far; None when that cannot be told."""
        if not self.active or not self.rate:
            return None
        return round((self.rows_total - self.rows_done) / self.rate)

    def as_json(self) -> dict[str, Any]:
        """For `GET /sync/status`."""
        return asdict(self) | {"seconds_left": self.seconds_left}


class StatusBoard:
    """The status that everybody reads and the runner writes. Safe to use from several threads."""

    def __init__(self) -> None:
        self._status = SyncStatus()
        self._changed = threading.Condition()

    @property
    def current(self) -> SyncStatus:
        """This moment."""
        return self._status

    def wait_for(self, predicate: Callable[[SyncStatus], bool], timeout: float) -> SyncStatus:
        """The first status that is as wanted, or the one after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: predicate(self._status), timeout)
            return self._status

    def update(self, **changes: Any) -> SyncStatus:  # fields of SyncStatus, checked by `replace`
        """Replace fields."""
        with self._changed:
            self._status = replace(self._status, **changes)
            self._changed.notify_all()
            return self._status

    def note(self, error: str) -> None:
        """A failure that is tried again."""
        self.update(error=error)

    def begin(self, phase: Phase) -> None:
        """A new run; only the last success stays."""
        with self._changed:
            before = self._status
            self._status = SyncStatus(
                state="running",
                run=before.run + 1,
                phase=phase,
                started_at=now(),
                last_success=before.last_success,
            )
            self._changed.notify_all()

    def add_rows(self, rows: int, checkpoint: int, active_seconds: float) -> None:
        """A batch is in the graph; what was being tried again has worked."""
        with self._changed:
            done = self._status.rows_done + rows
            self._status = replace(
                self._status,
                rows_done=done,
                batches=self._status.batches + 1,
                checkpoint=checkpoint,
                rate=round(done / max(active_seconds, _SHORTEST), 1),
                error=None,
            )
            self._changed.notify_all()
