"""The ranges of a full run, copied side by side: as many at once as SYNC_PARALLELISM says at each moment."""

import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from kemudi.graph.registry import Registry
from kemudi.graph.sync.checkpoint import Range
from kemudi.graph.sync.gate import Config, Gate, StoppedError
from kemudi.graph.sync.lease import Fence
from kemudi.graph.sync.ranges import copy_range
from kemudi.graph.sync.retry import retried
from kemudi.graph.sync.status import StatusBoard

_LOOK_SECONDS: Final = 0.1
BATCHES: Final = 10
"""A range of fewer batches is not worth one of its own."""

T = TypeVar("T")


class Progress:
    """How far the ranges of a run are, and what holds between their batches. Safe to use from several threads."""

    def __init__(
        self,
        config: Config,
        board: StatusBoard,
        gate: Gate,
        ending: threading.Event,
        ranges: Sequence[Range],
    ) -> None:
        self._config = config
        self._board = board
        self._gate = gate
        self._ending = ending
        self._ranges = {part.name: part for part in sorted(ranges, key=lambda part: part.until_id)}
        self.changed = threading.Condition()

    def due(self) -> list[Range]:
        """The ranges that may be copied at this moment: the first unfinished ones."""
        parallelism = int(self._config["SYNC_PARALLELISM"])
        return self.unfinished()[:parallelism]

    def unfinished(self) -> list[Range]:
        """Those with rows left, in the order of keys."""
        return [part for part in self._ranges.values() if part.after_id < part.until_id]

    def batch_size(self) -> int:
        """SYNC_BATCH_SIZE, once the next batch may begin. Raises StoppedError."""
        return self._gate.pass_through()

    def attempts(self) -> int:
        """SYNC_RETRY_ATTEMPTS."""
        return int(self._config["SYNC_RETRY_ATTEMPTS"])

    def tried(self, action: Callable[[], T]) -> T:
        """See `retried`."""
        return retried(action, self.attempts, self._ending, self._board.note)

    def copied(self, part: Range, rows: int) -> None:
        """A batch is in the graph."""
        with self.changed:
            self._ranges[part.name] = part
            left = self.unfinished()
            reached = left[0].after_id if left else max(each.until_id for each in self._ranges.values())
            self._board.add_rows(rows, reached, self._gate.active_seconds)
            self.changed.notify_all()

    def ended(self, part: Range) -> None:
        """A range is through, be it that another process had copied the last of it."""
        with self.changed:
            self._ranges[part.name] = part
            self.changed.notify_all()

    def abandon(self) -> None:
        """One range failed: the others stop after their batch."""
        self._gate.abandon()
        with self.changed:
            self.changed.notify_all()


class Copier(Protocol):
    """Copies the ranges of a run: in threads, or as tasks elsewhere."""

    def parts(self, rows: int, batch_size: int) -> int:
        """Into how many ranges a run over so many rows is to be cut."""

    def copy(self, fence: Fence, progress: Progress) -> None:
        """Copy all unfinished ranges of `progress`, each by `copy_range`, and tell it of each batch.

        Raises what made one fail, rather than that the others stopped for it.
        """


class Threads:
    """Threads of this process, that share store and registry."""

    def __init__(self, registry: Registry, most: int) -> None:
        self._registry = registry
        self._most = most

    def parts(self, rows: int, batch_size: int) -> int:
        """As many as may ever run at once: SYNC_PARALLELISM may rise in the middle of a run."""
        return max(1, min(self._most, rows // (BATCHES * batch_size)))

    def copy(self, fence: Fence, progress: Progress) -> None:
        """See `Copier`."""
        threads: dict[str, threading.Thread] = {}
        errors: list[BaseException] = []

        def copy(part: Range) -> None:
            try:
                progress.ended(copy_range(part, fence, self._registry, _Turns(progress, part.name)))
            except BaseException as error:  # noqa: BLE001  # raised below, in the thread of the run
                errors.append(error)
                progress.abandon()

        with progress.changed:
            while progress.unfinished() and not errors:
                for part in progress.due():
                    if part.name not in threads:
                        threads[part.name] = threading.Thread(
                            target=copy, args=(part,), name=f"sync-{part.name}"
                        )
                        threads[part.name].start()
                progress.changed.wait(_LOOK_SECONDS)
        for thread in threads.values():
            thread.join()
        for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
            raise error


class _Turns:
    """The pace of one range among others: it goes on while it is due."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name

    def size(self) -> int:
        """See `Pace`."""
        while True:
            size = self._progress.batch_size()
            with self._progress.changed:
                if any(part.name == self._name for part in self._progress.due()):
                    return size
                self._progress.changed.wait(_LOOK_SECONDS)

    def tried(self, action: Callable[[], T]) -> T:
        """See `Pace`."""
        return self._progress.tried(action)

    def copied(self, part: Range, rows: int) -> None:
        """See `Pace`."""
        self._progress.copied(part, rows)
