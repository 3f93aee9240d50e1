"""What the services need of a graph store."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Parameters = Mapping[str, Any]
Record = dict[str, Any]


class GraphStore(Protocol):
    """A store that runs the named queries of `kemudi.graph.queries`. Safe to use from several threads.

    Attributes:
        name: For messages and metrics, such as `ladybug`.
        parallel_writers: How many writing transactions make sense at once.
    """

    name: str
    parallel_writers: int

    def prepare(self) -> None:
        """Create tables or constraints that are missing. Raises GraphUnavailableError."""

    def read(self, query: str, parameters: Parameters, *, timeout: float | None = None) -> list[Record]:
        """The records of a named query; the store itself ends it after `timeout` seconds.

        Raises QueryTimeoutError, GraphUnavailableError.
        """

    def write(self, steps: Sequence[tuple[str, Parameters]]) -> None:
        """Run named queries in one transaction: all of them are durable when this returns, or none is.

        Raises GraphUnavailableError when it is worth another try.
        """

    def ping(self) -> None:
        """Raises GraphUnavailableError when the store does not answer."""

    def close(self) -> None:
        """Release everything. May be repeated."""
