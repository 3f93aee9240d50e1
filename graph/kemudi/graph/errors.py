"""How the services fail, as branches of the common tree.

::

    KemudiError
    ├── FeatureDisabledError       GRAPH_FEATURE_ENABLED is off                HTTP 503 feature-disabled
    ├── StudentNotFoundError       the graph does not know the student         HTTP 404 student-not-found
    ├── QueryTimeoutError          GRAPH_QUERY_TIMEOUT ended the query         HTTP 504 query-timeout
    └── UnavailableError
        ├── GraphUnavailableError  the graph store cannot be reached now       HTTP 503 graph-unavailable
        └── RegistryUnavailableError  (kemudi.graph.registry)                  a sync retries it
"""

from kemudi.schema.errors import KemudiError, UnavailableError


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


class GraphUnavailableError(UnavailableError):
    """The graph store cannot be reached, or aborted a transaction that may be tried again."""
