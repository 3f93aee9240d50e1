"""The embedded store: Ladybug, an in-process Cypher database in one file.

One process at a time may have the file open for writing, so the graph service and the sync share a process there.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ladybug

from kemudi.graph.errors import GraphMovedError, GraphRefusedError, GraphUnavailableError, QueryTimeoutError
from kemudi.graph.queries import query as text_of
from kemudi.graph.queries import statements
from kemudi.graph.stores.base import Parameters, Record, Step, Texts
from kemudi.schema.errors import KemudiError
from kemudi.schema.failpoints import failpoint

_READERS: Final = 4
_BUFFER_BYTES: Final = 2**30
"""Taken as it is needed. Four recommendations at once, at 25,000 students, need some 600 MB; a quarter was refused."""

_THREADS: Final = 2
_WAIT_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 1.5

_LATER: Final = ("buffer manager", "io exception", "transaction", "interrupted")
"""What the message of an error that may not come again begins with or is."""


class LadybugStore:
    """A Ladybug database in one file. Many readers at once, each with a connection of its own; one writer."""

    name = "ladybug"
    parallel_writers = 1
    exclusive = True

    def __init__(self, path: Path, texts: Texts = text_of) -> None:
        """Open or create the file. Raises GraphUnavailableError while another process has it open."""
        self._texts = texts
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # A process that is killed may leave half a record at the end of the log. The log is then replayed up to
            # there: a whole number of transactions, each with its checkpoint, so the sync goes on from what is left.
            self._database = ladybug.Database(
                str(path),
                buffer_pool_size=_BUFFER_BYTES,
                max_num_threads=_THREADS,
                throw_on_wal_replay_failure=False,
            )
            self._writer = ladybug.Connection(self._database)
            self._all_readers = [ladybug.Connection(self._database) for _ in range(_READERS)]
        except RuntimeError as error:
            raise GraphUnavailableError(
                f"the graph store {path} cannot be opened: {_first_line(error)}",
                hint="Only one process at a time may open it; stop the other one.",
            ) from error
        self._readers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for reader in self._all_readers:
            self._readers.put(reader)
        self._writing = threading.Lock()
        self._closing = threading.Lock()
        self._closed = False

    def prepare(self) -> None:
        """Create the tables that are missing."""
        with self._writing:
            self._require_open()
            for statement in statements("ddl_ladybug"):
                try:
                    _run(self._writer, statement, {})
                except RuntimeError as error:
                    raise _explained(error, "the embedded store cannot make its tables") from error

    def read(self, query: str, parameters: Parameters, *, timeout: float | None = None) -> list[Record]:
        """Records as dictionaries; Ladybug interrupts the query after `timeout` seconds, queueing included."""
        began = time.monotonic()
        with self._reader(timeout) as reader:
            left = max(0.001, timeout - (time.monotonic() - began)) if timeout is not None else 0
            reader.set_query_timeout(round(left * 1000))
            try:
                return _run(reader, self._texts(query), parameters)
            except RuntimeError as error:
                if timeout is not None and "interrupted" in str(error).lower() and not self._closed:
                    raise QueryTimeoutError(timeout) from error
                raise _explained(error, f"the embedded store did not run {query}") from error

    def write(self, steps: Sequence[Step], *, fence: Step | None = None) -> None:
        """One transaction at a time; rolled back as a whole when a step fails."""
        with self._writing:
            self._require_open()
            try:
                _run(self._writer, "BEGIN TRANSACTION", {})
                for name, parameters in steps:
                    _run(self._writer, self._texts(name), parameters)
                if fence is not None:
                    _require(_run(self._writer, self._texts(fence[0]), fence[1]))
                failpoint("graph.before-commit")
                _run(self._writer, "COMMIT", {})
            except BaseException as error:
                # Whatever it was: a transaction left open would swallow the next batch.
                with contextlib.suppress(RuntimeError):
                    _run(self._writer, "ROLLBACK", {})
                if not isinstance(error, RuntimeError):
                    raise
                raise _explained(error, "the embedded store did not take a batch") from error
        failpoint("graph.after-commit")

    def end_writes(self, epoch: int) -> None:
        """There are none: no other process can have the store open, and one that has is at its end."""

    def ping(self) -> None:
        """An embedded store answers as long as it is open."""
        self._require_open()

    def close(self) -> None:
        """Interrupt what runs, which rolls a batch back, then close the file."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            # A connection that still runs must not be torn down under its thread; the process ends soon anyway.
            if not self._idle_by(time.monotonic() + _CLOSE_SECONDS):
                return
            for connection in (*self._all_readers, self._writer):
                connection.close()
            self._database.close()
            # Whoever still waits for a connection gets one now, and then sees that the store is closed.
            self._writing.release()
            for reader in self._all_readers:
                self._readers.put(reader)

    def _idle_by(self, deadline: float) -> bool:
        """Interrupt again and again until every connection is idle and ours; whether that came in time."""
        idle, writer_idle = 0, False
        while idle < len(self._all_readers) or not writer_idle:
            for connection in (*self._all_readers, self._writer):
                connection.interrupt()
            writer_idle = writer_idle or self._writing.acquire(timeout=0.01)
            with contextlib.suppress(queue.Empty):
                self._readers.get(timeout=0.01)
                idle += 1
            if time.monotonic() > deadline:
                if writer_idle:
                    self._writing.release()
                return False
        return True

    @contextlib.contextmanager
    def _reader(self, timeout: float | None) -> Iterator[Any]:
        self._require_open()
        try:
            reader = self._readers.get(timeout=_WAIT_SECONDS if timeout is None else timeout)
        except queue.Empty:
            if timeout is not None:
                raise QueryTimeoutError(timeout) from None
            raise GraphUnavailableError("all connections of the embedded store are busy") from None
        try:
            self._require_open()
            yield reader
        finally:
            self._readers.put(reader)

    def _require_open(self) -> None:
        if self._closed:
            raise GraphUnavailableError("the embedded store is closed")


def _run(connection: Any, statement: str, parameters: Mapping[str, Any]) -> list[Record]:  # untyped
    result = connection.execute(statement, dict(parameters))
    try:
        return list(result.rows_as_dict())
    finally:
        result.close()


def _require(records: Sequence[Record]) -> None:
    if not records:
        raise GraphMovedError


def _explained(error: RuntimeError, what: str) -> KemudiError:
    """The error of the class that says whether another try may help."""
    line = _first_line(error)
    kind = GraphUnavailableError if any(word in line.lower() for word in _LATER) else GraphRefusedError
    return kind(f"{what}: {line}")


def _first_line(error: BaseException) -> str:
    # The rest of the message may repeat parameters.
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
