"""Neo4j through its own driver: bolt to one server, neo4j:// to a cluster."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import neo4j
from neo4j.exceptions import AuthError, ClientError, ConfigurationError, DriverError, Neo4jError

from kemudi.graph.errors import GraphUnavailableError, QueryTimeoutError
from kemudi.graph.queries import query as text_of
from kemudi.graph.queries import statements
from kemudi.graph.stores.base import Parameters, Record
from kemudi.schema.errors import UsageError
from kemudi.schema.failpoints import failpoint
from kemudi.schema.secret import Secret

_TIMED_OUT: Final = "Neo.ClientError.Transaction.TransactionTimedOut"
_CONNECT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 15.0


class Neo4jStore:
    """One driver with its pool."""

    name = "neo4j"
    parallel_writers = 8

    def __init__(self, uri: str, user: str, password: Secret[str]) -> None:
        """Make the driver; nothing is connected yet. Raises UsageError for an address that it does not understand."""
        try:
            self._driver = neo4j.GraphDatabase.driver(
                uri,
                auth=(user, password.reveal()),
                connection_timeout=_CONNECT_SECONDS,
                connection_acquisition_timeout=_CONNECT_SECONDS,
                max_transaction_retry_time=_RETRY_SECONDS,
                notifications_min_severity="OFF",
            )
        except (ConfigurationError, ValueError) as error:
            raise UsageError(
                f"NEO4J_URI is not an address that the driver can open ({type(error).__name__})"
            ) from None

    def prepare(self) -> None:
        """Create the constraints that are missing and wait until they are there."""
        try:
            with self._driver.session() as session:
                for statement in statements("ddl_neo4j"):
                    session.run(statement).consume()
        except (Neo4jError, DriverError) as error:
            raise _unavailable(error) from error

    def read(self, query: str, parameters: Parameters, *, timeout: float | None = None) -> list[Record]:
        """Records as dictionaries; the server ends the transaction after `timeout` seconds."""

        @neo4j.unit_of_work(timeout=timeout)
        def work(transaction: neo4j.ManagedTransaction) -> list[Record]:
            return [record.data() for record in _run(transaction, query, parameters)]

        try:
            with self._driver.session(default_access_mode=neo4j.READ_ACCESS) as session:
                return session.execute_read(work)
        except ClientError as error:
            if timeout is not None and error.code is not None and error.code.startswith(_TIMED_OUT):
                raise QueryTimeoutError(timeout) from error
            raise _unavailable(error) from error
        except (Neo4jError, DriverError) as error:
            raise _unavailable(error) from error

    def write(self, steps: Sequence[tuple[str, Parameters]]) -> None:
        """One managed transaction: the driver repeats it after a transient error, so each step must be idempotent."""

        def work(transaction: neo4j.ManagedTransaction) -> None:
            for name, parameters in steps:
                _run(transaction, name, parameters).consume()
            failpoint("graph.before-commit")

        try:
            with self._driver.session() as session:
                session.execute_write(work)
        except (Neo4jError, DriverError) as error:
            raise _unavailable(error) from error
        failpoint("graph.after-commit")

    def ping(self) -> None:
        """Connect, authenticate, and see that the server answers."""
        try:
            self._driver.verify_connectivity()
        except (Neo4jError, DriverError) as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Close the pool."""
        self._driver.close()


def _run(transaction: neo4j.ManagedTransaction, name: str, parameters: Mapping[str, Any]) -> neo4j.Result:
    return transaction.run(text_of(name), dict(parameters))


def _unavailable(error: Exception) -> GraphUnavailableError:
    """The error without the driver's text, which may repeat the address and parameters."""
    if isinstance(error, AuthError):
        return GraphUnavailableError(
            "Neo4j refuses this user or password", hint="Check NEO4J_USER and NEO4J_PASSWORD."
        )
    code = getattr(error, "code", None) or type(error).__name__
    return GraphUnavailableError(f"Neo4j does not answer ({code})", hint="Check NEO4J_URI and the server.")
