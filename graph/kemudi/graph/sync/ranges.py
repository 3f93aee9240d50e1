"""One range of keys from the registry into the graph: the same function for a thread here and a process elsewhere.

Whoever took the lease plans the ranges, which stand in the graph. Any process that can reach registry and graph may
copy one, under the epoch that it was given; each batch is one transaction with its checkpoint and a look at the lease.
While the graph writes one batch the registry is read for the next.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from kemudi.graph.errors import GraphMovedError
from kemudi.graph.registry import Registry
from kemudi.graph.stores.base import Step
from kemudi.graph.sync.ahead import Ahead
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
    with Ahead(partial(_read_page, registry), f"sync-read-{part.name}") as pages:
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


_Place = tuple[Range, int]
"""Where a page begins, and how many rows it shall have."""


def _read_page(registry: Registry, place: _Place) -> _Page:
    part, size = place
    page = registry.page(part.after_id, size, part.until_id)
    further = part.reached(page[-1].id if len(page) == size else part.until_id)
    return _Page(len(page), steps_for(page, registry), further)


def _copy_page(part: Range, size: int, fence: Fence, pages: Ahead[_Place, _Page]) -> tuple[Range, int]:
    page = pages.take((part, size))
    if page.further.after_id < part.until_id:
        pages.expect((page.further, size))
    fence.move(page.steps, part, page.further)
    return page.further, page.rows


def _found_again(part: Range, fence: Fence, registry: Registry) -> tuple[Range, int]:
    """Where a range stands that was moved. Raises GraphMovedError when there is no such plan any more."""
    found = Checkpoints(fence.store).range(part)
    if found == part:
        raise GraphMovedError
    return found, registry.count_between(part.after_id, found.after_id)
