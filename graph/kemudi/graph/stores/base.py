"""What the services need of a graph store."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Parameters = Mapping[str, Any]
Record = dict[str, Any]
Step = tuple[str, Parameters]
"""The name of a query and its parameters."""

Texts = Callable[[str], str]
"""From the name of a query to its text; `kemudi.graph.queries.query` unless a test gives another."""


class GraphStore(Protocol):
    """A store that runs the named queries of `kemudi.graph.queries`. Safe to use from several threads.

    Attributes:
        name: For messages and metrics, such as `ladybug`.
        parallel_writers: How many writing transactions make sense at once.
        exclusive: No other process can have it open at the same time.
    """

    name: str
    parallel_writers: int
    exclusive: bool

    def prepare(self) -> None:
        """Create tables or constraints that are missing. Raises GraphUnavailableError, GraphRefusedError."""

    def read(self, query: str, parameters: Parameters, *, timeout: float | None = None) -> list[Record]:
        """The records of a named query; the store itself ends it after `timeout` seconds.

        Raises QueryTimeoutError, GraphUnavailableError, GraphRefusedError.
        """

    def write(self, steps: Sequence[Step], *, fence: Step | None = None) -> None:
        """Run named queries in one transaction: all of them are durable when this returns, or none is.

        A `fence` is run last; when it gives no record, none is durable and GraphMovedError is raised.

        Raises GraphUnavailableError, and GraphContendedError, when it is worth another try; GraphRefusedError. After
        an error that came with the end of the connection the transaction may have been committed nevertheless, so
        the steps must be idempotent.
        """

    def end_writes(self, epoch: int) -> None:
        """End transactions that are open under a fence of this epoch or an older one, so that their locks are free.

        What a process left open that stands still would be in the way until its time limit. Raises as `read`.
        """

    def ping(self) -> None:
        """Raises GraphUnavailableError or GraphRefusedError when the store does not answer."""

    def close(self) -> None:
        """End what runs and release everything. May be repeated."""
