"""Neo4j through its own driver: bolt to one server, neo4j:// to a cluster."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import neo4j
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConfigurationError,
    DriverError,
    Neo4jError,
    TransientError,
)

from kemudi.graph.errors import (
    GraphContendedError,
    GraphMovedError,
    GraphRefusedError,
    GraphUnavailableError,
    QueryTimeoutError,
)
from kemudi.graph.queries import query as text_of
from kemudi.graph.queries import statements
from kemudi.graph.stores.base import Parameters, Record, Step, Texts
from kemudi.graph.stores.watchdog import Watchdog
from kemudi.schema.errors import KemudiError, UsageError
from kemudi.schema.failpoints import failpoint
from kemudi.schema.secret import Secret

_TIMED_OUT: Final = "Neo.ClientError.Transaction.TransactionTimedOut"
_IN_THE_WAY: Final = (
    "Neo.ClientError.Statement.EntityNotFound",  # met a change; the others tell of an end that another asked for
    "Neo.ClientError.Transaction.Terminated",
    "Neo.ClientError.Transaction.LockClientStopped",
    "Neo.ClientError.Transaction.TransactionMarkedAsFailed",
    "Neo.ClientError.Transaction.TransactionNotFound",
)
_CONNECT_SECONDS: Final = 5.0
_WRITE_SECONDS: Final = 300.0
_GRACE_SECONDS: Final = 4.0
"""So long after its time limit a server that still says nothing is given up."""

_AGAIN_SECONDS: Final = 0.1
_READ_TRIES: Final = 3


class Neo4jStore:
    """One driver with its pool."""

    name = "neo4j"
    parallel_writers = 8
    exclusive = False

    def __init__(self, uri: str, user: str, password: Secret[str], texts: Texts = text_of) -> None:
        """Make the driver; nothing is connected yet. Raises UsageError for an address that it does not understand."""
        self._texts = texts
        self._uri = uri
        self._auth = (user, password)
        self._replacing = threading.Lock()
        self._watchdog = Watchdog("neo4j-watchdog")
        self._closed = False
        try:
            self._driver = self._new_driver()
        except (ConfigurationError, ValueError) as error:
            raise UsageError(
                f"NEO4J_URI is not an address that the driver can open ({type(error).__name__})"
            ) from None

    def prepare(self) -> None:
        """Create the constraints that are missing and wait until they are there."""
        try:
            with self._session(_WRITE_SECONDS) as session:
                for statement in statements("ddl_neo4j"):
                    session.run(statement).consume()
        except (Neo4jError, DriverError) as error:
            raise _explained(error) from error

    def read(self, query: str, parameters: Parameters, *, timeout: float | None = None) -> list[Record]:
        """Records as dictionaries; the server ends the transaction after `timeout` seconds.

        A server that is changing leaders, or a connection that went stale, is asked again while there is time.
        """
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        for tries_left in reversed(range(_READ_TRIES)):
            try:
                return self._read_once(query, parameters, deadline)
            except (Neo4jError, DriverError) as error:
                late = time.monotonic() + _AGAIN_SECONDS >= deadline
                if timeout is not None and isinstance(error, ClientError) and _has_code(error, _TIMED_OUT):
                    raise QueryTimeoutError(timeout) from error
                if late or not tries_left or not error.is_retryable():
                    raise _explained(error) from error
                time.sleep(_AGAIN_SECONDS)
        raise AssertionError("the last try returns or raises")

    def write(self, steps: Sequence[Step], *, fence: Step | None = None) -> None:
        """One transaction, tried once: the sync counts and spaces its own tries."""
        try:
            with (
                self._session(_WRITE_SECONDS) as session,
                session.begin_transaction(timeout=_WRITE_SECONDS, metadata=_marked(fence)) as transaction,
            ):
                for name, parameters in steps:
                    self._run(transaction, name, parameters).consume()
                if fence is not None and not list(self._run(transaction, *fence)):
                    raise GraphMovedError  # which rolls back
                failpoint("graph.before-commit")
                transaction.commit()
        except (Neo4jError, DriverError) as error:
            raise _explained(error) from error
        failpoint("graph.after-commit")

    def end_writes(self, epoch: int) -> None:
        """By their marks; a user may see and end transactions of its own without a right to it."""
        self.read("end_writes", {"epoch": epoch}, timeout=_CONNECT_SECONDS)

    def ping(self) -> None:
        """Connect, authenticate, and see that the server answers."""
        try:
            with self._session(_CONNECT_SECONDS, default_access_mode=neo4j.READ_ACCESS) as session:
                session.run("RETURN 1").consume()
        except (Neo4jError, DriverError) as error:
            raise _explained(error) from error

    def close(self) -> None:
        """Close the pool."""
        with self._replacing:
            self._closed = True
        self._watchdog.close()
        # BufferError: a thread still writes on a connection, which cannot say farewell then. Its socket ends with it.
        with suppress(BufferError):
            self._driver.close()

    def _read_once(self, query: str, parameters: Parameters, deadline: float) -> list[Record]:
        # A limit of 0 would mean none.
        seconds = min(_WRITE_SECONDS, max(0.001, deadline - time.monotonic()))
        # By itself and not in a transaction that is begun and ended: that would be two more ways to the server.
        statement = neo4j.Query(self._texts(query), timeout=seconds)
        with self._session(seconds, default_access_mode=neo4j.READ_ACCESS) as session:
            result = session.run(statement, dict(parameters))
            keys = result.keys()
            # Queries return plain values: no node has to be taken apart, as `data()` would try.
            return [dict(zip(keys, record, strict=True)) for record in result]

    @contextmanager
    def _session(self, seconds: float, **options: Any) -> Iterator[neo4j.Session]:  # of the driver
        """A session whose work the server ends after `seconds`; without a word from it then, nobody waits longer."""
        driver = self._driver
        late = partial(self._give_up, driver)
        with self._watchdog.watch(seconds + _GRACE_SECONDS, late), driver.session(**options) as session:
            yield session

    def _give_up(self, driver: neo4j.Driver) -> None:
        # The driver waits for an answer without an end. Closing the connection is what wakes those who wait, and with
        # a server that does not even keep its time limits all connections are of no use.
        with self._replacing:
            if self._closed or driver is not self._driver:
                return
            self._driver = self._new_driver()
        driver.close()

    def _new_driver(self) -> neo4j.Driver:
        user, password = self._auth
        return neo4j.GraphDatabase.driver(
            self._uri,
            auth=(user, password.reveal()),
            connection_timeout=_CONNECT_SECONDS,
            connection_acquisition_timeout=_CONNECT_SECONDS,
            notifications_min_severity="OFF",
        )

    def _run(self, transaction: neo4j.Transaction, name: str, parameters: Mapping[str, Any]) -> neo4j.Result:
        return transaction.run(self._texts(name), dict(parameters))


def _marked(fence: Step | None) -> dict[str, Any]:
    """What a transaction shows of itself in SHOW TRANSACTIONS."""
    return {"kemudi_epoch": fence[1]["epoch"]} if fence is not None else {}


def _has_code(error: Exception, start: str) -> bool:
    return (getattr(error, "code", None) or "").startswith(start)


def _explained(error: Exception) -> KemudiError:
    """The error of the class that says what may help, without the driver's text: it may repeat parameters."""
    if isinstance(error, AuthError):
        return GraphRefusedError(
            "Neo4j refuses this user or password", hint="Check NEO4J_USER and NEO4J_PASSWORD."
        )
    code = getattr(error, "code", None) or type(error).__name__
    if isinstance(error, TransientError) or any(_has_code(error, each) for each in _IN_THE_WAY):
        return GraphContendedError(f"Neo4j ended a transaction that was in another's way ({code})")
    if isinstance(error, ClientError) and not _has_code(error, _TIMED_OUT):
        return GraphRefusedError(f"Neo4j refuses a statement ({code})")
    return GraphUnavailableError(f"Neo4j does not answer ({code})", hint="Check NEO4J_URI and the server.")
