"""One call's conversation with the store: several queries, one time limit for all of them together."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from kemudi.graph.errors import QueryTimeoutError
from kemudi.graph.stores.base import GraphStore, Record

_CIRCLES: Final = threading.BoundedSemaphore(4)
"""So many calls of this process at once hold the circle of a student: some 50 MB each around a class of 5,000."""


class Asking:
    """Asks named queries until `seconds` have passed since it began.

    Args:
        store: The graph.
        seconds: GRAPH_QUERY_TIMEOUT, for the whole call. What is left of it is the time limit of each query, which the
            store itself keeps.
        began: When the request came, by the monotonic clock; now, unless it says otherwise.
    """

    def __init__(self, store: GraphStore, seconds: float, began: float | None = None) -> None:
        self._store = store
        self._seconds = seconds
        self._until = (time.monotonic() if began is None else began) + seconds

    def __call__(self, query: str, **parameters: Any) -> list[Record]:  # of the query
        """The records. Raises QueryTimeoutError, GraphUnavailableError, GraphRefusedError."""
        left = self.left()
        try:
            return self._store.read(query, parameters, timeout=left)
        except QueryTimeoutError as error:
            # With the limit that the caller knows, not with the rest of it that this query had.
            raise QueryTimeoutError(self._seconds) from error

    def left(self) -> float:
        """Seconds that remain. Raises QueryTimeoutError when none do."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise QueryTimeoutError(self._seconds)
        return left

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Memory for a student's circle, once there is room. Raises QueryTimeoutError when there is none in time."""
        if not _CIRCLES.acquire(timeout=self.left()):
            raise QueryTimeoutError(self._seconds)
        try:
            yield
        finally:
            _CIRCLES.release()
