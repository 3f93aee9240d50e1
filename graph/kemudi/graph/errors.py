"""How the services fail, as branches of the common tree.

::

    KemudiError
    ├── FeatureDisabledError       GRAPH_FEATURE_ENABLED is off                HTTP 503 feature-disabled
    ├── StudentNotFoundError       the graph does not know the student         HTTP 404 student-not-found
    ├── QueryTimeoutError          GRAPH_QUERY_TIMEOUT ended the query         HTTP 504 query-timeout
    ├── InvalidRequestError        also a ValueError: limit, algorithm, cursor HTTP 422 invalid-request
    ├── ConflictError
    │   ├── GraphMovedError        what a write was made for is not so any more; nothing was written
    │   ├── LeaseHeldError         another process runs the sync
    │   └── LeaseLostError         another process took the sync over; nothing was written
    ├── TaskFailedError            a range could not be copied elsewhere
    ├── RefusedError
    │   └── GraphRefusedError      the store refuses it; a retry does not help HTTP 500 graph-refused
    └── UnavailableError
        ├── GraphUnavailableError  the graph store cannot be reached now       HTTP 503 graph-unavailable
        │   └── GraphContendedError    another transaction was in the way; a sync tries again soon
        └── RegistryUnavailableError  (kemudi.graph.registry)                  HTTP 503 registry-unavailable
"""

from kemudi.schema.errors import ConflictError, KemudiError, RefusedError, UnavailableError


class FeatureDisabledError(KemudiError):
    """Graph features are currently disabled."""

    def __init__(self) -> None:
        super().__init__("Graph features are currently disabled", hint="GRAPH_FEATURE_ENABLED is false.")


class StudentNotFoundError(KemudiError):
    """The graph holds no student with this nim."""

    def __init__(self, nim: str) -> None:
        super().__init__(f"there is no student {nim[:40]!r} in the graph")


class QueryTimeoutError(KemudiError):
    """The store ended a query that took longer than GRAPH_QUERY_TIMEOUT."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the query took longer than {seconds:g} s and was ended")


class InvalidRequestError(KemudiError, ValueError):
    """The caller asks for what cannot be: a limit below one, an unknown algorithm, a cursor of no page."""


class GraphMovedError(ConflictError):
    """A transaction was rolled back, since what it was made for is not so any more."""

    def __init__(self) -> None:
        super().__init__("the graph moved on meanwhile; nothing was written")


class LeaseHeldError(ConflictError):
    """Another process runs the sync, and lives."""

    def __init__(self, holder: str | None) -> None:
        super().__init__(
            f"another sync runs on this graph: {holder or 'just ended'}",
            hint="Wait for it, or stop it; a process that was killed is taken over after some seconds.",
        )


class LeaseLostError(ConflictError):
    """The lease went to another process, as after a long sleep of this one; what it would have written is not."""

    def __init__(self, holder: str | None) -> None:
        super().__init__(
            f"this sync lost its lease and wrote nothing more; it went to {holder or 'another, which is over'}",
            hint="Run it again once the other one has ended; the checkpoint is kept.",
        )


class TaskFailedError(KemudiError):
    """A range could not be copied by the worker that was given it. Made of plain text, for it travels."""


class GraphRefusedError(RefusedError):
    """The graph store refuses user, password or query. Trying again does not help."""


class GraphUnavailableError(UnavailableError):
    """The graph store cannot be reached or has no room now. Trying again later may help."""


class GraphContendedError(GraphUnavailableError):
    """Another transaction was in the way, as in a deadlock that the store resolved. Trying again soon helps."""
