"""One range of keys from the registry into the graph: the same function for a thread here and a process elsewhere.

Whoever took the lease plans the ranges, which stand in the graph. Any process that can reach registry and graph may
copy one, under the epoch that it was given; each batch is one transaction with its checkpoint and a look at the lease.
While the graph writes one batch the registry is read for the next.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from kemudi.graph.errors import GraphMovedError
from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import Step
from kemudi.graph.sync.batch import steps_for
from kemudi.graph.sync.checkpoint import Checkpoints, Range
from kemudi.graph.sync.lease import Fence
from kemudi.graph.sync.retry import retried
from kemudi.schema.failpoints import failpoint

T = TypeVar("T")


class Pace(Protocol):
    """What lies between two batches."""

    def size(self) -> int:
        """Rows of the next batch, once it may begin. Raises StoppedError when there shall be no other."""

    def tried(self, action: Callable[[], T]) -> T:
        """The result of `action`, tried again where that may help; as `kemudi.graph.sync.retry.retried`."""

    def copied(self, part: Range, rows: int) -> None:
        """So many rows more are in the graph; the range stands as `part`."""


@dataclass(frozen=True, slots=True)
class FixedPace:
    """The pace of a process without live settings.

    Attributes:
        batch_size: Rows in one transaction.
        attempts: How often a batch is tried again.
        ending: Set to end after a failed try.
    """

    batch_size: int
    attempts: int
    ending: threading.Event = field(default_factory=threading.Event)

    def size(self) -> int:
        """See `Pace`."""
        return self.batch_size

    def tried(self, action: Callable[[], T]) -> T:
        """See `Pace`."""
        return retried(action, lambda: self.attempts, self.ending, lambda _error: None)

    def copied(self, part: Range, rows: int) -> None:
        """Nobody is told."""


def copy_range(part: Range, fence: Fence, registry: Registry, pace: Pace) -> Range:
    """Copy what is left of a range, from where it stands in the graph, and return it as it ends.

    Two processes with the same range do no harm: a batch counts only from where the range stands, and the slower one
    goes on behind the quicker. Raises LeaseLostError when the epoch is over, StoppedError, and what store and registry
    raise when trying again did not help.
    """
    part = pace.tried(partial(Checkpoints(fence.store).range, part))
    with ThreadPoolExecutor(1, thread_name_prefix=f"sync-read-{part.name}") as reader:
        pages = _Pages(registry, reader)
        while part.after_id < part.until_id:
            size = pace.size()
            failpoint("sync.before-batch")
            try:
                part, rows = pace.tried(partial(_copy_page, part, size, fence, pages))
            except GraphMovedError:  # by another with the same range, or by a try whose answer was lost
                part, rows = pace.tried(partial(_found_again, part, fence, registry))
            pace.copied(part, rows)
            failpoint("sync.after-batch")
    return part


@dataclass(frozen=True, slots=True)
class _Page:
    """Some rows of a range, ready to be written.

    Attributes:
        rows: How many.
        steps: That bring the graph up to them.
        further: Where the range stands then.
    """

    rows: int
    steps: list[Step]
    further: Range


class _Pages:
    """The pages of one range, each read while the graph writes the one before it."""

    def __init__(self, registry: Registry, reader: ThreadPoolExecutor) -> None:
        self._registry = registry
        self._reader = reader
        self._wanted: tuple[Range, int] | None = None
        self._ahead: Future[_Page] | None = None

    def take(self, part: Range, size: int) -> _Page:
        """The page behind `part`. Read now if another was expected, or reading ahead failed: then this says why."""
        ahead, expected = self._ahead, self._wanted == (part, size)
        self._ahead = self._wanted = None
        if ahead is not None:
            error = ahead.exception()
            if expected and error is None:
                return ahead.result()
        return self._read(part, size)

    def expect(self, part: Range, size: int) -> None:
        """Begin to read the page behind `part`."""
        if part.after_id < part.until_id:
            self._wanted = (part, size)
            self._ahead = self._reader.submit(self._read, part, size)

    def _read(self, part: Range, size: int) -> _Page:
        page = self._registry.page(part.after_id, size, part.until_id)
        further = part.reached(page[-1].id if len(page) == size else part.until_id)
        return _Page(len(page), steps_for(page, self._registry), further)


def _copy_page(part: Range, size: int, fence: Fence, pages: _Pages) -> tuple[Range, int]:
    page = pages.take(part, size)
    pages.expect(page.further, size)
    fence.move(page.steps, part, page.further)
    return page.further, page.rows


def _found_again(part: Range, fence: Fence, registry: Registry) -> tuple[Range, int]:
    """Where a range stands that was moved. Raises GraphMovedError when there is no such plan any more."""
    found = Checkpoints(fence.store).range(part)
    if found == part:
        raise GraphMovedError
    return found, registry.count_between(part.after_id, found.after_id)
